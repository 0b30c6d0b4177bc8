"""`load`: any saved model of the library, from a run folder, a saved model, or a hub name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.models import MODELS
from chainrule.saving import locate, read_config

__all__ = ["load"]


def load(source: str | Path, **hub_options: Any) -> LikelihoodModel:
    """The model in a folder that `fit` or `save_pretrained` made, or on the hub; in evaluation mode.

    - `hub_options`: `revision`, `token`, `cache_dir`, ... for `huggingface_hub`.

    Raises `ChainruleError` where there is no model, where it is damaged or of an incompatible
    version, or where it is of a class that this library does not have (use that class's
    `from_pretrained` then).
    """
    folder = locate(source, **hub_options)
    name = read_config(folder)["model"]
    classes = {cls.__name__: cls for cls in MODELS.values()}
    if name not in classes:
        raise ChainruleError(
            f"{source} holds a {name}, which is no model of this library; "
            f"load it with {name}.from_pretrained."
        )
    model: LikelihoodModel = classes[name].from_pretrained(str(folder))
    return model
