"""Runs of texts: told from other runs, planned, opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.names import DATASETS, SPLITS, TEXTS
from chainrule.cli.sources import OpenedModel, open_model
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.text import Corpus, LanguageModel
    from chainrule.text.corpus import TextSource

__all__ = [
    "TextPlan",
    "TextRun",
    "check_split",
    "corpus_for",
    "is_text_run",
    "open_text_run",
    "read_whole",
    "refuse_for_text",
    "text_plan",
    "text_source",
]

_NOTE = "text"
_HUB = "hub:"


@dataclass(frozen=True)
class TextPlan:
    """Which model of which text; the run's notes keep it, so that it can be resumed and evaluated.

    - `spec`: a path or a text of the catalogue.
    - `tokenizer`, `lines`, `length`: of `fit_text`; None where nobody chose.
    - `settings`, `training`: of the model and of `TrainingSettings`.
    """

    spec: str
    model: str
    tokenizer: str | None = None
    lines: bool = False
    length: int | None = None
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def notes(self) -> dict[str, Any]:
        """What goes into the run's notes."""
        return {_NOTE: asdict(self)}

    @property
    def name(self) -> str:
        """The text, for people."""
        return self.spec if self.spec in TEXTS else Path(self.spec).name


@dataclass(frozen=True)
class TextRun:
    """A model of a text; `plan` is None where it was not trained from the command line."""

    source: str
    model: LanguageModel
    opened: OpenedModel
    plan: TextPlan | None

    @property
    def name(self) -> str:
        """What the command line calls the model's class."""
        return self.opened.name


def text_plan(out: Path) -> TextPlan | None:
    """The plan of the run in a folder, None where there is no run of a text."""
    from chainrule.saving import CONFIG_NAME, read_config

    if not (out / CONFIG_NAME).exists():
        return None
    return _noted(read_config(out))


def is_text_run(source: str) -> bool:
    """Whether `source` is a model of a text: a tokenizer lies in it, or its training began with one."""
    folder = _folder(source)
    if folder is None:
        return False
    from chainrule.text.language_model import TOKENIZER_NAME

    if (folder / TOKENIZER_NAME).is_file():
        return True
    try:
        return text_plan(folder) is not None
    except ChainruleError:
        return False  # whoever opens it says what is wrong


def open_text_run(source: str) -> TextRun:
    """The model in a run folder; `ChainruleError` where there is none, or it is of no text."""
    from chainrule.text import LanguageModel
    from chainrule.text.language_model import tokenizer_in

    opened = open_model(source)
    folder = _folder(source)
    assert folder is not None
    network: Any = opened.model  # LanguageModel says what is wrong with another one
    return TextRun(source, LanguageModel(network, tokenizer_in(folder)), opened, _noted(opened.config))


def text_source(spec: str) -> TextSource:
    """What a name of the catalogue or a path stands for; `ChainruleError` where it is neither."""
    from chainrule.data import load_text

    if spec in TEXTS:
        return load_text(spec)
    path = Path(spec)
    if path.is_dir():
        raise ChainruleError(f"{spec} is a folder; expected a text file (join several with cat).")
    if not path.exists():
        if not ("." in spec or "/" in spec):
            raise ChainruleError(f"{unknown_name('text', spec, TEXTS)} (and there is no such file)")
        raise ChainruleError(f"there is no file {spec}.")
    return path


def corpus_for(run: TextRun, spec: str) -> Corpus:
    """A text in the tokens of a run, in its parts."""
    from chainrule.text import corpus_of

    return corpus_of(text_source(spec), run.model.tokenizer, lines=run.model.of_lines)


def read_whole(run: TextRun, spec: str, split: str | None) -> tuple[str, str]:
    """A file's text, or a part of a text of the catalogue (`test` if not said); and what to call it."""
    from chainrule.data import TextDataset
    from chainrule.text import ByteTokenizer, iter_text

    if spec in DATASETS and spec not in TEXTS:
        raise ChainruleError(f"data set {spec!r} is no text; write ./{spec} for a file.")
    source = text_source(spec)
    if isinstance(source, TextDataset):
        part = split or ("test" if source.test is not None else "validation")
        return source.split(part), f"{spec}, {part}"
    if split is not None:
        raise ChainruleError(
            f"--split {split} is for the name of a text, but {spec} is a file; leave it out to take all."
        )
    as_bytes = isinstance(run.model.tokenizer, ByteTokenizer)
    return "".join(iter_text(Path(spec), as_bytes=as_bytes)), Path(spec).name


def refuse_for_text(what: str, options: Mapping[str, Any]) -> None:
    """`ChainruleError` for options that were given but are not for texts."""
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        raise ChainruleError(f"{', '.join(given)}: not for the {what} of a text; leave it out.")


def check_split(split: str) -> None:
    """`ChainruleError` for a name that is none of the parts."""
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)


def _noted(config: Mapping[str, Any]) -> TextPlan | None:
    notes = config.get("notes")
    note = notes.get(_NOTE) if isinstance(notes, dict) else None
    if note is None:
        return None
    known = {f.name for f in fields(TextPlan)}
    if not isinstance(note, dict) or not {"spec", "model"} <= note.keys() or not note.keys() <= known:
        raise ChainruleError(
            f'config.json: "{_NOTE}" in its "notes" is not what chainrule wrote there; restore it, or train '
            "again."
        )
    return TextPlan(**note)


def _folder(source: str) -> Path | None:
    if source.startswith(_HUB):
        from chainrule.saving import locate

        return locate(source.removeprefix(_HUB))
    return Path(source) if Path(source).is_dir() else None
