"""Pages in a real browser, headless: what it complains of, and whether anything sticks out of a window."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BROWSER", "Looked", "look"]

#: The first browser there is; tests are skipped where there is none (Debian: apt-get install chromium).
BROWSER = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        if (path := shutil.which(name)) is not None
    ),
    None,
)

#: What is asked of the page itself; its own policy forbids scripts, so a copy without the policy is asked.
_PROBE = """<script>
document.documentElement.dataset.sticksOut = [...document.querySelectorAll("body *")].filter(
  e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest(".wide"))
  .map(e => e.tagName).join(" ");
document.documentElement.dataset.broken = [...document.images].filter(i => !i.naturalWidth).length;
document.documentElement.dataset.sideways =
  document.documentElement.scrollWidth - document.documentElement.clientWidth;
document.documentElement.dataset.width = document.documentElement.clientWidth;
</script></body>"""


_ASKED = ("sticks-out", "broken", "width", "sideways")


@dataclass(frozen=True)
class Looked:
    """What a browser said: lines of its console, its width, what sticks out, pictures that are broken.

    `sideways`: by how much the page as a whole scrolls to the side, pixels.
    """

    console: list[str]
    width: int
    sticks_out: str
    broken: int
    picture: Path
    sideways: int


def look(page: Path, folder: Path, width: int, height: int = 2400) -> Looked:
    """Open a page in a window of this size; leaves a screenshot in `folder`."""
    picture = folder / f"{page.stem}-{width}.png"
    shown = _run(page, folder, width, height, f"--screenshot={picture}")
    probed = folder / f"probed-{page.name}"
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text).replace("</body>", _PROBE)
    probed.write_text(text, encoding="utf-8")
    dom = _run(probed, folder, width, height, "--dump-dom").stdout
    found = {name: re.search(rf'data-{name}="([^"]*)"', dom) for name in _ASKED}
    assert all(found.values()), dom[:300]
    return Looked(
        [line for line in shown.stderr.splitlines() if "CONSOLE" in line],
        int(found["width"][1]),
        found["sticks-out"][1],
        int(found["broken"][1]),
        picture,
        int(found["sideways"][1]),
    )


def _run(page: Path, folder: Path, width: int, height: int, what: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    return subprocess.run(
        [
            *(BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--enable-logging=stderr", f"--user-data-dir={folder / 'browser'}"),
            *(f"--window-size={width},{height}", what, page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
