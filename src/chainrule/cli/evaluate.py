"""`chainrule evaluate`: the exact likelihood of a split, beside what is published."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.audio_runs import is_audio_run, refuse_for_audio
from chainrule.cli.contexts import in_classes_of
from chainrule.cli.model_cards import CARDS
from chainrule.cli.names import SPLITS
from chainrule.cli.options import AsJson, DataOption, RunArgument, SkipBad, add_command
from chainrule.cli.output import counting, print_facts, print_json, print_table, say, show
from chainrule.cli.series_runs import is_series_run, refuse_for_series
from chainrule.cli.sources import OpenedModel, open_model
from chainrule.cli.table_runs import is_table_run, refuse_options
from chainrule.cli.text_runs import is_text_run, refuse_for_text
from chainrule.cli.victims import evaluate_victim, is_victim_run, refuse_for_victims
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.data import Dataset, PublishedResult

__all__ = ["published_for", "register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        evaluate,
        "chainrule evaluate runs/nade",
        "chainrule evaluate runs/nade --split validation --json",
        "chainrule evaluate runs/made --members 32",
        "chainrule evaluate runs/deep-nade --members 128 --limit 1000",
        "chainrule evaluate runs/sales --steps 12 --season 12",
    )


def evaluate(
    run: RunArgument,
    data: DataOption = None,
    split: Annotated[
        str, typer.Option("--split", help="train, validation or test.", autocompletion=lambda: list(SPLITS))
    ] = "test",
    members: Annotated[
        int,
        typer.Option(
            "--members",
            metavar="K",
            help="Evaluate the exact mixture of K masks (made) or K orderings (deep-nade).",
        ),
    ] = 1,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Only N examples, spread evenly.", show_default=False),
    ] = None,
    skip_bad: SkipBad = False,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", help="Time series: forecast so far ahead.", show_default=False),
    ] = None,
    season: Annotated[
        int | None,
        typer.Option(
            "--season",
            metavar="M",
            help="Time series: the naive forecast to compare with repeats the value M steps ago; 1, a random "
            "walk, if not said.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The exact negative log-likelihood in nats, with its standard error, and in bits/dim.

    Where results of this kind of model on this data set are published, they are shown beside it. For a table
    it is nats per row, with densities in the units of the columns. For a time series it is nats per step,
    with CRPS and coverage of forecasts beside a naive one. For a text it is nats per token, bits per
    character and perplexity, of every token of the part. For sound it is bits per sample of
    whole recordings. For a classifier it is how often it is right.
    """
    if limit is not None and limit < 1:
        raise ChainruleError(f"--limit must be at least 1, not {limit}.")
    of_images = {"--members": members if members != 1 else None, "--skip-bad": skip_bad}
    of_series = {"--steps": steps, "--season": season}
    if is_victim_run(run):
        refuse_for_victims("evaluation", {**of_images, **of_series})
        evaluate_victim(run, data, split, limit, as_json)
        return
    if is_audio_run(run):
        from chainrule.cli.audio_jobs import evaluate_audio_run

        refuse_for_audio("evaluation", {**of_images, **of_series})
        evaluate_audio_run(run, data, split, limit, as_json)
        return
    if is_series_run(run):
        from chainrule.cli.series_jobs import evaluate_series_run

        refuse_for_series("evaluation", {**of_images, "--limit": limit})
        evaluate_series_run(run, data, split, steps, season or 1, as_json)
        return
    if steps is not None or season is not None:
        raise ChainruleError("--steps and --season are for runs of time series; leave them out.")
    if is_text_run(run):
        from chainrule.cli.text_evaluate import evaluate_text

        refuse_for_text("evaluation", of_images)
        evaluate_text(run, data, split, limit, as_json)
        return
    if is_table_run(run):
        from chainrule.cli.table_jobs import evaluate_table

        refuse_options("evaluation", of_images)
        evaluate_table(run, data, split, limit, as_json)
        return
    opened = open_model(run)
    choice = opened.data(data)
    if skip_bad:
        if not choice.is_file:
            raise ChainruleError(f"data set {choice.spec!r} takes no --skip-bad; it is for folders of PNGs.")
        choice = choice.with_options(skip_bad=True)
    dataset = choice.load()
    if opened.model.context_size:
        dataset = in_classes_of(dataset, opened.label_names)
    available = len(dataset.split(split))
    model = opened.mixture(members)
    from chainrule import training

    began = time.perf_counter()
    with counting("evaluating") as on_batch:
        batch = 500 if members == 1 else 100
        result = training.evaluate(model, dataset, split, on_batch=on_batch, batch_size=batch, limit=limit)
    changed = training.changed_splits(opened.config, dataset) if data is None else []
    if changed:
        say(
            f"warning: the {' and '.join(changed)} data of {dataset.name} changed since {run} was trained "
            "on it (its SHA-256 differs)"
        )
    published = published_for(opened.name, dataset) if split == "test" else []
    content = {
        "run": run,
        "model": opened.name,
        "members": members,
        **vars(result),
        "available": available,
        "data_is": dataset.description if choice.is_file else None,
        "data_changed": changed,
        "seconds": time.perf_counter() - began,
        "published": [vars(item) for item in published],
        "preset": _preset_result(opened, choice.spec),
    }
    if as_json:
        print_json(content)
        return
    _show(content)
    if data is not None and choice.is_file and available < _all_examples(dataset):
        show(f"\nFor every example of the file: chainrule score {run} {data}")


def published_for(model: str, data: Dataset) -> list[PublishedResult]:
    """The published test results of this kind of model on this data set."""
    known_as = CARDS[model].published_as if model in CARDS else ()
    return [result for result in data.published if result.model.partition(",")[0] in known_as]


def _all_examples(data: Dataset) -> int:
    return sum(len(values) for values in (data.train, data.validation, data.test) if values is not None)


def _preset_result(opened: OpenedModel, data: str) -> dict[str, Any] | None:
    """What was published with the preset that the run was trained with."""
    from chainrule.presets import PRESETS

    name = (opened.config.get("notes") or {}).get("preset")
    preset = PRESETS.get(opened.name, {}).get(name or "")
    return (
        {"name": name, **preset.summary(), "measured_text": preset.measured_text}
        if preset and preset.data == data
        else None
    )


def _show(content: dict[str, Any]) -> None:
    error = content["standard_error"]
    mixture = f", mixture of {content['members']}" if content["members"] > 1 else ""
    some = content["examples"] < content["available"]
    of_all = f" of {content['available']:,}, spread evenly," if some else ""
    plural = "" if content["available"] == 1 else "s"
    examples_of = f"{content['examples']:,}{of_all} example{plural} of {content['data']}, {content['split']}"
    uncertainty = f"± {error:.3f} nats (standard error)"
    if content["examples"] == 1:
        uncertainty = "nats (a single example has no standard error)"
    print_facts(
        [
            ("model", f"{content['model']}{mixture} ({content['run']})"),
            ("data", examples_of),
            *([("", content["data_is"])] if content["data_is"] else []),
            ("NLL", f"{content['nll']:.3f} {uncertainty}"),
            ("", f"{content['bits_per_dim']:.4f} bits/dim"),
            ("time", f"{content['seconds']:.1f} s"),
        ]
    )
    preset = content["preset"]
    if preset and (preset["published"] is not None or preset["measured"] is not None):
        mixed = f" with {preset['members']} members" if preset["members"] > 1 else ""
        published = (
            f"published {preset['published']:.2f} nats ({preset['source']})"
            if preset["published"] is not None
            else "not a published configuration"
        )
        show(f"\nPreset {preset['name']}{mixed}: {published}; here: {preset['measured_text']}.")
    if content["published"]:
        print_table(
            (">nats", "published", "note", "source", "how sure"),
            [
                (f"{r['nll']:.2f}", r["model"], r["note"], r["source"], r["status"])
                for r in sorted(content["published"], key=lambda r: r["nll"])
            ],
            title="Published test results of such models on this data",
        )
