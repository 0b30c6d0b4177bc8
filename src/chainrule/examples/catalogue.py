"""What the lecture states, as data: one JSON file per topic in `data/`, an example a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from chainrule.errors import ChainruleError, unknown_name

__all__ = ["ARITHMETIC", "EXAMPLES", "Coverage", "Example", "coverage", "find_example"]

#: `by` of an example that is about no model: sums and products of numbers in the notes.
ARITHMETIC = "arithmetic"


@dataclass(frozen=True)
class Example:
    """A number of the lecture, with everything that follows from it.

    - `id`: such as `"6.6-fvsbn-likelihood"`; `number` is its first part, `topic` the lecture's heading.
    - `line`: where the notes have it; `description` and `quantity`: what it is about, and what of it.
    - `equation`: in words of ASCII; `inputs`: the arguments of what computes it.
    - `stated`: what the notes say (None: nothing), to `decimals` decimals; `exact`: floats to six digits.
    - `verdict`: `right`, `rounded`, `wrong: why` or `open: why` (the notes state no value).
    - `by`: what of the library computes it, or `"arithmetic"`.
    """

    id: str
    topic: str
    line: int
    description: str
    quantity: str
    equation: str
    inputs: dict[str, Any]
    stated: Any
    decimals: int | None
    exact: Any
    verdict: str
    by: str
    note: str = field(default="")

    @property
    def number(self) -> str:
        """Topic and place, such as `"6.6"`."""
        return self.id.partition("-")[0]

    @property
    def judgement(self) -> str:
        """The verdict's first word: `right`, `rounded`, `wrong` or `open`."""
        return self.verdict.partition(":")[0]

    @property
    def reason(self) -> str:
        """Why it is wrong or open; empty where it is neither."""
        return self.verdict.partition(": ")[2]

    @property
    def by_library(self) -> bool:
        """Whether a class of the library computes it."""
        return self.by != ARITHMETIC


@dataclass(frozen=True)
class Coverage:
    """How many examples there are, how many a class of the library computes, and how they were judged."""

    examples: int
    by_library: int
    by_arithmetic: int
    verdicts: Mapping[str, int]

    def sentence(self) -> str:
        """For people."""
        verdicts = ", ".join(f"{self.verdicts[v]} {v}" for v in ("right", "rounded", "wrong", "open"))
        return (
            f"{self.examples} examples: {self.by_library} computed by the library's own classes, "
            f"{self.by_arithmetic} plain arithmetic on numbers of the notes; {verdicts}."
        )


def coverage(examples: Iterable[Example] | None = None) -> Coverage:
    """The counts over some examples, or over all."""
    chosen = list(EXAMPLES.values() if examples is None else examples)
    by_library = sum(example.by_library for example in chosen)
    verdicts = Counter(example.judgement for example in chosen)
    return Coverage(len(chosen), by_library, len(chosen) - by_library, verdicts)


def find_example(name: str) -> Example:
    """The example with this id, or with this number (`"6.6"`).

    Raises `ChainruleError` with the nearest ids where there is none.
    """
    if name in EXAMPLES:
        return EXAMPLES[name]
    numbered = [example for example in EXAMPLES.values() if example.number == name]
    if numbered:
        return numbered[0]
    named = [id_ for id_ in EXAMPLES if name.lower() in id_] if name.isalpha() else []
    if named:
        more = f" and {len(named) - 8} more" if len(named) > 8 else ""
        raise ChainruleError(
            f"{name!r} is no example, but part of the names of these: {', '.join(named[:8])}{more}."
        )
    # The list of all 217 would not be read; the nearest ids and where the list is will do.
    known = [*EXAMPLES, *(example.number for example in EXAMPLES.values())]
    message = str(unknown_name("example", name, known)).partition(" Known: ")[0].rstrip(".")
    ending = "" if message.endswith("?") else "."
    raise ChainruleError(f"{message}{ending} `chainrule examples` lists all {len(EXAMPLES)}.")


def _read() -> dict[str, Example]:
    parts = sorted(
        (
            part
            for part in files("chainrule.examples").joinpath("data").iterdir()
            if part.name.endswith(".json")
        ),
        key=lambda part: part.name,
    )
    records = [record for part in parts for record in json.loads(part.read_text(encoding="utf-8"))]
    return {record["id"]: Example(**record) for record in records}


#: All examples by their ids, in the order of the lecture.
EXAMPLES: dict[str, Example] = _read()
