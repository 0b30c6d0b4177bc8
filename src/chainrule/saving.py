"""Model files: `config.json` (what rebuilds the model) and `model.safetensors` (its weights).

Nothing here is ever unpickled. Files are written beside their final name and renamed, so a full
disk or a killed process leaves the previous ones as they were. The weights carry a digest of the
settings they belong to, so that a folder caught between the two renames is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from chainrule._version import __version__
from chainrule.arguments import some_path
from chainrule.errors import ChainruleError

__all__ = [
    "CONFIG_NAME",
    "FORMAT",
    "WEIGHTS_NAME",
    "json_bytes",
    "locate",
    "model_bytes",
    "read_belonging",
    "read_config",
    "read_model_files",
    "read_tensors",
    "remove_partials",
    "tensor_bytes",
    "write_atomically",
    "write_json",
    "write_model_files",
    "write_together",
]

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
#: What is fetched of a model on the hub: the model itself, and what lies beside one of a table (schema,
#: single columns, detector), a series, a text or a sound. Checkpoints and pictures stay there.
_MODEL_FILES = (
    CONFIG_NAME,
    WEIGHTS_NAME,
    "schema.json",
    "marginals/config.json",
    "marginals/model.safetensors",
    "detector.json",
    "detector.safetensors",
    "series.json",
    "tokenizer.json",
    "audio.json",
)
#: Version of the layout of saved models; raised when older readers could misread newer files.
FORMAT = 1

_DIGEST = "settings_sha256"
_PARTIAL = re.compile(r"\..+\.\d+\.partial")


def write_model_files(
    folder: Any, class_name: str, settings: dict[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write both files of a model into an existing folder, replacing earlier ones or neither."""
    folder = Path(folder)
    config = {"format": FORMAT, "chainrule": __version__, "model": class_name, "settings": settings}
    write_together(
        {
            folder / WEIGHTS_NAME: model_bytes(class_name, settings, tensors),
            folder / CONFIG_NAME: json_bytes(config),
        }
    )


def read_model_files(
    source: Any, class_name: str, **hub_options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and tensors of a saved model, from a folder or from the hub.

    Raises `ChainruleError` where there is none (yet), where it was written by an incompatible
    version, where it is damaged, or where it is a model of another class.
    """
    folder = locate(source, **hub_options)
    config = read_config(folder)
    if config["model"] != class_name:
        raise ChainruleError(
            f"{source} holds a {config['model']}, not a {class_name}; chainrule.load finds the right class."
        )
    path = folder / WEIGHTS_NAME
    if "training" in config and not config.get("finished") and not path.exists():
        raise ChainruleError(
            f"{source} has no weights yet: its training stopped before the first validation; resume it."
        )
    tensors = read_tensors(path)
    digest = _stored_digest(path)
    if digest is not None and digest != _settings_digest(class_name, config["settings"]):
        raise ChainruleError(
            f"{path} does not belong to the {CONFIG_NAME} beside it (saving was cut off?); "
            "save the model again, or resume its training."
        )
    return config["settings"], tensors


def locate(source: Any, **hub_options: Any) -> Path:
    """The folder that `source` names: itself, or a snapshot downloaded from the hub."""
    folder = some_path("the model's place", source)
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
            f"{folder} holds no model: there is no {CONFIG_NAME}; "
            "expected a folder that training or save_pretrained made."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ChainruleError(f"{path} cannot be read ({error}); restore it or train again.") from None
    if not isinstance(config, dict) or not {"format", "model", "settings"} <= config.keys():
        raise ChainruleError(f"{path} is not the configuration of a chainrule model.")
    if not isinstance(config["model"], str) or not isinstance(config["settings"], dict):
        raise ChainruleError(
            f"{path} is damaged: 'model' must be the name of a class and 'settings' its arguments; "
            "restore it or train again."
        )
    if config["format"] != FORMAT:
        raise ChainruleError(
            f"{path} has format {config['format']}, written by chainrule {config.get('chainrule', '?')}; "
            f"chainrule {__version__} reads format {FORMAT}. Install the version that wrote it."
        )
    return config


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or a `ChainruleError` if it is missing or damaged."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    except FileNotFoundError:
        raise ChainruleError(f"{path} is missing: the weights are not there.") from None
    except (SafetensorError, OSError) as error:
        raise ChainruleError(f"{path} is damaged ({error}); the weights cannot be read.") from None


def model_bytes(class_name: str, settings: dict[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a weights file that belongs to a model of this class with these settings."""
    return tensor_bytes(tensors, {_DIGEST: _settings_digest(class_name, settings)})


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file; tensors may share memory or be strided."""
    content: bytes = save(
        {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, metadata
    )
    return content


def read_belonging(path: Path, digest: str, description: str, whose: str) -> bytes:
    """A file's content, if its SHA-256 is the one that `description`, the file beside it, was written for.

    - `whose`: what both describe, to be fitted again where they do not belong together.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ChainruleError(f"{path} cannot be read ({error.strerror}); fit the {whose} again.") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise ChainruleError(
            f"{path} does not belong to the {description} beside it (damaged, or saving was cut off?); "
            f"fit the {whose} again."
        )
    return content


def json_bytes(content: Any) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(content, indent=2) + "\n").encode()


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, json_bytes(content))


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step: it is never half-written, whatever happens."""
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Replace several files, each in one step and in this order, once all of them are safely on disk.

    Raises `ChainruleError` if one cannot be written; as a rule, none has then been replaced.
    """
    partials = {path: path.with_name(f".{path.name}.{os.getpid()}.partial") for path in contents}
    path, untouched = next(iter(contents)), True
    try:
        for path, content in contents.items():
            _write_through(partials[path], content)
        for path, partial in partials.items():
            os.replace(partial, path)
            untouched = False
    except OSError as error:
        consequence = "; what was there before is unchanged" if untouched else ""
        raise ChainruleError(
            f"{path} could not be written ({error.strerror or error}){consequence}."
        ) from None
    finally:
        for partial in partials.values():
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Delete what writers that were killed half-way left in a folder."""
    for path in folder.glob(".*.partial"):
        if _PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _write_through(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _settings_digest(class_name: str, settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([class_name, settings], sort_keys=True).encode()).hexdigest()


def _stored_digest(path: Path) -> str | None:
    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get(_DIGEST)


def _download(model_id: str, options: dict[str, Any]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, allow_patterns=list(_MODEL_FILES), **options))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ChainruleError(
            f"{model_id} is no folder here and could not be fetched from the hub ({first_line})."
        ) from None
