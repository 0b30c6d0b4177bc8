"""Mixed conditionals: a family of its own for every column of a table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.conditionals.base import Conditional
from chainrule.errors import ChainruleError

__all__ = ["Mixed"]


class Mixed(Conditional):
    """A different family per variable of an example of shape `(D,)`: values `(..., D)`.

    Every column's parameters, noise and code are the first of the widest column's many: `params` is
    `(..., D, num_params)`, `uniform` `(..., D, num_noise)`, codes `(..., D, num_inputs)` with zeros
    behind. `param_sizes` and `input_sizes` say how many of them count. Columns of the very same family
    (name and settings) are computed in one call, so 20 alike columns cost what one family of 20 does.

    - `columns`: a family per column: its name, its settings with the name, or a `Conditional`.

    >>> table = Mixed(columns=["bernoulli", {"name": "categorical", "levels": 3}, "gaussian"])
    >>> table.num_params, table.param_sizes(3)
    (3, [1, 3, 2])
    """

    name = "mixed"

    def __init__(self, columns: Sequence[str | Mapping[str, object] | Conditional]) -> None:
        from chainrule.conditionals import resolve_conditional  # that package imports this module

        if isinstance(columns, str) or len(columns) == 0:
            raise ChainruleError("columns must be a list with a conditional for each of the variables.")
        self.columns = tuple(resolve_conditional(column) for column in columns)
        if any(isinstance(column, Mixed) for column in self.columns):
            raise ChainruleError("a column of a mixed conditional cannot be mixed itself.")
        self.num_params = max(column.num_params for column in self.columns)
        self.num_inputs = max(column.num_inputs for column in self.columns)
        self.num_noise = max(column.num_noise for column in self.columns)
        self.has_cdf = all(column.has_cdf for column in self.columns)
        self.has_missing = any(column.has_missing for column in self.columns)
        self.value_range = "what the family of its column allows"
        self._groups, self._place = _group(self.columns)
        self._params_in_groups = _Regrouping(self._groups, [c.num_params for c in self.columns])
        self._inputs_in_groups = _Regrouping(self._groups, [c.num_inputs for c in self.columns])
        self._parts: dict[tuple[int, ...], Conditional] = {}

    # ---------------------------------------------------------------- the distribution

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """Log-probability or log-density of each column, nats, `(..., D)`."""
        return self._by_group(
            lambda group: group.family.log_prob(group.params(params), group.pick(value)), value.shape[-1]
        )

    def log_prob_packed(self, packed: Tensor, value: Tensor) -> Tensor:
        """`log_prob` with the parameters of `param_sizes` end to end, `(..., sum)`, and no padding."""
        parts = self._params_in_groups.apart(packed)

        def of_group(group: _Group) -> Tensor:
            packed = parts[group.place]
            params = packed.reshape(*packed.shape[:-1], len(group.columns), group.family.num_params)
            return group.family.log_prob(params, group.pick(value))

        return self._by_group(of_group, value.shape[-1])

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Each column as its family samples; so does the meaning of temperature."""
        return self._by_group(
            lambda group: group.family.sample(group.params(params), group.pick(uniform, dim=-2), temperature),
            params.shape[-2],
        )

    def sample_present(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Each column given that its value is there."""

        def drawn(group: _Group) -> Tensor:
            return group.family.sample_present(group.params(params), group.pick(uniform, dim=-2), temperature)

        return self._by_group(drawn, params.shape[-2])

    def log_present(self, params: Tensor) -> Tensor:
        """log P(the value is there) of each column, nats, `(..., D)`."""
        return self._by_group(lambda group: group.family.log_present(group.params(params)), params.shape[-2])

    def mean(self, params: Tensor) -> Tensor:
        """The mean of each column, `(..., D)`."""
        return self._by_group(lambda group: group.family.mean(group.params(params)), params.shape[-2])

    def mode(self, params: Tensor) -> Tensor:
        """The mode of each column, `(..., D)`."""
        return self._by_group(lambda group: group.family.mode(group.params(params)), params.shape[-2])

    def cdf(self, params: Tensor, value: Tensor) -> Tensor:
        """The cdf of each column, `(..., D)`, where all families have one."""
        self._require_cdf()
        return self._by_group(
            lambda group: group.family.cdf(group.params(params), group.pick(value)), value.shape[-1]
        )

    def quantile(self, params: Tensor, probability: Tensor) -> Tensor:
        """The quantile of each column, `(..., D)`, where all families have one."""
        self._require_cdf()
        return self._by_group(
            lambda group: group.family.quantile(group.params(params), group.pick(probability)),
            probability.shape[-1],
        )

    # ---------------------------------------------------------------- values

    def encode(self, value: Tensor) -> Tensor:
        """Each column's code and zeros behind it, `(..., D, num_inputs)`."""

        def padded(group: _Group) -> Tensor:
            code = group.family.encode(group.pick(value))
            return torch.nn.functional.pad(code, (0, self.num_inputs - code.shape[-1]))

        return self._by_group(padded, value.shape[-1], dim=-2)

    def encode_packed(self, value: Tensor) -> Tensor:
        """Each column's code, end to end, `(..., sum of input_sizes)`."""
        self._require_columns(value.shape[-1])
        codes = [group.family.encode(group.pick(value)).flatten(-2) for group in self._groups]
        return self._inputs_in_groups.together(codes)

    def in_support(self, value: Tensor) -> Tensor:
        """Whether each value can occur in its column, `(..., D)`."""
        return self._by_group(lambda group: group.family.in_support(group.pick(value)), value.shape[-1])

    def support(self) -> Tensor | None:
        """That of the columns, if all of them are of one family; None otherwise."""
        return self.columns[0].support() if len(self._groups) == 1 else None

    def same(self, values: Tensor, others: Tensor) -> bool:
        """Whether all values are equal, NaN being equal to NaN (only columns that know it hold any)."""
        return bool(((values == others) | (values.isnan() & others.isnan())).all())

    def check(self, value: Tensor) -> None:
        """Raise `ChainruleError` naming the column and family of the first value that cannot occur."""
        inside = self.in_support(value)
        if bool(inside.all()):
            return
        where = torch.nonzero(~inside)[0].tolist()
        family = self.columns[where[-1]]
        raise ChainruleError(
            f"value {value[tuple(where)].item():g} at index {where} cannot occur in column {where[-1]}, "
            f"which is under the {family.name} conditional: expected {family.value_range}."
        )

    # ---------------------------------------------------------------- by variable

    def at(self, variable: int) -> Conditional:
        """The family of one column."""
        return self.columns[variable]

    def over(self, variables: Tensor) -> Conditional:
        """The families of these columns; the plain family where all of them are alike."""
        key = tuple(variables.tolist())
        if key not in self._parts:
            part = Mixed([self.columns[variable] for variable in key])
            self._parts[key] = part if len(part._groups) > 1 else part.columns[0]
        return self._parts[key]

    def param_sizes(self, num_variables: int) -> list[int]:
        """How many parameters each column has."""
        self._require_columns(num_variables)
        return [column.num_params for column in self.columns]

    def input_sizes(self, num_variables: int) -> list[int]:
        """How many numbers `encode` makes of each column, before padding."""
        self._require_columns(num_variables)
        return [column.num_inputs for column in self.columns]

    def settings(self) -> dict[str, object]:
        """`columns`."""
        return {"columns": [column.spec() for column in self.columns]}

    # ---------------------------------------------------------------- groups of like columns

    def _by_group(self, compute: Callable[[_Group], Tensor], num_columns: int, dim: int = -1) -> Tensor:
        """`compute` of every group, put together in the order of the columns along `dim`."""
        self._require_columns(num_columns)
        if len(self._groups) == 1:
            return compute(self._groups[0])
        joined = torch.cat([compute(group) for group in self._groups], dim=dim)
        return joined if self._place is None else joined.index_select(dim, self._place.to(joined.device))

    def _require_columns(self, num_columns: int) -> None:
        if num_columns != len(self.columns):
            raise ChainruleError(
                f"the mixed conditional has {len(self.columns)} columns, "
                f"but there are {num_columns} variables."
            )

    def _require_cdf(self) -> None:
        if not self.has_cdf:
            raise self._without_cdf()

    def _without_cdf(self) -> ChainruleError:
        index = next(i for i, column in enumerate(self.columns) if not column.has_cdf)
        return ChainruleError(
            f"column {index} is under the {self.columns[index].name} conditional, which has no cdf and no "
            "quantile; has_cdf says which families do."
        )


@dataclass
class _Group:
    """All columns of one family."""

    family: Conditional
    columns: list[int]
    all_columns: int
    place: int  # among the groups

    def pick(self, values: Tensor, dim: int = -1) -> Tensor:
        """These columns of a tensor; a view where they stand side by side."""
        first, count = self.columns[0], len(self.columns)
        if count == self.all_columns:
            return values
        if self.columns[-1] - first == count - 1:
            return values.narrow(dim, first, count)
        return values.index_select(dim, torch.tensor(self.columns, device=values.device))

    def params(self, params: Tensor) -> Tensor:
        """The parameters of these columns, without those that only wider columns have."""
        return self.pick(params[..., : self.family.num_params], dim=-2)


def _group(columns: Sequence[Conditional]) -> tuple[list[_Group], Tensor | None]:
    """The groups of like columns, and where each column stands when the groups are laid end to end.

    None for the latter where that is the order of the columns already.
    """
    by_family: dict[str, _Group] = {}
    for index, column in enumerate(columns):
        key = json.dumps([column.spec(), type(column).__name__], sort_keys=True)
        by_family.setdefault(key, _Group(column, [], len(columns), len(by_family))).columns.append(index)
    groups = list(by_family.values())
    laid_out = torch.tensor([index for group in groups for index in group.columns])
    place = laid_out.argsort()
    return groups, None if bool((place == torch.arange(len(columns))).all()) else place


class _Regrouping:
    """From numbers of columns end to end, `sizes[i]` for column i, to those of each group, and back.

    By splitting and joining runs of neighbours: unlike picking by index, neither way needs a sum into
    zeros for its gradient.
    """

    def __init__(self, groups: Sequence[_Group], sizes: Sequence[int]) -> None:
        group_of = {column: group.place for group in groups for column in group.columns}
        runs = [
            (place, sum(sizes[column] for column in run))
            for place, run in itertools.groupby(range(len(sizes)), key=group_of.__getitem__)
        ]
        self._run_sizes = [size for _, size in runs]
        self._runs_of = [[i for i, (place, _) in enumerate(runs) if place == g.place] for g in groups]

    def apart(self, packed: Tensor) -> list[Tensor]:
        """The numbers of each group, `(..., its columns' sizes)`."""
        runs = torch.split(packed, self._run_sizes, dim=-1)
        return [_joined([runs[i] for i in own]) for own in self._runs_of]

    def together(self, parts: Sequence[Tensor]) -> Tensor:
        """The numbers of all columns in their own order, `(..., total)`."""
        runs: dict[int, Tensor] = {}
        for part, own in zip(parts, self._runs_of, strict=True):
            runs |= zip(own, torch.split(part, [self._run_sizes[i] for i in own], dim=-1), strict=True)
        return _joined([runs[i] for i in range(len(runs))])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)
