"""Writing results: whole or not at all, and never over a file unasked."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.errors import ChainruleError
from chainrule.saving import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["INK", "PAPER", "check_writable", "new_figure", "save_figure", "shortened", "write_file"]

INK, PAPER = "#1f2430", "#ffffff"


def check_writable(path: str | PathLike[str], *, overwrite: bool) -> Path:
    """`path`, if a file can be written there; long work is worth asking this first.

    Raises `ChainruleError` if it exists (unless `overwrite`), is a folder, or lies in no folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ChainruleError(f"{path} is a folder; give the name of a file to write.")
    if path.exists() and not overwrite:
        raise ChainruleError(f"{path} already exists; pass --overwrite (overwrite=True) or another name.")
    if not path.parent.is_dir():
        raise ChainruleError(f"{path.parent} is not a folder; create it before {path.name} is written there.")
    return path


def write_file(path: str | PathLike[str], content: bytes, *, overwrite: bool = False) -> Path:
    """Write a file atomically; errors as in `check_writable`, and for a full disk."""
    path = check_writable(path, overwrite=overwrite)
    write_atomically(path, content)
    return path


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn without a display and without `pyplot`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def shortened(name: str, most: int = 22) -> str:
    """The end of a long name, so that it does not run into its neighbour: files differ there."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def save_figure(figure: Figure, path: str | PathLike[str], *, overwrite: bool) -> Path:
    """Draw the figure into a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return write_file(path, buffer.getvalue(), overwrite=overwrite)
