"""`--set key=value`: reading the values, telling model from training settings, checking them."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.trainable import Trainable

__all__ = [
    "LEARNED_ORDERINGS",
    "build_model",
    "documented_settings",
    "model_settings_of",
    "parse_settings",
    "split_settings",
]

_Model = TypeVar("_Model", bound="Trainable")

#: Constructor arguments that the data decide, or that only Python code can give.
_NOT_SETTABLE = ("self", "event_shape", "members", "mask")

#: Orderings that `train` works out from the training data before it makes the model; what they are.
LEARNED_ORDERINGS = {
    "learned": "the best of several on validation data, each tried with a quick FVSBN",
    "greedy": "the variable that is least uncertain given one already placed comes next",
}


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """`["hidden=500,500", "ordering=spiral"]` as `{"hidden": [500, 500], "ordering": "spiral"}`.

    A value is read as JSON where it is that; numbers with commas between are a list; `none` is null;
    everything else is text. A later pair replaces an earlier one of the same name.
    """
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise ChainruleError(f"--set {pair!r} is not a setting; expected NAME=VALUE, such as hidden=500.")
        values[name.strip().replace("-", "_")] = _parse_value(text.strip())
    return values


def _parse_value(text: str) -> Any:
    for candidate in (text, f"[{text.strip(',')}]" if "," in text else text, text.lower()):
        try:
            return json.loads(candidate)
        except json.JSONDecodeError:
            continue
    return None if text.lower() == "none" else text


def model_settings_of(model_class: type[Trainable]) -> dict[str, inspect.Parameter]:
    """The constructor arguments of a model that can be set from the command line."""
    parameters = inspect.signature(model_class.__init__).parameters
    return {name: p for name, p in parameters.items() if name not in _NOT_SETTABLE}


def split_settings(
    model_class: type[Trainable], values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the model and those of training; `ChainruleError` with the nearest names otherwise."""
    from chainrule.training import TrainingSettings

    of_model, of_training = model_settings_of(model_class), TrainingSettings.model_fields
    for name in values:
        if name not in of_model and name not in of_training:
            raise unknown_name("setting", name, {*of_model, *of_training})
    return (
        {name: value for name, value in values.items() if name in of_model},
        {name: value for name, value in values.items() if name in of_training},
    )


def build_model(
    model_class: type[_Model],
    event_shape: Sequence[int],
    settings: Mapping[str, Any],
    seed: int,
) -> _Model:
    """A fresh model with these settings, its weights drawn under `seed`.

    Raises `ChainruleError` for settings of a wrong type or value, and for a model too large for memory.
    """
    from chainrule.training import seeded

    checked = _checked(model_class, settings)
    try:
        with seeded(seed):
            return model_class(event_shape, **checked)
    except (MemoryError, OverflowError, RuntimeError) as error:  # torch has no type of its own for these
        given = ", ".join(f"{name}={value!r}" for name, value in checked.items()) or "its default settings"
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        raise ChainruleError(
            f"a {model_class.__name__} with {given} cannot be made here ({reason})."
        ) from None


def _checked(model_class: type[Trainable], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the types that the constructor names; a single number does for a list of one."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    hints = typing.get_type_hints(model_class.__init__)
    checked = {}
    for name, value in settings.items():
        adapter: TypeAdapter[Any] = TypeAdapter(hints[name], config=ConfigDict(arbitrary_types_allowed=True))
        attempts = [value] if isinstance(value, (list, str, dict, type(None))) else [value, [value]]
        for attempt in attempts:
            try:
                valid = adapter.validate_python(attempt)
            except ValidationError:
                continue
            checked[name] = attempt if isinstance(attempt, list) else valid
            break
        else:
            raise ChainruleError(
                f"--set {name}={_as_typed(value)}: {model_class.__name__} expects "
                f"{_expected(hints[name])} there."
            )
    return checked


def _expected(hint: Any) -> str:
    """In words, what may be typed for a setting of this type.

    >>> _expected(bool | None), _expected(typing.Literal["relu", "tanh"] | int)
    ('true or false, or none', 'relu, tanh or a whole number')
    """
    *most, last = dict.fromkeys(_choices(hint))
    if not most:
        return last
    separator = ", or " if any(" or " in words for words in (*most, last)) else " or "
    return f"{', '.join(most)}{separator}{last}"


def _choices(hint: Any) -> list[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [words for part in arguments for words in _choices(part)]
    if origin is typing.Literal:
        return [str(choice) for choice in arguments]
    if origin is Sequence:
        if typing.get_origin(arguments[0]) is Sequence:
            return ["lists of whole numbers, such as [[0,1],[2]]"]
        return ["whole numbers with commas between"]
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a name",
        type(None): "none",
    }
    return [words[hint]] if hint in words else []  # what only Python code can give


def documented_settings(model_class: type[Trainable]) -> dict[str, tuple[str, str]]:
    """Setting -> (default, meaning), the meaning from the docstrings' bullets of the class and its bases."""
    meanings: dict[str, str] = {}
    mentions: dict[str, str] = {}
    for base in model_class.__mro__:
        for names, text in _bullets(inspect.getdoc(base) if "__doc__" in vars(base) else None):
            for name in names:
                if not text.startswith("as in "):
                    meanings.setdefault(name, text.replace("`", ""))
            for other in re.findall(r"`(\w+)`", text):
                mentions.setdefault(other, f"see {names[0]}")
    if "ordering" in meanings:
        learned = "; ".join(f"{name}: {what}" for name, what in LEARNED_ORDERINGS.items())
        meanings["ordering"] += f" chainrule train also takes {learned}."
    return {
        name: (
            "required" if p.default is inspect.Parameter.empty else _as_typed(p.default),
            meanings.get(name, mentions.get(name, "")),
        )
        for name, p in model_settings_of(model_class).items()
    }


def _bullets(docstring: str | None) -> list[tuple[list[str], str]]:
    """The bullets "- `a`, `b`: meaning" of a docstring; a meaning may run over several lines."""
    bullets: list[str] = []
    inside = False
    for line in (docstring or "").splitlines():
        if line.startswith("- `"):
            bullets.append(line[2:])
            inside = True
        elif inside and line.startswith("  "):
            bullets[-1] += " " + line.strip()
        else:
            inside = False
    split = [bullet.partition(": ") for bullet in bullets]
    return [([name.strip("` ") for name in names.split(",")], text) for names, _, text in split]


def _as_typed(default: Any) -> str:
    """A default as one would type it after `--set NAME=`."""
    if isinstance(default, (list, tuple)):
        return ",".join(map(str, default)) or "[]"
    return default if isinstance(default, str) else json.dumps(default)
