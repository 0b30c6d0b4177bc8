"""Models that can be saved and come back: `save_pretrained`, `from_pretrained`, and the Hugging Face hub.

What a folder holds and how it is written is `chainrule.saving`; this is how a model uses it.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Self

from huggingface_hub.hub_mixin import ModelHubMixin
from torch import Tensor, nn

from chainrule.arguments import some_path
from chainrule.conditionals import Conditional
from chainrule.errors import ChainruleError
from chainrule.orderings import Ordering
from chainrule.saving import CONFIG_NAME, read_model_files, write_model_files

__all__ = ["Pretrained"]


class Pretrained(
    nn.Module,
    ModelHubMixin,
    library_name="chainrule",
    tags=["chainrule", "autoregressive", "exact-likelihood"],
):
    """A module that can be written to a folder and rebuilt from it.

    Its constructor's arguments must be readable as attributes of the same names: `settings` collects them.
    """

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


def _json_ready(value: Any) -> Any:
    if isinstance(value, Ordering):
        return value.spec
    if isinstance(value, Conditional):
        return value.spec()
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_json_ready(v) for v in value]
    return value
