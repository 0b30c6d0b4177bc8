"""Draw docs/images/architecture.svg: the floors of the package, from the contract that `lint-imports` holds.

python docs/make_architecture_picture.py          # writes the picture; with --check it only compares
"""

from __future__ import annotations

import html
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"

#: What the floors are called: the name that stands left of them, by a module of the highest of each.
NAMES = {
    "cli": "doors",
    "comparing": "advice",
    "tabular": "kinds of data",
    "training": "uses",
    "loading": "catalogue",
    "contrasts": "contrasts",
    "models": "models",
    "model": "the waist",
    "tables": "mathematics",
    "arguments": "ground",
}

WIDTH, LEFT, TOP, FLOOR, GAP = 860, 130, 16, 34, 8
STYLE = """
  text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1a237e }
  .name { font-weight: 600; fill: #5c6bc0 }
  .floor { fill: #e8eaf6; stroke: #9fa8da }
  .waist { fill: #c5cae9; stroke: #3f51b5; stroke-width: 2 }
  .arrow { stroke: #5c6bc0; stroke-width: 2; fill: none }
  .head { fill: #5c6bc0 }
"""


def floors() -> list[list[str]]:
    """Modules of each floor, from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    return [[name.strip().removeprefix("chainrule.") for name in layer.split("|")] for layer in layers]


def picture() -> str:
    """The whole SVG: a row for each floor, a box for each module; the waist is narrow."""
    rows = floors()
    height = TOP * 2 + len(rows) * (FLOOR + GAP)
    parts = []
    waist = False
    for index, modules in enumerate(rows):
        y = TOP + index * (FLOOR + GAP)
        name = NAMES.get(modules[0])
        if name is not None:
            waist = name == "the waist"
            parts.append(f'<text class="name" x="8" y="{y + 22}">{name}</text>')
        parts += _boxes(modules, y, narrow=waist)
    x, bottom = WIDTH - 22, height - TOP - 12
    parts.append(f'<path class="arrow" d="M{x} {TOP} V{bottom - 8}"/>')
    parts.append(f'<path class="head" d="M{x - 6} {bottom - 8} h12 l-6 12 z"/>')
    title = "The floors of chainrule, doors at the top and ground at the bottom; imports run downwards only."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#fafafa"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _boxes(modules: list[str], y: int, *, narrow: bool) -> list[str]:
    space = WIDTH - LEFT - 44
    start, space = (LEFT + space // 4, space // 2) if narrow else (LEFT, space)
    width = (space - GAP * (len(modules) - 1)) / len(modules)
    parts = []
    for index, module in enumerate(modules):
        x = start + index * (width + GAP)
        kind = "waist" if narrow else "floor"
        label = html.escape(f"{module}")
        parts.append(
            f'<rect class="{kind}" x="{x:.0f}" y="{y}" width="{width:.0f}" height="{FLOOR}" rx="4"/>'
        )
        parts.append(f'<text x="{x + width / 2:.0f}" y="{y + 22}" text-anchor="middle">{label}</text>')
    return parts


def main(check: bool) -> int:
    """Write the picture, or with `check` compare it; 1 if it is out of date."""
    made = picture()
    if check:
        stale = not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != made
        if stale:
            print("out of date: run python docs/make_architecture_picture.py", file=sys.stderr)
        return int(stale)
    PICTURE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv[1:]))
