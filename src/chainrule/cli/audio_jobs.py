"""`sample`, `score` and `evaluate` of a run of sound."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.audio_runs import WAV_SUFFIXES, audio_plan, open_audio
from chainrule.cli.options import chosen_seed
from chainrule.cli.output import counting, print_facts, print_json, print_table, say, show
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.audio import AudioModel, AudioScore

__all__ = ["evaluate_audio_run", "sample_audio", "score_audio"]

_SCORES = (".csv", ".npz")


# ---------------------------------------------------------------- sample


def sample_audio(
    run: str,
    out: Path,
    seconds: float | None,
    contexts: Sequence[str],
    prompt: str | None,
    temperature: float,
    seed: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw a sound, or go on from one, and write it."""
    from chainrule.audio import write_wav
    from chainrule.report import check_writable

    if out.suffix.lower() not in WAV_SUFFIXES:
        raise ChainruleError(f"{out}: sound is written as .wav; choose that ending.")
    check_writable(out, overwrite=overwrite)
    model = open_audio(run)
    label = _label(model, contexts)
    seconds = 1.0 if seconds is None else seconds
    seed = chosen_seed(seed)
    began = time.perf_counter()
    if prompt is None:
        sound = drawn = model.sample(seconds, label, seed=seed, temperature=temperature)
    else:
        before = model.prepared(prompt)
        drawn = model.continue_from(before, seconds, label, seed=seed, temperature=temperature)
        sound = before.then(drawn)
        _say_remarks(prompt, before.remarks)
    taken = time.perf_counter() - began
    write_wav(out, sound, overwrite=overwrite)
    content = {
        "run": run,
        "out": str(out),
        "seconds": drawn.seconds,
        "samples": len(drawn.samples),
        "rate": drawn.rate,
        "prompt": prompt,
        "context": label,
        "temperature": temperature,
        "seed": seed,
        "time": taken,
    }
    if as_json:
        print_json(content)
        return
    after = "" if prompt is None else f" after {prompt}, which comes first in the file"
    given = "" if label is None else f" given {label}"
    print_facts(
        [
            ("sound", f"{drawn.seconds:.3f} s{given}{after}, temperature {temperature:g}, {taken:.1f} s"),
            ("seed", f"{seed}  (--seed {seed} draws it again)"),
            ("file", str(out)),
        ]
    )


def _label(model: AudioModel, contexts: Sequence[str]) -> str | None:
    """The one class that `--context` names."""
    if len(contexts) > 1:
        raise ChainruleError("a sound has one class; give --context once.")
    if not contexts:
        return None
    named = contexts[0]
    names = model.label_names
    if names and named not in names and named.isdecimal() and int(named) < len(names):
        return names[int(named)]
    return named


def _say_remarks(source: str, remarks: Sequence[str]) -> None:
    for remark in remarks:
        say(f"{source}: {remark}")


# ---------------------------------------------------------------- score


def score_audio(
    run: str,
    source: str,
    out: Path | None,
    per_variable: bool,
    context: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """The likelihood of every recording; with `--per-variable`, of every sample."""
    from chainrule.report import check_writable, write_file

    if out is not None and out.suffix.lower() not in _SCORES:
        raise ChainruleError(f"{out}: scores of sound are written as .csv or .npz.")
    if per_variable and (out is None or out.suffix.lower() != ".npz"):
        raise ChainruleError("--per-variable needs --out FILE.npz for the surprise of every sample.")
    if out is not None:
        check_writable(out, overwrite=overwrite)
    model = open_audio(run)
    paths = _recordings(source)
    label = _label(model, [] if context is None else [context])
    scores: list[AudioScore] = []
    with counting("scoring", enabled=len(paths) > 1) as on_progress:
        for path in paths:
            own = path.parent.name if label is None and path.parent.name in model.label_names else label
            scores.append(model.score(path, own))
            _say_remarks(str(path), scores[-1].remarks)
            on_progress(len(scores), len(paths))
    rows = [_row(path, score) for path, score in zip(paths, scores, strict=True)]
    total, samples = sum(score.nll for score in scores), sum(len(score.surprise) for score in scores)
    summary = {
        "run": run,
        "input": source,
        "recordings": len(rows),
        "samples": samples,
        "nats_per_sample": total / samples,
        "bits_per_sample": total / samples / math.log(2),
        "out": None if out is None else str(out),
    }
    if out is not None:
        content = _csv(rows).encode() if out.suffix.lower() == ".csv" else _npz(rows, scores, per_variable)
        write_file(out, content, overwrite=overwrite)
    if as_json:
        print_json(summary | ({"scores": rows} if out is None else {}))
        return
    if out is None:
        show(_csv(rows).rstrip("\n"))
    plural = "" if len(rows) == 1 else "s"
    line = (
        f"{len(rows):,} recording{plural}, {samples:,} samples: {summary['bits_per_sample']:.4f} bits "
        f"({summary['nats_per_sample']:.4f} nats) a sample of {model.code.name}"
    )
    say(line) if out is None else show(f"{line}; written to {out}")


def _recordings(source: str) -> list[Path]:
    path = Path(source)
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in WAV_SUFFIXES and p.is_file())
    if not found:
        raise ChainruleError(f"{source} has no .wav files.")
    return found


def _row(path: Path, score: AudioScore) -> dict[str, Any]:
    return {
        "file": str(path),
        "samples": len(score.surprise),
        "log_prob": -score.nll,
        "bits_per_sample": score.bits_per_sample,
    }


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        numbers = {key: f"{row[key]:.6f}" for key in ("log_prob", "bits_per_sample")}
        writer.writerow({**row, **numbers})
    return buffer.getvalue()


def _npz(rows: Sequence[dict[str, Any]], scores: Sequence[AudioScore], per_variable: bool) -> bytes:
    """A column each; the surprise of all samples end to end, recording i at offsets[i]:offsets[i + 1]."""
    import numpy as np

    arrays: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    arrays["files"] = arrays.pop("file")  # an argument of `savez` is called file
    if per_variable:
        arrays["surprise"] = np.concatenate([score.surprise for score in scores])
        arrays["offsets"] = np.cumsum([0, *arrays["samples"]])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


# ---------------------------------------------------------------- evaluate


def evaluate_audio_run(run: str, data: str | None, part: str, limit: int | None, as_json: bool) -> None:
    """The likelihood of whole recordings of a part, beside models that only count."""
    from chainrule.audio import collection_of, evaluate_audio

    model = open_audio(run)
    plan = audio_plan(Path(run)) if data is None else None
    source = data or (None if plan is None else plan.data)
    if source is None:
        raise ChainruleError(f"{run} does not say what it was trained on; name the recordings with --data.")
    began = time.perf_counter()
    collection = collection_of(source, model.rate)
    with counting("evaluating") as on_recording:
        result = evaluate_audio(model, collection, part, limit=limit, on_recording=on_recording)
    seconds = time.perf_counter() - began
    if as_json:
        nats = result.nats_per_sample
        print_json({"run": run, "data": source, **vars(result), "nats_per_sample": nats, "seconds": seconds})
        return
    recordings = f"{result.recordings:,} recording{'' if result.recordings == 1 else 's'}"
    error = "" if math.isnan(result.standard_error) else f" ± {result.standard_error:.4f} (standard error)"
    print_facts(
        [
            ("run", f"{run} ({model.code.name}, {model.rate:,} Hz)"),
            ("data", f"{collection.name}, {part}: {recordings}, {result.samples:,} samples"),
            ("NLL", f"{result.bits_per_sample:.4f}{error} bits a sample, {result.nats_per_sample:.4f} nats"),
            ("", f"of which {result.end_bits_per_sample:.4f} for where they end"),
            ("time", f"{seconds:.1f} s"),
        ]
    )
    show("\nThe same samples under models that only count those of the training part:")
    print_table(("model", ">bits a sample"), [(name, f"{v:.4f}") for name, v in result.baselines.items()])
