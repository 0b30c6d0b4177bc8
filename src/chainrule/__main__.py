"""`python -m chainrule`: the command line where its script is not on the path."""

from __future__ import annotations

import sys

from chainrule.cli.entry import run

if __name__ == "__main__":
    sys.exit(run())
