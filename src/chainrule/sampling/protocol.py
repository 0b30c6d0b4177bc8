"""What the samplers ask of a model; `chainrule.model.AutoregressiveModel` provides it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from torch import Tensor

from chainrule.conditionals import Conditional
from chainrule.orderings import Ordering

__all__ = ["Fillable", "Looks", "LooksAhead", "LooksByRow", "Runnable"]


class Runnable(Protocol):
    """The two ways of running a model, and the layout of its variables."""

    def conditional_at(self, position: int) -> Conditional:
        """The family of the variable at a place of the ordering."""

    def conditional_over(self, first: int, last: int) -> Conditional:
        """The families of the variables first..last - 1 of the ordering, along the last dimension."""

    @property
    def num_variables(self) -> int:
        """n, the number of variables of one example."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """All conditionals in parallel, `(batch, *event_shape, num_params)`."""

    def init_state(self, batch_size: int, context: Tensor | None = None) -> Any:
        """The state before the first variable."""

    def step(self, state: Any, previous_value: Tensor | None) -> tuple[Tensor, Any]:
        """Parameters `(batch, num_params)` of the next variable, and the new state."""

    def to_sequence(self, x: Tensor) -> Tensor:
        """From event layout to the ordering, `(batch, n, ...)`."""

    def from_sequence(self, sequence: Tensor) -> Tensor:
        """From the ordering to event layout, `(batch, *event_shape, ...)`."""


class Fillable(Runnable, Protocol):
    """What filling in asks for beyond sampling."""

    order_agnostic: ClassVar[bool]
    independent_variables: ClassVar[bool]
    conditional: Conditional
    ordering: Ordering

    def select_state(self, state: Any, rows: Tensor) -> Any:
        """The state of a batch of these rows, `(k,)`; None if the model does not know how."""

    def with_ordering(self, ordering: Sequence[int]) -> Fillable:
        """The same network read in another ordering, if it is order-agnostic."""


class LooksAhead(Runnable, Protocol):
    """What sampling asks of a model that can look at several of the next variables at once."""

    @property
    def period_of_guesses(self) -> int:
        """How far before a variable lies the one that its first guess is made of: a row of an image."""

    def reach(self, state: Any) -> int:
        """How many of the next variables can be looked at together, all of one period; 1 for a step."""

    def look_ahead(self, state: Any, previous_value: Tensor | None, guesses: Tensor) -> Tensor:
        """Parameters `(batch, k + 1, num_params)` of the next ones, were k `guesses` `(batch, k)` right.

        The state stays where it is, except that it reads the previous value; `settle` must come next.
        """

    def settle(self, state: Any, count: int) -> None:
        """Go on by `count` of the variables looked at: all guesses but the last `count`-th were right."""


class Looks(Protocol):
    """Looks at the variables of rows that each stand somewhere else."""

    def look(self, places: Tensor, values: Tensor) -> Tensor:
        """Parameters `(batch, k, num_params)` of the variables at `places` `(batch, k)` of the ordering.

        `values` are those of the variables one place before each; what came before was looked at.
        """


class LooksByRow(Runnable, Protocol):
    """What sampling asks of a model whose rows can look ahead from places of their own."""

    conditional: Conditional

    @property
    def period_of_guesses(self) -> int:
        """As in `LooksAhead`."""

    def looks(self, batch_size: int, context: Tensor | None = None) -> Looks:
        """Looks at a batch of which nothing is known yet."""
