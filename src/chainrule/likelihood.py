"""What every exact-likelihood model offers: log-likelihoods in nats, samples, saving.

`LikelihoodModel` holds the parts that do not depend on *how* p(x) is factorised, so that a mixture
of several factorisations (`chainrule.models.Ensemble`) has the same face as a single one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from chainrule.arguments import real_number, whole_number
from chainrule.conditionals import Conditional, resolve_conditional
from chainrule.errors import ChainruleError, unknown_name
from chainrule.inputs import (
    check_shape,
    checked_evidence,
    checked_noise,
    expanded_context,
    source_of_randomness,
)
from chainrule.sampling import (
    FILL_METHODS,
    FillInfo,
    FillMethod,
    FillOptions,
    draw_noise,
    warning_of,
)
from chainrule.trainable import Trainable

__all__ = ["LikelihoodModel", "SampleMethod"]

SampleMethod = Literal["incremental", "naive", "fixed-point"]
SAMPLE_METHODS = ("incremental", "naive", "fixed-point")


class LikelihoodModel(Trainable):
    """An exact log p(x) for examples of shape `event_shape`, and samples from it.

    - `event_shape`: shape of one example without the batch, such as `(784,)` or `(1, 28, 28)`.
    - `conditional`: family of p(x_i | parameters), a name or a `Conditional`.
    - `context_size`: length of the vector the whole distribution is conditioned on; 0 for none.
      A context is then given as floats `(batch, context_size)` or as class labels `(batch,)` in
      0..context_size-1, which are one-hot encoded.

    A subclass writes `_log_prob` and `_sample`. Its constructor arguments must be readable as
    attributes of the same names; that is how `save_pretrained` records them.
    """

    #: Peak learning rate of `fit` for binary variables where none is asked for.
    default_learning_rate: ClassVar[float] = 5e-3

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        conditional: str | Conditional = "bernoulli",
        context_size: int = 0,
    ) -> None:
        super().__init__(event_shape, context_size=context_size)
        self.conditional = resolve_conditional(conditional)

    # ---------------------------------------------------------------- what a subclass writes

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        """log p(x) in nats, `(batch,)`, of checked arguments."""
        raise NotImplementedError

    def _sample(
        self,
        noise: Tensor,
        context: Tensor | None,
        temperature: float,
        with_log_prob: bool,
        method: SampleMethod,
    ) -> tuple[Tensor, Tensor | None]:
        """Samples in event layout for checked `noise`, and their log p(x) if it came for free."""
        raise NotImplementedError

    def _fill(
        self, evidence: Tensor, holes: Tensor, context: Tensor | None, options: FillOptions
    ) -> tuple[Tensor, FillInfo]:
        """Fillings `(rows, num_samples, *event_shape)` of checked evidence, and how they came about."""
        raise NotImplementedError

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """What training minimises, nats per example, `(batch,)`; the exact NLL unless overridden.

        Models that train on random orderings or masks draw them from `generator`.
        """
        return -self._log_prob(x, context)

    def validation_loss(self, x: Tensor, context: Tensor | None) -> Tensor:
        """What model selection uses, nats per example, `(batch,)`; deterministic.

        The exact NLL, unless that is too expensive to compute every epoch.
        """
        return -self._log_prob(x, context)

    def check_levels(self, levels: int | None, name: str) -> None:
        """Raise `ChainruleError` if the conditional has fewer values than the data."""
        support = self.conditional.support()
        if support is not None and levels is not None and levels > len(support):
            raise ChainruleError(
                f"{name} has values 0..{levels - 1}, but the {self.conditional.name} conditional "
                f"takes {self.conditional.value_range}; use a binary data set (dynamic-mnist for MNIST)."
            )

    def check_values(self, x: Tensor) -> None:
        """Raise `ChainruleError` for a value outside the support."""
        self.conditional.check(x)

    def validation_record(self, loss: float) -> dict[str, float]:
        """Bits per variable."""
        return {"validation_bits_per_dim": self._in_bits_per_dim(loss)}

    def validation_words(self, loss: float) -> str:
        """Nats, and bits per variable where there are probabilities: a density depends on the units."""
        if self.conditional.support() is None:
            return f"{loss:.3f} nats per {'row' if len(self.event_shape) == 1 else 'example'}"
        return f"{loss:.3f} nats, {self._in_bits_per_dim(loss):.4f} bits/dim"

    @property
    def numbers_per_example(self) -> int:
        """The parameters of all its conditionals."""
        return self.num_variables * self.conditional.num_params

    def _in_bits_per_dim(self, nats: float) -> float:
        return nats / (self.num_variables * math.log(2))

    # ---------------------------------------------------------------- likelihood

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Exact log-likelihood of each example, in nats, `(batch,)`.

        Of the model as it stands: in training mode dropout is on, so call `eval()` first (what
        `fit` and `load` return is in evaluation mode). A MADE trained on several masks answers
        under the mask in use.

        Raises `ChainruleError` for a wrong shape, NaN, or a value outside the support.
        """
        x = self._checked_values(x)
        context = self._checked_context(context, len(x))
        return self._log_prob(x, context) if len(x) else x.new_zeros(0)

    def nll(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Negative log-likelihood in nats, `(batch,)`."""
        return -self.log_prob(x, context)

    def bits_per_dim(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """-log p(x) / (n ln 2), bits per variable, `(batch,)`."""
        return self.nll(x, context) / (self.num_variables * math.log(2))

    # ---------------------------------------------------------------- sampling

    @torch.no_grad()
    def sample(
        self,
        num_samples: int | None = None,
        context: Tensor | int | None = None,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
        temperature: float = 1.0,
        return_log_prob: bool = False,
        method: SampleMethod = "incremental",
    ) -> Any:
        """Exact samples by ancestral sampling, `(num_samples, *event_shape)`.

        - `num_samples`: 1 if not given, or as many as there are rows of `noise`.
        - `context`: one context for all samples or one for each.
        - `seed` or `generator`: the source of the noise; without either, a fresh random seed.
        - `noise`: instead of drawing it, uniforms `(num_samples, n[, num_noise])` in [0, 1), in the
          order of the ordering.
        - `temperature`: a positive number; below 1 sharpens every conditional; other than 1 is no
          longer a sample of p.
        - `return_log_prob`: also return log p(x) under the model (at temperature 1), nats.
        - `method`: `"incremental"` costs about one parallel pass in all, `"naive"` one per
          variable, `"fixed-point"` a few; for the same noise the sample is the same.

        Raises `ChainruleError` for arguments out of range and for more than one source of noise.
        """
        temperature = real_number("temperature", temperature, above=0.0)
        noise = self._checked_noise(noise, num_samples, seed, generator)
        context = self._context_of_rows(context, len(noise))
        if method not in SAMPLE_METHODS:
            raise unknown_name("sampling method", method, SAMPLE_METHODS)
        if not len(noise):  # layers need not know how to run over nothing
            nothing = noise.new_zeros(0, *self.event_shape)
            return (nothing, noise.new_zeros(0)) if return_log_prob else nothing
        x, log_prob = self._sample(noise, context, temperature, return_log_prob, method)
        if not return_log_prob:
            return x
        return x, self._log_prob(x, context) if log_prob is None else log_prob

    # ---------------------------------------------------------------- filling in

    @torch.no_grad()
    def fill(
        self,
        evidence: Tensor,
        mask: Tensor | None = None,
        context: Tensor | int | None = None,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        method: FillMethod = "auto",
        num_particles: int = 128,
        num_samples: int | None = None,
        temperature: float = 1.0,
        present: bool = False,
        return_info: bool = False,
    ) -> Any:
        """Draw the unknown variables from p(x_unknown | x_known): inpainting, imputation, completion.

        - `evidence`: `(rows, *event_shape)`. Values at unknown places are never read; NaN may stand there.
        - `mask`: true or 1 where a variable is **unknown and to be filled in**, as in the inpainting masks
          of diffusers (white), `numpy.ma` and scikit-learn's `MissingIndicator`; of the shape of the
          evidence, or of one example for all rows. Without it, NaN marks the holes.
        - `context`, `seed`, `generator`: as in `sample`. A row depends on the seed, on which row it is,
          and on itself; not on the other rows (up to the rounding of a batch of another size).
        - `method`: `"exact"`, where nothing known comes after a hole in the ordering, or the model is
          order-agnostic (it is then read in an ordering that has the evidence first, so this is the
          conditional of that reading), or its variables are independent. `"particles"`: sequential Monte
          Carlo with `num_particles` a row, exact as their number grows. `"importance"`: the same without
          resampling. `"auto"`: exact where it can be, row by row, else particles. `"left-to-right"`: plain
          ancestral sampling around the evidence, at the cost of one sample; it **ignores all evidence
          after a hole** when it fills that hole.
        - `num_samples`: fillings of each row; those of particles come from one cloud, so they are not
          independent of each other. None: one, without a dimension for it.
        - `temperature`: sharpens the draws as in `sample`; other than 1, neither the fillings nor
          `log_evidence` are those of the model.
        - `present`: where the model knows missing values (NaN), fill with values that are there: draw from
          p(x_unknown | x_known, no unknown one is missing). That is evidence too: among several holes of
          variables that may be missing, all but the first count as something known after a hole.

        Returns `(rows, *event_shape)`, or `(rows, num_samples, *event_shape)` where that is given; with
        `return_info` also a `FillInfo` with log p(x_known), the effective sample size and the method of
        each row. Warns where the particles were too few. Raises `ChainruleError` for a mask of another
        shape or of other values, and for known values outside the support.
        """
        if method not in FILL_METHODS:
            raise unknown_name("filling method", method, FILL_METHODS)
        source = source_of_randomness(seed=seed, generator=generator)
        options = FillOptions(
            method=method,
            num_particles=whole_number("num_particles", num_particles, minimum=1),
            num_samples=whole_number("num_samples", 1 if num_samples is None else num_samples, minimum=1),
            temperature=real_number("temperature", temperature, above=0.0),
            seed=int(torch.randint(2**32, (), generator=source, device=source.device)),
            present=present,
        )
        check_shape(evidence, self.event_shape)
        evidence, holes = checked_evidence(evidence.to(self._reference), mask, self.conditional)
        context = self._context_of_rows(context, len(evidence))
        filled, info = self._fill(evidence, holes, context, options)
        warning = warning_of(info, options.num_particles)
        if warning is not None:
            warnings.warn(warning, stacklevel=3)  # past the decorator, to whoever called
        filled = filled[:, 0] if num_samples is None else filled
        return (filled, info) if return_info else filled

    # ---------------------------------------------------------------- odds and ends

    def extra_repr(self) -> str:
        """Structure first: what `print(model)` shows above its layers."""
        context = f", context_size={self.context_size}" if self.context_size else ""
        return (
            f"event_shape={self.event_shape}, conditional={self.conditional.name}{context}, "
            f"parameters={self.num_parameters:,}"
        )

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self._reference.dtype, device=self._reference.device)

    # ---------------------------------------------------------------- checking arguments

    def _checked_values(self, x: Tensor) -> Tensor:
        """`x` on the model's device and dtype, or a `ChainruleError` that says what was expected."""
        x = self._shaped(x)
        self.conditional.check(x)
        return x

    def _context_of_rows(self, context: Tensor | int | None, rows: int) -> Tensor | None:
        """The same, where one context may stand for all rows."""
        return self._checked_context(expanded_context(context, rows), rows)

    def _checked_noise(
        self,
        noise: Tensor | None,
        num_samples: int | None,
        seed: int | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Noise from its one source, `(num_samples, n, num_noise)` on the model's device and dtype."""
        if num_samples is not None:
            num_samples = whole_number("num_samples", num_samples)
        width, dtype = self.conditional.num_noise, self._reference.dtype
        source = source_of_randomness(seed=seed, generator=generator, noise=noise)
        if isinstance(source, torch.Generator):
            count = 1 if num_samples is None else num_samples
            noise = draw_noise(count, self.num_variables, width, source, dtype)
        else:
            noise = checked_noise(source, num_samples, self.num_variables, width, dtype)
        return noise.to(self._reference)
