"""Where the parts of a series end: the past trains, the present selects, the future reports."""

from __future__ import annotations

from chainrule.errors import ChainruleError, unknown_name

__all__ = ["PARTS", "SHARES", "SHORTEST", "part_edges", "part_steps"]

#: Where training and validation end.
SHARES = (0.8, 0.9)
PARTS = ("train", "validation", "test")
#: The fewest steps that can be split.
SHORTEST = 20


def part_edges(steps: int) -> tuple[int, int]:
    """The steps at which training and validation end; `ChainruleError` for too few of them."""
    if steps < SHORTEST:
        raise ChainruleError(
            f"a series of {steps} step{'' if steps == 1 else 's'} is too short to be split into training, "
            f"validation and test; "
            f"expected at least {SHORTEST}."
        )
    return int(SHARES[0] * steps), int(SHARES[1] * steps)


def part_steps(steps: int, part: str) -> range:
    """The steps of a part by its name."""
    if part not in PARTS:
        raise unknown_name("part", part, PARTS)
    edges = (0, *part_edges(steps), steps)
    place = PARTS.index(part)
    return range(edges[place], edges[place + 1])
