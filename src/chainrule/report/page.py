"""A self-contained page of HTML: sections in a frame that is readable anywhere, with no request to anything.

    page = Page("A run", [Section("Overview", facts([("model", "nade")]))])
    write_file("page.html", page.html().encode())

Pictures are inlined. Light or dark follows the reader's setting; on a narrow window wide things scroll within
themselves. Everything that is not already HTML goes through `text`.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["Page", "Section", "details", "drawn", "facts", "paragraph", "picture", "sound", "table", "text"]


def text(content: object) -> str:
    """Anything as HTML that shows it."""
    return html.escape(str(content))


def paragraph(content: object) -> str:
    """Plain words."""
    return f"<p>{text(content)}</p>"


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs)
    return f"<dl>{rows}</dl>"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "", head: bool = True
) -> str:
    """A table; columns whose name starts with `>` hold numbers, and the first column names its row.

    - `head`: whether the first cell of a row is its heading.
    """
    right = [name.startswith(">") for name in columns]
    titles = "".join(
        f'<th scope="col"{_numeric(flush)}>{text(name.lstrip(">"))}</th>'
        for name, flush in zip(columns, right, strict=True)
    )
    lines = []
    for row in rows:
        cells = [f"<td{_numeric(flush)}>{text(cell)}</td>" for cell, flush in zip(row, right, strict=True)]
        if head and cells:
            cells[0] = f'<th scope="row">{text(row[0])}</th>'
        lines.append(f"<tr>{''.join(cells)}</tr>")
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    body = "\n".join(lines)
    # Reachable by keyboard, because it may scroll.
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption or "table")}"><table>{title}'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _numeric(flush: bool) -> str:
    return ' class="number"' if flush else ""


def picture(
    content: bytes, alt: str, *, caption: str = "", kind: str = "png", pixelated: bool = False
) -> str:
    """A PNG within the page; `alt` says what it shows to those who do not see it."""
    data = base64.b64encode(content).decode("ascii")
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    style = ' class="pixels"' if pixelated else ""
    return f'<figure><img{style} src="data:image/png;base64,{data}" alt="{text(alt)}">{below}</figure>'


def sound(content: bytes, label: str) -> str:
    """A .wav to listen to."""
    data = base64.b64encode(content).decode("ascii")
    return (
        f'<figure><audio controls aria-label="{text(label)}" src="data:audio/wav;base64,{data}"></audio>'
        f"<figcaption>{text(label)}</figcaption></figure>"
    )


def details(summary: str, content: str) -> str:
    """HTML that opens on demand."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def drawn(draw: Callable[[Path], object], alt: str, *, caption: str = "") -> str:
    """What one of the `save_...` functions of this package draws, within the page.

    - `draw`: is given the path to write a .png to.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path)
        return picture(_smaller(path.read_bytes()), alt, caption=caption)


def _smaller(content: bytes) -> bytes:
    """The same picture in a palette where that loses nothing to the eye: a third of the bytes."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        reduced = opened.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    reduced.save(buffer, format="PNG", optimize=True)
    return min(content, buffer.getvalue(), key=len)


@dataclass(frozen=True)
class Section:
    """A part of a page under its own heading; `html` is trusted, so make it with the functions here."""

    title: str
    html: str

    @property
    def anchor(self) -> str:
        """What links within the page call it."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"


@dataclass(frozen=True)
class Page:
    """A page of sections; `summary` is a sentence below its title."""

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)
    summary: str = ""

    def html(self) -> str:
        """The whole page."""
        anchors = _distinct([section.anchor for section in self.sections])
        parts = list(zip(anchors, self.sections, strict=True))
        links = "".join(f'<li><a href="#{anchor}">{text(part.title)}</a></li>' for anchor, part in parts)
        body = "\n".join(
            f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{text(part.title)}</h2>\n{part.html}\n'
            "</section>"
            for anchor, part in parts
        )
        summary = f'<p class="summary">{text(self.summary)}</p>' if self.summary else ""
        return _PAGE.format(title=text(self.title), style=_STYLE, links=links, summary=summary, body=body)


def _distinct(anchors: Sequence[str]) -> list[str]:
    found: list[str] = []
    for anchor in anchors:
        number, name = 2, anchor
        while name in found:
            name, number = f"{anchor}-{number}", number + 1
        found.append(name)
    return found


# No request is ever made: the policy forbids it, and the icon is empty because browsers would ask for one.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#content">To the content</a>
<header>
<h1>{title}</h1>
{summary}
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main id="content">
{body}
</main>
</body>
</html>
"""

_STYLE = """:root {
  color-scheme: light dark;
  --ink: #1f2430; --paper: #ffffff; --faint: #5b6472; --line: #d5dae2; --card: #f6f7f9; --link: #2b5fb3;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaee; --paper: #15181e; --faint: #a4adba; --line: #343b47; --card: #1d222b;
    --link: #8ab4f8; }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .6rem 0 .2rem }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem }
a { color: var(--link) }
.summary, figcaption, caption { color: var(--faint) }
.skip { position: absolute; left: -100rem }
.skip:focus { left: 1rem; top: .5rem; background: var(--paper) }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; margin: .8rem 0 }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1.2rem;
  margin: .8rem 0 }
dt { color: var(--faint) }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere }
.wide { overflow-x: auto; max-width: 100% }
table { border-collapse: collapse; font-size: .92rem }
caption { text-align: left; padding: .3rem 0 }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top }
thead th { color: var(--faint); font-weight: 600 }
tbody th { font-weight: 600 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 1rem 0 }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px }
.pixels { image-rendering: pixelated }
.side { display: flex; flex-wrap: wrap; gap: 1rem }
.side figure { margin: 0; max-width: 15rem }
audio { width: 100%; max-width: 30rem }
pre { background: var(--card); padding: .8rem; border-radius: 4px; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 14px/1.6 ui-monospace, monospace }
mark { color: inherit; border-radius: 3px }
details { margin: .8rem 0 }
summary { cursor: pointer; color: var(--link) }
@media (max-width: 32rem) {
  dl { grid-template-columns: 1fr; gap: 0 } dt { margin-top: .5rem }
}
@media print { nav, .skip { display: none } }
"""
