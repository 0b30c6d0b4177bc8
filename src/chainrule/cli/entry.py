"""Where the program `chainrule` starts: before anything that takes time to import."""

from __future__ import annotations

from chainrule.cli.interrupts import calm_imports

__all__ = ["run"]


def run() -> int:
    """Run the command line on `sys.argv`; returns the exit status, see `chainrule.cli.main.run`."""
    with calm_imports():
        from chainrule.cli.main import run as run_command

        return run_command()
