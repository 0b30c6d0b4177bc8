"""Guards on disk: `guard.json`, for people, and `guard.safetensors`, the scores of the clean images.

They lie beside the density, and name the digest of its weights: a run that was trained again is noticed.
The JSON also names the digest of the scores it belongs to, so that two writers at once, or a folder caught
between two writes, are noticed instead of giving other p-values. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load as load_arrays

from chainrule._version import __version__
from chainrule.detection.detector import Detector
from chainrule.detection.scores import Floats
from chainrule.detection.thresholds import Rule
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.loading import load
from chainrule.saving import CONFIG_NAME, json_bytes, read_belonging, tensor_bytes, write_together
from chainrule.security.places import PeakSurprise
from chainrule.security.registry import resolve_score

if TYPE_CHECKING:
    from chainrule.security.guard import PixelDefend

__all__ = ["BACKGROUND", "GUARD_NAME", "read_guard", "write_guard"]

GUARD_NAME, ARRAYS_NAME, BACKGROUND = "guard.json", "guard.safetensors", "background"
#: Version of the layout; raised when older readers could misread newer files.
FORMAT = 1
_LEARNED = "score."


def write_guard(guard: PixelDefend, folder: Path, *, overwrite: bool) -> None:
    """Write both files, and the models where they are not there yet."""
    if (folder / GUARD_NAME).exists() and not overwrite:
        raise ChainruleError(
            f"{folder} already holds a guard; pass overwrite=True to replace it, or another folder."
        )
    arrays = {"calibration": guard.detector.calibration}
    arrays |= {f"places.{name}": values for name, values in guard.places.learned().items()}
    arrays |= {f"{_LEARNED}{name}": values for name, values in guard.score.learned().items()}
    content = tensor_bytes(
        {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
    )
    try:
        described = json_bytes({**_config(guard), "arrays_sha256": hashlib.sha256(content).hexdigest()})
    except TypeError as error:
        raise ChainruleError(f"what was noted `about` the guard is not JSON ({error}).") from None
    _place(guard.density, folder, "density", overwrite=False)
    if guard.background is not None:
        _place(guard.background, folder / BACKGROUND, "background model", overwrite=overwrite)
    write_together({folder / ARRAYS_NAME: content, folder / GUARD_NAME: described})


def read_guard(folder: Path) -> PixelDefend:
    """The guard of a folder, checked against the models beside it."""
    from chainrule.security.guard import PixelDefend

    config = _read_config(folder)
    arrays = _read_arrays(folder / ARRAYS_NAME, str(config["arrays_sha256"]))
    density = load(folder)
    background = load(folder / BACKGROUND) if config["background_sha256"] else None
    for model, digest in ((density, "density_sha256"), (background, "background_sha256")):
        if model is not None and model_digest(model) != config[digest]:
            raise ChainruleError(
                f"{folder}: the guard was calibrated for other weights than those beside it; fit it again."
            )
    try:
        rule = Rule(str(config["rule"]["name"]), float(config["rule"]["value"]))
        score = resolve_score(config["score"]["name"], config["score"]["settings"])
        learned = {
            name.removeprefix(_LEARNED): values
            for name, values in arrays.items()
            if name.startswith(_LEARNED)
        }
        if score.needs_fit:
            score.take_up(learned)
        return PixelDefend(
            density,
            Detector(np.sort(arrays["calibration"]), rule),
            score,
            PeakSurprise().take_up({name: arrays[f"places.{name}"] for name in ("mean", "spread")}),
            background=background,
            eps=config["eps"],
            least_log_prob=float(config["least_log_prob"]),
            reference=config["reference"],
            about=config["about"],
        )
    except ChainruleError as error:
        raise ChainruleError(f"{folder / GUARD_NAME}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ChainruleError(f"{folder / GUARD_NAME} is damaged ({error!r}); fit the guard again.") from None


def _read_arrays(path: Path, digest: str) -> dict[str, Floats]:
    """What the guard learned of clean images, if it is what the description beside it was written for."""
    arrays: dict[str, Floats] = load_arrays(read_belonging(path, digest, GUARD_NAME, "guard"))
    return arrays


def model_digest(model: LikelihoodModel) -> str:
    """SHA-256 of the class, the settings and the weights of a model."""
    digest = hashlib.sha256(json.dumps([type(model).__name__, model.settings()], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _config(guard: PixelDefend) -> dict[str, Any]:
    rule, background = guard.detector.rule, guard.background
    return {
        "format": FORMAT,
        "chainrule": __version__,
        "score": {"name": guard.score.name, "settings": guard.score.settings()},
        "rule": {"name": rule.name, "value": rule.value},
        # For people: a reader works it out again from the rule and the scores.
        "threshold": guard.detector.threshold if math.isfinite(guard.detector.threshold) else None,
        "reference": guard.reference,
        "reference_images": len(guard.detector.calibration),
        "eps": guard.eps,
        "least_log_prob": guard.least_log_prob,
        "about": guard.about,
        "density_sha256": model_digest(guard.density),
        "background_sha256": None if background is None else model_digest(background),
    }


def _place(model: LikelihoodModel, folder: Path, what: str, *, overwrite: bool) -> None:
    """Put a copy of the model into a folder that has none; refuse one that has another."""
    if not (folder / CONFIG_NAME).exists() or overwrite:
        model.save_pretrained(folder, overwrite=overwrite)
    elif model_digest(load(folder)) != model_digest(model):
        raise ChainruleError(f"{folder} holds another model than the guard's {what}; choose another folder.")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / GUARD_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ChainruleError(
            f"{folder} holds no guard ({GUARD_NAME}): make one with `chainrule detect fit {folder}`."
        ) from None
    except (OSError, ValueError) as error:
        raise ChainruleError(f"{path} cannot be read ({error}); fit the guard again.") from None
    known = {"format", "score", "rule", "reference", "eps", "arrays_sha256"}
    known |= {"density_sha256", "background_sha256"}
    if not isinstance(config, dict) or not known <= config.keys():
        raise ChainruleError(f"{path} is no guard's description; fit the guard again.")
    if config["format"] != FORMAT:
        raise ChainruleError(
            f"{path} has format {config['format']}, written by chainrule {config.get('chainrule', '?')}; "
            f"chainrule {__version__} reads format {FORMAT}."
        )
    return config
