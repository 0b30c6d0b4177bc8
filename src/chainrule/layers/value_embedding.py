"""How models of sequences read values and write parameters: the two ends of the network.

Where all variables are of one family, both ends are the same for every variable, so that a sequence may have
any length. Where families differ (`Mixed`: the columns of a table), every variable has weights of its own.
Where a few variables come round again and again (a `period`: the columns of a series), so does each of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from chainrule.conditionals import Categorical, Conditional, Mixed
from chainrule.errors import ChainruleError
from chainrule.layers.linear import linear

__all__ = ["ParameterHead", "ValueEmbedding"]


class ValueEmbedding(nn.Module):
    """From values `(batch, k)` to vectors `(batch, k, size)`.

    A category is looked up, which equals its one-hot code times a matrix; any other value is encoded as
    its family says, and multiplied. `size=0` has no weights: the codes themselves, one-hot for categories.

    - `conditional`, `num_variables`: whose values are read.
    - `size`: numbers that a value becomes, or 0.
    - `period`: variable i has the weights of its place i mod `period`, which `variables` then says.

    `width` numbers come out, `size` or as many as the code has. `weight`, `(inputs, size)`, has a row for
    each number of the code, under `Mixed` for those of each variable in turn, and so for each place of a
    period. `bias` is `(size,)`, None for categories, whose rows hold it already, and `(n, size)` for n
    variables with weights of their own.

    Raises `ChainruleError` for `size=0` where the same code means another thing in each column.
    """

    bias: nn.Parameter | None

    def __init__(self, conditional: Conditional, num_variables: int, size: int, *, period: int = 1) -> None:
        super().__init__()
        self.conditional, self.size, self.period = conditional, size, period
        own = _own_weights(conditional, num_variables, period)
        self.by_variable = own > 1 or isinstance(conditional, Mixed)
        if self.by_variable and not size:
            raise ChainruleError(
                "variables of different families, or of a period, are read through an embedding; choose a "
                "size above 0 for it."
            )
        self.width = size or conditional.num_inputs
        self._sizes = conditional.input_sizes(own)
        self._starts = [0, *itertools.accumulate(self._sizes)]
        self.weight = nn.Parameter(torch.empty(self._starts[-1], size)) if size else None
        if not size or isinstance(conditional, Categorical):
            self.bias = None
        else:
            self.bias = nn.Parameter(torch.zeros(own, size) if self.by_variable else torch.zeros(size))
        self._initialise()

    def forward(self, values: Tensor, variables: Sequence[int] = ()) -> Tensor:
        """The vectors of values `(batch, k)`; `variables`: which of those with own weights they are."""
        if self.weight is None:
            return self.conditional.encode(values)
        if not self.by_variable:
            return _read(self.conditional, values, self.weight, self.bias)
        if values.shape[1] == 0:
            return self.weight.new_zeros(len(values), 0, self.size)
        if values.shape[1] == 1:
            return self._read_one(values, variables[0])
        return _by_group(variables, self._kind_of, lambda places, own: self._read_group(values, places, own))

    def _read_one(self, values: Tensor, variable: int) -> Tensor:
        assert self.weight is not None
        weight = self.weight[self._starts[variable] : self._starts[variable + 1]]
        bias = None if self.bias is None else self.bias[variable]
        return _read(self.conditional.at(variable), values, weight, bias)

    def _read_group(self, values: Tensor, places: Tensor, variables: Tensor) -> Tensor:
        """The vectors of the values at these places, variables that are all alike, `(batch, k', size)`."""
        assert self.weight is not None
        values, bias = values[:, places.to(values.device)], 0.0 if self.bias is None else self.bias[variables]
        family = self.conditional.at(int(variables[0]))
        starts = torch.tensor(self._starts, device=self.weight.device)[variables]
        if isinstance(family, Categorical):
            return functional.embedding(values.detach().long() + starts, self.weight) + bias
        rows = starts[:, None] + torch.arange(family.num_inputs, device=starts.device)  # (k', inputs)
        return torch.einsum("bki,kis->bks", family.encode(values), self.weight[rows]) + bias

    def _kind_of(self, variable: int) -> Hashable:
        family = self.conditional.at(variable)
        return type(family).__name__, repr(family)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Rows of norm 1 for categories; for other codes as large as unit inputs need."""
        if self.weight is None:
            return
        for index, (start, end) in enumerate(itertools.pairwise(self._starts)):
            if isinstance(self.conditional.at(index), Categorical):
                nn.init.normal_(self.weight[start:end], std=1 / math.sqrt(self.size))
            else:
                bound = 1 / math.sqrt(end - start)
                nn.init.uniform_(self.weight[start:end], -bound, bound)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.conditional.name}, size={self.size}"


class ParameterHead(nn.Module):
    """From vectors `(batch, k, size)` to parameters `(batch, k, num_params)` of the conditionals.

    - `conditional`, `num_variables`: whose parameters are written.
    - `size`: numbers of a vector.
    - `bias`: whether there is one; `period`: as in `ValueEmbedding`.

    `weight`, `(params, size)`, has a row for each parameter, under `Mixed` and with a period for those of
    each variable in turn; `bias` is `(params,)` or None. Under `Mixed` the parameters of narrow columns end
    in zeros.
    """

    def __init__(
        self,
        conditional: Conditional,
        num_variables: int,
        size: int,
        *,
        bias: bool = True,
        period: int = 1,
    ) -> None:
        super().__init__()
        own = _own_weights(conditional, num_variables, period)
        self.by_variable = own > 1 or isinstance(conditional, Mixed)
        self.num_params = conditional.num_params
        self._sizes = conditional.param_sizes(own)
        self._starts = [0, *itertools.accumulate(self._sizes)]
        self.weight = nn.Parameter(torch.empty(self._starts[-1], size))
        self.bias = nn.Parameter(torch.zeros(self._starts[-1])) if bias else None
        bound = 1 / math.sqrt(size)
        nn.init.uniform_(self.weight, -bound, bound)

    def tie(self, embedding: ValueEmbedding) -> Self:
        """Write with the weights that categories are read with (Press & Wolf 2017).

        Raises `ChainruleError` where values are not categories of one family, or sizes differ.
        """
        if not isinstance(embedding.conditional, Categorical):
            raise ChainruleError("only categories of one family are read and written with the same weights.")
        if embedding.weight is None or embedding.weight.shape != self.weight.shape:
            raise ChainruleError(
                f"to read and write with the same weights, the embedding must have the size of what the "
                f"network puts out, {self.weight.shape[1]}, not {embedding.size}."
            )
        self.weight = embedding.weight
        return self

    def forward(self, vectors: Tensor, variables: Sequence[int] = ()) -> Tensor:
        """The parameters that vectors `(batch, k, size)` say; `variables` as in `ValueEmbedding`."""
        if not self.by_variable:
            return linear(vectors, self.weight, self.bias)
        if vectors.shape[1] == 1:
            return self._write_one(vectors, variables[0])

        def write(places: Tensor, own: Tensor) -> Tensor:
            starts = torch.tensor(self._starts, device=vectors.device)[own]
            rows = starts[:, None] + torch.arange(self._sizes[int(own[0])], device=vectors.device)
            params = torch.einsum("bks,kps->bkp", vectors[:, places.to(vectors.device)], self.weight[rows])
            params = params if self.bias is None else params + self.bias[rows]
            return functional.pad(params, (0, self.num_params - params.shape[-1]))

        return _by_group(variables, self._sizes.__getitem__, write)

    def _write_one(self, vectors: Tensor, variable: int) -> Tensor:
        own = slice(self._starts[variable], self._starts[variable + 1])
        params = linear(vectors, self.weight[own], None if self.bias is None else self.bias[own])
        return functional.pad(params, (0, self.num_params - params.shape[-1]))

    def extra_repr(self) -> str:
        """What `print` shows."""
        params, size = self.weight.shape
        return f"{size} to {params}, bias={self.bias is not None}"


def _own_weights(conditional: Conditional, num_variables: int, period: int) -> int:
    """How many variables have weights of their own; `ChainruleError` for a period of different families."""
    if not isinstance(conditional, Mixed):
        return period
    if period > 1:
        raise ChainruleError("variables of different families have weights of their own; leave period at 1.")
    return num_variables


def _read(family: Conditional, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(family, Categorical):
        vectors = functional.embedding(values.detach().long(), weight)
    else:
        vectors = family.encode(values) @ weight
    return vectors if bias is None else vectors + bias


def _by_group(
    variables: Sequence[int],
    kind_of: Callable[[int], Hashable],
    compute: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """`compute(places, variables)` of all variables of a kind, put together in their order along dim 1."""
    groups: dict[Hashable, list[int]] = {}
    for place, variable in enumerate(variables):
        groups.setdefault(kind_of(variable), []).append(place)
    order, parts = [], []
    for places in groups.values():
        order += places
        parts.append(compute(torch.tensor(places), torch.tensor([variables[place] for place in places])))
    if len(parts) == 1:
        return parts[0]
    joined = torch.cat(parts, dim=1)
    return joined[:, torch.tensor(order, device=joined.device).argsort()]
