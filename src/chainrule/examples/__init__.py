"""The worked examples of the lecture, recomputed by this library's own classes.

    from chainrule.examples import EXAMPLES, recompute

    example = EXAMPLES["6.6-fvsbn-likelihood"]
    example.stated, example.exact, recompute(example)     # 0.0144, 0.0144344, 0.01443...

`chainrule examples` lists them; `program_of` writes one as a small program that runs on its own. Reading
the catalogue needs no torch; what computes the answers is imported with the first of them.
"""

from __future__ import annotations

from chainrule.examples.agreement import agrees, shown, verdict_of
from chainrule.examples.catalogue import EXAMPLES, Example, coverage, find_example
from chainrule.examples.registry import recompute
from chainrule.examples.snippets import program_of

__all__ = [
    "EXAMPLES",
    "Example",
    "agrees",
    "coverage",
    "find_example",
    "program_of",
    "recompute",
    "shown",
    "verdict_of",
]
