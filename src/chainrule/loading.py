"""`load`: any saved model of the library, from a run folder, a saved model, or a hub name."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.models import MODELS
from chainrule.saving import locate, read_config

__all__ = ["load", "load_network"]

#: Beside a model of a table lies the schema by which a table becomes the numbers that the model sees.
_SCHEMA_NAME = "schema.json"


def load(source: str | Path, **hub_options: Any) -> LikelihoodModel:
    """The model in a folder that `fit` or `save_pretrained` made, or on the hub; in evaluation mode.

    - `hub_options`: `revision`, `token`, `cache_dir`, ... for `huggingface_hub`.

    Raises `ChainruleError` where there is no model, where it is damaged or of an incompatible
    version, or where it is of a class that this library does not have (use that class's
    `from_pretrained` then). Warns of a model of a table, which is only half of it: what takes and makes
    DataFrames is `chainrule.tabular.TableModel.load`.
    """
    folder = locate(source, **hub_options)
    if (folder / _SCHEMA_NAME).is_file():
        warnings.warn(
            f"{source} holds a model of a table; chainrule.load gives its network alone, which sees encoded "
            "numbers. For DataFrames: chainrule.tabular.TableModel.load",
            stacklevel=2,
        )
    return load_network(folder, source)


def load_network(folder: Path, source: str | Path | None = None) -> LikelihoodModel:
    """The model in a folder, without a word where it is of a table: for those who read the schema, too.

    - `source`: what the folder is called in errors, if not by its own name.
    """
    name = read_config(folder)["model"]
    classes = {cls.__name__: cls for cls in MODELS.values()}
    if name not in classes:
        raise ChainruleError(
            f"{source or folder} holds a {name}, which is no model of this library; "
            f"load it with {name}.from_pretrained."
        )
    model: LikelihoodModel = classes[name].from_pretrained(str(folder))
    return model
