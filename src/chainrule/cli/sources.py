"""Where models and data come from: run folders, hub names, catalogue names, people's own files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel

__all__ = ["DataChoice", "OpenedModel", "model_name_of", "open_model", "parse_context"]

_HUB = "hub:"


@dataclass(frozen=True)
class DataChoice:
    """What `--data` and the options for reading one's own files said."""

    spec: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def given(cls, spec: str, **options: Any) -> DataChoice:
        """From the command line; a path is kept absolute, so that the run finds it again from anywhere."""
        from chainrule.data import CATALOGUE

        chosen = {name: value for name, value in options.items() if value not in (None, False)}
        is_file = spec not in CATALOGUE and Path(spec).exists()
        return cls(str(Path(spec).absolute()) if is_file else spec, chosen)

    @classmethod
    def of_run(cls, config: dict[str, Any]) -> DataChoice | None:
        """What a run recorded, or its data's name where that is in the catalogue."""
        from chainrule.data import CATALOGUE

        noted = (config.get("notes") or {}).get("data")
        if noted:
            return cls(noted["spec"], noted["options"])
        return cls(config["data"]) if config.get("data") in CATALOGUE else None

    def load(self) -> Dataset:
        """The data set; errors as in `chainrule.data.load_any`."""
        from chainrule.data import load_any

        return load_any(self.spec, **self.options)

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

    def data(self, spec: str | None) -> Dataset:
        """The data set named by `--data`, or the one that the model was trained on."""
        choice = DataChoice.given(spec) if spec else DataChoice.of_run(self.config)
        if choice is None:
            raise ChainruleError(f"{self.source} does not say what it was trained on; name it with --data.")
        if spec and choice.spec not in _catalogue():
            trained = DataChoice.of_run(self.config)
            choice = DataChoice(choice.spec, trained.options if trained else {})
        return choice.load()

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
    from chainrule.loading import load
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
    if config["model"] not in _class_names():
        raise ChainruleError(f"{source} holds a {config['model']}, which is no model of this library.")
    return OpenedModel(source, load(folder), config)


def model_name_of(config: dict[str, Any]) -> str:
    """The command line's name of the class that a `config.json` names."""
    return _class_names().get(config["model"], str(config["model"]))


def parse_context(text: str | None) -> Any:
    """`7` as a label, `0,0.5,1` as a vector of floats; `ChainruleError` for anything else."""
    if text is None:
        return None
    import torch

    try:
        if "," in text:
            return torch.tensor([float(part) for part in text.split(",")])
        return torch.tensor(int(text))
    except ValueError:
        raise ChainruleError(
            f"--context {text!r} is neither a class label, such as 7, nor numbers with commas between."
        ) from None


def _class_names() -> dict[str, str]:
    from chainrule.cli.model_cards import CARDS

    return {card.class_name: card.name for card in CARDS.values()}


def _catalogue() -> Any:
    from chainrule.data import CATALOGUE

    return CATALOGUE


def _nearest_runs(folder: Path) -> str:
    import difflib

    if not folder.parent.is_dir():
        return ""
    near = [p.name for p in folder.parent.iterdir() if (p / "config.json").is_file()]
    close = difflib.get_close_matches(folder.name, near, n=3, cutoff=0.4)
    return f" (did you mean {' or '.join(str(folder.parent / name) for name in close)}?)" if close else ""
