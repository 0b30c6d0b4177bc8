"""What `chainrule compare` compares: the kind of the data, and what each MODEL on the line stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.audio_runs import AudioPlan, is_sound
from chainrule.cli.model_cards import CARDS
from chainrule.cli.names import DATASETS, TABLES, TEXT_MODELS, TEXTS
from chainrule.cli.output import say
from chainrule.cli.series_runs import NO_TIME, SeriesPlan, read_series
from chainrule.cli.sources import DataChoice
from chainrule.cli.table_train import is_table
from chainrule.cli.text_runs import TextPlan, text_source
from chainrule.cli.text_train import is_text
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.comparing import ArrayTask, Entry, TableTask, Task
    from chainrule.likelihood import LikelihoodModel

__all__ = ["entries_of", "task_of"]

#: The preset of a network that is published for machines other than a laptop, where nobody named one.
_SMALL = "small"
_DEFAULT = "default"
#: Kept back of a person's own table, to report on.
_HELD_OUT = 0.1


def task_of(data: str, models: Sequence[str], time: str | None) -> Task:
    """The data, told apart as `chainrule train` does; `ChainruleError` for what cannot be read."""
    from chainrule import comparing

    text_model = next((name for name in models if name in TEXT_MODELS), None)
    if time is not None:
        if data in DATASETS:
            raise ChainruleError(f"--time is for a file of a time series, not for data set {data!r}.")
        return comparing.SeriesTask(Path(data).name, read_series(data), None if time == NO_TIME else time)
    if is_sound(data):
        from chainrule.audio import collection_of

        return comparing.AudioTask(collection_of(data))
    if data in TEXTS or (
        text_model is not None
        and not _is_table(data)
        and is_text(text_model, data, Path("none"), {}, resume=False, other=False)
    ):
        from chainrule.text import corpus_of

        return comparing.TextTask(corpus_of(text_source(data)))
    if _is_table(data):
        return _table_task(data)
    return comparing.ArrayTask(DataChoice.given(data).load())


def _is_table(data: str) -> bool:
    """A .txt is a table only where no model of text is asked for, which `is_text` has seen to."""
    if data in DATASETS:
        return data in TABLES
    return not data.lower().endswith((".txt", ".txt.gz")) and is_table(
        data, forced=False, read_as_levels=False
    )


def _table_plan(data: str, model: str, training: dict[str, Any]) -> Any:
    from chainrule.cli.table_plan import planned

    return planned(
        data,
        "train",
        model=model,
        values=dict(training),
        steps=None,
        drop=(),
        schema=None,
        allow_missing=False,
        held_out=0.0 if data in TABLES else _HELD_OUT,
    )


def _table_task(data: str) -> TableTask:
    from chainrule.cli.table_plan import parts_of, schema_of
    from chainrule.cli.table_rows import row_source
    from chainrule.comparing import TableTask

    plan = _table_plan(data, "made", {})
    parts = parts_of(plan)
    held = row_source(plan.spec, "train", split="test").read() if data in TABLES else parts.held
    schema = schema_of(plan, parts)
    return TableTask(Path(data).name, parts.fit.frame, held.frame, schema)


# ---------------------------------------------------------------- contenders


def entries_of(
    task: Task, data: str, models: Sequence[str], time: str | None, training: dict[str, Any]
) -> list[Entry]:
    """What each MODEL stands for; `ChainruleError` for a name that is none, before anything is trained."""
    from chainrule.comparing import Entry

    entries: list[Entry] = []
    labels = [_label(spec) for spec in models]
    for spec, label in zip(models, labels, strict=True):
        if _is_run(spec):
            # A run may be called like a model beside it: then its path tells them apart.
            named = label if labels.count(label) == 1 else spec.strip("./").replace("/", "-")
            entries.append(Entry(named, run=Path(spec)))
            continue
        name, _, preset = spec.partition(":")
        if name not in CARDS:
            raise unknown_name("model", name, CARDS)
        formula = CARDS[name].parameters
        if task.kind == "array":
            entries.append(_array_entry(task, data, name, preset, label, formula, training))  # type: ignore[arg-type]
        else:
            if preset:
                raise ChainruleError(f"{spec}: presets are for images and vectors; leave :{preset} out.")
            notes = _notes(task.kind, data, name, time, training)
            entries.append(Entry(label, model=name, training=training, notes=notes, formula=formula))
    return entries


def _label(spec: str) -> str:
    """What the table calls it, and its folder: a run its last part, wherever it is named from."""
    return Path(spec).absolute().resolve().name if _is_run(spec) else spec.replace(":", "-")


def _is_run(spec: str) -> bool:
    """A folder, or a path that looks like one: whatever is wrong with it is said when it is opened."""
    return "/" in spec or (spec.partition(":")[0] not in CARDS and Path(spec).is_dir())


def _notes(kind: str, data: str, model: str, time: str | None, training: dict[str, Any]) -> dict[str, Any]:
    """What `chainrule train` would note, so that the run can be evaluated and sampled like its own."""
    others = {name: value for name, value in training.items() if name != "seed"}
    path = data if data in DATASETS else str(Path(data).absolute())
    if kind == "text":
        return TextPlan(path, model, seed=training.get("seed", 0), training=others).notes()
    if kind == "series":
        return SeriesPlan(path, None if time == NO_TIME else time, model, training=training).notes()
    if kind == "audio":
        return AudioPlan(path, model, training=training).notes()
    from chainrule.cli.names import TABLE_MODELS
    from chainrule.cli.table_plan import NOTE

    # A model that tables cannot have is refused when its turn comes, and needs no notes.
    return {NOTE: _table_plan(data, model, training).note()} if model in TABLE_MODELS else {}


def _array_entry(
    task: ArrayTask,
    data: str,
    name: str,
    preset: str,
    label: str,
    formula: str,
    training: dict[str, Any],
) -> Entry:
    from chainrule.comparing import Entry
    from chainrule.presets import PRESETS
    from chainrule.presets import preset as preset_named

    if not preset and _SMALL in PRESETS.get(name, {}):
        say(f"{name} is compared in its small size (--preset small); {name}:{_DEFAULT} is the published one")
        preset = _SMALL
    chosen = None if preset in ("", _DEFAULT) else preset_named(name, preset)
    recipe = {} if chosen is None else {k: v for k, v in chosen.training.items() if k != "epochs"}
    choice = DataChoice.given(data)
    if choice.is_file and task.data.levels == 256:
        choice = choice.with_options(levels=256)
    noted = None if chosen is None else preset
    return Entry(
        label,
        model=name,
        make=_maker(name, data, noted, training),
        training={**recipe, **training},
        notes={"preset": noted, "data": choice.note()},
        formula=formula,
    )


def _maker(
    name: str, data: str, preset: str | None, training: dict[str, Any]
) -> Callable[[], LikelihoodModel]:
    """Makes the network that `chainrule train` would."""

    def make() -> LikelihoodModel:
        from chainrule.cli.train_plan import TrainPlan

        # Settings of training matter only for the seed that weights are drawn under.
        plan = TrainPlan(name, data, dict(training), preset, condition_on_labels=False)
        plan.quiet = True
        return plan.prepare()[1]

    return make
