"""`compare`: train every contender within the same time, measure all of them alike, keep what is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from chainrule.arguments import real_number, some_path
from chainrule.comparing.measuring import BATCH, time_sampling, training_facts
from chainrule.comparing.memory import training_memory
from chainrule.comparing.results import Failure, Result
from chainrule.comparing.tasks import ArrayTask, Entry, Figures, Task
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.report import save_grid
from chainrule.saving import WEIGHTS_NAME, write_json
from chainrule.training import Run

__all__ = ["Comparison", "compare"]

#: What a comparison's folder holds beside the runs.
FILE_NAME = "comparison.json"
PICTURES = "pictures"
#: Minutes of training for each model, unless told otherwise.
DEFAULT_MINUTES = 0.5


@dataclass(frozen=True)
class Comparison:
    """What came out, in the order of NLL (lower is better).

    - `unit`: of the NLL; `second_unit`: of the figure beside it, or "".
    - `minutes`: of training at the most, for each model.
    - `failures`: contenders that could not be compared.
    - `real_picture`: real examples, where they can be shown.
    """

    folder: Path
    data: str
    kind: str
    unit: str
    second_unit: str
    minutes: float
    results: tuple[Result, ...]
    failures: tuple[Failure, ...] = ()
    real_picture: str | None = None

    def summary(self) -> dict[str, Any]:
        """Everything in it, JSON-ready."""
        content = {**vars(self), "folder": str(self.folder)}
        content["results"] = [result.summary() for result in self.results]
        content["failures"] = [vars(failure) for failure in self.failures]
        return content


def compare(
    data: Dataset | Task,
    contenders: Mapping[str, LikelihoodModel] | Sequence[Entry],
    out: str | Path,
    *,
    minutes: float = DEFAULT_MINUTES,
    overwrite: bool = False,
    progress: bool = True,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Train each contender for at most `minutes`, and measure likelihood, time and memory.

    - `data`: a `Dataset`, or one of the tasks of this package for tables, texts, series and sound.
    - `contenders`: fresh models by name, or entries.
    - `out`: a folder with a run for each contender and `comparison.json`. If there is one of the same data
      and minutes already, it is gone on with: finished runs are neither trained nor measured again, and
      contenders of before that are not named now keep their lines.
    - `overwrite`: train all of them anew.
    - `tell`: is told what happens, a line each.

    Weights are selected on the validation part; the figures are of the test part. A contender that cannot
    take the data, needs more than `minutes` for one epoch, or cannot be read becomes a failure, and the
    others go on. Raises `ChainruleError` for arguments that cannot be used and a folder of something else.
    """
    minutes = real_number("minutes", minutes, above=0.0)
    task = ArrayTask(data) if isinstance(data, Dataset) else data
    entries = _entries(contenders)
    folder = some_path("out", out)
    place = _Place(folder, task, minutes)
    if not overwrite:
        place.check()
    say = tell or (lambda line: None)
    results = place.others({entry.name for entry in entries})
    if results:
        say(f"from before: {', '.join(result.name for result in results)}")
    failures: list[Failure] = []
    place.begin()
    shown, shows = place.real_picture(), len(entries)
    for number, entry in enumerate(entries, start=1):
        say(f"{entry.name} ({number} of {shows})")
        try:
            result = place.result_of(entry, overwrite=overwrite, progress=progress)
            results.append(result)
            say(f"{entry.name}: {result.nll:.3f} ± {result.standard_error:.3f} {task.unit}")
        except (ChainruleError, MemoryError) as error:
            reason = str(error) or "out of memory"
            failures.append(Failure(entry.name, reason))
            say(f"{entry.name} is left out: {reason}")
        found = Comparison(
            folder,
            task.name,
            task.kind,
            task.unit,
            task.second_unit,
            minutes,
            tuple(sorted(results, key=lambda result: result.nll)),
            tuple(failures),
            shown,
        )
        place.keep(found)
    return found


def _entries(contenders: Mapping[str, LikelihoodModel] | Sequence[Entry]) -> list[Entry]:
    if isinstance(contenders, Mapping):
        entries = [Entry(name, make=_ready(model)) for name, model in contenders.items()]
    else:
        entries = list(contenders)
    if not entries:
        raise ChainruleError("there is nothing to compare; name at least one model.")
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ChainruleError(f"{name} is named twice; compare each model once.")
    return entries


def _ready(model: LikelihoodModel) -> Callable[[], LikelihoodModel]:
    return lambda: model


@dataclass
class _Place:
    """The folder of a comparison."""

    folder: Path
    task: Task
    minutes: float
    kept: dict[str, Result] = field(default_factory=dict)

    def check(self) -> None:
        """Take up what an earlier call left; `ChainruleError` for what is no comparison, or another one."""
        file = self.folder / FILE_NAME
        if not file.exists():
            if self.folder.exists() and (self.folder.is_file() or any(self.folder.iterdir())):
                raise ChainruleError(
                    f"{self.folder} exists and holds no comparison; choose another --out (out=)."
                )
            return
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            before = {name: content[name] for name in ("data", "kind", "minutes")}
            found = [Result.from_summary(each) for each in content["results"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ChainruleError(f"{file} is damaged ({error}); choose another --out (out=).") from None
        for name, value in (("data", self.task.name), ("kind", self.task.kind), ("minutes", self.minutes)):
            if before[name] != value:
                raise ChainruleError(
                    f"{self.folder} holds a comparison with {name} {before[name]}, not {value}; choose "
                    "another --out, or --overwrite it."
                )
        self.kept = {result.name: result for result in found if result is not None}

    def others(self, names: set[str]) -> list[Result]:
        """What an earlier call measured of other contenders, where the run is still the same."""
        return [result for name, result in self.kept.items() if name not in names and self._stands(result)]

    def _stands(self, result: Result) -> bool:
        try:
            return _digest(Path(result.run)) == result.weights
        except ChainruleError:
            return False

    def begin(self) -> None:
        """Make the folders."""
        try:
            (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ChainruleError(f"{self.folder} cannot be made: {error.strerror}.") from None

    def keep(self, comparison: Comparison) -> None:
        """Write what there is so far."""
        write_json(self.folder / FILE_NAME, comparison.summary())

    def real_picture(self) -> str | None:
        """Draw real examples, where they can be shown."""
        return self._drawn("data", self.task.real_images(BATCH))

    def result_of(self, entry: Entry, *, overwrite: bool, progress: bool) -> Result:
        """Train the entry as far as it is not trained, and measure it as far as it is not measured."""
        self.task.check(entry)
        run = entry.run or self.folder / entry.name
        if entry.run is None:
            anew = overwrite and run.exists()
            if anew or not _is_finished(run):
                self.task.train(entry, run, self.minutes, anew=anew, progress=progress)
            else:
                self.task.check_same(entry, Run(run))
        opened = self.task.open(run)
        weights = _digest(run)
        before = self.kept.get(entry.name)
        if before is not None and before.weights == weights and not overwrite:
            return before
        return self._measured(entry, run, opened, weights)

    def _measured(self, entry: Entry, run: Path, opened: Any, weights: str) -> Result:
        network = self.task.network(opened)
        figures: Figures = self.task.figures(opened)
        sampled = time_sampling(network)
        facts = training_facts(run, self.task.training_examples())
        batch = int(Run(run).config["training"]["batch_size"])
        return Result(
            name=entry.name,
            model=type(network).__name__,
            run=str(run),
            parameters=network.num_parameters,
            formula=entry.formula,
            train_seconds=facts.seconds,
            epochs=facts.epochs,
            examples_per_second=facts.per_second,
            nll=figures.nll,
            standard_error=figures.standard_error,
            second=figures.second,
            split=figures.split,
            examples=figures.examples,
            sample_seconds=sampled.seconds,
            sample_batch=BATCH,
            naive_seconds=sampled.naive,
            naive_is_projected=sampled.projected,
            memory_mib=training_memory(run, sampled.samples, batch),
            weights=weights,
            picture=self._drawn(entry.name, self.task.images(network, sampled.samples)),
            text=self.task.sample_text(opened),
        )

    def _drawn(self, name: str, images: Tensor | None) -> str | None:
        if images is None:
            return None
        path = self.folder / PICTURES / f"{name}.png"
        save_grid(images, path, columns=4, overwrite=True)
        return f"{PICTURES}/{path.name}"


def _is_finished(run: Path) -> bool:
    """Whether there is a run that came to its end; what is damaged is left for `fit` to refuse."""
    try:
        return Run(run).is_finished
    except ChainruleError:
        return False


def _digest(run: Path) -> str:
    try:
        return hashlib.sha256((run / WEIGHTS_NAME).read_bytes()).hexdigest()
    except OSError as error:
        raise ChainruleError(f"{run / WEIGHTS_NAME} cannot be read ({error.strerror}).") from None
