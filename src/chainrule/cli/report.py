"""`chainrule report`: one page about a run, in a file that stands alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.audio_runs import audio_plan, is_audio_run, open_audio
from chainrule.cli.names import ATTACK_NAMES, complete_dataset
from chainrule.cli.options import AsJson, Overwrite, Quiet, add_command
from chainrule.cli.output import print_facts, print_json, say
from chainrule.cli.report_security import FILE_NAME, refuse_without_victim, report_security
from chainrule.cli.series_runs import is_series_run, open_series, read_series, series_plan
from chainrule.cli.table_runs import is_table_run, open_table_run
from chainrule.cli.text_runs import corpus_for, is_text_run, open_text_run
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.likelihood import LikelihoodModel
    from chainrule.report.page import Section

    #: The network, the sections of its kind, and facts for the overview.
    Parts = tuple[LikelihoodModel, list[Section], list[tuple[str, object]]]

__all__ = ["register"]

_FILE_NAME = "report.html"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        report,
        "chainrule report runs/nade",
        "chainrule report runs/nade --out nade.html --limit 5000",
        "chainrule report runs/density --victim runs/victim --eps 8 --limit 500 --out security.html",
    )


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The .html to write; report.html (or security.html) in the run folder if not said.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="D",
            help="The data, where it moved; what the run was trained on if not said.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="Examples of each part to score (rows, tokens, recordings), spread evenly; 1,000, or what "
            "suits the kind, if not said. With --victim: images to attack, 200.",
            show_default=False,
        ),
    ] = None,
    victim: Annotated[
        str | None,
        typer.Option(
            "--victim",
            metavar="RUN",
            help="Instead: attack this classifier (a run, or FILE.py:NAME of your own), and say what the "
            "guard of the run of images withstands.",
            show_default=False,
        ),
    ] = None,
    eps: Annotated[
        float | None,
        typer.Option(
            "--eps",
            metavar="E",
            help="With --victim: how far an attack may move a pixel, in levels; 8 of 256 if not said.",
            show_default=False,
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            metavar="A",
            help="With --victim: an attack to try; may be repeated; rand, fgsm, bim, deepfool and cw if not "
            "said. The two that know the guard always are.",
            autocompletion=lambda: list(ATTACK_NAMES),
            show_default=False,
        ),
    ] = None,
    adaptive_images: Annotated[
        int | None,
        typer.Option(
            "--adaptive-images",
            metavar="N",
            help="With --victim: images for the attacks that know the guard, which are slow; 32 if not said.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the samples, or of attacks.")] = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """One page about a run: configuration, learning curve, likelihood, samples, surprise, calibration.

    The file holds its pictures and asks for nothing from anywhere: send it, or keep it beside the run. With
    --victim the page is about a classifier behind the guard of the run (`chainrule detect fit`): likelihoods
    of attacked images, detection, accuracy with and without the defence, and what it does not withstand.
    """
    from chainrule.report import check_writable, write_file
    from chainrule.reporting import run_page
    from chainrule.training import Run

    if limit is not None and limit < 2:
        raise ChainruleError(f"--limit must be at least 2, not {limit}.")
    opened = Run(run)
    place = out or opened.folder / (_FILE_NAME if victim is None else FILE_NAME)
    if place.suffix.lower() not in (".html", ".htm"):
        raise ChainruleError(f"{place}: a report is a page of HTML; choose the ending .html.")
    check_writable(place, overwrite=overwrite)
    if victim is not None:
        report_security(
            run,
            victim,
            data=data,
            eps=eps,
            attacks=attack or [],
            limit=limit,
            adaptive_images=32 if adaptive_images is None else adaptive_images,
            seed=seed,
            place=place,
            overwrite=overwrite,
            quiet=quiet,
            as_json=as_json,
        )
        return
    refuse_without_victim({"--eps": eps, "--attack": attack, "--adaptive-images": adaptive_images})
    if not quiet:
        say("scoring, sampling and drawing ...")
    network, sections, overview = _parts(run, data, limit, seed)
    page = run_page(opened, network, sections, overview)
    content = page.html().encode("utf-8", errors="replace")
    write_file(place, content, overwrite=overwrite)
    titles = [section.title for section in page.sections]
    if as_json:
        print_json({"run": run, "out": str(place), "bytes": len(content), "sections": titles})
        return
    print_facts(
        [
            ("run", run),
            ("page", f"{place}, {len(content) / 1024:,.0f} KiB, no requests"),
            ("sections", ", ".join(titles)),
        ]
    )


def _parts(run: str, data: str | None, limit: int | None, seed: int) -> Parts:
    """What the kind of the run has."""
    if is_audio_run(run):
        return _of_audio(run, data, limit, seed)
    if is_series_run(run):
        return _of_series(run, data, seed)
    if is_text_run(run):
        return _of_text(run, data, limit, seed)
    if is_table_run(run):
        return _of_table(run, data, limit, seed)
    return _of_arrays(run, data, limit, seed)


def _named(run: str, spec: str | None) -> str:
    if spec is None:
        raise ChainruleError(f"{run} does not say what it was trained on; name it with --data.")
    return spec


def _chosen(name: str, limit: int | None) -> dict[str, Any]:
    return {} if limit is None else {name: limit}


def _of_arrays(run: str, data: str | None, limit: int | None, seed: int) -> Parts:
    from chainrule.cli.contexts import in_classes_of
    from chainrule.cli.sources import open_model
    from chainrule.reporting import array_sections

    opened = open_model(run)
    dataset = opened.data(data).load()
    if opened.model.context_size:
        dataset = in_classes_of(dataset, opened.label_names)
    return opened.model, *array_sections(opened.model, dataset, seed=seed, **_chosen("examples", limit))


def _of_table(run: str, data: str | None, limit: int | None, seed: int) -> Parts:
    from chainrule.cli.table_plan import parts_of
    from chainrule.cli.table_rows import is_catalogue_table, row_source
    from chainrule.reporting import table_sections

    opened = open_table_run(run)
    if data is not None:
        fitted = row_source(data, "train", schema=opened.table.schema).read().frame
        held = None
    else:
        if opened.plan is None:
            _named(run, None)
        assert opened.plan is not None
        plan = opened.plan
        parts = parts_of(plan)
        fitted, held = parts.fit.frame, parts.held.frame
        if is_catalogue_table(plan.spec):
            held = row_source(plan.spec, plan.purpose, split="test").read().frame
    sections = table_sections(opened.table, fitted, held, seed=seed, **_chosen("rows", limit))
    return opened.table.model, *sections


def _of_text(run: str, data: str | None, limit: int | None, seed: int) -> Parts:
    from chainrule.reporting import text_sections

    opened = open_text_run(run)
    spec = _named(run, data or (opened.plan.spec if opened.plan else None))
    corpus = corpus_for(opened, spec)
    return opened.model.model, *text_sections(opened.model, corpus, seed=seed, **_chosen("tokens", limit))


def _of_series(run: str, data: str | None, seed: int) -> Parts:
    from chainrule.reporting import series_sections

    model = open_series(run)
    plan = series_plan(Path(run))
    frame = read_series(_named(run, data or (plan.data if plan else None)))
    return model.model, *series_sections(model, frame, seed=seed)


def _of_audio(run: str, data: str | None, limit: int | None, seed: int) -> Parts:
    from chainrule.audio import collection_of
    from chainrule.reporting import audio_sections

    model = open_audio(run)
    plan = audio_plan(Path(run))
    collection = collection_of(_named(run, data or (plan.data if plan else None)), model.rate)
    return model.model, *audio_sections(model, collection, seed=seed, **_chosen("recordings", limit))
