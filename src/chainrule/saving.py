"""Model files: `config.json` (what rebuilds the model) and `model.safetensors` (its weights).

Nothing here is ever unpickled. Files are written beside their final name and renamed, so a full
disk or a killed process leaves the previous ones as they were.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from chainrule._version import __version__
from chainrule.errors import ChainruleError

__all__ = [
    "CONFIG_NAME",
    "FORMAT",
    "WEIGHTS_NAME",
    "locate",
    "read_config",
    "read_model_files",
    "read_tensors",
    "write_atomically",
    "write_json",
    "write_model_files",
    "write_tensors",
]

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
#: Version of the layout of saved models; raised when older readers could misread newer files.
FORMAT = 1


def write_model_files(
    folder: Any, class_name: str, settings: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    """Write both files of a model into an existing folder, weights first."""
    folder = Path(folder)
    write_tensors(folder / WEIGHTS_NAME, tensors)
    config = {"format": FORMAT, "chainrule": __version__, "model": class_name, "settings": settings}
    write_json(folder / CONFIG_NAME, config)


def read_model_files(
    source: Any, class_name: str, **hub_options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and tensors of a saved model, from a folder or from the hub.

    Raises `ChainruleError` where there is none, where it was written by an incompatible version,
    where it is damaged, or where it is a model of another class.
    """
    folder = locate(source, **hub_options)
    config = read_config(folder)
    if config["model"] != class_name:
        raise ChainruleError(
            f"{source} holds a {config['model']}, not a {class_name}; chainrule.load finds the right class."
        )
    return config["settings"], read_tensors(folder / WEIGHTS_NAME)


def locate(source: Any, **hub_options: Any) -> Path:
    """The folder that `source` names: itself, or a snapshot downloaded from the hub."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.exists() or not _looks_like_hub_name(str(source)):
        raise ChainruleError(
            f"{source} is not a folder; expected a run, a saved model, or a hub name such as user/model."
        )
    return _download(str(source), hub_options)


def _looks_like_hub_name(source: str) -> bool:
    owner, slash, name = source.partition("/")
    return bool(owner and slash and name) and "/" not in name and not owner.startswith((".", "~"))


def read_config(folder: Path) -> dict[str, Any]:
    """The checked `config.json` of a model folder."""
    path = Path(folder) / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ChainruleError(
            f"{folder} holds no model: there is no {CONFIG_NAME}; expected a folder that training or save_pretrained made."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ChainruleError(f"{path} cannot be read ({error}); restore it or train again.") from None
    if not isinstance(config, dict) or not {"format", "model", "settings"} <= config.keys():
        raise ChainruleError(f"{path} is not the configuration of a chainrule model.")
    if config["format"] != FORMAT:
        raise ChainruleError(
            f"{path} has format {config['format']}, written by chainrule {config.get('chainrule', '?')}; "
            f"chainrule {__version__} reads format {FORMAT}. Install the version that wrote it."
        )
    return config


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically; tensors that share memory are written once each."""
    contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_atomically(path, save(contiguous, metadata))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or a `ChainruleError` if it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ChainruleError(f"{path} is missing: the weights are not there.") from None
    except (SafetensorError, OSError) as error:
        raise ChainruleError(f"{path} is damaged ({error}); the weights cannot be read.") from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step: it is never half-written, whatever happens."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ChainruleError(
            f"{path} could not be written ({error.strerror}); what was there before is unchanged."
        ) from None


def _download(model_id: str, options: dict[str, Any]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME], **options))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ChainruleError(
            f"{model_id} is no folder here and could not be fetched from the hub ({first_line})."
        ) from None
