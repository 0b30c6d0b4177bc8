"""`chainrule examples`: the lecture's worked examples, and one of them run through the library."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.options import AsJson, add_command
from chainrule.cli.output import print_facts, print_json, print_table, show

if TYPE_CHECKING:
    from chainrule.examples import Example

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        examples,
        "chainrule examples",
        "chainrule examples 9.12-made-nade-operations",
        "chainrule examples 6.6",
        "chainrule examples 3.13 --json",
    )


def _complete(incomplete: str) -> list[tuple[str, str]]:
    from chainrule.examples.catalogue import EXAMPLES

    return [(name, e.description) for name, e in EXAMPLES.items() if name.startswith(incomplete)]


def examples(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="An example, such as 6.6-fvsbn-likelihood or just 6.6: it is computed anew.",
            autocompletion=_complete,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The lecture's worked examples: what the notes state, what is exact, and who is right.

    With an ID: its equation, its inputs, the program that computes it with this library, and the verdict.
    """
    from chainrule.examples.catalogue import find_example

    if name is None:
        _list(as_json)
        return
    _show_one(find_example(name), as_json)


def _list(as_json: bool) -> None:
    from chainrule.examples.agreement import shown
    from chainrule.examples.catalogue import EXAMPLES, coverage

    counts = coverage()
    if as_json:
        print_json({"coverage": asdict(counts), "examples": [asdict(e) for e in EXAMPLES.values()]})
        return
    for topic, members in groupby(EXAMPLES.values(), key=lambda e: e.topic):
        rows = [
            (
                e.id,
                "" if e.stated is None else _brief(shown(e.stated)),
                _brief(shown(e.exact)),
                e.judgement,
                e.by,
            )
            for e in members
        ]
        columns = ("example", "stated", "exact", "verdict", "computed by")
        print_table(columns, rows, title=f"Topic {topic}")
    show(counts.sentence())
    show("`chainrule examples ID` computes one of them and shows how.")


def _brief(text: str, width: int = 24) -> str:
    return text if len(text) <= width else f"{text[: width - 4]} ..."


def _show_one(example: Example, as_json: bool) -> None:
    from chainrule.examples import agrees, program_of, recompute, shown

    value, program = recompute(example), program_of(example)
    is_exact = agrees(value, example.exact)
    if as_json:
        print_json({**asdict(example), "library": value, "agrees": is_exact, "program": program})
        return
    facts = [
        (example.id, f"{example.description}: {example.quantity}"),
        ("topic", f"{example.topic} (line {example.line} of the notes)"),
        ("equation", example.equation),
        *((f"  {name}", shown(value)) for name, value in example.inputs.items()),
        ("stated", "nothing" if example.stated is None else shown(example.stated)),
        ("exact", shown(example.exact)),
        ("library", f"{shown(value)}{'' if is_exact else '   [not what is exact: please report it]'}"),
        ("computed by", example.by),
        ("verdict", example.verdict),
    ]
    print_facts([*facts, ("note", example.note)] if example.note else facts)
    show("\nThe program that computed it, which runs as it stands:\n")
    show(textwrap.indent(program, "    ").rstrip())
