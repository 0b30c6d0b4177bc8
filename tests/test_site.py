"""The documentation site: it builds with warnings as errors, fetches nothing, and can be looked at."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser_helpers import BROWSER, look

from chainrule.cli.model_cards import CARDS
from chainrule.models import MODELS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

make_architecture_picture = importlib.import_module("make_architecture_picture")
make_model_pages = importlib.import_module("make_model_pages")

#: Pages with a picture, equations, wide tables and signatures, and the widths that they are looked at.
SEEN = (
    ("index.html", 1300),
    ("models/gated-pixelcnn.html", 1300),
    ("models/gated-pixelcnn.html", 500),
    ("api/training.html", 500),
)


class References(HTMLParser):
    """What a browser would fetch for a page: scripts, styles, pictures, frames."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs) -> None:
        names = {"link": "href"}.get(tag, "src")
        if tag in ("link", "script", "img", "iframe", "source", "video", "audio"):
            self.found += [value for name, value in attrs if name == names and value]


def build(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """`mkdocs build --strict`, with a proxy that answers nothing in place of the network."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    out = tmp_path_factory.mktemp("site") / "site"
    built = build(ROOT, out)
    assert built.returncode == 0, built.stdout + built.stderr
    return out


# ---------------------------------------------------------------- what is written by scripts


def test_every_model_has_a_page_with_equation_snippet_and_facts():
    assert {path.stem for path in (DOCS / "models").glob("*.md")} == {*MODELS, "index"}
    for name in MODELS:
        text = (DOCS / "models" / f"{name}.md").read_text(encoding="utf-8")
        for part in ("\n$$\n", "```python\n", "## When to use it", "## At a glance", "## What it costs here"):
            assert part in text, f"models/{name}.md lacks {part.strip()}"


def test_the_facts_on_the_pages_are_those_of_today():
    assert make_model_pages.main(check=True) == 0, "run: python docs/make_model_pages.py"


def test_the_pages_of_results_are_those_of_the_files_in_benchmarks():
    script = ROOT / "benchmarks" / "make_results_page.py"
    subprocess.run([sys.executable, script, "--check"], check=True)


def test_a_changed_fact_is_noticed():
    text = (DOCS / "models" / "nade.md").read_text(encoding="utf-8")
    assert CARDS["nade"].parameters in text
    assert make_model_pages.with_facts(text.replace(CARDS["nade"].parameters, "2n"), "nade") == text
    with pytest.raises(SystemExit, match=r"models/nade\.md needs one pair"):
        make_model_pages.with_facts("# NADE\n", "nade")


def test_the_picture_of_the_floors_is_that_of_the_contract():
    assert make_architecture_picture.main(check=True) == 0, "run: python docs/make_architecture_picture.py"
    drawn = make_architecture_picture.PICTURE.read_text(encoding="utf-8")
    modules = [name for floor in make_architecture_picture.floors() for name in floor]
    assert "conditionals" in modules
    assert all(f">{name}</text>" in drawn for name in modules)


def test_every_public_package_has_its_api_page():
    packages = {
        path.parent.name
        for path in (ROOT / "src" / "chainrule").glob("*/__init__.py")
        if "__all__" in path.read_text(encoding="utf-8")
    }
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md")}
    assert packages - {"cli"} <= pages.keys()
    for name in pages.keys() - {"index"}:
        assert f"::: chainrule.{name}\n" in pages[name]


# ---------------------------------------------------------------- the hook


def small_project(folder: Path, page: str) -> Path:
    """A site of one page that uses the hook, in a repository that has a test file and a note."""
    for path, text in {
        "docs/index.md": page,
        "tests/test_it.py": 'PAGE = """\n```python\nx[0](1)\n```\n"""\n',
        "NOTE.md": "# A note\n\nBack to [the page](docs/index.md).\n",
        "mkdocs.yml": (
            "site_name: small\nuse_directory_urls: false\n"
            f"hooks: [{DOCS / 'make_site.py'}]\n"
            "markdown_extensions: [pymdownx.superfences, {pymdownx.arithmatex: {generic: true}}]\n"
        ),
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def test_links_that_leave_the_docs_become_pages_and_equations_mathml(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    page = (
        "# P\n\n[t](../tests/test_it.py) [n](../NOTE.md)\n\n$$\nx_i^2\n$$\n\n```python no-run\ny = 1\n```\n"
    )
    built = build(small_project(tmp_path, page), tmp_path / "out")
    assert built.returncode == 0, built.stderr
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<math display="block"><msubsup>' in html
    assert "no-run" not in html
    assert 'href="repository/tests/test_it.py.html"' in html
    assert "x[0](1)" in re.sub(
        r"<[^>]+>", "", (tmp_path / "out/repository/tests/test_it.py.html").read_text()
    )
    assert 'href="../index.html"' in (tmp_path / "out/repository/NOTE.html").read_text()


@pytest.mark.parametrize("mistake", ["[gone](../tests/test_gone.py)", "$$\n\\nosuchcommand{x}\n$$"])
def test_a_dead_link_or_an_equation_that_is_none_ends_the_build(tmp_path, mistake):
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    assert build(small_project(tmp_path, f"# P\n\n{mistake}\n"), tmp_path / "out").returncode != 0


# ---------------------------------------------------------------- the site


def test_pages_fetch_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(MODELS)
    outside = [
        (page.name, url) for page in pages for url in References(page).found if re.match("[a-z]*:?//", url)
    ]
    assert outside == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", styles)


def test_all_equations_are_mathml(site):
    for name in MODELS:
        html = (site / "models" / f"{name}.html").read_text(encoding="utf-8")
        assert "<math" in html
        assert "arithmatex" not in html


def test_the_api_shows_what_is_public(site):
    html = (site / "api" / "models.html").read_text(encoding="utf-8")
    for cls in MODELS.values():
        assert f'id="chainrule.models.{cls.__name__}"' in html


@pytest.mark.skipif(BROWSER is None, reason="no browser")
@pytest.mark.parametrize(("page", "width"), SEEN)
def test_pages_open_from_the_disk_without_a_complaint(site, page, width):
    seen = look(site / page, (site / page).parent, width)
    assert seen.console == []
    assert seen.broken == 0
    assert seen.sideways <= 0
