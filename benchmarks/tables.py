"""Speed on tables, side by side with PyOD, scikit-learn's IsolationForest and zuko's MAF, in one run.

    python benchmarks/tables.py [--threads 2] [--parts fit score network stream]

- `fit`: `fit_table` as it comes on 50,000 rows of 20 columns of all kinds, with holes.
- `score`: rows a second of 20 numeric columns, from a DataFrame to log p or anomaly scores, against
  `decision_function` of ECOD and IsolationForest, on 50,000 and 200,000 rows.
- `network`: of 20 and 43 columns, a training step of 512 rows, log p and samples, against zuko's MAF of like
  size (three transforms of 2 x 64 units). Both read and write tensors.
- `stream`: a text file is judged row by row through `judge_stream`, as `chainrule detect score --out` does, each
  length in a process of its own, with the peak of its memory. The file repeats 100,000 different rows.

Contenders take turns, so that what else the machine does meets all alike; times are medians of wall-clock
time. pyod and zuko are left out, with a line, where they are not installed.

On a busy machine set OMP_WAIT_POLICY=passive or take one thread: threads of OpenMP that wait for one that has
lost its core burn their own, which makes two threads ten times slower than one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import write

from chainrule.detection import Detector, Rule, judge_stream
from chainrule.tables import iter_table
from chainrule.tabular import TableModel, fit_table

PARTS = ("fit", "score", "network", "stream")
FIT_ROWS = 50_000
SCORE_ROWS = (50_000, 200_000)
SCORE_COLUMNS = 20
NETWORK_COLUMNS = (20, 43)
TRAIN_ROWS, BATCH, SAMPLE_ROWS = 20_000, 512, 4096
STREAM_ROWS = (1_000_000, 10_000_000)
STREAM_BLOCK, CHUNK_ROWS = 100_000, 20_000  # the latter as the command line has it

#: What the same libraries did on a like machine, rows a second: ECOD and IsolationForest with 20 columns, the MAF
#: with 43.
PUBLIC = {"ECOD": 95_000, "IsolationForest": 272_000, "zuko MAF, log p": 498_000, "zuko MAF, sample": 10_700}


# ---------------------------------------------------------------- tables


def numeric_table(rows: int, columns: int, seed: int = 0) -> pd.DataFrame:
    """Dependent columns, each third one skewed."""
    mixing = np.random.default_rng(0).normal(size=(columns, columns)) * 0.3 / np.sqrt(columns)
    values = np.random.default_rng(seed).normal(size=(rows, columns)) @ (np.eye(columns) + mixing)
    values[:, ::3] = np.exp(0.5 * values[:, ::3])
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(columns)])


def mixed_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """20 columns: 10 numeric (one with holes), 3 of counts, 5 of 3 to 19 categories, 2 booleans."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(rows, 20))
    z[:, 1:] += 0.5 * z[:, :-1]
    table: dict[str, Any] = {f"numeric{i}": np.exp(z[:, i]) if i % 3 == 0 else z[:, i] for i in range(10)}
    table["numeric3"] = np.where(generator.random(rows) < 0.05, np.nan, table["numeric3"])
    for i in range(3):
        table[f"count{i}"] = np.floor(np.exp(1 + z[:, 10 + i])).astype(np.int64)
    for i in range(5):
        labels = np.array([f"kind {k}" for k in range(3 + 4 * i)])
        table[f"label{i}"] = labels[np.clip(np.exp(z[:, 13 + i]) * 1.5, 0, len(labels) - 1).astype(int)]
    return pd.DataFrame(table | {f"flag{i}": z[:, 18 + i] > 0.5 for i in range(2)})


# ---------------------------------------------------------------- timing


def in_turns(contenders: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Median wall-clock and processor seconds of each contender; each runs once before it counts."""
    for run in contenders.values():
        run()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {
        name: {
            "seconds": statistics.median(wall for wall, _ in measured),
            "cpu_seconds": statistics.median(processor for _, processor in measured),
        }
        for name, measured in times.items()
    }


def per_second(count: int, measured: Mapping[str, dict[str, float]]) -> list[dict[str, Any]]:
    """A line for each contender."""
    return [
        {"contender": name, "per_second": count / times["seconds"], **times}
        for name, times in measured.items()
    ]


def installed(module: str) -> bool:
    """Whether a library to compare with is there; says so if not."""
    try:
        __import__(module)
    except ImportError:
        print(f"{module} is not installed, so it is left out: pip install {module}", flush=True)
        return False
    return True


# ---------------------------------------------------------------- the parts


def measure_fit(repeats: int) -> dict[str, Any]:
    """Seconds of `fit_table` on the mixed table."""
    frame = mixed_table(FIT_ROWS)
    fit_table(frame[:1000], steps=5, progress=False)  # what is only imported when needed
    wall, processor = time.perf_counter(), time.process_time()
    model = fit_table(frame, progress=False)
    return {
        "rows": FIT_ROWS,
        "columns": len(frame.columns),
        "parameters": model.model.num_parameters,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - processor,
    }


def measure_score(repeats: int) -> list[dict[str, Any]]:
    """Rows a second of every scorer, for every number of rows."""
    train = numeric_table(TRAIN_ROWS, SCORE_COLUMNS)
    model = fit_table(train, steps=100, progress=False)
    scorers: dict[str, Callable[[pd.DataFrame], Any]] = {
        "chainrule, log p": model.log_prob,
        "chainrule, anomaly scores": model.anomaly_scores,
    }
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(random_state=0).fit(train.to_numpy())
    scorers["IsolationForest"] = lambda frame: forest.decision_function(frame.to_numpy())
    if installed("pyod"):
        from pyod.models.ecod import ECOD

        ecod = ECOD().fit(train.to_numpy())
        scorers["ECOD"] = lambda frame: ecod.decision_function(frame.to_numpy())
    results = []
    for rows in SCORE_ROWS:
        frame = numeric_table(rows, SCORE_COLUMNS, seed=1)
        contenders = {
            name: (lambda scorer=scorer, frame=frame: scorer(frame)) for name, scorer in scorers.items()
        }
        results += [{"rows": rows, **row} for row in per_second(rows, in_turns(contenders, repeats))]
    return results


def measure_network(repeats: int) -> list[dict[str, Any]]:
    """Training steps, log p and samples of tensors."""
    results = []
    for columns in NETWORK_COLUMNS:
        frame = numeric_table(TRAIN_ROWS, columns)
        ours = fit_table(frame, steps=50, progress=False)
        x = ours.schema.tensor(frame)
        jobs = {f"chainrule, {job}": run for job, run in _jobs_of_ours(ours, x).items()}
        sizes = {"chainrule": ours.model.num_parameters}
        if installed("zuko"):
            flow = _maf(columns)
            jobs |= {f"zuko MAF, {job}": run for job, run in _jobs_of_zuko(flow, x).items()}
            sizes["zuko MAF"] = sum(p.numel() for p in flow.parameters())
        counts = {"training steps": 1, "log p": len(x), "sample": SAMPLE_ROWS, "table sample": SAMPLE_ROWS}
        for name, times in in_turns(jobs, repeats).items():
            who, job = name.split(", ", 1)
            result = {"columns": columns, "contender": who, "job": job, "parameters": sizes[who]}
            results.append({**result, "per_second": counts[job] / times["seconds"], **times})
    return results


def _jobs_of_ours(table: TableModel, x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    model, generator = table.model, torch.Generator()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def train() -> None:
        model.training_loss(x[:BATCH], None, generator).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return {
        "training steps": train,
        "log p": torch.no_grad()(lambda: [model.log_prob(part) for part in x.split(4096)]),
        "sample": lambda: model.sample(SAMPLE_ROWS, seed=0),
        "table sample": lambda: table.sample(SAMPLE_ROWS, seed=0),
    }


def _maf(columns: int) -> torch.nn.Module:
    from zuko.flows import MAF

    torch.manual_seed(0)
    return MAF(columns, transforms=3, hidden_features=(64, 64))


def _jobs_of_zuko(flow: torch.nn.Module, x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    optimizer = torch.optim.AdamW(flow.parameters(), lr=1e-4, fused=True)

    def train() -> None:
        (-flow().log_prob(x[:BATCH])).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return {
        "training steps": train,
        "log p": torch.no_grad()(lambda: [flow().log_prob(part) for part in x.split(4096)]),
        "sample": torch.no_grad()(lambda: flow().sample((SAMPLE_ROWS,))),
    }


# ---------------------------------------------------------------- the stream


def stream_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Six narrow columns, so that ten million rows are half a gigabyte of text."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 3))
    return pd.DataFrame(
        {
            "a": x[:, 0].round(4),
            "b": (x[:, 0] + x[:, 1]).round(4),
            "c": np.exp(x[:, 2]).round(4),
            "n": generator.poisson(np.exp(0.5 * x[:, 1])),
            "kind": np.array(["tcp", "udp", "icmp"])[generator.choice(3, size=rows, p=[0.7, 0.2, 0.1])],
            "ok": generator.random(rows) < 0.9,
        }
    )


def measure_stream(repeats: int) -> list[dict[str, Any]]:
    """Seconds and peak memory by length of the file."""
    results = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        fit_table(stream_table(TRAIN_ROWS), steps=300, progress=False, out=folder / "run")
        block = stream_table(STREAM_BLOCK, seed=1).to_csv(index=False)
        header, body = block.split("\n", 1)
        for rows in STREAM_ROWS:
            file = folder / "rows.csv"
            with file.open("w", encoding="utf-8") as stream:
                stream.write(header + "\n")
                for _ in range(rows // STREAM_BLOCK):
                    stream.write(body)
            results.append(_in_own_process(folder, file))
            file.unlink()
    return results


def _in_own_process(folder: Path, file: Path) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_judge, args=(folder, file, torch.get_num_threads(), queue))
    process.start()
    measured: dict[str, Any] = queue.get()
    process.join()
    return measured


def _judge(folder: Path, file: Path, threads: int, queue: Any) -> None:
    torch.set_num_threads(threads)
    model = TableModel.load(folder / "run")
    clean = stream_table(10_000, seed=2)
    detector = Detector.fit(
        model.anomaly_scores(clean),
        rule=Rule("conformal", 0.01),
        column_scores=model.anomaly_scores(clean, per_column=True),
        column_names=[str(name) for name in model.schema.names],
    )
    start, processor = time.perf_counter(), time.process_time()
    summary = judge_stream(
        iter_table(file, CHUNK_ROWS),
        model.anomaly_scores,
        detector,
        column_scores=lambda chunk, places: model.anomaly_scores(chunk.iloc[places], per_column=True),
        out=folder / "scores.csv",
        overwrite=True,
    )
    seconds = time.perf_counter() - start
    queue.put(
        {
            "rows": summary.rows,
            "file_mib": file.stat().st_size / 2**20,
            "alarm_rate": summary.alarm_rate,
            "seconds": seconds,
            "cpu_seconds": time.process_time() - processor,
            "per_second": summary.rows / seconds,
            "peak_rss_mib": peak_mib(),
        }
    )


def peak_mib() -> float:
    """Peak resident memory of this process, from Linux; getrusage would inherit the parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


# ---------------------------------------------------------------- the page

MEASURES: dict[str, Callable[[int], Any]] = {
    "fit": measure_fit,
    "score": measure_score,
    "network": measure_network,
    "stream": measure_stream,
}


def fit_text(result: dict[str, Any]) -> str:
    return (
        f"Fitting {result['rows']:,} rows of {result['columns']} mixed columns with all defaults: "
        f"**{result['seconds']:.1f} s** ({result['parameters']:,} parameters)."
    )


def score_text(rows: list[dict[str, Any]]) -> str:
    """Scorers down, numbers of rows across."""
    sizes = list(dict.fromkeys(row["rows"] for row in rows))
    lines = [
        f"Rows a second of {SCORE_COLUMNS} numeric columns, scored from a DataFrame.",
        "",
        f"| scorer | {' | '.join(f'{size:,} rows' for size in sizes)} | on a like machine |",
        f"|---|{'---:|' * len(sizes)}---:|",
    ]
    for name, own in _by(rows, "contender").items():
        public = f"{PUBLIC[name]:,}" if name in PUBLIC else ""
        rates = " | ".join(f"{row['per_second']:,.0f}" for row in own)
        lines.append(f"| {name} | {rates} | {public} |")
    return "\n".join(lines)


def network_text(rows: list[dict[str, Any]]) -> str:
    """Pairs of the same job, with how many times faster ours is."""
    lines = [
        f"Tensors in, tensors out: training steps of {BATCH} rows, rows of log p, and sampled rows a second "
        "(*table sample*: to a DataFrame in the table's own units).",
        "",
        "| columns | job | chainrule | zuko MAF | times faster | zuko on a like machine |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for (columns, job), own in _by(rows, "columns", "job").items():
        rates = {row["contender"]: row["per_second"] for row in own}
        ours = rates["chainrule"]
        # A table's sample has no counterpart of its own: zuko's sample is before any decoding.
        theirs = rates.get("zuko MAF") or next(
            (
                row["per_second"]
                for row in rows
                if (row["columns"], row["job"], row["contender"]) == (columns, "sample", "zuko MAF")
                and job == "table sample"
            ),
            None,
        )
        ratio = "" if theirs is None else f"**{ours / theirs:.2g}**"
        public = PUBLIC.get(f"zuko MAF, {job}") if columns == 43 else None
        lines.append(
            f"| {columns} | {job} | {ours:,.0f} | {'' if theirs is None else f'{theirs:,.0f}'} | {ratio} "
            f"| {'' if public is None else f'{public:,}'} |"
        )
    sizes = {(row["columns"], row["contender"]): row["parameters"] for row in rows}
    counted = ", ".join(f"{who} with {n} columns {size:,}" for (n, who), size in sizes.items())
    return "\n".join([*lines, "", f"Parameters: {counted}."])


def stream_text(rows: list[dict[str, Any]]) -> str:
    lines = [
        "A text file judged in a stream, results written to another: time and peak memory of the process.",
        "",
        "| rows | file, MiB | seconds | rows a second | peak memory, MiB |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['rows']:,} | {row['file_mib']:,.0f} | {row['seconds']:,.0f} | {row['per_second']:,.0f} "
        f"| **{row['peak_rss_mib']:,.0f}** |"
        for row in rows
    ]
    return "\n".join(lines)


TEXTS = {"fit": fit_text, "score": score_text, "network": network_text, "stream": stream_text}


def _by(rows: list[dict[str, Any]], *names: str) -> dict[Any, list[dict[str, Any]]]:
    """Rows that agree in these entries, under the entry or entries."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        key = row[names[0]] if len(names) == 1 else tuple(row[name] for name in names)
        groups.setdefault(key, []).append(row)
    return groups


def page(results: dict[str, Any]) -> str:
    """The parts that were measured."""
    return "\n\n".join(TEXTS[part](results[part]) for part in PARTS if part in results)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="tables", help="of the result files")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    for part in options.parts:
        results[part] = MEASURES[part](options.repeats)
        print(f"{TEXTS[part](results[part])}\n", flush=True)
    path = write(options.name, results)
    path.with_suffix(".md").write_text(page(results) + "\n", encoding="utf-8")
    print(f"written to {path} and .md")


if __name__ == "__main__":
    main()
