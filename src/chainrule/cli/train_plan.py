"""What `chainrule train` is to do: the data, the model with its settings, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.model_cards import CARDS
from chainrule.cli.output import say
from chainrule.cli.setting_values import LEARNED_ORDERINGS, build_model, split_settings
from chainrule.cli.sources import DataChoice, model_name_of, notes_of
from chainrule.cli.train_choices import advise_on_size, choose_conditional
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel

__all__ = ["TrainPlan"]

#: How data of grey levels become black and white instead, by the name of the data.
_BINARY_HINTS = {
    "mnist": "; black and white: --data dynamic-mnist",
    "a file": "; black and white: --threshold 127, or --dynamic",
}


@dataclass
class TrainPlan:
    """What to train: from the command line, a preset, or the run that is resumed."""

    model: str | None
    data: str | None
    values: dict[str, Any]
    preset: str | None
    condition_on_labels: bool
    data_options: dict[str, Any] = field(default_factory=dict)
    # Of the run to resume:
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    choice: DataChoice | None = None
    members: int = 1
    quiet: bool = False
    label_names: tuple[str, ...] = ()

    @property
    def model_name(self) -> str:
        """The model, which must be known by now."""
        if self.model is None:
            raise ChainruleError(
                "MODEL is missing: name what to train, such as nade (see `chainrule models`)."
            )
        return self.model

    @property
    def data_spec(self) -> str:
        """The data as one would name it on the command line."""
        assert self.choice is not None
        return self.data or self.choice.spec

    def continue_run(self, folder: Path) -> None:
        """Take from the run's configuration everything that the command line did not say."""
        from chainrule.training import Run

        config = Run(folder).config
        name = model_name_of(config)
        if self.model not in (None, name):
            raise ChainruleError(f"{folder} is a run of {name}, not of {self.model}; choose another --out.")
        self.model = name
        if not isinstance(config["training"], dict):
            raise ChainruleError(f'{folder / "config.json"}: "training" must be a dict of settings.')
        self.settings, self.training = dict(config["settings"]), dict(config["training"])
        self.settings.pop("event_shape", None)
        self.preset = self.preset or notes_of(config).get("preset")
        self.choice = DataChoice.of_run(config)
        self.label_names = tuple(notes_of(config).get("label_names") or ())

    def prepare(self) -> tuple[Dataset, LikelihoodModel, dict[str, Any]]:
        """The data, a fresh model for it, and the settings of training."""
        from chainrule.models import MODELS
        from chainrule.training import training_settings

        if self.model_name not in MODELS:
            raise unknown_name("model", self.model_name, MODELS)
        if not CARDS[self.model_name].trainable:
            raise ChainruleError(
                f"an {self.model_name} is made of trained models: train them, then "
                "`chainrule mix RUN RUN --out FOLDER`."
            )
        self._apply_preset()
        model_class = MODELS[self.model_name]
        of_model, of_training = split_settings(model_class, self.values)
        self.settings |= of_model
        self.training |= of_training
        checked = training_settings(self.training)
        dataset = self._load_data()
        self._check_splits(dataset)
        if self.condition_on_labels:
            self._condition_on(dataset, model_class)
        self._learn_ordering(dataset)
        tell = (lambda line: None) if self.quiet else say
        assert self.choice is not None
        hint = _BINARY_HINTS.get(dataset.name, "")
        if self.choice.is_file and dataset.kind == "image" and dataset.event_shape[0] == 1:
            hint = _BINARY_HINTS["a file"]
        choose_conditional(
            self.model_name, model_class, dataset, self.settings, lambda line: tell(line + hint)
        )
        model = build_model(model_class, dataset.event_shape, self.settings, checked.seed)
        if self.preset is None and not self.quiet:
            advise_on_size(self.model_name, model, dataset, self.settings, checked)
        return dataset, model, self.training

    def _learn_ordering(self, dataset: Dataset) -> None:
        """Replace the name of an ordering that needs the data by the ordering itself."""
        from chainrule.orderings import ORDERINGS, greedy_entropy_ordering

        asked = self.settings.get("ordering")
        if asked == "greedy":
            self.settings["ordering"] = greedy_entropy_ordering(dataset.split("train")).spec
        elif asked == "learned":
            from chainrule.training import learn_ordering

            tell = (lambda line: None) if self.quiet else say
            tell("learning an ordering: the validation NLL of an FVSBN in each")
            learned = learn_ordering(
                dataset, on_candidate=lambda name, nll: tell(f"  {name}: {nll:.2f} nats")
            )
            self.settings["ordering"] = learned.ordering.spec
        elif isinstance(asked, str) and asked.partition(":")[0] not in ORDERINGS:
            raise unknown_name("ordering", asked, {*ORDERINGS, *LEARNED_ORDERINGS})

    def notes(self) -> dict[str, Any]:
        """What the run must remember beside settings."""
        assert self.choice is not None
        notes = {"preset": self.preset, "data": self.choice.note()}
        return notes | ({"label_names": list(self.label_names)} if self.label_names else {})

    def _apply_preset(self) -> None:
        from chainrule import presets

        if self.preset is None:
            return
        chosen = presets.preset(self.model_name, self.preset)
        self.members = chosen.members
        self.data = self.data or (None if self.choice else chosen.data)
        self.settings = {**chosen.settings, **self.settings}
        self.training = {**chosen.training, **self.training}

    def _load_data(self) -> Dataset:
        if self.data is not None:
            self.choice = DataChoice.given(self.data, **self.data_options)
        if self.choice is None:
            raise ChainruleError("--data is missing: name a data set (see `chainrule datasets`) or a file.")
        dataset = self.choice.load()
        if self.choice.is_file and dataset.levels == 256:  # so that other files are read in the same way
            self.choice = self.choice.with_options(levels=256)
        return dataset

    def _check_splits(self, dataset: Dataset) -> None:
        """Training selects on validation examples; people's own files can lack them."""
        assert self.choice is not None
        if not self.choice.is_file:
            return
        missing = [split for split in ("train", "validation") if getattr(dataset, split) is None]
        if missing:
            raise ChainruleError(
                f"{self.choice.spec} has no {missing[0]} examples: add an array named {missing[0]!r} to the "
                ".npz, or keep all examples in one array, which is then split 80 / 10 / 10."
            )

    def _condition_on(self, dataset: Dataset, model_class: type[LikelihoodModel]) -> None:
        from chainrule.cli.setting_values import model_settings_of

        if "context_size" not in model_settings_of(model_class):
            raise ChainruleError(f"{self.model_name} cannot be conditioned on labels: it takes no context.")
        if not dataset.labels:
            raise ChainruleError(f"--condition-on-labels needs class labels, but {dataset.name} has none.")
        largest = max(int(labels.max()) for labels in dataset.labels.values())
        self.settings["context_size"] = max(1 + largest, len(dataset.label_names))
        self.label_names = dataset.label_names
