"""Cells of a table in the dtype that its column had, or the nearest that can hold them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import ChainruleError

__all__ = ["typed_cells"]

#: The dtypes that know holes, of those that do not.
_NULLABLE = {
    "bool": "boolean",
    **{f"{sign}int{bits}": f"{sign.upper()}Int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def typed_cells(cells: Any, dtype: str, hole: Any = None) -> Any:
    """The cells as a column of the dtype; where holes do not fit into it, of its nullable relative."""
    if dtype == "float64" and cells.dtype == np.float64:  # most of what is drawn
        return cells
    import pandas as pd

    hole = np.isnan(cells) if hole is None else hole
    if hole.any():
        dtype = _NULLABLE.get(dtype, dtype)
    try:
        wanted = pd.api.types.pandas_dtype(dtype)
        if pd.api.types.is_integer_dtype(wanted):
            return _integers(cells, hole, wanted)
        return pd.Series(cells).astype(wanted)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ChainruleError(f"values cannot be written as {dtype} ({reason}); edit the dtype") from None


def _integers(cells: Any, hole: Any, dtype: Any) -> Any:
    """Whole floats as integers; those that float64 rounded over the type's range become its ends."""
    import pandas as pd

    limits = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
    floats = np.where(hole, 0, cells)
    whole = np.where(floats > 0, limits.max, limits.min).astype(limits.dtype)
    inside = (floats > limits.min) & (floats < float(limits.max))
    whole[inside] = floats[inside].astype(limits.dtype)
    out = pd.Series(whole).astype(dtype)
    return out.mask(hole) if hole.any() else out
