"""What MkDocs cannot do by itself, as a hook of mkdocs.yml: equations, and links that leave docs/.

- `$...$` and `$$...$$` become MathML while the site is built, so no page loads a script for them.
- A page may link to any file of the repository: `../tests/test_made.py` becomes a page of the site.
- ```python no-run (a mark for the tests of these pages) is shown as ```python.
- `Docstrings` makes docstrings, which are written for `help()`, into Markdown.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import griffe
from math_core import LatexToMathML
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

__all__ = ["Docstrings", "on_files", "on_page_content", "on_page_markdown"]

#: Where files from outside docs/ stand in the site.
SHELF = "repository"

_FENCED = re.compile(r"^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)\s*$", flags=re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
_MATH = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
_TO_MATHML = LatexToMathML()  # an equation that it cannot read raises, and ends the build
_LANGUAGES = {".py": "python", ".json": "json", ".jsonl": "json", ".toml": "toml", ".csv": "text"}


# ---------------------------------------------------------------- links that leave docs/


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside docs/ that a page links to, and for those that they link to."""
    root, docs = _folders(config)
    waiting = [(Path(f.abs_src_path), _read(Path(f.abs_src_path))) for f in files.documentation_pages()]
    while waiting:
        source, text = waiting.pop()
        for target in _targets(text, source):
            uri = _uri(target, root, docs)
            if uri is None or target.is_relative_to(docs) or files.get_file_from_path(uri):
                continue
            if target.suffix == ".png":
                files.append(File.generated(config, uri, content=target.read_bytes()))
                continue
            content = _read(target) if target.suffix == ".md" else _shown(target, root)
            page = File.generated(config, uri, content=content, inclusion=InclusionLevel.NOT_IN_NAV)
            files.append(page)
            if target.suffix == ".md":
                waiting.append((target, content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to where files stand in the site; leave out marks that are meant for the tests."""
    root, docs = _folders(config)
    uri = page.file.src_uri
    source = root / uri.removeprefix(f"{SHELF}/") if uri.startswith(f"{SHELF}/") else docs / uri
    if uri.startswith(f"{SHELF}/"):
        page.meta["search"] = {"exclude": True}

    def to_site(match: re.Match[str]) -> str:
        target = (source.parent / match["path"]).resolve()
        there = None if "://" in match["path"] else _uri(target, root, docs)
        if there is None or not target.exists():
            return match[0]
        anchor = (match["anchor"] or "") if target.suffix == ".md" else ""
        return os.path.relpath(there, Path(uri).parent).replace(os.sep, "/") + anchor

    shown = re.sub(r"^(```\w+) no-run$", r"\1", markdown, flags=re.MULTILINE)
    return _outside_fences(shown, lambda text: _LINK.sub(to_site, text))


def _folders(config: MkDocsConfig) -> tuple[Path, Path]:
    return Path(config.config_file_path).resolve().parent, Path(config.docs_dir).resolve()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _targets(text: str, source: Path) -> list[Path]:
    """The files and folders that the links of a page lead to."""
    found: list[Path] = []
    _outside_fences(
        text, lambda part: found.extend(source.parent / m["path"] for m in _LINK.finditer(part)) or part
    )
    return [path.resolve() for path in found if path.exists()]


def _uri(target: Path, root: Path, docs: Path) -> str | None:
    """Where a file of the repository stands in the site; None for what lies outside of it."""
    if target.is_relative_to(docs):
        return target.relative_to(docs).as_posix()
    if not target.is_relative_to(root) or not target.exists():
        return None
    ending = "" if target.suffix in (".md", ".png") else ".md"
    return f"{SHELF}/{target.relative_to(root).as_posix()}{ending}"


def _shown(path: Path, root: Path) -> str:
    """A file that is not Markdown, or a folder, as a page."""
    title = f"# {path.relative_to(root).as_posix()}\n\n"
    if path.is_dir():
        return title + "".join(f"- `{p.name}`\n" for p in sorted(path.iterdir()))
    return f"{title}~~~~~~{_LANGUAGES.get(path.suffix, 'text')}\n{_read(path)}\n~~~~~~\n"


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    """`change` applied to what stands outside of fenced blocks."""
    parts, end = [], 0
    for block in _FENCED.finditer(text):
        parts += [change(text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(text[end:])])


# ---------------------------------------------------------------- equations


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """MathML for every equation that `pymdownx.arithmatex` has marked."""
    return _MATH.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    block = match["tag"] == "div"
    made = _TO_MATHML.convert_with_local_state(html.unescape(match["tex"]).strip(), displaystyle=block)
    return f'<div class="equation">{made}</div>' if block else made


# ---------------------------------------------------------------- docstrings


class Docstrings(griffe.Extension):
    """Make docstrings Markdown: doctests become code, lists get the empty line they need, `<` is kept."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object in place."""
        if obj.docstring:
            obj.docstring.value = _as_markdown(obj.docstring.value)


def _as_markdown(text: str) -> str:
    paragraphs = []
    for paragraph in re.split(r"\n{2,}", text):
        if paragraph.startswith(">>>"):
            paragraphs.append(f"```pycon\n{paragraph}\n```")
        elif paragraph.startswith("    "):
            paragraphs.append(paragraph)
        else:
            listed = re.sub(r"(?<=\n)(?<!- )(?=- )", "\n", paragraph, count=1)
            pieces = re.split(r"(`[^`]*`)", listed)
            pieces[::2] = [piece.replace("<", "&lt;") for piece in pieces[::2]]
            paragraphs.append("".join(pieces))
    return "\n\n".join(paragraphs)
