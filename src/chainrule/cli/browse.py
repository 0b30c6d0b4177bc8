"""`chainrule models` and `chainrule datasets`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.model_cards import CARDS, ModelCard
from chainrule.cli.names import (
    AUDIO,
    AUDIO_MODELS,
    CLASSIFIER_MODELS,
    TABLE_MODELS,
    TABLES,
    TEXT_MODELS,
    TEXTS,
    complete_dataset,
    complete_model,
)
from chainrule.cli.options import AsJson, add_command
from chainrule.cli.output import print_facts, print_json, print_table, show
from chainrule.cli.setting_values import documented_settings
from chainrule.errors import unknown_name
from chainrule.presets import PRESETS

if TYPE_CHECKING:
    from chainrule.data import DatasetEntry

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    add_command(app, models, "chainrule models", "chainrule models made", "chainrule models nade --json")
    add_command(
        app,
        datasets,
        "chainrule datasets",
        "chainrule datasets binarized-mnist",
        "chainrule datasets digits --json",
    )


def models(
    name: Annotated[
        str | None, typer.Argument(help="A model, for its settings and costs.", autocompletion=complete_model)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What models there are; with a NAME, its settings, formulas, costs, paper and presets."""
    if name is None:
        _list_models(as_json)
    elif name in CLASSIFIER_MODELS:
        _describe_classifier(name, as_json)
    elif name not in CARDS:
        raise unknown_name("model", name, (*CARDS, *CLASSIFIER_MODELS))
    else:
        _describe_model(CARDS[name], as_json)


def datasets(
    name: Annotated[
        str | None, typer.Argument(help="A data set, for its details.", autocompletion=complete_dataset)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What data sets there are; with a NAME, its details and the published results on it."""
    from chainrule import data

    if name is not None:
        entry = data.entry(name)
        if as_json:
            print_json(entry.summary())
        else:
            show(entry.describe())
            show(f"\n{_first_command(entry)}")
    elif as_json:
        print_json({"datasets": data.listing()})
    else:
        print_table(
            ("name", "shape", ">levels", ">train", ">validation", ">test", "files here", "licence"),
            map(_dataset_row, data.CATALOGUE.values()),
        )
        show("`chainrule datasets NAME` shows where the files belong and what is published.")


def _first_command(entry: DatasetEntry) -> str:
    """What to do with a data set."""
    if entry.name in AUDIO:
        return f"Train on it: chainrule train wavenet --data {entry.name} --out runs/{entry.name}"
    if entry.name in TEXTS:
        return f"Train on it: chainrule train transformer --data {entry.name} --out runs/{entry.name}"
    if entry.name not in TABLES:
        return f"Train on it: chainrule train nade --data {entry.name} --out runs/{entry.name}"
    uses = [f"Model it: chainrule train made --data {entry.name} --out runs/{entry.name}"]
    if getattr(entry, "label_names", ())[:1] == ("normal",):
        uses.append(f"Find its anomalies: chainrule detect fit {entry.name} --out runs/{entry.name}")
    return "\n".join(uses)


def _list_models(as_json: bool) -> None:
    if as_json:
        models = [_card_summary(card) for card in CARDS.values()]
        print_json({"models": models, "classifiers": list(CLASSIFIER_MODELS)})
        return
    print_table(
        ("name", "what it is", "parameters", "paper"),
        [(c.name, c.summary, c.parameters, c.cited_as) for c in CARDS.values()],
    )
    show("n variables, d hidden units (d_l in layer l), C the length of a context.")
    show(f"Tables of numbers, categories and holes: {', '.join(TABLE_MODELS)}.")
    show(f"Classifiers, which model no p(x), to be attacked and guarded: {', '.join(CLASSIFIER_MODELS)}.")
    show("`chainrule models NAME` shows settings, formulas and costs.")


def _describe_model(card: ModelCard, as_json: bool) -> None:
    from chainrule.models import MODELS

    settings = documented_settings(MODELS[card.name])
    if as_json:
        print_json({**_card_summary(card), "settings": _settings_summary(settings)})
        return
    print_facts(
        [
            (card.name, f"{card.summary} ({card.class_name})"),
            ("good for", card.good_for),
            ("formula", card.formula),
            ("parameters", card.parameters),
            ("paper", card.paper),
            ("likelihood", f"{card.likelihood_true}   [the notes: {card.likelihood_notes}]"),
            ("a sample", f"{card.sample_true}   [the notes: {card.sample_notes}]"),
        ]
    )
    show("\nCosts are multiply-adds per example; n variables, d hidden units (d_l in layer l).\n")
    if settings:
        rows = [(name, default, meaning) for name, (default, meaning) in settings.items()]
        print_table(("--set", "default", "meaning"), rows, title="Settings")
    if card.name in PRESETS:
        print_table(
            ("--preset", "data", ">published", "measured here", "settings", "source"),
            map(_preset_row, PRESETS[card.name].items()),
            title="Presets (test NLL, nats)",
        )
        for preset_name, preset in PRESETS[card.name].items():
            if preset.costs:
                show(f"--preset {preset_name}: {preset.costs_text}.")
    if card.trainable:
        show(f"Train it: chainrule train {card.name} --data digits --out runs/{card.name}")
        if card.name in TABLE_MODELS:
            show(f"On a table: chainrule train {card.name} --data my_table.csv --out runs/{card.name}-table")
        if card.name in TEXT_MODELS:
            show(f"On a text: chainrule train {card.name} --data my_text.txt --out runs/{card.name}-text")
        if card.name in AUDIO_MODELS:
            show(f"On sound: chainrule train {card.name} --data my.wav --out runs/{card.name}-sound")
    else:
        show(
            "It is made of trained models: chainrule evaluate RUN --members 32, or chainrule.models.Ensemble."
        )


def _describe_classifier(name: str, as_json: bool) -> None:
    from chainrule.contrasts import CLASSIFIERS

    kind = CLASSIFIERS[name]
    settings = documented_settings(kind)
    summary = (kind.__doc__ or "").partition("\n")[0]
    if as_json:
        content = {"name": name, "class_name": kind.__name__, "summary": summary, "density": False}
        print_json({**content, "settings": _settings_summary(settings)})
        return
    print_facts([(name, f"{summary} ({kind.__name__})"), ("models", "p(label | x), and no p(x)")])
    rows = [(key, default, meaning) for key, (default, meaning) in settings.items()]
    print_table(("--set", "default", "meaning"), rows, title="Settings")
    show(f"Train it: chainrule train {name} --data digits --out runs/{name}")
    show(f"Attack it: chainrule attack runs/{name} --attack bim --out attacked.npz")


def _card_summary(card: ModelCard) -> dict[str, Any]:
    presets = {name: preset.summary() for name, preset in PRESETS.get(card.name, {}).items()}
    return {**vars(card), "presets": presets}


def _settings_summary(settings: dict[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    return {name: {"default": default, "meaning": meaning} for name, (default, meaning) in settings.items()}


def _preset_row(item: tuple[str, Any]) -> tuple[str, ...]:
    name, preset = item
    settings = {**preset.settings, **({"members": preset.members} if preset.members > 1 else {})}
    text = ", ".join(f"{key}={value}" for key, value in settings.items()) or "-"
    published = "-" if preset.published is None else f"{preset.published:.2f}"
    return (name, preset.data, published, preset.measured_text, text, preset.source)


def _dataset_row(entry: DatasetEntry) -> tuple[str, ...]:
    sizes = (f"{entry.splits[s]:,}" if s in entry.splits else "-" for s in ("train", "validation", "test"))
    where = "embedded" if entry.form == "embedded" else "yes" if entry.available() else "no"
    if where == "no" and entry.downloadable:
        where = "no (can be fetched)"
    varied = "varies" if entry.kind == "text" else "mixed"
    return (
        entry.name,
        " x ".join(map(str, entry.event_shape)) or entry.kind,
        f"{entry.levels or varied}{' dynamic' if entry.dynamic else ''}",
        *sizes,
        where,
        entry.licence,
    )
