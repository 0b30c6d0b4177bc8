"""What every exact-likelihood model offers: log-likelihoods in nats, samples, saving.

`LikelihoodModel` holds the parts that do not depend on *how* p(x) is factorised, so that a mixture
of several factorisations (`chainrule.models.Ensemble`) has the same face as a single one.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from huggingface_hub.hub_mixin import ModelHubMixin
from torch import Tensor, nn

from chainrule.conditionals import Conditional, resolve_conditional
from chainrule.errors import ChainruleError, unknown_name
from chainrule.orderings import Ordering
from chainrule.sampling import draw_noise
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
    closed_form: ClassVar[bool] = False

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
        self.context_size = context_size

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
        num_samples: int = 1,
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

        - `context`: one context for all samples or one for each.
        - `seed` or `generator`: the source of the noise; without either, a fresh random seed.
        - `noise`: instead of drawing it, uniforms `(num_samples, n[, num_noise])` in [0, 1), in the
          order of the ordering.
        - `temperature`: below 1 sharpens every conditional; other than 1 is no longer a sample of p.
        - `return_log_prob`: also return log p(x) under the model (at temperature 1), nats.
        - `method`: `"incremental"` costs about one parallel pass in all, `"naive"` one per
          variable, `"fixed-point"` a few; for the same noise the sample is the same.
        """
        if temperature <= 0:
            raise ChainruleError(f"temperature must be positive, not {temperature}.")
        noise = self._checked_noise(noise, num_samples, seed, generator)
        context = self._checked_context(self._expand_context(context, len(noise)), len(noise))
        if method not in SAMPLE_METHODS:
            raise unknown_name("sampling method", method, SAMPLE_METHODS)
        x, log_prob = self._sample(noise, context, temperature, return_log_prob, method)
        if not return_log_prob:
            return x
        return x, self._log_prob(x, context) if log_prob is None else log_prob

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
        folder = Path(save_directory)
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
        return cls._from_pretrained(model_id=str(pretrained_model_name_or_path), **hub_options)

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
        except (TypeError, KeyError, AttributeError) as error:
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
        if not isinstance(x, Tensor):
            raise ChainruleError(
                f"expected a torch.Tensor of shape (batch, *{self.event_shape}), not {type(x).__name__}."
            )
        if tuple(x.shape[1:]) != self.event_shape or x.ndim == 0:
            raise ChainruleError(
                f"expected examples of shape (batch, {', '.join(map(str, self.event_shape))}), "
                f"but got {tuple(x.shape)}."
            )
        reference = self._reference
        x = x.to(device=reference.device, dtype=reference.dtype)
        self.conditional.check(x)
        return x

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
        context = torch.as_tensor(context)
        if not context.is_floating_point():
            context = _one_hot(context, size)
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
        context = torch.as_tensor(context)
        single = context.ndim == (1 if context.is_floating_point() else 0)
        return context.expand(num_samples, *context.shape) if single else context

    def _checked_noise(
        self, noise: Tensor | None, num_samples: int, seed: int | None, generator: torch.Generator | None
    ) -> Tensor:
        reference, width = self._reference, self.conditional.num_noise
        if noise is None:
            generator = generator or _new_generator(seed)
            noise = draw_noise(num_samples, self.num_variables, width, generator, reference.dtype)
        elif noise.ndim == 2:
            noise = noise[..., None]
        expected = (len(noise), self.num_variables, width)
        if tuple(noise.shape) != expected:
            raise ChainruleError(
                f"expected noise of shape (num_samples, {self.num_variables}, {width}), "
                f"but got {tuple(noise.shape)}."
            )
        return noise.to(device=reference.device, dtype=reference.dtype)


def _new_generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _checked_event_shape(event_shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(int(size) for size in event_shape)
    if not shape or min(shape) < 1:
        raise ChainruleError(f"event_shape must be one or more positive sizes, such as (784,), not {shape}.")
    return shape


def _one_hot(labels: Tensor, size: int) -> Tensor:
    if labels.ndim != 1 or (labels.numel() and (labels.min() < 0 or labels.max() >= size)):
        raise ChainruleError(f"labels must be one whole number in 0..{size - 1} per example.")
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
