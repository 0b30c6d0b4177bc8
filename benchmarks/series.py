"""Time series: an AR(2) process whose entropy is known, and the brightness of video frames.

    python benchmarks/series.py [--threads 1] [--only ar2 video] [--data FOLDER] [--plot fan.png]

- ar2: x_t = 1.3 x_{t-1} - 0.6 x_{t-2} + e_t with e_t ~ N(0, 0.25). No model has a lower NLL than the entropy of
  e_t, 0.5 log(2 pi e 0.25) = 0.7258 nats a step; a GRU is trained on 24,000 steps of 30,000 and scored on 50,000
  new ones. Then 5,000 forecasts of 10 steps, each from another place of the new ones: how many of the values that
  came lie in the central 90 %.
- video: the mean brightness of the left and right half and of the middle of 1,965 consecutive frames of the Frey
  faces (needs CHAINRULE_DATA or --data), split 80 / 10 / 10 by time; beside a random walk.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import RESULTS, header

from chainrule import report
from chainrule.series import SeriesModel, covered, crps, evaluate_series, fit_series

PHI, SIGMA = (1.3, -0.6), 0.5
ENTROPY = 0.5 * math.log(2 * math.pi * math.e * SIGMA**2)
HORIZON, ORIGINS, PATHS = 10, 5000, 400


def ar2(steps: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The process after it has settled, and its noise, `(steps,)`."""
    noise = SIGMA * np.random.default_rng(seed).normal(size=steps + 500)
    x = np.zeros_like(noise)
    for t in range(2, len(x)):
        x[t] = PHI[0] * x[t - 1] + PHI[1] * x[t - 2] + noise[t]
    return pd.DataFrame({"t": np.arange(steps), "x": x[500:]}), noise[500:]


def measure_ar2(folder: Path) -> dict[str, Any]:
    """NLL against the entropy, and coverage by horizon."""
    began = time.perf_counter()
    model = fit_series(
        ar2(30_000, seed=0)[0],
        folder / "ar2",
        time="t",
        numeric="gaussian",
        model_settings={"cell": "gru", "hidden": 32},
        steps=3000,
        progress=False,
        ema_decay=0.995,
    )
    seconds = time.perf_counter() - began
    new, noise = ar2(50_000, seed=1)
    log_prob = model.log_prob(new)[100:]
    # The same noise under the truth: what the model adds to it is known far better than the NLL itself.
    truth = -0.5 * math.log(2 * math.pi * SIGMA**2) - noise[100:] ** 2 / (2 * SIGMA**2)
    series = model.schema.read(new)
    origins = list(range(100, 100 + ORIGINS * 9, 9))
    inside, scores = {0.5: [], 0.8: [], 0.9: []}, []
    began = time.perf_counter()
    for origin, paths in zip(
        origins, model.paths_from(series, origins, HORIZON, num_paths=PATHS, seed=0), strict=True
    ):
        came = series.values[origin : origin + HORIZON]
        scores.append(crps(paths, came)[:, 0])
        for level, found in inside.items():
            found.append(covered(paths, came, level)[:, 0])
    return {
        "what": "ar2",
        "parameters": model.model.num_parameters,
        "recipe": "GRU of 32, Gaussian, windows of 64 steps, 3,000 updates of 32, AdamW 3e-3",
        "fit_seconds": seconds,
        "entropy": ENTROPY,
        "nll": -float(log_prob.mean()),
        "nll_standard_error": float(log_prob.std() / math.sqrt(len(log_prob))),
        "above_the_truth_on_the_same_steps": float((truth - log_prob).mean()),
        "forecasts": len(origins),
        "paths": PATHS,
        "forecast_seconds": time.perf_counter() - began,
        "coverage": {f"{level:g}": float(np.mean(found)) for level, found in inside.items()},
        "coverage_90_by_step": np.mean(inside[0.9], 0).tolist(),
        "crps_by_step": np.mean(scores, 0).tolist(),
        "crps_of_the_truth_by_step": _true_crps(),
    }


def _true_crps() -> list[float]:
    """CRPS of the process's own forecasts, s / sqrt(pi) for a Gaussian of deviation s."""
    weights = [1.0, PHI[0]]
    while len(weights) < HORIZON:
        weights.append(PHI[0] * weights[-1] + PHI[1] * weights[-2])
    deviations = SIGMA * np.sqrt(np.cumsum(np.square(weights)))
    return (deviations / math.sqrt(math.pi)).tolist()


def video(data: Path) -> pd.DataFrame:
    """Brightness of consecutive frames, 0 to 255: of the left half, the right half and the middle."""
    images = np.load(data / "frey_faces" / "frey_faces.npz")["images"].astype(np.float64)  # (N, 28, 20)
    return pd.DataFrame(
        {
            "frame": np.arange(len(images)),
            "left": images[:, :, :10].mean((1, 2)),
            "right": images[:, :, 10:].mean((1, 2)),
            "middle": images[:, 7:21, 5:15].mean((1, 2)),
        }
    )


def measure_video(data: Path, folder: Path, plot: Path | None) -> list[dict[str, Any]]:
    """Likelihood, CRPS and coverage of the last tenth, beside a random walk."""
    frame, rows = video(data), []
    for name in ("rnn", "transformer"):
        began = time.perf_counter()
        model = fit_series(frame, folder / name, time="frame", model=name, progress=False)
        seconds = time.perf_counter() - began
        result = evaluate_series(model, frame, horizon=24, origins=60, num_paths=200)
        rows.append(
            {
                "what": f"video, {name}",
                "parameters": model.model.num_parameters,
                "fit_seconds": seconds,
                "differenced": [c.name for c in model.schema.columns if c.difference],
                "nll": result.nll,
                "nll_standard_error": result.standard_error,
                "random_walk_nll": result.naive_nll,
                "steps": result.steps,
                "forecasts": result.origins,
                "horizon": result.horizon,
                "crps": dict(result.crps),
                "random_walk_crps": dict(result.naive_crps),
                "coverage": {f"{k:g}": v for k, v in result.coverage.items()},
                "random_walk_coverage": {f"{k:g}": v for k, v in result.naive_coverage.items()},
            }
        )
        if plot is not None and name == "rnn":
            draw(model, frame, plot)
    return rows


def draw(model: SeriesModel, frame: pd.DataFrame, plot: Path, origin: int = 1_860, steps: int = 48) -> None:
    """A fan chart of 48 frames of the test part."""
    history, names = frame.head(origin), list(model.schema.names)
    forecast = model.forecast(history, steps, num_paths=1000, seed=0)
    report.save_fan_chart(
        history[names].tail(140).to_numpy(),
        forecast.paths,
        plot,
        names=names,
        times=history["frame"].tail(140).to_numpy(),
        future_times=forecast.times,
        truth=frame[names].to_numpy()[origin : origin + steps],
        title="Brightness of video frames, and the forecast of an LSTM",
        time_name="frame",
        overwrite=True,
    )


def page(results: list[dict[str, Any]]) -> str:
    """The results as Markdown, a page of its own."""
    first = f"# Time series\n\n`{header()['command']}`, one thread of a busy machine.\n\n"
    return first + sections(results).replace("### ", "## ")


def sections(results: list[dict[str, Any]]) -> str:
    """The results as Markdown, parts of a page."""
    lines: list[str] = []
    for row in results:
        if row["what"] == "ar2":
            by_step = ", ".join(f"{100 * share:.1f}" for share in row["coverage_90_by_step"])
            scores = ", ".join(f"{value:.3f}" for value in row["crps_by_step"])
            best = ", ".join(f"{value:.3f}" for value in row["crps_of_the_truth_by_step"])
            lines += [
                "### AR(2) with Gaussian noise",
                "",
                f"- {row['recipe']}; {row['parameters']:,} parameters, {row['fit_seconds']:.0f} s.",
                f"- NLL {row['nll']:.4f} ± {row['nll_standard_error']:.4f} nats a step; entropy {row['entropy']:.4f}; "
                f"above the true process on the very same steps: {row['above_the_truth_on_the_same_steps']:.4f}.",
                f"- {row['forecasts']:,} forecasts of {HORIZON} steps, {row['paths']} paths each, "
                f"{row['forecast_seconds']:.0f} s: the central 90 % held {100 * row['coverage']['0.9']:.2f} % of what "
                f"came (50 %: {100 * row['coverage']['0.5']:.2f}, 80 %: {100 * row['coverage']['0.8']:.2f}).",
                f"- 90 % by step ahead: {by_step}.",
                f"- CRPS by step ahead: {scores}; of the true process: {best}.",
                "",
            ]
    films = [row for row in results if row["what"].startswith("video")]
    if films:
        lines += [
            "### Brightness of 1,965 video frames (Frey faces), last tenth",
            "",
            f"{films[0]['steps']} steps; {films[0]['forecasts']} forecasts of {films[0]['horizon']} frames.",
            "",
            "| model | parameters | fit | NLL, nats a frame | CRPS left | right | middle | in 50 % | 80 % | 90 % |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for row in films:
            cells = [
                f"{row['nll']:.3f} ± {row['nll_standard_error']:.3f}",
                *_numbers(row["crps"], row["coverage"]),
            ]
            lines.append(
                f"| {row['what'][7:]} | {row['parameters']:,} | {row['fit_seconds']:.0f} s | {' | '.join(cells)} |"
            )
        last = films[0]
        cells = [
            f"{last['random_walk_nll']:.3f}",
            *_numbers(last["random_walk_crps"], last["random_walk_coverage"]),
        ]
        lines += [f"| random walk | - | - | {' | '.join(cells)} |", ""]
    return "\n".join(lines)


def _numbers(scores: dict[str, float], coverage: dict[str, float]) -> list[str]:
    return [f"{value:.3f}" for value in scores.values()] + [
        f"{100 * share:.1f}" for share in coverage.values()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["ar2", "video"], choices=["ar2", "video"])
    parser.add_argument("--data", type=Path, default=os.environ.get("CHAINRULE_DATA"))
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if "ar2" in arguments.only:
            results.append(measure_ar2(Path(folder)))
        if "video" in arguments.only:
            if arguments.data is None:
                parser.error("video needs --data or CHAINRULE_DATA")
            results += measure_video(Path(arguments.data), Path(folder), arguments.plot)
    for row in results:
        print(json.dumps(row, indent=2))
    if set(arguments.only) == {"ar2", "video"}:
        RESULTS.mkdir(exist_ok=True)
        content = json.dumps({**header(), "results": results}, indent=2)
        (RESULTS / "series.json").write_text(content + "\n", encoding="utf-8")
        (RESULTS / "series.md").write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
