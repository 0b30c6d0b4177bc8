"""mix: the mixture is exact, is evaluated like any model, and costs nobody a folder."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from cli_helpers import call, refused, succeed, train_small

import chainrule
from chainrule import data


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        train_small(folder / ordering, "made", "--set", f"ordering={ordering}")
        for ordering in ("raster", "spiral")
    ]


@pytest.fixture
def mixture(runs, tmp_path):
    succeed("mix", *runs, "--out", tmp_path / "mixture")
    return tmp_path / "mixture"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_runs_of_different_orderings_mix_into_one_exact_model(runs, tmp_path):
    out = tmp_path / "mixture"
    result = succeed("mix", *runs, "--out", out, "--json").json
    mixture = chainrule.load(out)
    assert result == {
        "mixture": str(out),
        "members": [str(run) for run in runs],
        "parameters": mixture.num_parameters,
        "data": "digits",
    }
    x = data.load("digits").test.float()
    both = torch.stack([chainrule.load(run).log_prob(x) for run in runs])
    assert torch.allclose(mixture.log_prob(x), both.logsumexp(0) - math.log(2))
    measured = succeed("evaluate", out, "--json").json
    assert measured["nll"] == pytest.approx(-mixture.log_prob(x).mean().item(), rel=1e-5)


def test_one_model_is_no_mixture(runs, tmp_path):
    refused(call("mix", runs[0], "--out", tmp_path / "one"), "two or more")
    assert not (tmp_path / "one").exists()


def test_a_mixture_has_no_conditionals(mixture, tmp_path):
    for suffix in ("npz", "png"):
        out = tmp_path / f"x.{suffix}"
        refused(call("score", mixture, "digits", "--per-variable", "--out", out), "no conditionals")
        assert not out.exists()


def test_an_earlier_mixture_is_replaced_when_asked(runs, mixture):
    before = contents(mixture)
    line = refused(call("mix", *runs, runs[0], "--out", mixture), "already holds a mixture", "--overwrite")
    assert "overwrite=True" not in line
    assert contents(mixture) == before
    succeed("mix", *runs, runs[0], "--out", mixture, "--overwrite")
    assert len(chainrule.load(mixture).members) == 3


def test_a_member_is_not_replaced(runs, mixture, tmp_path):
    kept = shutil.copytree(runs[0], tmp_path / "kept")
    (tmp_path / "link").symlink_to(mixture)
    for members, out in (
        ([kept, runs[1]], kept),
        ([mixture, runs[1]], mixture),
        ([tmp_path / "link", runs[1]], mixture),
        ([mixture, runs[1]], tmp_path / "kept" / ".." / "mixture"),
    ):
        before = contents(out)
        refused(call("mix", *members, "--out", out, "--overwrite"), "one of the models to mix")
        assert contents(out) == before


def test_folders_that_are_no_mixture_are_not_replaced(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    thesis, foreign, damaged = (tmp_path / name for name in ("thesis", "foreign", "damaged"))
    for folder in (thesis, foreign, damaged):
        folder.mkdir()
    (thesis / "thesis.txt").write_text("years of work")
    (foreign / "config.json").write_text(json.dumps({"model": "Ensemble", "colour": "red"}))
    (damaged / "config.json").write_text("{")
    for folder in (run, thesis, foreign, damaged):
        before = contents(folder)
        for overwrite in ((), ("--overwrite",)):
            refused(call("mix", *runs, "--out", folder, *overwrite), "is not a mixture", "another --out")
        assert contents(folder) == before
    refused(call("mix", *runs, "--out", thesis / "thesis.txt", "--overwrite"), "is a file")
    succeed("mix", *runs, "--out", tmp_path / "new" / "mixture")
    (tmp_path / "empty").mkdir()
    succeed("mix", *runs, "--out", tmp_path / "empty")
