"""`chainrule advise`: which model for which problem, asked for or said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from chainrule.cli.names import complete_dataset
from chainrule.cli.options import AsJson, add_command
from chainrule.cli.output import print_facts, print_json, show
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.advising import Advice, Look, Situation

__all__ = ["register"]

_T = TypeVar("_T")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        advise,
        "chainrule advise",
        "chainrule advise --data digits",
        "chainrule advise --data my_table.csv --priority anomalies",
        "chainrule advise --kind text --length 20000 --compute gpu",
        "chainrule advise --kind image --length 3072 --levels 256 --priority fast-sampling",
    )


def advise(
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="D",
            help="A data set's name, a file or a folder, which is looked at.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", help="Of the data: image, vector, table, text, series or audio.", show_default=False
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", help="Examples to learn from; of text, characters.", show_default=False),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            "--length",
            help="Variables of an example (28 x 28 pixels are 784); of text, tokens of context that matter.",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option(
            "--levels", help="Values that a variable takes: 2 for black and white.", show_default=False
        ),
    ] = None,
    priority: Annotated[
        list[str] | None,
        typer.Option(
            "--priority",
            help="What matters: fast-training, fast-sampling, quality, readable, memory, likelihood, "
            "anomalies, filling, features, labels, scale, research. May be repeated.",
            show_default=False,
        ),
    ] = None,
    compute: Annotated[
        str | None,
        typer.Option(
            "--compute", help="What there is: little, laptop or gpu; laptop if not said.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Which model for my problem: a ranked choice with reasons, and a command that runs.

    Without --data and --kind it asks. It is the lecture's decision framework, with its answers corrected
    where measuring says otherwise, and it says when a model of this kind is the wrong tool.
    """
    from chainrule.advising import advise as advise_on

    if data is None and kind is None:
        if as_json:
            raise ChainruleError("--json asks nothing: say --data or --kind.")
        situation, look = _asked()
    else:
        situation, look = _told(data, kind, rows, length, levels, tuple(priority or ()), compute or "laptop")
    advice = advise_on(situation)
    if as_json:
        print_json(
            {"situation": _plain(situation), "found": look.found if look else None, **advice.summary()}
        )
        return
    _show(situation, look, advice)


def _told(
    data: str | None,
    kind: str | None,
    rows: int | None,
    length: int | None,
    levels: int | None,
    priorities: tuple[str, ...],
    compute: str,
) -> tuple[Situation, Look | None]:
    """From options, and a look at the data; what was said counts for more than what was seen."""
    from chainrule.advising import KINDS, Situation

    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of data", kind, KINDS)
    said = {"kind": kind, "rows": rows, "length": length, "levels": levels}
    said = {name: value for name, value in said.items() if value is not None}
    look = None if data is None else _looked(data, kind)
    seen = look.settings() if look else {}
    return Situation(**{**seen, **said}, priorities=priorities, compute=compute, source=data), look


def _looked(data: str, kind: str | None) -> Look:
    from chainrule.advising import look_at
    from chainrule.cli.example_files import saying_warnings

    with saying_warnings():
        return look_at(data, kind=kind)


def _asked() -> tuple[Situation, Look | None]:
    """From questions, one after another; an empty answer is "I do not know" or "nothing special"."""
    from chainrule.advising import COMPUTE, KINDS, PRIORITIES, Situation

    show("Your data: a file, a folder or a data set's name; or nothing, to describe it.")
    data, look = _until_right(_data)
    seen: dict[str, Any] = {}
    if look is not None:
        seen = look.settings()
    else:
        _list("What kind of data?", KINDS)
        seen["kind"] = _until_right(lambda: _one_of("kind", KINDS, next(iter(KINDS))))
        seen["rows"] = _until_right(lambda: _number("examples to learn from (of text, characters)"))
        seen["length"] = _until_right(
            lambda: _number("variables of an example (of text, tokens of context that matter)")
        )
    _list("What matters? Several with commas between, or nothing.", PRIORITIES)
    wanted = _until_right(lambda: _several("priority", PRIORITIES))
    _list("What is there to compute with?", COMPUTE)
    compute = _until_right(lambda: _one_of("compute", COMPUTE, "laptop"))
    return Situation(**seen, priorities=wanted, compute=compute, source=data), look


def _until_right(ask: Callable[[], _T]) -> _T:
    """Ask again after a mistake, where somebody sits there to answer."""
    while True:
        try:
            return ask()
        except ChainruleError as error:
            if not sys.stdin.isatty():
                raise
            show(f"{error}\n")


def _data() -> tuple[str | None, Look | None]:
    data = _answer("data") or None
    return data, None if data is None else _looked(data, None)


def _list(question: str, choices: Any) -> None:
    show(f"\n{question}")
    print_facts([(f"  {name}", meaning) for name, meaning in choices.items()])


def _answer(question: str) -> str:
    return str(typer.prompt(question, default="", show_default=False)).strip()


def _one_of(question: str, choices: Any, default: str) -> str:
    answer = str(typer.prompt(question, default=default)).strip()
    if answer not in choices:
        raise unknown_name(question, answer, choices)
    return answer


def _several(question: str, choices: Any) -> tuple[str, ...]:
    wanted = tuple(part.strip() for part in _answer("priorities").split(",") if part.strip())
    for name in wanted:
        if name not in choices:
            raise unknown_name(question, name, choices)
    return wanted


def _number(question: str) -> int | None:
    answer = _answer(question).replace(",", "").replace("_", "")
    if not answer:
        return None
    if not answer.isdigit() or int(answer) < 1:
        raise ChainruleError(f"{question}: expected a whole number of at least 1, not {answer!r}.")
    return int(answer)


def _plain(situation: Situation) -> dict[str, Any]:
    return {**vars(situation), "priorities": list(situation.priorities)}


def _show(situation: Situation, look: Look | None, advice: Advice) -> None:
    if look is not None:
        show(f"{situation.source}: {look.found}\n")
    elif situation.source is None:
        show("No data was named: the commands take data that comes with the library, or a name to replace.\n")
    for instead, reason, wrong in advice.alternatives:
        if wrong:
            show(f"The wrong tool: {reason}.\n  Look at: {instead}.\n")
    if advice.wrong_tool:
        show("For a p(x) all the same:\n")
    for rank, choice in enumerate(advice.choices, start=1):
        show(f"{rank}. {choice.model}")
        for reason in choice.reasons:
            show(f"   + {reason}")
        for reason in choice.against:
            show(f"   - {reason}")
        if choice.cost:
            show(f"   measured: {choice.cost}")
        show(f"   {choice.command}")
        show(f"   {choice.then}\n" if rank == 1 else "")
    for note in advice.notes:
        show(f"Note: {note}.")
    for instead, reason, wrong in advice.alternatives:
        if not wrong:
            show(f"Also look at: {instead}; {reason}.")
