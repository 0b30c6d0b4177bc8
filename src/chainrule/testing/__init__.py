"""The conformance suite: what must hold for every model, and one function that checks all of it.

    chainrule.testing.check_model(model)

A failure is a `ConformanceError` that names the property and what was seen. `waist` checks the two
ways of running a model, `likelihoods` log p(x), `samplers` samples, `contract` saving and errors.
"""

from chainrule.testing.contract import check_bad_input, check_save_and_load
from chainrule.testing.likelihoods import (
    check_batch_invariance,
    check_ensemble,
    check_finite,
    check_gradients,
    check_normalisation,
)
from chainrule.testing.report import ConformanceError, ConformanceReport, PropertyResult
from chainrule.testing.samplers import check_sample_frequencies, check_samplers_agree
from chainrule.testing.subject import Options, all_examples
from chainrule.testing.suite import PROPERTIES, check_model
from chainrule.testing.waist import check_causality, check_chain_rule, check_shapes, check_step_equals_forward

__all__ = [
    "PROPERTIES",
    "ConformanceError",
    "ConformanceReport",
    "Options",
    "PropertyResult",
    "all_examples",
    "check_bad_input",
    "check_batch_invariance",
    "check_causality",
    "check_chain_rule",
    "check_ensemble",
    "check_finite",
    "check_gradients",
    "check_model",
    "check_normalisation",
    "check_sample_frequencies",
    "check_samplers_agree",
    "check_save_and_load",
    "check_shapes",
    "check_step_equals_forward",
]
