"""Plain arguments: what is taken, and the one clear line for what is not."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import one_line_error

from chainrule.arguments import LARGEST_SEED, LARGEST_SIZE, checked_seed, real_number, some_path, whole_number
from chainrule.conditionals import Categorical
from chainrule.models import FVSBN, NADE, Ensemble
from chainrule.orderings import random_ordering, resolve_ordering


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)])
def test_whole_numbers_become_plain_ints(value):
    assert type(whole_number("size", value, 3, 3)) is int
    assert whole_number("size", value) == 3
    assert type(checked_seed(value)) is int


@pytest.mark.parametrize(
    "value", [2.5, 3.0, "3", None, True, np.float32(3), torch.tensor(3.0), [3], -1, 2, torch.tensor([3])]
)
def test_what_is_no_whole_number_in_range_is_named(value):
    message = one_line_error(lambda: whole_number("size", value, 3), "size must be", "at least 3")
    assert repr(value)[:10] in message


def test_a_number_too_large_is_told_the_largest():
    one_line_error(lambda: whole_number("size", LARGEST_SIZE + 1), f"at most {LARGEST_SIZE}")
    assert whole_number("size", LARGEST_SIZE + 1, maximum=None) == LARGEST_SIZE + 1
    one_line_error(lambda: whole_number("size", int("9" * 500), 1), "...")


@pytest.mark.parametrize("value", [0.25, np.float64(0.25), torch.tensor(0.25), Fraction(1, 4)])
def test_real_numbers_become_plain_floats(value):
    assert type(real_number("rate", value)) is float
    assert real_number("rate", value, above=0, below=1) == 0.25
    assert real_number("rate", 1, 1, 1) == 1.0


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (float("nan"), {}, "a finite number, not nan"),
        (float("inf"), {}, "a finite number, not inf"),
        (10**400, {}, "a finite number"),
        ("a", {}, "not 'a'"),
        (True, {}, "not True"),
        (1j, {}, "not 1j"),
        (Decimal("0.5"), {}, "finite number"),
        (0, {"above": 0}, "above 0, not 0"),
        (1.0, {"minimum": 0, "below": 1}, "of at least 0 and below 1, not 1.0"),
        (2, {"maximum": 1}, "at most 1, not 2"),
    ],
)
def test_real_numbers_that_are_refused(value, bounds, words):
    one_line_error(lambda: real_number("rate", value, **bounds), "rate must be", words)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, LARGEST_SEED + 1, 2**64, None, [0]])
def test_seeds(seed):
    one_line_error(lambda: checked_seed(seed), "seed must be a whole number from 0 to")
    one_line_error(lambda: random_ordering((3,), seed), "seed must be")
    if seed is not None:
        one_line_error(lambda: FVSBN((3,)).sample(2, seed=seed), "seed must be")


def test_the_largest_seed_works():
    assert FVSBN((3,)).sample(2, seed=LARGEST_SEED).shape == (2, 3)
    assert len(random_ordering((3,), LARGEST_SEED)) == 3


@pytest.mark.parametrize("path", [None, "", "  ", 3, b"x"])
def test_paths(path):
    one_line_error(lambda: some_path("out", path), "out must be a path")
    assert some_path("out", "runs/a") == some_path("out", Path("runs/a"))


# ------------------------------------------------------------------------------ of every model


@pytest.mark.parametrize("shape", ["4", 4, (2.5,), ("4",), (), (0,), (-3,), None, (2, None)])
def test_event_shapes_that_are_none(shape):
    one_line_error(lambda: NADE(shape, hidden=2), "event_shape must be one or more positive sizes", "(784,)")


def test_an_event_shape_of_more_variables_than_can_be():
    one_line_error(lambda: NADE((2**20, 2**20), hidden=2), "1,099,511,627,776 variables", "at most")


def test_event_shapes_may_come_from_anywhere():
    expected = NADE((2, 3), hidden=2).settings()
    for shape in ([2, 3], torch.Size([2, 3]), np.array([2, 3])):
        assert NADE(shape, hidden=2).settings() == expected


@pytest.mark.parametrize("size", [-1, 2.5, "3", None, True])
def test_context_sizes_that_are_none(size):
    one_line_error(lambda: FVSBN((4,), context_size=size), "context_size must be")


# ------------------------------------------------------------------------------ orderings


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (7, ["an ordering is a name", "not 7"]),
        (None, ["an ordering is a name"]),
        ([0, 1.0, 2, 3], ["place 1 of the ordering", "1.0"]),
        (["a", "b"], ["place 0 of the ordering", "'a'"]),
        ([0, 1, 2], ["3 variables", "(4,) has 4"]),
        ("random:-1", ["'random:-1'", "the seed must be"]),
        (f"random:{2**64}", ["the seed must be"]),
        ("random:x", ["'random:7'"]),
        ("raster:3", ["only 'random' takes a seed"]),
        ("greddy", ["did you mean 'greedy'", "learned", "random:SEED", "spiral"]),
        ("greedy", ["learned from data", "greedy_entropy_ordering(data.train)"]),
        ("learned", ["learned from data", "learn_ordering(data).ordering"]),
    ],
)
def test_orderings_that_are_none(spec, words):
    one_line_error(lambda: resolve_ordering(spec, (4,)), *words)
    one_line_error(lambda: FVSBN((4,), ordering=spec), *words)


def test_the_names_that_need_data_tell_how_to_get_them():
    import chainrule
    from chainrule.orderings import ORDERINGS_FROM_DATA

    for how in ORDERINGS_FROM_DATA.values():
        name = how.partition("(")[0]
        home = chainrule
        for part in name.split(".")[1:]:
            home = getattr(home, part)
        assert callable(home)


# ------------------------------------------------------------------------------ ensembles


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([torch.nn.Linear(2, 2)], "member 0 is a Linear"),
        ([FVSBN((3,)), None], "member 1 is a NoneType"),
        ([], "at least one"),
        (FVSBN((3,)), "a list of models, not of a FVSBN"),
        ("ab", "not of a str"),
        ([FVSBN((3,)), FVSBN((4,))], "they must agree"),
    ],
)
def test_ensembles_of_what_is_no_model(members, words):
    one_line_error(lambda: Ensemble(members), words)


def test_an_ensemble_takes_any_iterable_of_models():
    assert len(Ensemble(FVSBN((3,)) for _ in range(2)).members) == 2


def test_members_of_an_ensemble_must_have_one_family():
    binary, three = NADE((3,), hidden=2), NADE((3,), hidden=2, conditional=Categorical(3))
    four = NADE((3,), hidden=2, conditional=Categorical(4))
    one_line_error(lambda: Ensemble([binary, three]), "member 1 has the conditional Categorical", "Bernoulli")
    one_line_error(lambda: Ensemble([three, four]), "they must agree")
    assert len(Ensemble([three, NADE((3,), hidden=5, conditional=Categorical(3))]).members) == 2
