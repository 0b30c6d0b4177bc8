"""What every property check needs of a model: a float64 copy of it, and examples to run it on."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypedDict, Unpack

import torch
from torch import Tensor

from chainrule.arguments import checked_seed, real_number, whole_number
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel
from chainrule.testing.raised import told_of
from chainrule.testing.report import ConformanceError, PropertyResult
from chainrule.testing.values import Kind, extreme_values, kinds_of, other_values, random_values

__all__ = [
    "Options",
    "Outcome",
    "PropertyCheck",
    "Skipped",
    "Subject",
    "Violation",
    "all_examples",
    "conformance",
    "index_of_worst",
    "relative_deviation",
]

#: Most states that are enumerated.
STATE_LIMIT = 4096
#: Most positions of the ordering that causality is checked at, one row of a batch each.
POSITION_LIMIT = 64
#: Rows of a batch in long computations.
_CHUNK = 512


class Options(TypedDict, total=False):
    """What `check_model` and every single check take by name.

    - `context`: contexts to check under, as `log_prob` takes them; the examples go round them. By
      default, for a model with context, three labels.
    - `seed`: of everything random here, so that a check has one outcome.
    - `jitter`: times 1/sqrt(n), the standard deviation of the noise added to every parameter of the
      copy, so that nothing holds merely because a fresh model's weights are 0; with 0 the
      parameters are checked as they stand.
    - `alpha`: the false-alarm rate of the statistical check, an upper bound.
    - `num_samples`: samples that the statistical check draws; 4000, or 500 above 64 variables.
    """

    context: Tensor | None
    seed: int
    jitter: float
    alpha: float
    num_samples: int | None


class Violation(Exception):
    """A property does not hold; the message is the evidence."""


class Skipped(Exception):
    """A property does not apply, or cannot be decided; the message says why."""


class Outcome(NamedTuple):
    """A property holds: what was compared, and the greatest deviation."""

    detail: str
    worst: float | None = None


@dataclass(frozen=True)
class Subject:
    """A private float64 copy of a model on the CPU, in evaluation mode, and how to check it."""

    model: LikelihoodModel
    contexts: Tensor | None  # (K, context_size)
    seed: int
    alpha: float
    num_samples: int

    @classmethod
    def of(
        cls,
        model: LikelihoodModel,
        *,
        context: Tensor | None = None,
        seed: int = 0,
        jitter: float = 1.0,
        alpha: float = 1e-6,
        num_samples: int | None = None,
    ) -> Subject:
        """Copy the model; the caller's keeps its parameters, dtype, device and mode.

        Raises `ChainruleError` where `model` is no `LikelihoodModel` or the context does not fit.
        """
        if not isinstance(model, LikelihoodModel):
            raise ChainruleError(
                f"expected a LikelihoodModel or AutoregressiveModel to check, not {type(model).__name__}."
            )
        alpha = real_number("alpha, the probability of a false alarm,", alpha, above=0, below=1)
        jitter = real_number("jitter", jitter, minimum=0)
        own = _float64_copy(model)
        generator = torch.Generator().manual_seed(checked_seed(seed))
        with torch.no_grad():
            for parameter in own.parameters():
                if parameter.is_floating_point():
                    noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                    parameter.add_(noise, alpha=jitter / math.sqrt(own.num_variables))
        if num_samples is None:
            num_samples = 4000 if own.num_variables <= POSITION_LIMIT else 500
        num_samples = whole_number("num_samples", num_samples, minimum=1)
        return cls(own, _contexts(own, context), seed, alpha, num_samples)

    @property
    def autoregressive(self) -> AutoregressiveModel:
        """The copy, if it has conditionals; otherwise the property at hand is skipped."""
        if not isinstance(self.model, AutoregressiveModel):
            raise Skipped(f"{type(self.model).__name__} has no conditionals")
        return self.model

    @functools.cached_property
    def kinds(self) -> list[Kind]:
        """The variables by family, in event layout."""
        return kinds_of(self.model)

    @functools.cached_property
    def sequence_kinds(self) -> list[Kind]:
        """The same with `variables` as places of the ordering."""
        place = self.autoregressive.ordering.positions()
        return [dataclasses.replace(kind, variables=place[kind.variables]) for kind in self.kinds]

    @functools.cached_property
    def used_params(self) -> Tensor:
        """Which parameters are no padding, `(n, num_params)`, in the ordering."""
        model = self.autoregressive
        sizes = torch.tensor(model.conditional.param_sizes(model.num_variables))
        used = torch.arange(model.conditional.num_params) < sizes[:, None]
        return used[torch.tensor(model.ordering.permutation)]

    @property
    def is_discrete(self) -> bool:
        """Whether every variable has few values."""
        return all(kind.support is not None for kind in self.kinds)

    def generator(self) -> torch.Generator:
        """A fresh generator; the same numbers every time."""
        return torch.Generator().manual_seed(self.seed + 1)

    def contexts_for(self, count: int) -> Tensor | None:
        """A context for each of `count` examples."""
        return None if self.contexts is None else self.contexts[torch.arange(count) % len(self.contexts)]

    def each_context(self) -> list[Tensor | None]:
        """Every context on its own, `(1, context_size)`; for a model without, only None."""
        return [None] if self.contexts is None else list(torch.split(self.contexts, 1))

    def examples(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Valid examples, `(count, *event_shape)`: uniform over a finite support, otherwise samples.

        A quarter of the values that can be missing are.
        """
        generator = generator or self.generator()
        values = random_values(self.kinds, self._samples(count, generator), count, generator)
        return values.view(count, *self.model.event_shape)

    def calm_examples(self, count: int) -> Tensor:
        """Examples without far values, under which a small step in the parameters is a large one."""
        if self.is_discrete:
            return self.examples(count)
        x = self.examples(16 * count)
        farthest = x.flatten(1).nan_to_num(0.0).abs().amax(1)
        return x[farthest.argsort()[:count]]

    def extremes(self) -> Tensor:
        """All lowest, all highest, both alternating, all missing; and examples."""
        rows = extreme_values(self.kinds, self._samples(64, self.generator()))
        return torch.cat([rows.view(-1, *self.model.event_shape), self.examples(4)])

    def other_values(self, sequence: Tensor, generator: torch.Generator) -> Tensor:
        """For every value of `(batch, n)`, in the ordering, another one that can occur, at random."""
        fresh = None
        if not self.is_discrete:
            fresh = self.autoregressive.to_sequence(self.examples(len(sequence), generator))
        return other_values(self.sequence_kinds, sequence, fresh, generator)

    def _samples(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Samples of the model, `(count, n)`, where some variables are continuous."""
        if self.is_discrete:
            return None
        samples: Tensor = self.model.sample(count, self.contexts_for(count), generator=generator)
        return samples.flatten(1)

    def positions(self) -> Tensor:
        """The positions of the ordering to look at: all, or the ends and some between."""
        n = self.model.num_variables
        if n <= POSITION_LIMIT:
            return torch.arange(n)
        between = torch.randperm(n - 2, generator=self.generator())[: POSITION_LIMIT - 2] + 1
        return torch.cat([torch.tensor([0]), between.sort().values, torch.tensor([n - 1])])

    def variable(self, position: int) -> str:
        """How evidence names the variable at a position."""
        return f"variable {self.autoregressive.ordering.permutation[position]} (position {position})"

    @torch.no_grad()
    def in_chunks(self, compute: Callable[..., Tensor], x: Tensor, context: Tensor | None) -> Tensor:
        """`compute(x, context)` for many rows, without keeping the activations of all at once."""
        rows = [slice(i, i + _CHUNK) for i in range(0, len(x), _CHUNK)]
        return torch.cat([compute(x[r], None if context is None else context[r]) for r in rows])


class PropertyCheck(Protocol):
    """A check of one property, of a model with options, or of a `Subject` made from both."""

    property_name: str

    def __call__(self, model: LikelihoodModel | Subject, **options: Unpack[Options]) -> PropertyResult:
        """The result, or `ConformanceError`."""


def conformance(property_name: str) -> Callable[[Callable[[Subject], Outcome]], PropertyCheck]:
    """Turn a function of a `Subject` into a public check: it names the property in what it raises."""

    def decorate(check: Callable[[Subject], Outcome]) -> PropertyCheck:
        @functools.wraps(check)
        def run(model: LikelihoodModel | Subject, **options: Unpack[Options]) -> PropertyResult:
            # A constructor called while loading draws initial weights from the global generator.
            with torch.random.fork_rng(devices=[]):
                subject = model if isinstance(model, Subject) else Subject.of(model, **options)
                try:
                    outcome = check(subject)
                except Skipped as reason:
                    return PropertyResult(property_name, "skipped", str(reason))
                except Violation as evidence:
                    raise ConformanceError(property_name, str(evidence)) from None
                except Exception as error:
                    raise ConformanceError(property_name, told_of(error, subject.model)) from error
            return PropertyResult(property_name, "passed", *outcome)

        run.property_name = property_name  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate


def all_examples(model: LikelihoodModel, limit: int = STATE_LIMIT) -> Tensor | None:
    """Every x there is, `(K^n, *event_shape)`, in lexicographic order; None if more than `limit`.

    A missing value is a state like any other, the last one.

    >>> from chainrule.models import Independent
    >>> all_examples(Independent((2,))).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    kinds = kinds_of(model)
    supports = [(v, kind.support) for kind in kinds for v in kind.variables.tolist()]
    sizes = [0 if support is None else len(support) for _, support in supports]
    if 0 in sizes or sum(map(math.log, sizes)) > math.log(limit) + 1e-9:
        return None
    in_order = [support for _, support in sorted(supports, key=lambda pair: pair[0])]
    every = torch.cartesian_prod(*[support for support in in_order if support is not None])
    return every.to(torch.get_default_dtype()).view(-1, *model.event_shape)


def _float64_copy(model: LikelihoodModel) -> LikelihoodModel:
    try:
        return copy.deepcopy(model).to("cpu", torch.float64).eval()
    except Exception as error:
        raise ChainruleError(
            f"this {type(model).__name__} cannot be copied to be checked ({' '.join(str(error).split())}); "
            "keep what it learns as parameters and other tensors as buffers."
        ) from error


def _contexts(model: LikelihoodModel, context: Any) -> Tensor | None:
    if model.context_size == 0 and context is None:
        return None
    if context is None:
        context = torch.arange(min(model.context_size, 3))
    context = torch.as_tensor(context)
    if context.ndim == (1 if context.is_floating_point() else 0):
        context = context[None]
    return model._checked_context(context, len(context))


def relative_deviation(found: Tensor, expected: Tensor) -> Tensor:
    """|found - expected| / max(1, |expected|), elementwise; infinite where either is NaN."""
    deviation = (found - expected).abs() / expected.abs().clamp_min(1.0)
    return deviation.nan_to_num(nan=math.inf, posinf=math.inf)


def index_of_worst(deviation: Tensor) -> list[int]:
    """Where the greatest deviation is, one index per dimension."""
    return [int(i) for i in torch.unravel_index(deviation.argmax(), deviation.shape)]
