"""Start-up times: `import chainrule` and `chainrule --help`, each as a whole process.

python benchmarks/imports.py
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time

from machine import write

COMMANDS = {
    "python -c 'import chainrule'": [sys.executable, "-c", "import chainrule"],
    "python -c 'import chainrule; chainrule.models.NADE'": [
        sys.executable,
        "-c",
        "import chainrule; chainrule.models.NADE",
    ],
    "chainrule --help": [shutil.which("chainrule") or "chainrule", "--help"],
}


def seconds(command: list[str], repeats: int = 5) -> float:
    """Median of `repeats` whole processes, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    rows = {name: seconds(command) for name, command in COMMANDS.items()}
    for name, value in rows.items():
        print(f"{value:6.2f} s  {name}")
    print("written to", write("imports", rows))


if __name__ == "__main__":
    main()
