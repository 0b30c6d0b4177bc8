"""What differs between kinds of data when models are compared: training, likelihood, how samples look."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.loading import load_network
from chainrule.tables import TableSchema
from chainrule.tabular import TABLE_MODELS, TableModel, fit_table
from chainrule.training import Run, evaluate, fit, training_settings
from chainrule.training.batches import check_fits
from chainrule.training.fingerprint import changed_splits

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["ArrayTask", "Entry", "Figures", "TableTask", "Task"]

#: Passes over the data at most, and how many without improvement end a run, where nobody says otherwise.
_EPOCHS, _PATIENCE = 200, 20


@dataclass(frozen=True)
class Entry:
    """One contender: a model to train, or a run that is there already.

    - `name`: what the table calls it, and its folder; `formula`: of its number of parameters.
    - `model`: the name by which a kind of data knows it (`fit_table(model=...)`), with `settings`.
    - `make`: for arrays, makes the fresh network.
    - `training`: fields of `TrainingSettings`; `notes`: kept in the run's configuration.
    - `run`: a run folder to measure as it is; nothing is trained then.
    """

    name: str
    model: str = ""
    make: Callable[[], LikelihoodModel] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    run: Path | None = None
    formula: str = ""


@dataclass(frozen=True)
class Figures:
    """Likelihood on examples that neither trained nor selected: `nll` nats in the task's unit, and `second`.

    `split` is "test", or "validation" where there is no test part (then the number is a little too good).
    """

    nll: float
    standard_error: float
    second: float | None
    split: str
    examples: int


class Task(ABC):
    """Data of one kind, and what one does with a model of it.

    - `unit`: of the NLL; `second_unit`: of the figure beside it, or "".
    - `models`: names that this kind of data knows; empty where any network does.
    """

    kind: ClassVar[str]
    unit: ClassVar[str]
    second_unit: ClassVar[str] = ""
    models: tuple[str, ...] = ()
    name: str

    def check(self, entry: Entry) -> None:
        """Raise `ChainruleError` for a model that cannot take this kind of data at all."""
        if entry.run is None and self.models and entry.model not in self.models:
            raise ChainruleError(
                f"{entry.model} takes no {self.kind} data; these do: {', '.join(self.models)}."
            )

    @abstractmethod
    def train(self, entry: Entry, folder: Path, minutes: float, *, anew: bool, progress: bool) -> None:
        """Train for at most so many minutes, going on where an earlier call was stopped unless `anew`."""

    def check_same(self, entry: Entry, run: Run) -> None:
        """Raise `ChainruleError` for a finished run of this comparison that was trained in another way.

        It would stand in the table as what was asked for.
        """
        known = run.config["training"]
        asked = {k: v for k, v in self._asked(entry).items() if k in known and v is not None}
        now = training_settings(asked).model_dump(mode="json")
        for name in asked:
            if known[name] != now[name]:
                raise ChainruleError(
                    f"{run.folder} was trained with {name}={known[name]}, not {now[name]}; choose another "
                    "--out, or --overwrite it."
                )

    def _asked(self, entry: Entry) -> dict[str, Any]:
        """Settings of training that were decided on for this entry."""
        return dict(entry.training)

    @abstractmethod
    def open(self, folder: Path) -> Any:
        """What a run folder holds; `ChainruleError` where it cannot be read or is of other data."""

    @abstractmethod
    def figures(self, opened: Any) -> Figures:
        """Exact likelihood on held-out examples."""

    def network(self, opened: Any) -> LikelihoodModel:
        """The network, whose parameters are counted and whose sampling is timed."""
        found: LikelihoodModel = opened.model
        return found

    def images(self, network: LikelihoodModel, samples: Tensor) -> Tensor | None:
        """Samples as pictures, `(N, C, H, W)` in [0, 1]; None where they are none."""
        return None

    def real_images(self, count: int) -> Tensor | None:
        """Real examples as pictures, to stand beside them."""
        return None

    def sample_text(self, opened: Any) -> str:
        """A sample in words, where that is what there is to see; else empty."""
        return ""

    def training_examples(self) -> int:
        """Examples of the training part, for the throughput; 0 where rows of training are cut otherwise."""
        return 0


class ArrayTask(Task):
    """Images and vectors: a `Dataset` of levels or real values."""

    kind = "array"
    unit = "nats per example"
    second_unit = "bits/dim"

    def __init__(self, data: Dataset) -> None:
        self.data, self.name = data, data.name

    def train(self, entry: Entry, folder: Path, minutes: float, *, anew: bool, progress: bool) -> None:
        """Fit the entry's network."""
        if entry.make is None:
            raise ChainruleError(f"{entry.name}: there is no network to train.")
        settings = {**self._asked(entry), "max_minutes": minutes}
        fit(
            entry.make(),
            self.data,
            folder,
            resume=not anew,
            overwrite=anew,
            progress=progress,
            notes=dict(entry.notes),
            **settings,
        )

    def check_same(self, entry: Entry, run: Run) -> None:
        """Raise `ChainruleError` where settings or the data's values are others than those of the run."""
        super().check_same(entry, run)
        changed = changed_splits(run.config, self.data)
        if changed:
            raise ChainruleError(
                f"{run.folder} was trained on other values: the {' and '.join(changed)} data of {self.name} "
                "changed since then; choose another --out, or --overwrite it."
            )

    def _asked(self, entry: Entry) -> dict[str, Any]:
        return {"epochs": _EPOCHS, "patience": _PATIENCE, **entry.training}

    def open(self, folder: Path) -> LikelihoodModel:
        """The network."""
        network = load_network(folder)
        if not isinstance(network, LikelihoodModel):
            raise ChainruleError(f"{folder} holds a {type(network).__name__}, which has no likelihood.")
        check_fits(network, self.data, (self._split,))
        return network.eval()

    def network(self, opened: Any) -> LikelihoodModel:
        """The network itself."""
        found: LikelihoodModel = opened
        return found

    def figures(self, opened: Any) -> Figures:
        """Mean over the test part."""
        found = evaluate(opened, self.data, self._split)
        return Figures(found.nll, found.standard_error, found.bits_per_dim, self._split, found.examples)

    def images(self, network: LikelihoodModel, samples: Tensor) -> Tensor | None:
        """The highest level is white."""
        return self._shown(samples) if self.data.event_shape[0] in (1, 3) else None

    def real_images(self, count: int) -> Tensor | None:
        """Of the held-out part."""
        return self._shown(self.data.evaluation_split(self._split)[:count])

    def _shown(self, values: Tensor) -> Tensor | None:
        if len(self.data.event_shape) != 3 or self.data.levels is None:
            return None
        return (values.float() / (self.data.levels - 1)).clamp(0, 1)

    def training_examples(self) -> int:
        """Rows of the training split."""
        return len(self.data.split("train"))

    @property
    def _split(self) -> str:
        return "validation" if self.data.test is None else "test"


class TableTask(Task):
    """Tables with columns of different kinds.

    - `frame`: the rows to fit (a tenth of them selects); `held`: the rows to report on.
    - `schema`: one for all models, so that their densities are in the same units.
    """

    kind = "table"
    unit = "nats per row, in the columns' units"
    models = tuple(TABLE_MODELS)

    def __init__(self, name: str, frame: DataFrame, held: DataFrame, schema: TableSchema) -> None:
        if not len(held):
            raise ChainruleError(f"{name} has no rows to report on; give more rows.")
        self.name, self.frame, self.held, self.schema = name, frame, held, schema

    def train(self, entry: Entry, folder: Path, minutes: float, *, anew: bool, progress: bool) -> None:
        """Fit a table model."""
        fit_table(
            self.frame,
            out=folder,
            schema=self.schema,
            model=entry.model,
            model_settings=entry.settings,
            marginals=False,
            resume=not anew,
            overwrite=anew,
            progress=progress,
            notes=entry.notes,
            **{**entry.training, "max_minutes": minutes},
        )

    def open(self, folder: Path) -> TableModel:
        """The model with its schema."""
        return TableModel.load(folder)

    def figures(self, opened: Any) -> Figures:
        """Mean over the rows that were kept back."""
        nll = -opened.log_prob(self.held)
        error = float(nll.std(ddof=1) / math.sqrt(len(nll))) if len(nll) > 1 else math.nan
        return Figures(float(nll.mean()), error, None, "test", len(nll))

    def training_examples(self) -> int:
        """Nine tenths of the rows."""
        return len(self.frame) - max(1, len(self.frame) // 10)
