"""Tables: DataFrames with numbers, categories and holes, as the arrays that models see, and back.

>>> import pandas as pd
>>> from chainrule.tables import infer_schema
>>> frame = pd.DataFrame({"age": [31, 45, 38], "city": ["Oslo", "Rome", "Oslo"]})
>>> schema = infer_schema(frame)
>>> schema.encode(frame)
array([[ 1.,  0.],
       [15.,  1.],
       [ 8.,  0.]])
>>> schema.decode(schema.encode(frame)).equals(frame)
True
"""

from __future__ import annotations

from chainrule.tables.columns import OTHER, BooleanColumn, CategoricalColumn, IntegerColumn, NumericColumn
from chainrule.tables.inference import infer_schema
from chainrule.tables.reading import iter_table, read_table
from chainrule.tables.schema import TableSchema
from chainrule.tables.transforms import Constant, Quantile, Standard

__all__ = [
    "OTHER",
    "BooleanColumn",
    "CategoricalColumn",
    "Constant",
    "IntegerColumn",
    "NumericColumn",
    "Quantile",
    "Standard",
    "TableSchema",
    "infer_schema",
    "iter_table",
    "read_table",
]
