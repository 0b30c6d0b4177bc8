"""What computes the worked examples, a file per topic of the lecture; every function names what it answers.

An argument is an input of the example in the JSON, of the same name. What these functions print in
`chainrule examples ID` is their own source, so they are written to be read.
"""

from __future__ import annotations

__all__: list[str] = []
