"""Which function answers which example: they register themselves, and are imported when first needed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from chainrule.errors import ChainruleError
from chainrule.examples.catalogue import EXAMPLES, Example

__all__ = ["answer_of", "answers", "recompute"]

_Answer = TypeVar("_Answer", bound=Callable[..., Any])

_ANSWERS: dict[str, Callable[..., Any]] = {}


def answers(*numbers: str) -> Callable[[_Answer], _Answer]:
    """Decorates a function of the inputs of these examples, named by their numbers (`"6.6"`)."""

    def register(function: _Answer) -> _Answer:
        for number in numbers:
            if number in _ANSWERS:
                raise ValueError(f"example {number} has two answers")
            _ANSWERS[number] = function
        return function

    return register


def answer_of(example: Example) -> Callable[..., Any]:
    """The function that computes an example from its inputs."""
    package = importlib.import_module("chainrule.examples.answers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    if example.number not in _ANSWERS:
        raise ChainruleError(f"nothing computes example {example.id}; there are {len(EXAMPLES)} examples.")
    return _ANSWERS[example.number]


def recompute(example: Example) -> Any:
    """The value of an example as the library computes it: plain numbers, texts and lists of them."""
    return answer_of(example)(**example.inputs)
