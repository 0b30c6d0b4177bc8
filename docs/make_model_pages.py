"""Write the facts on the pages of docs/models/: what a page says in numbers is never typed by hand.

python docs/make_model_pages.py          # writes them; with --check it only compares

The prose, the equation and the snippet of a page are written by people; between two marks stands what follows
from the catalogue of models, the presets, the published results and `benchmarks/results/`. So does the table
of `docs/models/index.md`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chainrule.cli.model_cards import CARDS, ModelCard
from chainrule.data.published import BINARIZED_MNIST, CIFAR10, PublishedResult
from chainrule.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "models"
RESULTS = ROOT / "benchmarks" / "results"

BEGIN = "<!-- facts: written by docs/make_model_pages.py -->"
END = "<!-- end of facts -->"
_BETWEEN = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", flags=re.DOTALL)

PUBLISHED = {"binarized-mnist": BINARIZED_MNIST, "cifar10": CIFAR10}


def with_facts(text: str, name: str) -> str:
    """The text of a page with its facts as they are now."""
    if len(_BETWEEN.findall(text)) != 1:
        raise SystemExit(f"docs/models/{name}.md needs one pair of the marks {BEGIN} and {END}")
    facts = overview() if name == "index" else facts_of(CARDS[name])
    return _BETWEEN.sub(lambda _: f"{BEGIN}\n{facts}\n{END}", text)


def facts_of(card: ModelCard) -> str:
    """Everything between the marks of a model's page."""
    parts = [_at_a_glance(card), _likelihoods(card), _costs(card), _presets(card)]
    return "\n\n".join(part for part in parts if part)


def overview() -> str:
    """A line for each model, with what a small one costs."""
    costs = {row["model"]: row for row in _results("model-costs")}
    rows = [
        (
            f"[{card.class_name}]({card.name}.md)",
            card.summary,
            f"`{card.parameters}`",
            _seconds(costs.get(card.name, {}).get("sample_s")),
        )
        for card in CARDS.values()
    ]
    return _table(("model", "in a line", "parameters", "64 samples of 8 x 8 bits"), rows, right=(3,))


# ---------------------------------------------------------------- the parts of a page


def _at_a_glance(card: ModelCard) -> str:
    api = f"../api/models.md#chainrule.models.{card.class_name}"
    rows = [
        ("source", card.paper),
        ("good for", card.good_for),
        ("parameters", f"`{card.parameters}`"),
        ("a likelihood takes", card.likelihood_true),
        ("a sample takes", card.sample_true),
    ]
    if (card.likelihood_notes, card.sample_notes) != ("-", "-"):
        stated = f"likelihood `{card.likelihood_notes}`, sample `{card.sample_notes}`"
        rows.append(("the lecture states", stated))
    meaning = (
        "Costs are multiply-adds per example: n variables, d hidden units (d_l in layer l), L layers, C "
        f"numbers of context. All settings: `chainrule models {card.name}`."
    )
    head = (card.name, f"[`chainrule.models.{card.class_name}`]({api})")
    parts = ["## At a glance", _table(head, rows), meaning]
    if card.trainable:
        command = f"chainrule train {card.name} --data digits{_small_settings(card)} --out runs/{card.name}"
        parts.append(f"A small one is trained in seconds or minutes by\n\n```sh\n{command}\n```")
    return "\n\n".join(parts)


def _small_settings(card: ModelCard) -> str:
    """Options for the sizes that `benchmarks/model_costs.py` measures, but for very long ones."""
    rows = [row for row in _results("model-costs") if row["model"] == card.name]
    settings = rows[0]["settings"] if rows else {}
    pairs = (
        (key, json.dumps(value) if isinstance(value, list) else value) for key, value in settings.items()
    )
    return "".join(
        f" --set {key}={str(value).replace(' ', '')}" for key, value in pairs if len(str(value)) < 30
    )


def _likelihoods(card: ModelCard) -> str:
    rows = [
        (data, result.model, _published_figure(result), f"{result.source} ({result.status})")
        for data, results in PUBLISHED.items()
        for result in results
        if result.model.partition(",")[0] in card.published_as
    ]
    rows += [_measured_row(result) for result in _run_results() if result["model"] == card.name]
    head = "## Published and measured"
    if not rows:
        return (
            f"{head}\n\nNo published figures on binarized MNIST or CIFAR-10, and no run of it is kept here."
        )
    text = (
        "Test negative log-likelihood in nats per example, lower is better. The words in brackets say how "
        "sure a quotation is. More about the runs of this project: [Results](../results.md)."
    )
    return "\n\n".join([head, text, _table(("data", "model", "nats", "from"), rows, right=(2,))])


def _measured_row(result: dict[str, Any]) -> tuple[str, str, str, str]:
    members = f", {result['members']} members" if result.get("members", 1) > 1 else ""
    minutes = result.get("training_seconds", 0) / 60
    trained = f", {minutes:.0f} min of training" if minutes else ""
    counted = "" if result["examples"] >= 10_000 else f", on {result['examples']:,} test images"
    nll = f"**{result['nll']:.2f}** ± {result['standard_error']:.2f}"
    return (
        result["data"],
        f"`{result['name']}`{members}",
        nll,
        f"measured here {result['date']}{trained}{counted}",
    )


def _published_figure(result: PublishedResult) -> str:
    return f"{result.nll:,.2f}" + (f" ({result.note})" if result.note else "")


def _costs(card: ModelCard) -> str:
    parts = ["## What it costs here"]
    small = [row for row in _results("model-costs") if row["model"] == card.name]
    if small:
        parts += [_small_costs(small[0]), _measured_with("model-costs")]
    published = [
        row for row in _results("sampling-batch64") if row["model"].partition(",")[0] == card.class_name
    ]
    images = [row for row in _results("sampling-images-batch64") if _longest_name(row["model"]) == card.name]
    if published or images:
        rows = [_sampling_row(row, "1 x 28 x 28") for row in published]
        rows += [_sampling_row(row, " x ".join(map(str, row["event_shape"]))) for row in images]
        head = ("model", "parameters", "image", "one pass", "sampling", "a pass per variable", "times faster")
        parts += [
            f"Sampling {images[0]['batch'] if images else 64} images:",
            _table(head, rows, right=(1, 3, 4, 5, 6)),
        ]
        parts += [_measured_with("sampling-batch64" if published else "sampling-images-batch64")]
    steps = [row for row in _results("training-throughput") if row["case"].startswith(f"{card.class_name}-")]
    if steps:
        rows = [
            (r["case"], str(r["batch"]), _seconds(r["seconds_a_step"]), f"{r['images_per_second']:,.0f}")
            for r in steps
        ]
        head = ("training", "batch", "a step", "images/s")
        parts += [_table(head, rows, right=(1, 2, 3)), _measured_with("training-throughput")]
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _small_costs(row: dict[str, Any]) -> str:
    settings = ", ".join(f"{key}={_short(value)}" for key, value in row["settings"].items())
    size = f"{f'`{settings}`, ' if settings else ''}{row['parameters']:,} parameters"
    text = f"A small one on 8 x 8 binary digits ({size}):"
    training = (
        ("fitting by counting, all training digits", "fit_s")
        if "fit_s" in row
        else ("a training step on 100 digits", "step_s")
    )
    rows = [
        (what, _seconds(row.get(key)))
        for what, key in (
            training,
            ("log p of 64 digits", "likelihood_s"),
            ("64 samples", "sample_s"),
            ("64 samples by a whole pass per variable", "naive_sample_s"),
        )
        if row.get(key) is not None
    ]
    return f"{text}\n\n{_table(('what', 'time'), rows, right=(1,))}"


def _sampling_row(row: dict[str, Any], image: str) -> tuple[str, ...]:
    projected = row.get("naive_is_projected", "naive_passes_run" in row)
    return (
        row["model"],
        f"{row['parameters']:,}",
        image,
        _seconds(row["one_pass_s"]),
        f"**{_seconds(row['incremental_s'])}**",
        ("about " if projected else "") + _seconds(row["naive_s"]),
        f"{row['times_faster_than_naive']:,.0f}",
    )


def _presets(card: ModelCard) -> str:
    presets = PRESETS.get(card.name, {})
    if not presets:
        return ""
    rows = [
        (
            f"`{name}`",
            preset.data,
            "" if preset.published is None else f"{preset.published:.2f}",
            preset.measured_text if preset.measured else preset.costs_text or "not trained here",
            preset.note,
        )
        for name, preset in presets.items()
    ]
    first = next(iter(presets))
    use = f"`chainrule train {card.name} --preset {first} ...`; `--set` still changes any setting."
    head = ("preset", "data", "published", "measured here", "note")
    return "\n\n".join(["## Presets", use, _table(head, rows, right=(2,))])


# ---------------------------------------------------------------- odds and ends


def _results(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []


def _run_results() -> Iterable[dict[str, Any]]:
    """What whole training runs reached, the best last."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.rglob("result.json"))]
    runs = [r for r in found if {"model", "nll", "standard_error", "data", "examples"} <= r.keys()]
    return sorted(runs, key=lambda r: (r["data"], -r["nll"]))


def _measured_with(name: str) -> str:
    content = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    threads = content["torch_threads"]
    return (
        f"Measured {content['date']}, {content['cpu']}, {threads} thread{'s' if threads > 1 else ''}, "
        f"torch {content['torch']}: `{content['command']}`."
    )


def _longest_name(label: str) -> str | None:
    """The model of a label such as `pixelcnn-pp-small`."""
    return max((name for name in CARDS if f"{label}-".startswith(f"{name}-")), key=len, default=None)


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if value * factor < 1000:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s" if value < 1000 else f"{value:,.0f} s"


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) < 30 else f"{text[:24]} ..."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table; the columns numbered in `right` are flush right."""
    rule = ["---:" if i in right else "---" for i in range(len(head))]
    lines = [head, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(check: bool) -> int:
    """Write what is out of date, or with `check` name it; 1 if there was something to name."""
    stale = []
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        made = with_facts(text, path.stem)
        if made != text:
            stale.append(path.name)
            if not check:
                path.write_text(made, encoding="utf-8")
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run python docs/make_model_pages.py", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv[1:]))
