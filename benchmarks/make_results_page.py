"""Write `docs/results.md` and `docs/results-security.md` from `benchmarks/results/`; `--check` only compares.

python benchmarks/make_results_page.py [--check]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import likelihood
import sampling
import security
import sequences
import series
import text_quality
import training
from machine import RESULTS

from chainrule.presets import PRESETS

DOCS = Path(__file__).resolve().parents[1] / "docs"

HEAD = """# Results

Everything here was measured by scripts in `benchmarks/` and is written by `python benchmarks/make_results_page.py`
from the files in `benchmarks/results/`, which hold date, machine and command of every number.
"""

LIKELIHOOD = """## Likelihood: static binarized MNIST, test split, nats per image (lower is better)

The Larochelle split, 50,000 / 10,000 / 10,000. Weights were selected on the validation split and the test split was
looked at once. Likelihoods are exact, in float32; mixtures average probabilities of whole images. Configurations and
curves lie in `benchmarks/results/likelihood/`, a folder per run. Training used one thread of two while other work ran
on the machine, so the minutes are upper bounds. The published numbers are as quoted in the literature
(`chainrule datasets binarized-mnist` gives sources and how sure we are of each).
"""

COLOUR = """## Likelihood: colour images

`cifar10-subset` holds 9,000 of the 50,000 training images: not comparable with published figures (PixelCNN++ 2.92 bits/dim
on all of CIFAR-10, after days on several GPUs). What a few minutes of one thread give:
"""

#: Of a CIFAR-10 image.
_COLOUR_VALUES = 3 * 32 * 32

SAMPLING = """## Sampling: 64 binary images of 28 x 28, float32

Three samplers with the same noise in one run: ours, which reuses what it has computed; one full parallel pass per
variable, which is what public implementations do; and fixed-point iteration over whole images. All three give the
same images, bit for bit. They take turns, and the least time of each is given. *Over one pass* is our time over that of
one parallel pass over the same 64 images. Where that is well above one, the passes of a small network are so quick that
the overhead of the steps shows.
"""

IMAGES = """## Sampling: convolutional models and attention over pixels

As above, of images by models with random weights (one row: trained), the quickest of several runs. *Naive* is a full
parallel pass per variable, projected (~) from the quickest of its first passes; *calls* counts the steps and looks of the
incremental sampler; *differ* counts the variables that the naive sampler would have drawn otherwise, which is rounding
between two nearly equal numbers; *caches* is all that is kept before the last variable, the keys and values of attention
included.
"""

IMAGES_AGAIN = """How long the same pass takes differs from process to process, with where its numbers come to lie in memory, and so do
both ratios. The Gated PixelCNN of the first row in five processes, one after another:
"""

IMAGES_ALONE = """### One image at a time

What is left when there is no batch to share the weights: two threads, and one. The naive sampler's pass uses the second
thread well; a step, which multiplies one row, does not. Up to 16 images of one colour are therefore sampled by looking
ahead (`docs/architecture.md`): *calls* counts steps and looks. How many looks an image takes depends on what it is of: what
random weights draw is guessed a little more easily, so rows of trained networks stand beside them: the Gated PixelCNN of
85.07 nats above, and a small Transformer after two epochs of 8,000 images (94.5 nats of validation). Such small networks
wait for calls more than for arithmetic.
"""

TRAINING_IMAGES = """## Training throughput of image models

*Plain* multiplies a dense kernel by a mask in every pass, float32, as public implementations do, with the same weights.
The test NLL, in float32 after the same updates, says whether the quicker arithmetic costs anything.
"""

PURIFICATION = """## Purification

Of images by models with random weights: greedy decoding within a box, step by step, beside one likelihood pass over the
same images and beside a pass for each pixel (projected, ~).
"""

TRAINING = """## Training throughput

A step is forward, backward and Adam; the two sides of a pair take turns in one process, and the least time of a step
is given. *Plain loop* slices W[:, i] under autograd; *plain* is pytorch-made's network restated. Memory is what a few
steps add to a process of their own.
"""

TEXT = """## Text

Recipes of `benchmarks/text_quality.py`, which are there in full with their settings and curves. *Every token* is the
figure that we report: all of the part, each token given a full context. *Windows* is nanoGPT's protocol (places drawn at
random, nothing before the window is seen), for comparison with the 1.88 that it states. Training shared the processor
with other work, so the times are upper bounds.
"""

SEQUENCES = """## Generation and training of sequence models

A character Transformer of 6 layers, 384 wide; training at nanoGPT's settings for a CPU beside a restatement of it.
"""

SERIES = "## Time series\n"

START = "## Starting up\n"


def read(name: str) -> dict[str, Any]:
    """A result file."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def measured(content: dict[str, Any]) -> str:
    """When, where and how."""
    return (
        f"Measured {content['date']} on {content['cores']} cores of {content['cpu']}, torch {content['torch']}: "
        f"`{content['command']}`."
    )


def likelihood_rows() -> list[dict[str, Any]]:
    """Results with what was published for their preset, best last."""
    rows = []
    for path in sorted(likelihood.FOLDER.glob("*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        config = json.loads(next(path.parent.rglob("config.json")).read_text(encoding="utf-8"))
        preset = PRESETS.get(result["model"], {}).get((config.get("notes") or {}).get("preset") or "")
        rows.append({**result, "published": preset.published if preset else None})
    return sorted(rows, key=lambda row: -row["nll"])


def likelihood_table(rows: list[dict[str, Any]]) -> str:
    """Ours beside what is published."""
    lines = [
        "| run | parameters | members | ours, nats | published | validation | epochs | training, min | images |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        published = f"{r['published']:.2f}" if r["published"] else ""
        validation = f"{r['best_validation']:.2f}" if r["best_validation"] else ""
        lines.append(
            f"| {r['name']} | {r['parameters']:,} | {r['members']} | **{r['nll']:.2f}** ± {r['standard_error']:.2f} "
            f"| {published} | {validation} | {r['epochs'] or ''} | {r['training_seconds'] / 60:.0f} "
            f"| {r['examples']:,} |"
        )
    return "\n".join(lines)


def optional(name: str, heading: str, table: Any) -> list[str]:
    """A section of results that need not be there."""
    if not (RESULTS / f"{name}.json").exists():
        return []
    content = read(name)
    return [heading, table(content["results"]), measured(content)]


def pasted(name: str, heading: str) -> list[str]:
    """A section whose table lies beside the results as Markdown; none where it was not measured."""
    path = RESULTS / f"{name}.md"
    if not path.exists():
        return []
    return [heading, path.read_text(encoding="utf-8").strip(), measured(read(name))]


def of_colour(rows: list[dict[str, Any]]) -> str:
    """Runs on colour images, in bits per dimension."""
    lines = ["| run | data | parameters | ours, bits/dim | epochs | training, min | test images |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for r in rows:
        bits, error = (r[name] / (_COLOUR_VALUES * math.log(2)) for name in ("nll", "standard_error"))
        lines.append(
            f"| {r['name']} | {r['data']} | {r['parameters']:,} | **{bits:.2f}** ± {error:.2f} | {r['epochs']} "
            f"| {r['training_seconds'] / 60:.0f} | {r['examples']:,} |"
        )
    return "\n".join(lines) if rows else ""


def mixtures(rows: list[dict[str, Any]]) -> str:
    """How the mixtures gain with their members."""
    lines = ["How a mixture gains with its members (test NLL, nats):", ""]
    for r in rows:
        if r["members"] > 1:
            steps = ", ".join(f"{m['members']}: {m['nll']:.2f}" for m in r["mixtures"])
            lines.append(f"- {r['name']}: {steps}; mean of the members {r['mean_member_nll']:.2f}.")
    return "\n".join(lines) if len(lines) > 2 else ""


def page() -> str:
    """The whole page."""
    every = likelihood_rows()
    rows = [row for row in every if row["data"] == "binarized-mnist"]
    batch = read("sampling-batch64")
    speed, imports = read("training-throughput"), read("imports")
    starts = "\n".join(f"- `{name}`: {seconds:.2f} s" for name, seconds in imports["results"].items())
    notes = (likelihood.FOLDER / "notes.md").read_text(encoding="utf-8").strip()
    parts = [
        HEAD,
        LIKELIHOOD,
        likelihood_table(rows),
        mixtures(rows),
        notes,
        COLOUR,
        of_colour([row for row in every if row["data"].startswith("cifar10")]),
        SAMPLING,
        sampling.table(batch["results"], 64),
        measured(batch),
        *pasted("sampling-images-batch64", IMAGES),
        *pasted("sampling-images-batch64-processes", IMAGES_AGAIN),
        *pasted("sampling-images-batch1", IMAGES_ALONE),
        *pasted(
            "sampling-images-batch1-processes",
            "The PixelCNN of this table in five processes, one after another:",
        ),
        *pasted("sampling-images-batch1-one-thread", "On one thread:"),
        TRAINING,
        training.table(speed["results"]),
        measured(speed),
        *pasted("training-images", TRAINING_IMAGES),
        *pasted("purification", PURIFICATION),
        TEXT,
        text_quality.table(),
        *optional("sequences", SEQUENCES, sequences.table),
        *optional("series", SERIES, series.sections),
        START,
        starts,
        measured(imports),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def security_page() -> str:
    """What `benchmarks/security.py` wrote, with when, where and how."""
    tables = (RESULTS / "security.md").read_text(encoding="utf-8").strip()
    commands = [measured(read(f"security-{data}")) for data in security.OTHER]
    return "\n\n".join([tables, *commands]) + "\n"


#: What makes each page.
PAGES = {"results.md": page, "results-security.md": security_page}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        return (
            0
            if all((DOCS / name).read_text(encoding="utf-8") == make() for name, make in PAGES.items())
            else 1
        )
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print("written to", DOCS / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
