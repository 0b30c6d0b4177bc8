"""What the advice depends on: the data, what matters, and what there is to compute with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from chainrule.arguments import whole_number
from chainrule.errors import unknown_name

__all__ = ["COMPUTE", "KINDS", "PRIORITIES", "Situation"]

#: Kinds of data.
KINDS = {
    "image": "pictures of one size, black and white, grey or colour",
    "vector": "rows of 0 and 1, or of a few levels: all variables of one kind",
    "table": "columns of different kinds: numbers, categories, holes",
    "text": "text, as characters, bytes or words",
    "series": "numbers over regular steps of time",
    "audio": "recordings, .wav",
}

#: What may matter.
PRIORITIES = {
    "fast-training": "a model soon",
    "fast-sampling": "new examples quickly",
    "quality": "the best likelihood or samples",
    "readable": "weights that a person can read",
    "memory": "few parameters, little memory",
    "likelihood": "exact probabilities, to compare or to compress",
    "anomalies": "finding what is odd",
    "filling": "filling in any missing part, whichever it is",
    "features": "a vector that stands for an example: search, clusters, plots",
    "labels": "predicting one known label",
    "scale": "many requests in production",
    "research": "the state of the art, whatever it costs",
}

#: What there is to compute with.
COMPUTE = {
    "little": "an old laptop, a small board, a minute",
    "laptop": "a few cores, minutes to an hour",
    "gpu": "an accelerator, or a night",
}

#: Fewer examples than this are little data; of text, tokens.
_LITTLE, _LITTLE_TEXT = 2_000, 100_000


@dataclass(frozen=True)
class Situation:
    """A problem.

    - `kind`: one of `KINDS`; `priorities`: of `PRIORITIES`, none for no preference; `compute`: of `COMPUTE`.
    - `rows`: examples to learn from (of text, tokens); `length`: variables of an example, tokens of a context
      that matters, steps; `levels`: values of a variable, None for real or mixed ones. None is not known.
    - `channels`: 3 for colour; `real`: whether values are real numbers.
    - `holes`: whether values are missing; `time`: the column of times of a series.
    - `source`: the data's name or file, for the command.

    Raises `ChainruleError` for names that there are not, numbers below 1, and fewer than 2 levels.
    """

    kind: str
    rows: int | None = None
    length: int | None = None
    levels: int | None = None
    channels: int = 1
    priorities: Collection[str] = field(default_factory=tuple)
    compute: str = "laptop"
    holes: bool = False
    time: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of data", self.kind, KINDS)
        for name in self.priorities:
            if name not in PRIORITIES:
                raise unknown_name("priority", name, PRIORITIES)
        if self.compute not in COMPUTE:
            raise unknown_name("compute", self.compute, COMPUTE)
        for name, least in (("rows", 1), ("length", 1), ("levels", 2)):
            value = getattr(self, name)
            if value is not None:
                whole_number(name, value, minimum=least)

    def wants(self, *priorities: str) -> bool:
        """Whether one of these matters."""
        return any(name in self.priorities for name in priorities)

    @property
    def little_data(self) -> bool:
        """Whether a large network would learn the examples by heart."""
        if self.rows is None or self.kind in ("series", "audio"):  # one long example may teach much
            return False
        return self.rows < (_LITTLE_TEXT if self.kind == "text" else _LITTLE)

    @property
    def binary(self) -> bool:
        """Whether all values are 0 or 1."""
        return self.levels == 2

    @property
    def variables(self) -> int:
        """Variables of an example, or what is usual where nobody said."""
        return self.length or 784
