"""Timing what is compared fairly on a machine that may be doing other things too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["least_seconds"]


def least_seconds(
    sides: Mapping[str, Callable[[], Any]], *, rounds: int = 5, turn: float = 0.05, budget: float = 10.0
) -> dict[str, float]:
    """The least wall-clock seconds of one run of each side; they take turns.

    Whatever else the machine does can only add to a time, and not to all sides alike: it slows two threads
    that wait for each other thousands of times far more than one large product. So the least time of many
    runs is the one that says most about the code. A turn lasts `turn` seconds, and one run at least; a side
    that has used its `budget` of seconds sits out the further rounds.
    """
    least, used = dict.fromkeys(sides, math.inf), dict.fromkeys(sides, 0.0)
    for _ in range(rounds):
        for name, run in sides.items():
            if used[name] >= budget:
                continue
            turn_end = time.perf_counter() + turn
            while True:
                start = time.perf_counter()
                run()
                now = time.perf_counter()
                least[name] = min(least[name], now - start)
                used[name] += now - start
                if now >= turn_end:
                    break
    return least
