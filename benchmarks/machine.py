"""What every result file says about where and when it was measured."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def header() -> dict[str, Any]:
    """Date, machine, versions and the command, for the head of a result file."""
    return {
        "date": date.today().isoformat(),
        "command": shlex.join(["python", *map(_relative, sys.argv)]),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write(name: str, results: Any) -> Path:
    """Write `benchmarks/results/NAME.json` with its header."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**header(), "results": results}, indent=2) + "\n", encoding="utf-8")
    return path


def _relative(argument: str) -> str:
    root = Path(__file__).resolve().parents[1]
    path = Path(argument).resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) and path.exists() else argument


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
