"""What every exact-likelihood model offers: log-likelihoods in nats, samples, saving.

`LikelihoodModel` holds the parts that do not depend on *how* p(x) is factorised, so that a mixture
of several factorisations (`chainrule.models.Ensemble`) has the same face as a single one.
"""

from __future__ import annotations

import inspect
import math
import reprlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from huggingface_hub.hub_mixin import ModelHubMixin
from torch import Tensor, nn

from chainrule.arguments import LARGEST_SIZE, checked_seed, real_number, some_path, whole_number
from chainrule.conditionals import Conditional, resolve_conditional
from chainrule.errors import ChainruleError, unknown_name
from chainrule.orderings import Ordering
from chainrule.sampling import (
    FILL_METHODS,
    FillInfo,
    FillMethod,
    FillOptions,
    draw_noise,
    warning_of,
)
from chainrule.saving import CONFIG_NAME, read_model_files, write_model_files

__all__ = ["LikelihoodModel", "SampleMethod"]

SampleMethod = Literal["incremental", "naive", "fixed-point"]
SAMPLE_METHODS = ("incremental", "naive", "fixed-point")


class LikelihoodModel(
    nn.Module,
    ModelHubMixin,
    library_name="chainrule",
    tags=["chainrule", "autoregressive", "exact-likelihood"],
):
    """An exact log p(x) for examples of shape `event_shape`, and samples from it.

    - `event_shape`: shape of one example without the batch, such as `(784,)` or `(1, 28, 28)`.
    - `conditional`: family of p(x_i | parameters), a name or a `Conditional`.
    - `context_size`: length of the vector the whole distribution is conditioned on; 0 for none.
      A context is then given as floats `(batch, context_size)` or as class labels `(batch,)` in
      0..context_size-1, which are one-hot encoded.

    A subclass writes `_log_prob` and `_sample`. Its constructor arguments must be readable as
    attributes of the same names; that is how `save_pretrained` records them.
    """

    #: Whether the parameters come from `fit_counts` (closed form) and not from gradients.
    closed_form: bool = False
    #: Peak learning rate of `fit` for binary variables where none is asked for.
    default_learning_rate: ClassVar[float] = 5e-3

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        conditional: str | Conditional = "bernoulli",
        context_size: int = 0,
    ) -> None:
        super().__init__()
        self.event_shape = _checked_event_shape(event_shape)
        self.num_variables = math.prod(self.event_shape)
        self.conditional = resolve_conditional(conditional)
        self.context_size = whole_number("context_size", context_size)

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

    def fit_counts(self, x: Tensor) -> None:
        """Set the parameters in closed form from data `(N, *event_shape)`; only if `closed_form`."""
        raise NotImplementedError(f"{type(self).__name__} has no closed-form fit; use chainrule.fit.")

    # ---------------------------------------------------------------- likelihood

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Exact log-likelihood of each example, in nats, `(batch,)`.

        Of the model as it stands: in training mode dropout is on, so call `eval()` first (what
        `fit` and `load` return is in evaluation mode). A MADE trained on several masks answers
        under the mask in use.

        Raises `ChainruleError` for a wrong shape, NaN, or a value outside the support.
        """
        x = self._checked_values(x)
        return self._log_prob(x, self._checked_context(context, len(x)))

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
        context = self._checked_context(self._expand_context(context, len(noise)), len(noise))
        if method not in SAMPLE_METHODS:
            raise unknown_name("sampling method", method, SAMPLE_METHODS)
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
        if seed is not None and generator is not None:
            raise ChainruleError("seed and generator were given; give one source of randomness.")
        source = _new_generator(seed) if generator is None else _checked_generator(generator)
        options = FillOptions(
            method=method,
            num_particles=whole_number("num_particles", num_particles, minimum=1),
            num_samples=whole_number("num_samples", 1 if num_samples is None else num_samples, minimum=1),
            temperature=real_number("temperature", temperature, above=0.0),
            seed=int(torch.randint(2**32, (), generator=source, device=source.device)),
            present=present,
        )
        evidence, holes = self._checked_evidence(evidence, mask)
        context = self._checked_context(self._expand_context(context, len(evidence)), len(evidence))
        filled, info = self._fill(evidence, holes, context, options)
        warning = warning_of(info, options.num_particles)
        if warning is not None:
            warnings.warn(warning, stacklevel=3)  # past the decorator, to whoever called
        filled = filled[:, 0] if num_samples is None else filled
        return (filled, info) if return_info else filled

    # ---------------------------------------------------------------- saving

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-ready: what rebuilds this model without its weights."""
        names = [p for p in inspect.signature(type(self).__init__).parameters if p != "self"]
        return {name: _json_ready(getattr(self, name)) for name in names}

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        overwrite: bool = False,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        model_card_kwargs: dict[str, Any] | None = None,
        **hub_options: Any,
    ) -> Any:
        """Write `config.json` and `model.safetensors` into a folder, for `from_pretrained`.

        A model card `README.md` is added where there is none. `push_to_hub=True` also uploads, with
        `repo_id` and `hub_options` for `huggingface_hub`, and returns the commit. Raises
        `ChainruleError` if the folder already holds a model, unless `overwrite`, and if it cannot be
        written (what was there before is then intact).
        """
        # Not the mixin's own method: that deletes an earlier config.json before it writes anything.
        folder = some_path("the folder to save to", save_directory)
        if (folder / CONFIG_NAME).exists() and not overwrite:
            raise ChainruleError(f"{folder} already holds a saved model; pass overwrite=True to replace it.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._save_pretrained(folder)
            if not (folder / "README.md").exists():
                self.generate_model_card(**(model_card_kwargs or {})).save(folder / "README.md")
        except OSError as error:
            raise ChainruleError(f"{folder} could not be written ({error.strerror or error}).") from None
        if not push_to_hub:
            return None
        hub_options.pop("config", None)
        return self.push_to_hub(repo_id or folder.name, model_card_kwargs=model_card_kwargs, **hub_options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **hub_options: Any) -> Self:
        """The model that `save_pretrained` or `fit` left in a folder, or one on the hub; in evaluation mode.

        - `hub_options`: `revision`, `token`, `cache_dir`, ... for `huggingface_hub`.

        Raises `ChainruleError` where there is none, where it is damaged or of an incompatible version,
        and where it is of another class.
        """
        # Not the mixin's own method: that reads config.json itself, before anything is checked.
        place = some_path("the model's place", pretrained_model_name_or_path)
        return cls._from_pretrained(model_id=str(place), **hub_options)

    def _save_pretrained(self, save_directory: Any) -> None:
        write_model_files(save_directory, type(self).__name__, self.settings(), self.state_dict())

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        settings, tensors = read_model_files(model_id, cls.__name__, **options)
        model = cls._rebuilt(model_id, settings)
        dtypes = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
        if len(dtypes) == 1:
            # Constructors build the default dtype; a model saved in float64 must not lose digits.
            model.to(dtypes.pop())
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and bool(tensor.isnan().any()):
                raise ChainruleError(
                    f"the weights {name} in {model_id} hold NaN: the model was saved after it had "
                    "diverged; train it again, or load an earlier one."
                )
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            what = " ".join(str(error).split())
            raise ChainruleError(f"the weights in {model_id} do not fit its settings: {what}") from None
        return model.eval()

    @classmethod
    def _rebuilt(cls, model_id: str, settings: dict[str, Any]) -> Self:
        try:
            return cls.from_settings(settings)
        except ChainruleError:
            raise
        except (TypeError, KeyError, AttributeError, IndexError, ValueError, RuntimeError) as error:
            raise ChainruleError(
                f"the settings in {model_id} make no {cls.__name__} ({error}); "
                "they may be of another version."
            ) from None

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """A fresh model from what `settings()` returned."""
        return cls(**settings)

    # ---------------------------------------------------------------- odds and ends

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters())

    def extra_repr(self) -> str:
        """Structure first: what `print(model)` shows above its layers."""
        context = f", context_size={self.context_size}" if self.context_size else ""
        return (
            f"event_shape={self.event_shape}, conditional={self.conditional.name}{context}, "
            f"parameters={self.num_parameters:,}"
        )

    @property
    def _reference(self) -> Tensor:
        """Any floating tensor of the model: it knows the dtype and the device."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                return tensor
        return torch.zeros(())

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self._reference.dtype, device=self._reference.device)

    # ---------------------------------------------------------------- checking arguments

    def _checked_values(self, x: Tensor) -> Tensor:
        """`x` on the model's device and dtype, or a `ChainruleError` that says what was expected."""
        self._check_shape(x)
        reference = self._reference
        x = x.to(device=reference.device, dtype=reference.dtype)
        self.conditional.check(x)
        return x

    def _check_shape(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise ChainruleError(
                f"expected a torch.Tensor of shape (batch, *{self.event_shape}), not {type(x).__name__}."
            )
        if tuple(x.shape[1:]) != self.event_shape or x.ndim == 0:
            raise ChainruleError(
                f"expected examples of shape (batch, {', '.join(map(str, self.event_shape))}), "
                f"but got {tuple(x.shape)}."
            )

    def _checked_evidence(self, evidence: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Evidence with 0 in its holes, on the model's device and dtype, and the holes as booleans."""
        self._check_shape(evidence)
        holes = _checked_mask(mask, evidence, self.event_shape)
        reference = self._reference
        holes = holes.to(reference.device)
        known = torch.where(holes, 0.0, evidence.to(device=reference.device, dtype=reference.dtype))
        outside = ~(self.conditional.in_support(known) | holes)
        if bool(outside.any()):
            where = torch.nonzero(outside)[0].tolist()
            family = self.conditional.at(int(outside.flatten(1)[where[0]].nonzero()[0]))
            raise ChainruleError(
                f"the known value {known[tuple(where)].item():g} at index {where} of the evidence cannot "
                f"occur: expected {family.value_range}; mask it if it is to be filled in."
            )
        return known, holes

    def _checked_context(self, context: Tensor | None, batch_size: int) -> Tensor | None:
        """The context as `(batch, context_size)` floats, or a `ChainruleError`."""
        size = self.context_size
        if size == 0:
            if context is not None:
                raise ChainruleError("this model takes no context (its context_size is 0).")
            return None
        if context is None:
            raise ChainruleError(
                f"this model needs a context: {size} numbers or a label in 0..{size - 1} per example."
            )
        context = _as_tensor(context)
        if not context.is_floating_point():
            context = _one_hot(context, size)
        elif not bool(context.isfinite().all()):
            where = torch.nonzero(~context.isfinite())[0].tolist()
            raise ChainruleError(
                f"the context is {context[tuple(where)].item():g} at index {where}; expected finite numbers."
            )
        if tuple(context.shape) != (batch_size, size):
            raise ChainruleError(
                f"expected a context of shape ({batch_size}, {size}) or labels ({batch_size},), "
                f"but got {tuple(context.shape)}."
            )
        reference = self._reference
        return context.to(device=reference.device, dtype=reference.dtype)

    def _expand_context(self, context: Tensor | int | None, num_samples: int) -> Tensor | None:
        """One context for all samples becomes one for each."""
        if context is None:
            return None
        context = _as_tensor(context)
        single = context.ndim == (1 if context.is_floating_point() else 0)
        return context.expand(num_samples, *context.shape) if single else context

    def _checked_noise(
        self,
        noise: Tensor | None,
        num_samples: int | None,
        seed: int | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Noise from its one source, `(num_samples, n, num_noise)` on the model's device and dtype."""
        given = {"seed": seed, "generator": generator, "noise": noise}
        sources = [name for name, value in given.items() if value is not None]
        if len(sources) > 1:
            raise ChainruleError(f"{' and '.join(sources)} were given; give one source of randomness.")
        if num_samples is not None:
            num_samples = whole_number("num_samples", num_samples)
        reference, width = self._reference, self.conditional.num_noise
        if noise is None:
            source = _new_generator(seed) if generator is None else _checked_generator(generator)
            count = 1 if num_samples is None else num_samples
            noise = draw_noise(count, self.num_variables, width, source, reference.dtype)
        else:
            noise = self._checked_given_noise(noise, num_samples)
        return noise.to(device=reference.device, dtype=reference.dtype)

    def _checked_given_noise(self, noise: Tensor, num_samples: int | None) -> Tensor:
        """Noise that the caller made, `(num_samples, n, num_noise)`, or a `ChainruleError`."""
        if not isinstance(noise, Tensor) or not noise.is_floating_point():
            kind = str(noise.dtype) if isinstance(noise, Tensor) else type(noise).__name__
            raise ChainruleError(f"noise must be a tensor of floats in [0, 1), not {kind}.")
        width = self.conditional.num_noise
        shaped = noise[..., None] if noise.ndim == 2 else noise
        if shaped.ndim != 3 or tuple(shaped.shape[1:]) != (self.num_variables, width):
            raise ChainruleError(
                f"expected noise of shape (num_samples, {self.num_variables}, {width}), "
                f"but got {tuple(shaped.shape)}."
            )
        if num_samples not in (None, len(shaped)):
            raise ChainruleError(
                f"num_samples is {num_samples}, but the noise is for {len(shaped)}; leave num_samples out."
            )
        inside = (shaped >= 0) & (shaped < 1)  # false for NaN
        if not bool(inside.all()):
            where = torch.nonzero(~inside)[0].tolist()
            raise ChainruleError(
                f"the noise is {shaped[tuple(where)].item():g} at index {where}; expected uniforms in [0, 1)."
            )
        # A double just below 1 must not become 1 in the model's precision.
        return shaped.clamp_max(1 - torch.finfo(self._reference.dtype).eps / 2)


def _checked_mask(mask: Tensor | None, evidence: Tensor, event_shape: tuple[int, ...]) -> Tensor:
    """Where the holes are, a boolean tensor of the evidence's shape, or a `ChainruleError`."""
    if mask is None:
        return evidence.isnan()
    if not isinstance(mask, Tensor):
        raise ChainruleError(f"the mask must be a torch.Tensor, not {type(mask).__name__}.")
    if tuple(mask.shape) not in (tuple(evidence.shape), event_shape):
        raise ChainruleError(
            f"the mask has shape {tuple(mask.shape)}; expected that of the evidence, "
            f"{tuple(evidence.shape)}, or that of one example, {event_shape}."
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        odd = mask[(mask != 0) & (mask != 1)].flatten()[0].item()
        raise ChainruleError(
            f"the mask holds {odd}; expected true or 1 where a variable is to be filled in, else false or 0."
        )
    return mask.bool().expand(evidence.shape)


def _new_generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(checked_seed(seed))
    return generator


def _checked_generator(generator: torch.Generator) -> torch.Generator:
    if not isinstance(generator, torch.Generator):
        raise ChainruleError(f"generator must be a torch.Generator, not {type(generator).__name__}.")
    return generator


def _checked_event_shape(event_shape: Sequence[int]) -> tuple[int, ...]:
    expected = "event_shape must be one or more positive sizes, such as (784,)"
    if isinstance(event_shape, (str, bytes)) or not isinstance(event_shape, Iterable):
        raise ChainruleError(f"{expected}, not {event_shape!r}.")
    sizes = tuple(event_shape)
    try:
        shape = tuple(whole_number("event_shape", size, minimum=1) for size in sizes)
    except ChainruleError:
        raise ChainruleError(f"{expected}, not {reprlib.repr(sizes)}.") from None
    if not shape or math.prod(shape) > LARGEST_SIZE:
        raise ChainruleError(f"{expected}, not {reprlib.repr(sizes)}.")
    return shape


def _as_tensor(context: Any) -> Tensor:
    try:
        return torch.as_tensor(context)
    except (TypeError, ValueError, RuntimeError):
        raise ChainruleError(
            f"a context must be a tensor of numbers or labels, not {reprlib.repr(context)}."
        ) from None


def _one_hot(labels: Tensor, size: int) -> Tensor:
    expected = f"labels must be one whole number in 0..{size - 1} per example"
    if labels.ndim != 1 or labels.is_complex():
        raise ChainruleError(f"{expected}, but these are {labels.dtype} of shape {tuple(labels.shape)}.")
    outside = (labels < 0) | (labels >= size)
    if bool(outside.any()):
        where = int(outside.int().argmax())
        raise ChainruleError(f"{expected}; the label at index {where} is {labels[where].item()}.")
    return nn.functional.one_hot(labels.long(), size).float()


def _json_ready(value: Any) -> Any:
    if isinstance(value, Ordering):
        return value.spec
    if isinstance(value, Conditional):
        return {"name": value.name, **value.settings()} if value.settings() else value.name
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_json_ready(v) for v in value]
    return value
