"""What a column of text is: numbers in disguise, dates, free text, the words true and false, or labels."""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.errors import ChainruleError
from chainrule.tables.values import as_labels, looks_like_time, place_of, shown

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["Finding", "about_formatted", "formatted_number", "look_at_text"]

#: The least share of the cells that must be of a sort for the column to be taken for that sort.
_MOST = 0.9
#: More different texts than this, and a new one in most rows: no list of categories.
_MANY = 20
_SAMPLE = 1000

_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    rf"""\s*(
        \d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}([T\s].*)?      # 2024-03-01, 2024-03-01T10:00:00Z
      | \d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}([T\s].*)?    # 1/3/2024 10:00
      | \d{{1,2}}:\d{{2}}(:\d{{2}}(\.\d+)?)?\s*([ap]\.?m\.?)?   # 10:00, 10:00:00.5, 10:00 pm
      | \d{{1,2}}[-\s]{_MONTH}[-\s,]+\d{{2,4}}.*            # 1 March 2024
      | {_MONTH}\s\d{{1,2}}(st|nd|rd|th)?,?\s\d{{4}}.*      # March 1, 2024
    )\s*""",
    re.VERBOSE | re.IGNORECASE,
)

#: Digits in groups, or plain ones: 1,234 and 1.234 and 1 234 and 1234, each perhaps with a fraction.
_DIGITS = r"(\d{1,3}([,.'\s\u00a0\u202f]\d{3})+|\d+)([.,]\d+)?"
_CURRENCY = r"([$€£¥₹]|USD|EUR|GBP|JPY|CNY|INR|CHF|CAD|AUD|Rs\.?|kr\.?)"
#: Numbers as people and spreadsheets write them: $496.00, 1.234,00 €, 12 %, (3,000.5).
_FORMATTED = re.compile(rf"\(?[-+−]?\s*({_CURRENCY}\s*)?[-+−]?{_DIGITS}\s*(%|‰|{_CURRENCY})?\)?")

_REWRITE = "rewrite them with digits and a decimal point only"


class Finding(enum.Enum):
    """What the text in a column is."""

    NUMBERS = enum.auto()
    DATES = enum.auto()
    TRUTH = enum.auto()
    LABELS = enum.auto()


def look_at_text(present: Series, name: Hashable, max_categories: int) -> Finding:
    """What the cells `present`, none of them missing, are.

    Raises `ChainruleError` for free text, identifiers, numbers with a few other words among them, and many
    numbers in a spelling that is none, such as "$496.00".
    """
    import pandas as pd

    codes, labels, raw = as_labels(present, name)
    if any(looks_like_time(type(value).__name__.lower()) for value in raw):
        return Finding.DATES
    if {label.strip().lower() for label in labels} <= {"true", "false"}:
        return Finding.TRUTH
    numbers = pd.to_numeric(pd.Series(labels, dtype=object), errors="coerce").isna().to_numpy(dtype=bool)
    if not numbers.any():
        return Finding.NUMBERS
    _refuse_stray_words(numbers[codes], int((~numbers).sum()), present, name)
    sample = labels[:: max(1, len(labels) // _SAMPLE)]
    if sum(_DATE.fullmatch(label) is not None for label in sample) >= _MOST * len(sample):
        return Finding.DATES
    example = formatted_number(labels)
    if example is not None and len(labels) > _MANY:
        word = shlex.quote(str(name))
        raise ChainruleError(
            f"{_about_formatted(name, example)} ({len(labels):,} different ones); {_REWRITE}, or make the "
            f"column categorical (--kind {word}=categorical), or drop it (--drop {word})"
        )
    _refuse_free_text(labels, present, name, max_categories)
    return Finding.LABELS


def formatted_number(labels: Sequence[str]) -> str | None:
    """One of the labels that are numbers but for how they are written, if nearly all others are too.

    >>> formatted_number(["$1,496.00", "$7.5"]), formatted_number(["12%", "5 %"]), formatted_number(["1,5"])
    ('$1,496.00', '12%', '1,5')
    >>> formatted_number(["10.0.0.1", "10.0.0.2"]), formatted_number(["A4", "B7"])
    (None, None)
    """
    sample = labels[:: max(1, len(labels) // _SAMPLE)]
    plain = [_is_plain(label) for label in sample]
    odd = [
        label
        for label, fine in zip(sample, plain, strict=True)
        if not fine and _FORMATTED.fullmatch(label.strip())
    ]
    return odd[0] if odd and len(odd) + sum(plain) >= _MOST * len(sample) else None


def _is_plain(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def about_formatted(name: Hashable, example: str, count: int) -> str:
    """The notice for a column of few formatted numbers."""
    return (
        f"{_about_formatted(name, example)}; its {count} different texts are taken for categories: "
        f"{_REWRITE} to have numbers"
    )


def _about_formatted(name: Hashable, example: str) -> str:
    return f"column {name!r} looks like numbers written as text, such as {shown(example)}"


def _refuse_stray_words(stray: np.ndarray, number_labels: int, present: Series, name: Hashable) -> None:
    """An error where nearly all cells are numbers, and of many values: the few words are no categories."""
    if number_labels > _MANY and stray.mean() < 1 - _MOST:
        place = int(np.argmax(stray))
        raise ChainruleError(
            f"column {name!r} holds numbers, but {shown(present.iloc[place])} in {place_of(present, place)} "
            f"is none ({int(stray.sum()):,} such cells); leave cells empty where a number is missing, or "
            f"drop the column (--drop {shlex.quote(str(name))})"
        )


def _refuse_free_text(labels: list[str], present: Series, name: Hashable, max_categories: int) -> None:
    if len(labels) <= _MANY:
        return
    words = float(np.mean([len(label.split()) for label in labels[:_SAMPLE]]))
    share = len(labels) / len(present)
    if (words >= 4 and share > 0.5) or (share > _MOST and len(labels) > max_categories):
        what, word = "free text" if words >= 4 else "identifiers", shlex.quote(str(name))
        raise ChainruleError(
            f"column {name!r} has {len(labels):,} different texts in {len(present):,} rows, such as "
            f"{shown(labels[0])}: {what}, which a table model cannot learn; drop it (--drop {word}), or put "
            "a few categories or a number in its place"
        )
