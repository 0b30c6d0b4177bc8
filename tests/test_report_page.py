"""`chainrule report`: a page about a run that stands alone."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from browser_helpers import BROWSER, look
from cli_helpers import call, refused, succeed, train_small

from chainrule.conditionals import Bernoulli, Categorical, Gaussian, Missing
from chainrule.errors import ChainruleError
from chainrule.report.page import Page, Section, details, facts, paragraph, picture, table
from chainrule.report.page_pictures import reliability
from chainrule.reporting.calibration import pit_values, predictions


class Structure(HTMLParser):
    """Whether tags match, and what a page refers to."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.headings: list[str] = []
        self.alts: list[str | None] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        attributes = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.references += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.alts.append(attributes.get("alt"))
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def check_page(page: str) -> Structure:
    """The page is well formed, asks for nothing, and can be used without eyes."""
    found = Structure(page)
    assert found.open == []
    assert all(reference.startswith(("data:", "#")) for reference in found.references)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page
    assert found.headings.count("h1") == 1
    assert all(alt for alt in found.alts)
    assert len(set(found.ids)) == len(found.ids)
    assert {reference[1:] for reference in found.references if reference.startswith("#")} <= set(found.ids)
    return found


# ---------------------------------------------------------------- the page


def test_whatever_people_call_things_is_shown_and_not_run() -> None:
    nasty = '<script>alert("x")</script> & \'"'
    page = Page(
        nasty,
        [
            Section(nasty, facts([(nasty, nasty)]) + table((nasty, ">n"), [(nasty, nasty)], caption=nasty)),
            Section(nasty, paragraph(nasty) + picture(b"png", nasty, caption=nasty) + details(nasty, "")),
        ],
        nasty,
    ).html()
    assert "<script" not in page
    found = check_page(page)
    assert found.alts == [nasty]


def test_sections_of_others_join_a_page() -> None:
    page = Page("A run", [Section("One", "<p>1</p>"), Section("One", "<p>2</p>"), Section("雪", "<p>3</p>")])
    found = check_page(page.html())
    assert [i for i in found.ids if i != "content"] == ["one", "one-2", "section"]


# ---------------------------------------------------------------- calibration


def test_reliability_is_on_the_diagonal_for_predictions_that_are_right() -> None:
    generator = np.random.default_rng(0)
    p = generator.random(200_000)
    found = reliability(p, generator.random(200_000) < p)
    assert np.abs(found.predicted - found.observed).max() < 5 * found.standard_error.max()
    assert found.error < 0.01
    assert found.count.sum() == 200_000
    sure = reliability(np.full(100, 0.9), np.arange(100) < 60)
    assert sure.error == pytest.approx(0.3)
    with pytest.raises(ChainruleError, match="probabilities in"):
        reliability([1.2], [1])


def test_predictions_of_few_values_are_their_probabilities() -> None:
    told, came = predictions(Bernoulli(), torch.tensor([[0.0], [2.0]]), torch.tensor([1.0, 0.0]))
    assert told.tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    assert came.tolist() == [True, False]
    params = torch.tensor([[1.0, 0.0, -1.0]])
    told, came = predictions(Categorical(3), params, torch.tensor([1.0]))
    assert told.tolist() == pytest.approx(torch.softmax(params, 1)[0].tolist())
    assert came.tolist() == [False, True, False]
    told, came = predictions(Missing("bernoulli"), torch.zeros(2, 2), torch.tensor([torch.nan, 1.0]))
    assert told.sum() == pytest.approx(1.0)  # two rows, each with half of its mass on the hole
    assert came.sum() == 1
    assert predictions(Gaussian(), torch.zeros(1, 2), torch.zeros(1)) is None


def test_values_of_a_right_model_are_uniform_under_their_cdf() -> None:
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(4000, 2, generator=generator)
    family = Gaussian()
    values = family.sample(params, torch.rand(4000, 1, generator=generator))
    pit = np.sort(pit_values(family, params, values))
    assert np.abs(pit - np.linspace(0, 1, 4000)).max() < 0.035  # Kolmogorov-Smirnov, p < 1e-4
    holes = torch.where(torch.arange(4000) % 2 == 0, values, torch.nan)
    wide = torch.cat([torch.zeros(4000, 1), params], 1)
    assert len(pit_values(Missing(family), wide, holes)) == 2000
    assert pit_values(Bernoulli(), torch.zeros(1, 1), torch.zeros(1)) is None


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A page about a small run on the digits."""
    run = train_small(tmp_path_factory.mktemp("reports") / "digits", "fvsbn")
    return run, succeed("report", run, "--limit", 50, "-q")


def test_a_run_on_images_has_every_section(digits) -> None:
    run, called = digits
    page = (run / "report.html").read_text(encoding="utf-8")
    found = check_page(page)
    titles = re.findall(r"<h2[^>]*>([^<]*)", page)
    assert titles == [
        *("Overview", "Learning curve", "Likelihood", "Samples", "Surprise", "Calibration", "Configuration"),
    ]
    assert len(found.alts) == 6
    nll = succeed("evaluate", run, "--limit", 50, "--json").json["nll"]
    assert f"{nll:.3f} ±" in page
    assert f"{run / 'report.html'}" in called.out


def test_a_report_is_not_replaced_unasked(digits, tmp_path) -> None:
    run, _ = digits
    refused(call("report", run), "already exists", "--overwrite")
    refused(call("report", run, "--out", tmp_path / "page.pdf"), ".html")
    refused(call("report", tmp_path / "nothing"), "does not exist")
    refused(call("report", run, "--limit", 1, "--out", tmp_path / "page.html"), "--limit")
    content = succeed("report", run, "--out", tmp_path / "page.html", "--limit", 20, "--json", "-q").json
    assert content["sections"][-1] == "Configuration"
    assert content["bytes"] == (tmp_path / "page.html").stat().st_size


def test_classes_and_counted_models_have_pages(tmp_path) -> None:
    run = train_small(tmp_path / "by-class", "nade", "--condition-on-labels")
    succeed("report", run, "--limit", 30, "-q")
    check_page((run / "report.html").read_text(encoding="utf-8"))
    run = train_small(tmp_path / "tree", "chow-liu")
    succeed("report", run, "--limit", 30, "-q")
    page = (run / "report.html").read_text(encoding="utf-8")
    check_page(page)
    assert "Calibration" in page


def test_a_table_has_a_page_with_its_columns(tmp_path) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=120)
    rows = [f"{a:.3f},{'<b>' if a > 0 else 'low'},{'' if a > 1 else round(3 * a)}" for a in x]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["size,kind & sort,count", *rows]) + "\n")
    run = tmp_path / "run"
    succeed("train", "made", "--data", file, "--out", run, "--set", "steps=20", "-q")
    succeed("report", run, "-q")
    page = (run / "report.html").read_text(encoding="utf-8")
    check_page(page)
    assert "kind &amp; sort" in page
    assert "Surprise by column" in page
    assert "mine.csv" in page


def test_a_text_has_a_page_with_coloured_words(tmp_path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("the cat <sat> on the mat & slept. " * 120)
    run = tmp_path / "run"
    sizes = ("--set", "epochs=2", "--set", "hidden=8")
    succeed("train", "rnn", "--data", file, "--out", run, *sizes, "-q")
    succeed("report", run, "--limit", 400, "-q")
    page = (run / "report.html").read_text(encoding="utf-8")
    check_page(page)
    assert "<mark style=" in page
    assert "perplexity" in page
    assert "Calibration" in page


def test_a_series_has_a_page_with_a_forecast(tmp_path) -> None:
    file = tmp_path / "mine.csv"
    rows = [f"2024-01-{1 + t // 24:02d} {t % 24:02d}:00,{np.sin(t / 3):.4f}" for t in range(240)]
    file.write_text("\n".join(["when,level", *rows]) + "\n")
    run = tmp_path / "run"
    sizes = ("--set", "steps=5", "--set", "hidden=8")
    succeed("train", "rnn", "--data", file, "--time", "when", "--out", run, *sizes, "-q")
    succeed("report", run, "-q")
    page = (run / "report.html").read_text(encoding="utf-8")
    check_page(page)
    assert "Forecast" in page
    assert "holds the truth" in page


def test_sound_has_a_page_to_listen_to(tmp_path) -> None:
    from chainrule.audio import Recording, write_wav

    wav = tmp_path / "mine.wav"
    write_wav(wav, Recording(0.4 * np.sin(np.arange(16_000) / 7), 4000))
    run = tmp_path / "run"
    small = ("rate=2000", "length=64", "epochs=1", "channels=4", "skip_channels=6", "layers_per_stack=3")
    settings = [part for pair in small for part in ("--set", pair)]
    succeed("train", "wavenet", "--data", wav, "--out", run, *settings, "-q")
    succeed("report", run, "-q")
    page = (run / "report.html").read_text(encoding="utf-8")
    check_page(page)
    assert page.count("data:audio/wav;base64,") == 2
    assert "Calibration" in page


def test_a_damaged_run_is_one_line(digits, tmp_path) -> None:
    run, _ = digits
    broken = tmp_path / "broken"
    broken.mkdir()
    config = json.loads((run / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config))
    refused(call("report", broken, "-q"), "model.safetensors")


# ---------------------------------------------------------------- in a browser


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
@pytest.mark.parametrize("width", [1200, 500])
def test_in_a_browser_nothing_sticks_out_and_nothing_is_complained_of(digits, tmp_path, width) -> None:
    run, _ = digits
    page = tmp_path / "report.html"
    page.write_text((run / "report.html").read_text(encoding="utf-8"), encoding="utf-8")
    looked = look(page, tmp_path, width)
    assert looked.console == []
    assert looked.sticks_out == ""
    assert looked.broken == 0
    assert abs(looked.width - width) < 30
    assert looked.picture.stat().st_size > 10_000


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
def test_the_browser_helper_notices_what_is_wrong(tmp_path) -> None:
    page = tmp_path / "bad.html"
    wide = '<p style="width: 3000px">wide</p><img src="data:image/png;base64,AAAA" alt="broken">'
    bad = Page("Bad", [Section("One", f'{wide}<script>console.error("x")</script>')]).html()
    page.write_text(bad, encoding="utf-8")
    looked = look(page, tmp_path, 800)
    assert looked.console  # the page's policy forbids the script, and the browser says so
    assert "P" in looked.sticks_out.split()
    assert looked.broken == 1
