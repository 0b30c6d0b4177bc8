"""`check_model`: every property of the contract, from the plainest to those that build on it."""

from __future__ import annotations

from typing import Unpack

import torch

from chainrule.likelihood import LikelihoodModel
from chainrule.testing.contract import check_bad_input, check_save_and_load
from chainrule.testing.likelihoods import (
    check_batch_invariance,
    check_ensemble,
    check_finite,
    check_gradients,
    check_normalisation,
)
from chainrule.testing.report import ConformanceReport
from chainrule.testing.samplers import check_sample_frequencies, check_samplers_agree
from chainrule.testing.subject import Options, PropertyCheck, Subject
from chainrule.testing.waist import check_causality, check_chain_rule, check_shapes, check_step_equals_forward

__all__ = ["PROPERTIES", "check_model"]

#: Every property by name, in the order of checking: a later one leans on those before it.
PROPERTIES: dict[str, PropertyCheck] = {
    check.property_name: check
    for check in (
        check_shapes,
        check_finite,
        check_batch_invariance,
        check_chain_rule,
        check_causality,
        check_step_equals_forward,
        check_normalisation,
        check_ensemble,
        check_gradients,
        check_samplers_agree,
        check_sample_frequencies,
        check_save_and_load,
        check_bad_input,
    )
}


def check_model(model: LikelihoodModel, **options: Unpack[Options]) -> ConformanceReport:
    """Check every property that an exact-likelihood model must have; also for models of your own.

    - `model`: any `LikelihoodModel`; a subclass of `AutoregressiveModel` with nothing but `forward`
      is enough.
    - `options`: `context`, `seed`, `jitter`, `alpha`, `num_samples`, see `Options`.

    Everything runs on a float64 copy on the CPU, in evaluation mode and with noise on its parameters;
    the model, its mode and the global random numbers are left as they were. `forward` must therefore
    work in any dtype: make new tensors in that of x. Small models are checked in about a second. A
    check of one property alone is in `PROPERTIES`, or by its name, such as `check_causality`.

    What it cannot prove: it looks at random parameters, at some inputs and at this one event shape. A
    leak that opens only for rare values, an error that needs other sizes or a GPU, or a loss of digits
    in float32 can pass. Models of few variables are enumerated or, where up to two are continuous,
    integrated over (`PropertyResult.detail` says where); for larger ones normalisation follows from
    causality and the conditionals that were looked at. So check a small model of each kind you use, in
    every ordering and with every option.

    Raises `ConformanceError` at the first property that fails, naming it, what was seen, and where a
    model raised an error of its own, the method and line it came from.

    >>> from chainrule.models import NADE
    >>> report = check_model(NADE((4,), hidden=3))
    >>> print(report["normalisation"].detail)
    over all 16 x
    """
    with torch.random.fork_rng(devices=[]):
        subject = Subject.of(model, **options)
        results = tuple(check(subject) for check in PROPERTIES.values())
    return ConformanceReport(f"{type(model).__name__}({model.extra_repr()})", results)
