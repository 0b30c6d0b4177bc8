"""Where models and data come from: run folders, hub names, catalogue names, people's own files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.example_files import say_if_hidden, saying_warnings
from chainrule.cli.names import DATASETS
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel

__all__ = ["DataChoice", "OpenedModel", "model_name_of", "notes_of", "open_model"]

_HUB = "hub:"
#: How a person's own files are read: the options of `train`, kept in the notes of a run.
_READING_OPTIONS = ("threshold", "dynamic", "levels", "skip_bad")


@dataclass(frozen=True)
class DataChoice:
    """What `--data` and the options for reading one's own files said."""

    spec: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def given(cls, spec: str, **options: Any) -> DataChoice:
        """From the command line; a path is kept absolute, so that the run finds it again from anywhere."""
        chosen = {name: value for name, value in options.items() if value not in (None, False)}
        if spec in DATASETS and chosen:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
            raise ChainruleError(f"data set {spec!r} takes no {flags}; write ./{spec} for a file.")
        if spec in DATASETS:
            say_if_hidden(spec)
        is_file = spec not in DATASETS and Path(spec).exists()
        return cls(str(Path(spec).absolute()) if is_file else spec, chosen)

    @classmethod
    def of_run(cls, config: dict[str, Any]) -> DataChoice | None:
        """What a run recorded, or its data's name where that is in the catalogue."""
        noted = notes_of(config).get("data")
        if noted:
            return cls._noted(noted)
        name = config.get("data")
        return cls(name) if isinstance(name, str) and name in DATASETS else None

    @classmethod
    def _noted(cls, noted: Any) -> DataChoice:
        """From the notes of a run, which people may have edited."""
        spec, options = (noted.get(key) for key in ("spec", "options")) if isinstance(noted, dict) else (0, 0)
        if not isinstance(spec, str) or not isinstance(options, dict):
            raise ChainruleError(
                'config.json: "data" in its "notes" needs a text "spec" and a dict "options".'
            )
        unknown = [name for name in options if name not in _READING_OPTIONS]
        if unknown:
            raise ChainruleError(
                f'config.json: unknown {unknown[0]!r} in the "options" of the data in its "notes"; '
                f"known: {', '.join(_READING_OPTIONS)}."
            )
        return cls(spec, options)

    @property
    def is_file(self) -> bool:
        """Whether it is a person's own file or folder and not a data set of the catalogue."""
        return self.spec not in DATASETS

    def load(self) -> Dataset:
        """The data set; errors as in `chainrule.data.load_any`, its warnings as lines on stderr."""
        from chainrule.data import load_any

        with saying_warnings():
            return load_any(self.spec, **self.options)

    def with_options(self, **options: Any) -> DataChoice:
        """The same, read with these options too."""
        return DataChoice(self.spec, {**self.options, **options})

    def note(self) -> dict[str, Any]:
        """What goes into the run's notes."""
        return {"spec": self.spec, "options": self.options}


@dataclass(frozen=True)
class OpenedModel:
    """A saved model with the configuration that lies beside it."""

    source: str
    model: LikelihoodModel
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """What the command line calls the model's class."""
        return model_name_of(self.config)

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the classes are called that the model was conditioned on; empty where they have no names."""
        names = notes_of(self.config).get("label_names") or ()
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ChainruleError('config.json: "label_names" in its "notes" must be a list of texts.')
        return tuple(names)

    def data(self, spec: str | None) -> DataChoice:
        """What `--data` names, read as the training data was; or what the model was trained on."""
        choice = DataChoice.given(spec) if spec else DataChoice.of_run(self.config)
        if choice is None:
            raise ChainruleError(f"{self.source} does not say what it was trained on; name it with --data.")
        if spec and choice.is_file:
            trained = DataChoice.of_run(self.config)
            choice = DataChoice(choice.spec, trained.options if trained else {})
        return choice

    def mixture(self, members: int) -> LikelihoodModel:
        """The model itself for 1, else the exact mixture over so many of its masks or orderings."""
        if members == 1:
            return self.model
        if members < 1:
            raise ChainruleError(f"--members must be at least 1, not {members}.")
        network: Any = self.model
        if not hasattr(network, "ensemble"):
            raise ChainruleError(
                f"--members mixes the masks of a made or the orderings of a deep-nade, not of a {self.name}."
            )
        masks = getattr(network, "num_masks", members)
        if members > masks:
            raise ChainruleError(
                f"this made was trained with {masks} masks (num_masks); --members can be 1 to {masks}."
            )
        mixture: LikelihoodModel = network.ensemble(members)
        return mixture.eval()


def open_model(source: str) -> OpenedModel:
    """The model in a run folder or saved folder, or on the hub as `hub:user/model`.

    Only `hub:` goes to the network: a misspelt folder must not become a download.
    """
    from chainrule.loading import load_network
    from chainrule.saving import locate, read_config

    if source.startswith(_HUB):
        folder = locate(source.removeprefix(_HUB))
    else:
        folder = Path(source)
        if not folder.is_dir():
            problem = "is a file, not a folder" if folder.exists() else "does not exist"
            raise ChainruleError(
                f"{source} {problem}{_nearest_runs(folder)}: expected a run folder, "
                "as `chainrule train ... --out` makes, or hub:user/model."
            )
    config = read_config(folder)
    from chainrule.cli.victims import CLASS_NAMES

    if config["model"] in CLASS_NAMES.values():
        raise ChainruleError(
            f"{source} holds a {config['model']}: a classifier has no p(x); `chainrule evaluate` and "
            "`chainrule attack` take it."
        )
    if model_name_of(config) not in _class_names().values():
        raise ChainruleError(f"{source} holds a {config['model']}, which is no model of this library.")
    model = load_network(folder)
    _require_numbers(model, source)
    return OpenedModel(source, model, config)


def model_name_of(config: dict[str, Any]) -> str:
    """The command line's name of the class that a `config.json` names."""
    return _class_names().get(config["model"], str(config["model"]))


def notes_of(config: dict[str, Any]) -> dict[str, Any]:
    """What `train` noted beside the settings; `ChainruleError` where an edited file holds something else."""
    notes = config.get("notes") or {}
    if not isinstance(notes, dict):
        raise ChainruleError('config.json: "notes" must be a dict, as `chainrule train` writes it.')
    return notes


def _require_numbers(model: LikelihoodModel, source: str) -> None:
    """Weights that are not numbers would give likelihoods and samples that mean nothing."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ChainruleError(
                f"{source}: weights that are NaN or infinite ({name}); its training diverged or the file is "
                "damaged: train it again."
            )


def _class_names() -> dict[str, str]:
    from chainrule.cli.model_cards import CARDS

    return {card.class_name: card.name for card in CARDS.values()}


def _nearest_runs(folder: Path) -> str:
    import difflib

    if not folder.parent.is_dir():
        return ""
    near = [p.name for p in folder.parent.iterdir() if (p / "config.json").is_file()]
    close = difflib.get_close_matches(folder.name, near, n=3, cutoff=0.4)
    return f" (did you mean {' or '.join(str(folder.parent / name) for name in close)}?)" if close else ""
