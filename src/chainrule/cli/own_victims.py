"""A person's own classifier on the command line: FILE.py:NAME, a module of PyTorch or what makes one.

    # classifier.py
    def make():
        network = Network()
        network.load_state_dict(torch.load("weights.pt"))
        return Victim.wrap(network, (1, 28, 28), 10, scale=255)   # reads 0-1; the data are 0-255

The file is run, as `python FILE.py` would run it: name only files that you trust.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["is_own_victim", "load_own_victim"]

_ENDING = ".py"


def is_own_victim(source: str) -> bool:
    """Whether `source` names something in a file of Python."""
    return source.endswith(_ENDING) or _ENDING + ":" in source


def load_own_victim(source: str) -> nn.Module:
    """The module that FILE.py:NAME is, or that it returns when called without arguments.

    Raises `ChainruleError` where the file cannot be run, has no such name, or that is no module.
    """
    from torch import nn

    file, _, name = source.rpartition(":")
    if not file.endswith(_ENDING) or not name:
        raise ChainruleError(f"{source}: say what in the file is the classifier, such as {source}:make.")
    found = _run(Path(file))
    if not hasattr(found, name):
        raise ChainruleError(f"{file} has no {name!r}; name a torch.nn.Module in it, or what returns one.")
    module = getattr(found, name)
    if not isinstance(module, nn.Module) and callable(module):
        with _told(f"{source}()"):
            module = module()
    if not isinstance(module, nn.Module):
        raise ChainruleError(
            f"{source} is a {type(module).__name__}; expected a torch.nn.Module that maps images to logits, "
            "or a function without arguments that returns one."
        )
    return module.eval()


def _run(path: Path) -> Any:
    if not path.is_file():
        raise ChainruleError(f"{path} does not exist: expected a file of Python that holds a classifier.")
    spec = importlib.util.spec_from_file_location(f"own_victim_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    sys.path.insert(0, str(path.parent.absolute()))  # for what it imports from beside it
    try:
        with _told(str(path)):
            spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Whatever goes wrong in a person's own code, in one line."""
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        raise ChainruleError(f"{what} could not be run ({type(error).__name__}: {reason}).") from None
