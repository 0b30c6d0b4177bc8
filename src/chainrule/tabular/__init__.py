"""Models of tables: a schema and an exact-likelihood model, used together on DataFrames.

>>> import pandas as pd
>>> from chainrule.tabular import fit_table
>>> frame = pd.DataFrame({"age": [31, 45, 38, 52] * 5, "city": ["Oslo", "Rome", "Oslo", "Rome"] * 5})
>>> model = fit_table(frame, steps=5, progress=False)
>>> model.log_prob(frame).shape
(20,)
>>> list(model.sample(2, seed=0).columns)
['age', 'city']
"""

from __future__ import annotations

from chainrule.tabular.fitting import DEFAULT_STEPS, ROBUST, TABLE_MODELS, fit_table
from chainrule.tabular.model import DEPENDENCE, TableModel

__all__ = ["DEFAULT_STEPS", "DEPENDENCE", "ROBUST", "TABLE_MODELS", "TableModel", "fit_table"]
