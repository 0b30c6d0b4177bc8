"""Orderings: the permutations of the variables in which the chain rule is read.

p(x) = prod_t p(x_{o(t)} | x_{o(1)}, ..., x_{o(t-1)}) holds for every permutation o; a *fitted*
model depends on the one it was given. An `Ordering` is immutable and remembers how it was made, so
that a saved model can rebuild it. Images are `(C, H, W)`: spatial orderings walk over the `H x W`
grid and visit the channels of a pixel together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.arguments import checked_seed, whole_number
from chainrule.errors import ChainruleError, unknown_name

__all__ = [
    "ORDERINGS",
    "ORDERINGS_FROM_DATA",
    "Ordering",
    "greedy_entropy_ordering",
    "pairwise_entropies",
    "random_ordering",
    "resolve_ordering",
]

Cell = tuple[int, int]


@dataclass(frozen=True)
class Ordering:
    """A permutation of the variables and the name it goes by.

    - `permutation`: `permutation[t]` is the flat index of the variable that comes t-th (from 0).
    - `name`: one of `ORDERINGS`, `"random:SEED"`, `"custom"`, or what made it.
    """

    permutation: tuple[int, ...]
    name: str = "custom"

    def __post_init__(self) -> None:
        if sorted(self.permutation) != list(range(len(self.permutation))):
            raise ChainruleError(
                f"an ordering of {len(self.permutation)} variables must contain each of "
                f"0..{len(self.permutation) - 1} exactly once."
            )

    @property
    def spec(self) -> str | list[int]:
        """What `resolve_ordering` needs to build it again; JSON-ready."""
        return self.name if _is_named(self.name) else list(self.permutation)

    def indices(self) -> Tensor:
        """The permutation as a long tensor, `(n,)`."""
        return torch.tensor(self.permutation, dtype=torch.long)

    def positions(self) -> Tensor:
        """The inverse: `positions[i]` is when variable i comes, counting from 0; `(n,)`."""
        return torch.argsort(self.indices())

    def __len__(self) -> int:
        return len(self.permutation)

    def __repr__(self) -> str:
        return f"Ordering({self.name!r}, {len(self)} variables)"


def resolve_ordering(spec: str | Sequence[int] | Tensor | Ordering, event_shape: tuple[int, ...]) -> Ordering:
    """An ordering for `event_shape` from its name, `"random:SEED"`, a permutation, or as it is.

    Raises `ChainruleError` for an unknown name, a name that needs data (`ORDERINGS_FROM_DATA`), a list
    that is no permutation of the variables, or an image ordering asked of something that is no image.

    >>> resolve_ordering("spiral", (3, 3)).permutation
    (4, 5, 8, 7, 6, 3, 0, 1, 2)
    """
    size = math.prod(event_shape)
    if isinstance(spec, Ordering):
        ordering = spec
    elif isinstance(spec, str):
        ordering = _named_ordering(spec, event_shape)
    else:
        ordering = Ordering(_checked_permutation(spec))
    if len(ordering) != size:
        raise ChainruleError(
            f"the ordering has {len(ordering)} variables, but event_shape {tuple(event_shape)} has {size}."
        )
    return ordering


def random_ordering(event_shape: tuple[int, ...], seed: int = 0) -> Ordering:
    """A permutation drawn uniformly with its own generator; the same seed gives the same one."""
    generator = torch.Generator().manual_seed(checked_seed(seed))
    permutation = torch.randperm(math.prod(event_shape), generator=generator)
    return Ordering(tuple(permutation.tolist()), f"random:{seed}")


def greedy_entropy_ordering(data: Tensor, *, first: int | None = None, pseudocount: float = 0.5) -> Ordering:
    """An ordering learned from binary data, greedily by conditional entropy.

    Starts with the variable of least marginal entropy (or `first`) and then repeatedly takes the
    variable that is least uncertain given the best single variable already placed, that is, the
    smallest min_j H(x_i | x_j). Pairwise entropies are estimated from counts smoothed with
    `pseudocount`; cost O(N n^2).

    - `data`: `(N, *event_shape)` of 0 and 1.
    """
    joint, marginal = pairwise_entropies(data.reshape(len(data), -1), pseudocount)
    conditional = joint - marginal[None, :]  # (n, n): H(row | column)
    best = marginal.clone()
    order: list[int] = []
    remaining = torch.ones(len(marginal), dtype=torch.bool)
    for step in range(len(marginal)):
        if step == 0 and first is not None:
            chosen = first
        else:
            chosen = int(torch.where(remaining, best, torch.inf).argmin())
        order.append(chosen)
        remaining[chosen] = False
        best = torch.minimum(best, conditional[:, chosen])
    return Ordering(tuple(order), "custom")


def pairwise_entropies(x: Tensor, pseudocount: float = 0.5) -> tuple[Tensor, Tensor]:
    """Entropies of all pairs, `(n, n)`, and of all columns, `(n,)`, of binary data `(N, n)`; nats, float64.

    Every cell of every 2 x 2 table of counts is smoothed by `pseudocount`.
    """
    x = x.double()
    total = len(x) + 4 * pseudocount
    both = (x.T @ x + pseudocount) / total
    ones = (x.sum(0) + 2 * pseudocount) / total
    first, second = ones[:, None] - both, ones[None, :] - both
    cells = (both, first, second, 1 - both - first - second)
    joint = -torch.stack([torch.special.xlogy(c, c) for c in (c.clamp_min(0) for c in cells)]).sum(0)
    marginal = -(torch.special.xlogy(ones, ones) + torch.special.xlogy(1 - ones, 1 - ones))
    return joint, marginal


def _grid(event_shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """(channels, height, width) of an image shape, or a clear error."""
    if len(event_shape) == 2:
        return 1, event_shape[0], event_shape[1]
    if len(event_shape) == 3:
        return event_shape[0], event_shape[1], event_shape[2]
    raise ChainruleError(
        f"the {name} ordering needs an image, event_shape (H, W) or (C, H, W), not {tuple(event_shape)}."
    )


def _over_pixels(
    walk: Callable[[int, int], Iterator[Cell]], name: str
) -> Callable[[tuple[int, ...]], list[int]]:
    """Turn a walk over (row, column) cells into flat indices, channels of a pixel together."""

    def permutation(event_shape: tuple[int, ...]) -> list[int]:
        channels, height, width = _grid(event_shape, name)
        plane = height * width
        return [c * plane + row * width + col for row, col in walk(height, width) for c in range(channels)]

    return permutation


def _raster(event_shape: tuple[int, ...]) -> list[int]:
    """Row by row for images (channels of a pixel together), plain order for everything else."""
    if len(event_shape) != 3:
        return list(range(math.prod(event_shape)))
    return _over_pixels(_raster_walk, "raster")(event_shape)


def _reversed(event_shape: tuple[int, ...]) -> list[int]:
    return _raster(event_shape)[::-1]


def _raster_walk(height: int, width: int) -> Iterator[Cell]:
    return ((row, col) for row in range(height) for col in range(width))


def _column_walk(height: int, width: int) -> Iterator[Cell]:
    return ((row, col) for col in range(width) for row in range(height))


def _spiral_walk(height: int, width: int) -> Iterator[Cell]:
    """Outwards from the centre in unit steps: the reverse of peeling the border inwards.

    Peeling clockwise ends at the centre and never jumps, for every height and width.
    """
    top, left, bottom, right = 0, 0, height - 1, width - 1
    inwards: list[Cell] = []
    while top <= bottom and left <= right:
        inwards += [(top, col) for col in range(right, left - 1, -1)]
        inwards += [(row, left) for row in range(top + 1, bottom + 1)]
        if top < bottom:
            inwards += [(bottom, col) for col in range(left + 1, right + 1)]
        if left < right:
            inwards += [(row, right) for row in range(bottom - 1, top, -1)]
        top, left, bottom, right = top + 1, left + 1, bottom - 1, right - 1
    return reversed(inwards)


def _hilbert_walk(height: int, width: int) -> Iterator[Cell]:
    """A Hilbert curve over any rectangle.

    On a 2^k x 2^k grid it is Hilbert's; other rectangles are cut recursively in the same manner,
    every step going to a neighbouring cell (one step may be diagonal where a side is odd).
    """
    if width >= height:
        cells = _hilbert_rectangle(0, 0, width, 0, 0, height)
    else:
        cells = _hilbert_rectangle(0, 0, 0, height, width, 0)
    return ((y, x) for x, y in cells)


def _hilbert_rectangle(x: int, y: int, ax: int, ay: int, bx: int, by: int) -> Iterator[Cell]:
    """Fill the rectangle at (x, y) spanned by the major axis a and the minor axis b."""
    width, height = abs(ax + ay), abs(bx + by)
    step_a = (_sign(ax), _sign(ay))
    step_b = (_sign(bx), _sign(by))
    if height == 1:
        yield from ((x + k * step_a[0], y + k * step_a[1]) for k in range(width))
        return
    if width == 1:
        yield from ((x + k * step_b[0], y + k * step_b[1]) for k in range(height))
        return
    half_ax, half_ay = _half(ax), _half(ay)
    half_bx, half_by = _half(bx), _half(by)
    half_width, half_height = abs(half_ax + half_ay), abs(half_bx + half_by)
    if 2 * width > 3 * height:
        # A long rectangle is two in a row; an even first half keeps the steps straight.
        if half_width % 2 and width > 2:
            half_ax, half_ay = half_ax + step_a[0], half_ay + step_a[1]
        yield from _hilbert_rectangle(x, y, half_ax, half_ay, bx, by)
        yield from _hilbert_rectangle(x + half_ax, y + half_ay, ax - half_ax, ay - half_ay, bx, by)
        return
    # Otherwise: up the near side, along the far side, and down again.
    if half_height % 2 and height > 2:
        half_bx, half_by = half_bx + step_b[0], half_by + step_b[1]
    yield from _hilbert_rectangle(x, y, half_bx, half_by, half_ax, half_ay)
    yield from _hilbert_rectangle(x + half_bx, y + half_by, ax, ay, bx - half_bx, by - half_by)
    yield from _hilbert_rectangle(
        x + (ax - step_a[0]) + (half_bx - step_b[0]),
        y + (ay - step_a[1]) + (half_by - step_b[1]),
        -half_bx,
        -half_by,
        -(ax - half_ax),
        -(ay - half_ay),
    )


def _half(value: int) -> int:
    """Half of a signed length, rounded down like the unsigned one is not: towards minus infinity."""
    return value // 2


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _is_named(name: str) -> bool:
    return name.partition(":")[0] in ORDERINGS


def _named_ordering(spec: str, event_shape: tuple[int, ...]) -> Ordering:
    name, colon, argument = spec.partition(":")
    if name in ORDERINGS_FROM_DATA:
        raise ChainruleError(
            f"ordering {spec!r} is learned from data, which a model does not see when it is made; "
            f"pass {ORDERINGS_FROM_DATA[name]}."
        )
    if name not in ORDERINGS:
        raise unknown_name("ordering", spec, {*ORDERINGS, *ORDERINGS_FROM_DATA, "random:SEED"})
    if name == "random":
        return random_ordering(event_shape, _seed_of(spec, argument))
    if colon:
        raise ChainruleError(f"ordering {spec!r}: only 'random' takes a seed; write {name!r}.")
    return Ordering(tuple(ORDERINGS[name](event_shape)), name)


def _seed_of(spec: str, argument: str) -> int:
    try:
        seed = int(argument or 0)
    except ValueError:
        raise ChainruleError(
            f"ordering {spec!r}: the seed must be a whole number, as in 'random:7'."
        ) from None
    return checked_seed(seed, f"ordering {spec!r}: the seed")


def _checked_permutation(spec: Sequence[int] | Tensor) -> tuple[int, ...]:
    """The indices as ints; `ChainruleError` for what is no list of whole numbers."""
    if isinstance(spec, bytes) or not isinstance(spec, Iterable):
        raise ChainruleError(
            f"an ordering is a name such as 'spiral', a permutation, or an Ordering, not {spec!r}."
        )
    return tuple(whole_number(f"place {place} of the ordering", index) for place, index in enumerate(spec))


def _random(event_shape: tuple[int, ...]) -> list[int]:
    return list(random_ordering(event_shape).permutation)


#: Every named ordering; "random" also takes a seed, as in "random:7".
ORDERINGS: dict[str, Callable[[tuple[int, ...]], list[int]]] = {
    "raster": _raster,
    "reversed": _reversed,
    "column": _over_pixels(_column_walk, "column"),
    "spiral": _over_pixels(_spiral_walk, "spiral"),
    "hilbert": _over_pixels(_hilbert_walk, "hilbert"),
    "random": _random,
}

#: Names that only code with data at hand can use (`chainrule train` does), and how to get them otherwise.
ORDERINGS_FROM_DATA: dict[str, str] = {
    "greedy": "chainrule.orderings.greedy_entropy_ordering(data.train)",
    "learned": "chainrule.training.learn_ordering(data).ordering",
}
