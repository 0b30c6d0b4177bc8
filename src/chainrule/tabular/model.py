"""`TableModel`: an exact-likelihood model together with the schema of the table that it is of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.arguments import checked_seed, real_number, some_path, whole_number
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.loading import load_network
from chainrule.model import AutoregressiveModel
from chainrule.models import Independent
from chainrule.sampling import FillMethod
from chainrule.saving import locate
from chainrule.tables import TableSchema
from chainrule.tabular.filling import fill_table

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

__all__ = ["DEPENDENCE", "MARGINALS", "TableModel", "remove_marginals"]

#: Folder of the model of single columns, within that of the table's model.
MARGINALS = "marginals"

#: How much of the dependence between columns an anomaly score counts, unless told otherwise.
DEPENDENCE = 0.5

#: Rows that go through a model together, and that are drawn together: enough to be quick, few enough for
#: what is held of them to stay in the processor's cache.
_ROWS, _ROWS_DRAWN = 4096, 8192

#: How often rows with a category that no row of the table had are drawn again.
_REDRAWS = 16


class TableModel:
    """p(row) of a table, with every column in its own units.

    - `schema`: what the columns are; maps a DataFrame to what the model sees and back.
    - `model`: any exact-likelihood model over the schema's columns.
    - `marginals`: a model of every column on its own, or None; anomaly scores need it.

    A row's result depends on that row alone, never on the others that come with it. Log-densities are in
    nats; those of numeric columns in the column's own units, so they may be above 0. However absurd a
    number is (1e300), results are finite or -inf, never NaN: the columns after it read it as at most 1000
    units of the model's scale from 0, and the density of the number itself is taken where it is.
    """

    def __init__(
        self, schema: TableSchema, model: LikelihoodModel, marginals: AutoregressiveModel | None = None
    ) -> None:
        for part in (model, marginals):
            if part is not None and part.event_shape != schema.event_shape:
                raise ChainruleError(
                    f"the schema has {len(schema.columns)} columns, but the model is of examples of shape "
                    f"{part.event_shape}."
                )
        self.schema = schema
        self.model = model.eval()
        self.marginals = None if marginals is None else marginals.eval()

    # ---------------------------------------------------------------- likelihood

    def log_prob(self, frame: DataFrame) -> NDArray[np.float64]:
        """Exact log-likelihood of every row, nats, `(rows,)`.

        Raises `ChainruleError` for columns that are not there and values that cannot be.
        """
        parts = []
        for values, slopes in self._encoded(frame):
            own = self.model.log_prob(values).double().cpu().numpy()
            parts.append(own + slopes.sum(1))
        return np.concatenate(parts) if parts else np.zeros(0)

    def log_prob_per_column(self, frame: DataFrame) -> NDArray[np.float64]:
        """log p(column | columns before it) of every cell, nats, `(rows, D)`, in the schema's order.

        Its negative is the surprise of the cell; a row sums to `log_prob`.
        """
        return self._per_column(frame, dependence=1.0, with_holes=False)

    def anomaly_scores(
        self, frame: DataFrame, *, dependence: float = DEPENDENCE, per_column: bool = False
    ) -> NDArray[np.float64]:
        """How ordinary every row is, `(rows,)`, or every cell, `(rows, D)`: low means odd.

        log p(row) is the sum of what the columns say one by one and of what their dependence adds. A row
        that is extreme in several columns that go together is *less* odd by log p than by the first sum,
        because each of them explains the next. The score counts only a part of the dependence:

            sum_i log p(x_i) + dependence * (log p(x) - sum_i log p(x_i)).

        A missing cell in a column with a density counts as if its probability were spread over the usual
        width of the column (`TableSchema.typical_log_slopes`): a density like those it is weighed against,
        so that the order of rows does not depend on the columns' units.

        - `dependence`: 1 is log p(row) itself, but for missing cells; 0 looks at single columns only.
        - `per_column`: the parts of the sum, a row of cells for every row of the table.
        """
        dependence = real_number("dependence", dependence, 0.0, 1.0)
        if per_column:
            return self._per_column(frame, dependence, with_holes=True)
        parts = []
        for values, slopes in self._encoded(frame):
            score = dependence * self.model.log_prob(values).double()
            if dependence < 1:
                score = score + (1 - dependence) * self._marginals().log_prob(values).double()
            parts.append(score.cpu().numpy() + (slopes + self._of_holes(values)).sum(1))
        return np.concatenate(parts) if parts else np.zeros(0)

    def _per_column(self, frame: DataFrame, dependence: float, *, with_holes: bool) -> NDArray[np.float64]:
        parts = []
        for values, slopes in self._encoded(frame):
            cells = dependence * self._conditionals().log_prob_per_variable(values).double()
            if dependence < 1:
                cells = cells + (1 - dependence) * self._marginals().log_prob_per_variable(values).double()
            if with_holes:
                slopes = slopes + self._of_holes(values)
            parts.append(cells.cpu().numpy() + slopes)
        return np.concatenate(parts) if parts else np.zeros((0, len(self.schema.columns)))

    def _of_holes(self, values: Tensor) -> NDArray[np.float64]:
        """The log-slopes at which missing cells are scored, `(rows, D)`; 0 for the rest."""
        return np.where(values.isnan().numpy(), self.schema.typical_log_slopes(), 0.0)

    def _conditionals(self) -> AutoregressiveModel:
        if not isinstance(self.model, AutoregressiveModel):
            raise ChainruleError(
                f"a {type(self.model).__name__} has no conditionals, so its log p(row) has no parts that "
                "belong to columns; use a single model."
            )
        return self.model

    def _marginals(self) -> AutoregressiveModel:
        if self.marginals is None:
            raise ChainruleError(
                "this model has no marginals (or was saved without), which anomaly scores with dependence "
                "below 1 need: fit it again with fit_table(..., marginals=True), or use dependence=1."
            )
        return self.marginals

    # ---------------------------------------------------------------- synthesis and filling in

    def sample(
        self, num_rows: int, *, seed: int | None = None, temperature: float = 1.0, like_seen: bool = True
    ) -> DataFrame:
        """A synthetic table of `num_rows` rows, with the columns and types of the original.

        - `seed`: the same seed gives the same table; without one, another every time.
        - `temperature`: below 1 sharpens every conditional; other than 1 is no longer a sample of p.
        - `like_seen`: real numbers come rounded to as many decimals as the table had, and within the range
          that it had, as whole numbers always do; and rows with a category that the table did not have are
          drawn again. False leaves all as p has it, with "(other)" for such categories.
        """
        count = whole_number("num_rows", num_rows, minimum=1)
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(checked_seed(seed))
        values = self._drawn(count, generator, temperature)
        for _ in range(_REDRAWS if like_seen else 0):
            strange = torch.from_numpy(self.schema.never_seen(values.numpy()))
            if not strange.any():
                break
            values[strange] = self._drawn(int(strange.sum()), generator, temperature)
        return self.schema.decode(values, like_seen=like_seen)

    def _drawn(self, count: int, generator: torch.Generator, temperature: float) -> Tensor:
        """Rows as the model has them, `(count, D)`, some at a time."""
        parts = []
        for start in range(0, count, _ROWS_DRAWN):
            rows = min(_ROWS_DRAWN, count - start)
            parts.append(self.model.sample(rows, generator=generator, temperature=temperature).cpu())
        return torch.cat(parts)

    def fill(
        self,
        frame: DataFrame,
        *,
        seed: int | None = None,
        num_particles: int = 128,
        method: FillMethod = "auto",
        return_info: bool = False,
    ) -> Any:
        """The table with its holes (NaN, None) filled in, from p(unknown cells | known cells, no holes).

        Every hole gets a value, also in columns where missing is a state of its own, and in columns that
        had no holes before: that its value exists is part of what is known. Where the model takes a cell for
        one of the categories it does not know, it says "(other)".

        Real numbers come with as many decimals as the table had that the model was fitted to.

        - `frame`: the schema's columns, by name; other columns, the index and all known cells come back as
          they are, in their dtypes. Where a dtype cannot hold what was drawn (2.5 among whole numbers,
          "(other)" among numbers or in a categorical) it becomes the next wider one.
        - `seed`: the same seed gives the same values; a row depends on it, its own place, and itself.
        - `num_particles`, `method`: as in `LikelihoodModel.fill`, which says when filling is exact.
        - `return_info`: also return a `FillInfo` with the log-density of what is known of each row, in nats
          and the columns' units, and the effective number of particles.

        These are draws, not best guesses: their spread is that of the truth, so several fillings of a
        table with different seeds are multiple imputations. Warns where the particles were too few; raises
        `ChainruleError` for columns that are not there and values that cannot be.
        """
        filled, info = fill_table(
            self.schema, self.model, frame, seed=seed, num_particles=num_particles, method=method
        )
        return (filled, info) if return_info else filled

    def double(self) -> Self:
        """The same in float64: about twice as slow, and rows agree to the last digits in any batch."""
        self.model.double()
        if self.marginals is not None:
            self.marginals.double()
        return self

    # ---------------------------------------------------------------- files

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model, its schema and its marginals into a folder that `load` reads."""
        self.model.save_pretrained(Path(folder), overwrite=overwrite)
        self.save_beside(folder)

    def save_beside(self, folder: str | PathLike[str]) -> None:
        """Write what belongs to the model into the folder that it already lies in."""
        self.schema.save(folder)
        if self.marginals is not None:
            self.marginals.save_pretrained(Path(folder) / MARGINALS, overwrite=True)
        else:
            remove_marginals(folder)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """The model that `save` or `fit_table` left in a folder, or one on the hub, as `user/model`.

        While `fit_table` trains, or after it was stopped, that is the best so far.

        Raises `ChainruleError` where there is none (yet), or no schema beside it.
        """
        folder = locate(some_path("the model's folder", folder))
        beside = folder / MARGINALS
        marginals = Independent.from_pretrained(beside) if beside.is_dir() else None
        return cls(TableSchema.load(folder), load_network(folder), marginals)

    def __repr__(self) -> str:
        return f"TableModel({len(self.schema.columns)} columns, {type(self.model).__name__})"

    # ---------------------------------------------------------------- pieces

    def _encoded(self, frame: DataFrame) -> Iterator[tuple[Tensor, NDArray[Any]]]:
        """What the model sees of a table, some rows at a time, with the log-slopes of every cell."""
        self.schema.places(frame)  # whatever is no such table is refused even if it is empty
        for start in range(0, len(frame), _ROWS):
            part = frame.iloc[start : start + _ROWS]
            values, slopes = self.schema.encode_with_log_jacobian(part)
            with torch.no_grad():
                yield torch.from_numpy(values), slopes


def remove_marginals(folder: str | PathLike[str]) -> None:
    """Delete those that an earlier model left in a folder; the model there now has none."""
    shutil.rmtree(Path(folder) / MARGINALS, ignore_errors=True)
