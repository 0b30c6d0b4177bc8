"""Detectors on disk: `detector.json`, for people, and `detector.safetensors`, the calibration scores.

Nothing is pickled. The JSON names the digest of the scores it belongs to, so a folder caught between
two writes, or a damaged file, is noticed instead of giving other p-values.
"""

from __future__ import annotations

import hashlib
import json
import math
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from chainrule._version import __version__
from chainrule.arguments import some_path
from chainrule.detection.columns import ColumnCalibration
from chainrule.detection.scores import Floats
from chainrule.detection.thresholds import Rule
from chainrule.errors import ChainruleError
from chainrule.saving import json_bytes, read_belonging, write_together

if TYPE_CHECKING:
    from chainrule.detection.detector import Detector

__all__ = ["CONFIG_NAME", "FORMAT", "SCORES_NAME", "read_detector", "write_detector"]

CONFIG_NAME = "detector.json"
SCORES_NAME = "detector.safetensors"
#: Version of the layout; raised when older readers could misread newer files.
FORMAT = 1


def write_detector(detector: Detector, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write both files of a detector into a folder, made if need be; earlier ones only with `overwrite`."""
    folder = some_path("folder", folder)
    if not overwrite and (folder / CONFIG_NAME).exists():
        raise ChainruleError(
            f"{folder} already holds a detector; pass overwrite=True to replace it, or another folder."
        )
    arrays = {"scores": detector.calibration}
    if detector.columns is not None:
        arrays["column_scores"] = detector.columns.ordered
    content: bytes = save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
    config = {
        "format": FORMAT,
        "chainrule": __version__,
        "rule": {"name": detector.rule.name, "value": detector.rule.value},
        # For people: a reader works it out again from the rule and the scores.
        "threshold_nats": detector.threshold if math.isfinite(detector.threshold) else None,
        "calibration_rows": len(detector.calibration),
        "columns": None if detector.columns is None else list(detector.columns.names),
        "about": detector.about,
        "scores_sha256": hashlib.sha256(content).hexdigest(),
    }
    try:
        described = json_bytes(config)
    except TypeError as error:
        raise ChainruleError(f"what was noted `about` the detector is not JSON ({error}).") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChainruleError(f"{folder} cannot be made a folder ({error.strerror or error}).") from None
    write_together({folder / SCORES_NAME: content, folder / CONFIG_NAME: described})


def read_detector(folder: str | PathLike[str]) -> Detector:
    """The detector of a folder (or of the path of its `detector.json`), checked."""
    from chainrule.detection.detector import Detector

    path = Path(folder)
    path = path if path.name == CONFIG_NAME else path / CONFIG_NAME
    config = _read_config(path)
    scores, columns = _read_scores(path.with_name(SCORES_NAME), config["scores_sha256"])
    try:
        rule = Rule(str(config["rule"]["name"]), float(config["rule"]["value"]))
        names = config["columns"]
        if len(names or ()) != len(columns):
            raise ChainruleError(f"names {len(names or ())} columns, but {len(columns)} were calibrated.")
        calibrated = None if names is None else ColumnCalibration(tuple(map(str, names)), columns)
        return Detector(scores, rule, calibrated, config["about"])
    except ChainruleError as error:
        raise ChainruleError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ChainruleError(f"{path} is damaged ({type(error).__name__}: {error}); fit it again.") from None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ChainruleError(
            f"{path.parent} holds no detector: there is no {CONFIG_NAME}; fit one and save it there."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ChainruleError(
            f"{path} cannot be read ({error}); restore it or fit the detector again."
        ) from None
    expected = {"format", "rule", "columns", "about", "scores_sha256"}
    if not isinstance(config, dict) or "format" not in config:
        raise ChainruleError(f"{path} is not the description of a chainrule detector.")
    if config["format"] != FORMAT:
        raise ChainruleError(
            f"{path} has format {config['format']}, written by chainrule {config.get('chainrule', '?')}; "
            f"chainrule {__version__} reads format {FORMAT}. Install the version that wrote it."
        )
    missing = sorted(expected - config.keys())
    if missing:
        raise ChainruleError(f"{path} is damaged: {', '.join(missing)} missing; fit the detector again.")
    return config


def _read_scores(path: Path, digest: str) -> tuple[Floats, Floats]:
    """The calibration scores, (rows,), and those of the columns, (columns, rows) or none."""
    content = read_belonging(path, digest, CONFIG_NAME, "detector")
    try:
        arrays = load(content)
        return arrays["scores"], arrays.get("column_scores", np.empty((0, 0)))
    except (SafetensorError, KeyError) as error:
        raise ChainruleError(f"{path} is damaged ({error}); fit the detector again.") from None
