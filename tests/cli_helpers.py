"""Running `chainrule` in this process and as a real one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.cli.main import run


@dataclass(frozen=True)
class Called:
    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


def call(*arguments: object) -> Called:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run([str(argument) for argument in arguments])
    return Called(status, out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> Called:
    called = call(*arguments)
    assert called.status == 0, called.err
    return called


def refused(called: Called, *words: str) -> str:
    """Exit status 2, one line on stderr that holds every one of `words`, and no results."""
    assert called.status == 2, (called.status, called.err)
    assert called.out == ""
    lines = called.err.strip().splitlines()
    assert len(lines) == 1, called.err
    assert lines[0].startswith("chainrule: error: ")
    for word in words:
        assert word in lines[0], f"{word!r} is not in: {lines[0]}"
    return lines[0]


#: What the program `chainrule` does, in any environment that has the package.
PROGRAM = (sys.executable, "-c", "import sys; from chainrule.cli.entry import run; sys.exit(run())")


def as_process(*arguments: object, cwd: Path, **environment: str) -> Called:
    """`chainrule` in a process of its own, in `cwd`."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Called(done.returncode, done.stdout, done.stderr)


def train_small(folder: Path, model: str = "nade", *more: object) -> Path:
    """A tiny run on the digits, in a second or two."""
    settings = ["epochs=2", *(["hidden=8"] if model in ("nade", "made", "deep-nade") else [])]
    pairs = [part for setting in settings for part in ("--set", setting)]
    succeed("train", model, "--data", "digits", "--out", folder, "--quiet", *pairs, *more)
    return folder
