"""A small table of payments with a few frauds, for the tests of the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Few enough updates for a test, enough to tell a hundredfold amount from the others.
QUICK = ("--steps", "20", "--quiet")


def payments(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Columns of every kind, holes in `age`, and a label `fraud` with 5 % of ones, whose amounts are huge."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": [f"T{i:05d}" for i in range(rows)],
            "amount": np.round(np.exp(random.normal(3, 0.5, rows)), 2),
            "hour": random.integers(0, 24, rows),
            "country": random.choice(["DE", "FR", "US"], rows, p=[0.6, 0.3, 0.1]),
            "age": np.where(random.random(rows) < 0.1, np.nan, random.normal(40, 10, rows).round(1)),
            "fraud": 0,
        }
    )
    frauds = np.arange(0, rows, 20)
    frame.loc[frauds, "fraud"] = 1
    frame.loc[frauds, "amount"] = np.round(frame.loc[frauds, "amount"] * 100, 2)
    return frame
