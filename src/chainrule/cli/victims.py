"""Classifiers, the victims of attacks: runs told from others, trained, evaluated, opened; also own ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.interrupts import default_interrupts
from chainrule.cli.names import CLASSIFIER_MODELS, SPLITS
from chainrule.cli.output import Interrupted, counting, print_facts, print_json, say, show
from chainrule.cli.own_victims import is_own_victim, load_own_victim
from chainrule.cli.setting_values import build_model, split_settings
from chainrule.cli.sources import DataChoice, notes_of
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from chainrule.contrasts import Classifier
    from chainrule.data import Dataset

__all__ = [
    "CLASS_NAMES",
    "OpenedVictim",
    "VictimRun",
    "evaluate_victim",
    "is_victim_run",
    "open_victim",
    "refuse_for_victims",
    "train_victim",
    "wants_victim",
]

#: How the description of data begins that were one array in a file.
_ONE_ARRAY = "the rows of one file"
#: Class names of classifiers by the command line's name; known without importing torch, held equal by a test.
CLASS_NAMES = {"logistic-regression": "LogisticRegression", "mlp": "MLP", "cnn": "SmallCNN"}


@dataclass(frozen=True)
class OpenedVictim:
    """A classifier to attack, ours or a person's own, and where it comes from."""

    source: str
    model: nn.Module

    @property
    def name(self) -> str:
        """What people call it."""
        return Path(self.source).name

    @property
    def num_parameters(self) -> int:
        """How many weights it has."""
        return sum(weights.numel() for weights in self.model.parameters())

    @property
    def label_names(self) -> tuple[str, ...]:
        """What its classes are called; empty where they have no names."""
        return ()

    def labelled(
        self, spec: str | None, split: str, limit: int | None, *, levels: int | None = None
    ) -> tuple[Dataset, Tensor, Tensor, int]:
        """The data that `--data` names, images and labels of a split, and how many there are without `limit`.

        Of a person's own file that is one array, all rows: nothing was trained on part of it. `levels` says
        what values a file holds, where the classifier does not. Raises `ChainruleError` where the data do not
        fit or have no labels there.
        """
        import torch

        from chainrule.training.batches import spread_rows

        dataset = self.data(spec, levels)
        splits = [split]
        if spec is not None and dataset.description.startswith(_ONE_ARRAY):
            splits = [name for name in SPLITS if getattr(dataset, name) is not None]
        if any(name not in dataset.labels for name in splits):
            raise ChainruleError(f"{dataset.name} has no labels for {split}, so nothing there can be right.")
        images = torch.cat([dataset.evaluation_split(name) for name in splits])
        labels = torch.cat([dataset.labels[name] for name in splits])
        rows = spread_rows(len(images), len(images) if limit is None else limit)
        return dataset, images[rows], labels[rows], len(images)

    def data(self, spec: str | None, levels: int | None = None) -> Dataset:
        """The data that `--data` names; checked to fit."""
        from chainrule.data import Dataset
        from chainrule.security.attack_victims import as_victim

        if spec is None:
            raise ChainruleError(f"--data is missing: {self.source} does not say which images it reads.")
        choice = DataChoice.given(spec)
        if choice.is_file:
            choice = choice.with_options(levels=256 if levels is None else levels)
        dataset = choice.load()
        if not isinstance(dataset, Dataset):
            raise ChainruleError(f"{spec} holds no labelled images.")
        known = as_victim(self.model, dataset.evaluation_split("test")[:1].float())
        if known.event_shape != tuple(dataset.event_shape):
            raise ChainruleError(
                f"{dataset.name} has images of shape {tuple(dataset.event_shape)}, but {self.source} was "
                f"wrapped for {known.event_shape}."
            )
        return dataset


@dataclass(frozen=True)
class VictimRun(OpenedVictim):
    """A classifier of this library with the configuration that lies beside it."""

    model: Classifier
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return _name_of(self.config) or str(self.config["model"])

    @property
    def label_names(self) -> tuple[str, ...]:
        """What its classes are called; empty where they have no names."""
        return tuple(map(str, notes_of(self.config).get("label_names") or ()))

    def data(self, spec: str | None, levels: int | None = None) -> Dataset:
        """The data that `--data` names, or what it was trained on; checked to fit."""
        from chainrule.training.batches import check_fits

        trained = DataChoice.of_run(self.config)
        choice = DataChoice.given(spec) if spec else trained
        if choice is None:
            raise ChainruleError(f"{self.source} does not say what it was trained on; name it with --data.")
        if spec and choice.is_file:
            options = {**(trained.options if trained else {}), "levels": self.model.levels}
            choice = DataChoice(choice.spec, options)
        dataset = choice.load()
        check_fits(self.model, dataset, ())
        return dataset


def wants_victim(model: str | None, out: Path, *, resume: bool) -> bool:
    """Whether `train` is asked for a classifier, or to go on with one."""
    return model in CLASSIFIER_MODELS or (model is None and resume and is_victim_run(str(out)))


def is_victim_run(run: str) -> bool:
    """Whether a folder holds a classifier."""
    from chainrule.saving import CONFIG_NAME, read_config

    folder = Path(run)
    return (folder / CONFIG_NAME).is_file() and _name_of(read_config(folder)) is not None


def refuse_for_victims(doing: str, options: Mapping[str, Any]) -> None:
    """Raise `ChainruleError` for options that a classifier does not take."""
    for option, value in options.items():
        if value not in (None, False, ()):
            raise ChainruleError(f"{doing} of a classifier takes no {option}; leave it out.")


def open_victim(source: str) -> OpenedVictim:
    """The classifier in a run folder, or the person's own that FILE.py:NAME names."""
    if is_own_victim(source):
        return OpenedVictim(source, load_own_victim(source))
    return open_victim_run(source)


def open_victim_run(source: str) -> VictimRun:
    """The classifier in a run folder, or `ChainruleError` where there is none."""
    from chainrule.contrasts import load_classifier
    from chainrule.saving import read_config

    folder = Path(source)
    if not folder.is_dir():
        raise ChainruleError(
            f"{source} does not exist: expected the run of a classifier, as `chainrule train cnn --data "
            "mnist --out RUN` makes, or FILE.py:NAME for one of your own."
        )
    return VictimRun(source, load_classifier(folder), read_config(folder))


def _name_of(config: Mapping[str, Any]) -> str | None:
    return {value: key for key, value in CLASS_NAMES.items()}.get(str(config["model"]))


# ---------------------------------------------------------------- training


def train_victim(
    model: str | None,
    data: str | None,
    out: Path,
    values: Mapping[str, Any],
    data_options: Mapping[str, Any],
    *,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """`chainrule train cnn --data D --out RUN`."""
    from chainrule.contrasts import CLASSIFIERS
    from chainrule.contrasts.accuracy import accuracy
    from chainrule.training import fit, training_settings

    settings: dict[str, Any] = {}
    training: dict[str, Any] = {}
    choice: DataChoice | None = None
    if resume and (out / "config.json").exists():
        name, settings, training, choice = _of_run(out)
        if model not in (None, name):
            raise ChainruleError(f"{out} is a run of {name}, not of {model}; choose another --out.")
        model = name
    if model is None:
        raise ChainruleError(f"MODEL is missing: one of {', '.join(CLASSIFIER_MODELS)}.")
    if data is not None:
        choice = DataChoice.given(data, **data_options)
    if choice is None:
        raise ChainruleError("--data is missing: name labelled data, such as mnist or digits, or a file.")
    classifier = CLASSIFIERS[model]
    of_model, of_training = split_settings(classifier, values)
    training |= of_training
    checked = training_settings(training)
    dataset = choice.load()
    settings = {**_from_data(dataset, choice), **settings, **of_model}
    if choice.is_file and dataset.levels == 256:  # so that other files are read in the same way
        choice = choice.with_options(levels=256)
    network = build_model(classifier, dataset.event_shape, settings, checked.seed)
    notes = {"data": choice.note(), "label_names": list(dataset.label_names)}
    try:
        with default_interrupts():
            run = fit(
                network,
                dataset,
                out,
                resume=resume,
                overwrite=overwrite,
                progress=not quiet,
                notes=notes,
                **training,
            )
    except KeyboardInterrupt:
        raise Interrupted(
            f"`chainrule train --resume --out {out}` continues from the last checkpoint."
        ) from None
    metrics = run.metrics()
    best = min((r for r in metrics if "validation_nll" in r), key=lambda r: r["validation_nll"])
    reached = accuracy(network, dataset.evaluation_split("validation"), dataset.labels["validation"])
    content = {
        "run": str(run.folder),
        "model": model,
        "data": run.data_name,
        "parameters": network.num_parameters,
        "epochs": metrics[-1]["epoch"],
        "selected_epoch": best["epoch"],
        "validation_accuracy": reached.accuracy,
        "validation_nll": reached.nll,
        "seconds": metrics[-1]["seconds"],
    }
    if as_json:
        print_json(content)
        return
    print_facts(
        [
            ("run", str(run.folder)),
            ("model", f"{model}, {network.num_parameters:,} parameters"),
            (
                "validation",
                f"{reached.accuracy:.2%} right, {reached.nll:.4f} nats a label, epoch {best['epoch']}",
            ),
            ("training", f"{metrics[-1]['epoch']} epochs in {metrics[-1]['seconds']:.1f} s"),
        ]
    )
    show("\nNext:")
    show(f"  chainrule evaluate {run.folder}")
    show(f"  chainrule attack {run.folder} --attack bim --out attacked.npz")


def _of_run(folder: Path) -> tuple[str, dict[str, Any], dict[str, Any], DataChoice | None]:
    """The classifier, its settings, those of training and the data of the run to resume."""
    from chainrule.training import Run

    config = Run(folder).config
    name = _name_of(config)
    if name is None:
        raise ChainruleError(f"{folder} is a run of {config['model']}, no classifier; choose another --out.")
    settings = {key: value for key, value in config["settings"].items() if key != "event_shape"}
    return name, settings, dict(config["training"]), DataChoice.of_run(config)


def _from_data(dataset: Dataset, choice: DataChoice) -> dict[str, Any]:
    """Classes and levels, which the data decide."""
    from chainrule.data import Dataset

    if not isinstance(dataset, Dataset) or not dataset.labels:
        raise ChainruleError(f"a classifier learns from labels, but {choice.spec} has none.")
    largest = max(int(labels.max()) for labels in dataset.labels.values())
    return {"num_classes": max(1 + largest, len(dataset.label_names), 2), "levels": dataset.levels}


# ---------------------------------------------------------------- evaluation


def evaluate_victim(source: str, data: str | None, split: str, limit: int | None, as_json: bool) -> None:
    """`chainrule evaluate` of a classifier: accuracy with its standard error, and nats a label."""
    from chainrule import training
    from chainrule.contrasts.accuracy import accuracy

    began = time.perf_counter()
    victim = open_victim_run(source)
    dataset, images, labels, available = victim.labelled(data, split, limit)
    with counting("evaluating") as on_batch:
        found = accuracy(victim.model, images, labels, on_batch=on_batch)
    changed = training.changed_splits(victim.config, dataset) if data is None else []
    if changed:
        say(
            f"warning: the {' and '.join(changed)} data of {dataset.name} changed since {source} was trained "
            "on it (its SHA-256 differs)"
        )
    content = {
        "run": source,
        "model": victim.name,
        "data": dataset.name,
        "split": split,
        "examples": found.examples,
        "available": available,
        "accuracy": found.accuracy,
        "standard_error": found.standard_error,
        "nll": found.nll,
        "data_changed": changed,
        "seconds": time.perf_counter() - began,
    }
    if as_json:
        print_json(content)
        return
    of_all = f" of {available:,}, spread evenly," if found.examples < available else ""
    print_facts(
        [
            ("model", f"{victim.name} ({source})"),
            ("data", f"{found.examples:,}{of_all} examples of {dataset.name}, {split}"),
            ("accuracy", f"{found.accuracy:.2%} ± {found.standard_error:.2%} (standard error)"),
            ("NLL", f"{found.nll:.4f} nats a label"),
            ("time", f"{content['seconds']:.1f} s"),
        ]
    )
