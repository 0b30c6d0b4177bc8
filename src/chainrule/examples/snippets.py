"""A worked example as a program that runs on its own: what `chainrule examples ID` shows.

Nothing is written twice. The program is put together from the source of the function that the library itself
runs: the function, the helpers it calls, the imports that these need, and the example's inputs.
"""

from __future__ import annotations

import dis
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from chainrule.examples.catalogue import Example
from chainrule.examples.registry import answer_of

__all__ = ["program_of"]

#: Helpers of these modules are shown; everything else is imported.
_OURS = "chainrule.examples.answers"


def program_of(example: Example) -> str:
    """Python source that computes the example and prints it."""
    answer = answer_of(example)
    helpers, imports = _needs(answer)
    arguments = [f"    {name}={value!r}," for name, value in example.inputs.items()]
    call = "\n".join(["print(", f"    {answer.__name__}(", *(f"    {a}" for a in arguments), "    )", ")"])
    if not arguments:
        call = f"print({answer.__name__}())"
    head = "from __future__ import annotations\n\n" + "\n".join(sorted(imports))
    return "\n\n\n".join([head, *(_source(function) for function in (*helpers, answer)), call]) + "\n"


def _needs(answer: Callable[..., Any]) -> tuple[list[FunctionType], set[str]]:
    """The helpers a function calls, those they call before them, and the imports of all."""
    helpers: list[FunctionType] = []
    imports: set[str] = set()

    def visit(function: Any) -> None:
        for name in _names(inspect.unwrap(function).__code__):
            value = inspect.unwrap(function).__globals__.get(name)
            if value is None:
                continue
            if isinstance(inspect.unwrap(value), FunctionType) and value.__module__.startswith(_OURS):
                if value not in helpers and value is not answer:
                    visit(value)
                    helpers.append(value)
            else:
                imports.add(_import_of(name, value))

    visit(answer)
    return helpers, imports


def _names(code: CodeType) -> Iterator[str]:
    """Global names that a function uses, those of functions inside it included."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _import_of(name: str, value: Any) -> str:
    if isinstance(value, ModuleType):
        return f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")
    home = value.__module__
    package = home.rpartition(".")[0]
    # The public place of a name is the package, where that offers it.
    if "." in package and getattr(sys.modules.get(package), name, None) is value:
        home = package
    return f"from {home} import {name}"


def _source(function: Any) -> str:
    """The source of a function, without the decorators that register it."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("def "))
    kept = [line for line in lines[:first] if line.startswith("@") and not line.startswith("@answers")]
    return "\n".join(kept + lines[first:])
