"""What people rely on around the mathematics: saving and loading, and clear errors."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.testing.subject import Outcome, Subject, Violation, conformance

__all__ = ["check_bad_input", "check_save_and_load"]


@conformance("save and load")
@torch.no_grad()
def check_save_and_load(subject: Subject) -> Outcome:
    """`save_pretrained`, then `from_pretrained`: `log_prob` is bit-equal, and so are samples."""
    model, x = subject.model, subject.extremes()
    context = subject.contexts_for(len(x))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save_pretrained(path)
        loaded = type(model).from_pretrained(str(path))
    before, after = model.log_prob(x, context), loaded.log_prob(x, context)
    if not torch.equal(before, after):
        if before.dtype != after.dtype:
            raise Violation(f"saved as {before.dtype}, but loaded as {after.dtype}.")
        row = int((before - after).abs().nan_to_num(nan=torch.inf).argmax())
        raise Violation(
            f"log_prob is {before[row]:.17g} before saving and {after[row]:.17g} after loading: "
            "some parameter or constructor argument was not saved."
        )
    pair = [m.sample(4, subject.contexts_for(4), seed=subject.seed) for m in (model, loaded)]
    if not model.conditional.same(*pair):
        raise Violation("the loaded model gives other samples for the same seed.")
    return Outcome("log_prob bit-equal", 0.0)


@dataclass(frozen=True)
class _Mistake:
    """A call that must be refused, and words that the message must hold to be of help."""

    what: str
    call: Callable[[], object]
    words: tuple[str, ...] = ()


@conformance("bad input")
@torch.no_grad()
def check_bad_input(subject: Subject) -> Outcome:
    """Every mistake in the arguments is a `ChainruleError` of one line that names what was expected."""
    mistakes = [
        *_mistakes_in_x(subject),
        *_mistakes_in_context(subject),
        *_mistakes_in_sampling(subject.model),
    ]
    for mistake in mistakes:
        try:
            mistake.call()
        except ChainruleError as error:
            message = str(error)
        except Exception as error:
            raise Violation(
                f"{mistake.what} raised {type(error).__name__} ({error}); expected a ChainruleError."
            ) from None
        else:
            raise Violation(f"{mistake.what} was accepted; expected a ChainruleError.")
        missing = [word for word in mistake.words if word not in message]
        if missing or "\n" in message:
            raise Violation(
                f"{mistake.what}: the message must be one line that names {', '.join(mistake.words)}, "
                f"but it is: {message}"
            )
    return Outcome(f"{len(mistakes)} mistakes refused")


def _mistakes_in_x(subject: Subject) -> list[_Mistake]:
    model, x = subject.model, subject.examples(2)
    context = subject.contexts_for(2)
    sizes = tuple(str(size) for size in model.event_shape)

    def with_first(value: float) -> Tensor:
        return x.flatten().index_fill(0, torch.tensor([0]), value).view_as(x)

    mistakes = [
        _Mistake(
            "log_prob of one variable too many", lambda: model.log_prob(torch.cat([x, x], -1), context), sizes
        ),
        _Mistake("log_prob of an example without its batch", lambda: model.log_prob(x[0], context), sizes),
        _Mistake(
            "log_prob of a list", lambda: model.log_prob(cast(Tensor, x.tolist()), context), ("Tensor",)
        ),
    ]
    first = model.conditional.at(0)
    values = torch.tensor([torch.nan, 0.5, -1.0, 2.0, 1e9, torch.inf], dtype=torch.float64)
    refused = values[~first.in_support(values)].tolist()
    for value in refused[:2]:
        words = ("nan",) if value != value else (f"{value:g}", first.value_range)
        call = functools.partial(model.log_prob, with_first(value), context)
        mistakes.append(_Mistake(f"log_prob of the value {value:g}", call, words))
    return mistakes


def _mistakes_in_context(subject: Subject) -> list[_Mistake]:
    model, x = subject.model, subject.examples(2)
    size = model.context_size
    if size == 0:
        return [
            _Mistake(
                "a context for a model without", lambda: model.log_prob(x, torch.ones(2, 1)), ("context",)
            )
        ]
    return [
        _Mistake("a missing context", lambda: model.log_prob(x), ("context", str(size))),
        _Mistake("a context too long", lambda: model.log_prob(x, torch.ones(2, size + 1)), (f"(2, {size})",)),
        _Mistake(
            "a label too great", lambda: model.log_prob(x, torch.tensor([0, size])), (f"0..{size - 1}",)
        ),
        _Mistake("sampling without context", lambda: model.sample(2, seed=0), ("context",)),
    ]


def _mistakes_in_sampling(model: LikelihoodModel) -> list[_Mistake]:
    noise = torch.rand(2, model.num_variables + 1, model.conditional.num_noise)
    return [
        _Mistake("temperature 0", lambda: model.sample(1, temperature=0.0), ("temperature", "above 0")),
        _Mistake("noise of a wrong shape", lambda: model.sample(noise=noise), (str(model.num_variables),)),
        _Mistake(
            "an unknown sampling method",
            lambda: model.sample(1, _one_context(model), method="magic"),  # type: ignore[arg-type]
            ("magic", "naive"),
        ),
    ]


def _one_context(model: LikelihoodModel) -> int | None:
    return 0 if model.context_size else None
