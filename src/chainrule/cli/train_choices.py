"""What `chainrule train` decides where nobody said: the family of values, and a word about large networks."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.cli.output import say
from chainrule.cli.setting_values import build_model, model_settings_of, split_settings
from chainrule.presets import PRESETS

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel
    from chainrule.training import TrainingSettings

__all__ = ["advise_on_size", "choose_conditional", "seconds_an_epoch"]

#: Models that read a category by its one-hot code: with many levels that is many weights for each variable.
_ONE_HOT = ("fvsbn", "nade", "deep-nade", "made")
_FEW_LEVELS = 32
#: Settings that do not make a network larger.
_NOT_SIZES = {"ordering", "conditional", "context_size", "one_hot", "dropout"}
#: An epoch of more seconds than this deserves a line.
_LONG = 120.0
#: What training reaches of the speed of a product of two matrices, forward and backward together.
_EFFICIENCY = 0.5


def choose_conditional(
    name: str,
    model_class: type[LikelihoodModel],
    dataset: Dataset,
    settings: dict[str, Any],
    tell: Callable[[str], None],
) -> None:
    """Put the family of each value into the settings, by the number of levels of the data.

    Binary data keeps the model's own, Bernoulli. Values of more levels are categories, as in the papers of
    PixelCNN and its kind; or discretized logistics, for many levels in models that would read categories by
    one-hot codes, and for models whose own family that is (PixelCNN++). A family that the settings name
    gets the number of levels where it needs one.
    """
    from chainrule.conditionals import CONDITIONALS, resolve_conditional

    asked = settings.get("conditional")
    if isinstance(asked, dict):  # of a run that is resumed
        settings["conditional"] = resolve_conditional(asked)
    elif isinstance(asked, str) and asked in CONDITIONALS and dataset.levels is not None:
        if "levels" in inspect.signature(CONDITIONALS[asked].__init__).parameters:
            settings["conditional"] = resolve_conditional({"name": asked, "levels": dataset.levels})
    elif asked is None and dataset.levels not in (None, 2):
        parameter = model_settings_of(model_class).get("conditional")
        if parameter is None:
            return
        many = name in _ONE_HOT and dataset.levels > _FEW_LEVELS
        family = "discretized_logistic_mixture" if many or parameter.default is None else "categorical"
        settings["conditional"] = resolve_conditional({"name": family, "levels": dataset.levels})
        tell(f"{dataset.name} has {dataset.levels} levels: conditional={family}")


def advise_on_size(
    name: str,
    model: LikelihoodModel,
    dataset: Dataset,
    settings: dict[str, Any],
    training: TrainingSettings,
) -> None:
    """One line before a network of the published size is trained on a CPU for hours, with the way out."""
    import torch

    chosen = set(settings) - _NOT_SIZES
    if chosen or "small" not in PRESETS.get(name, {}):
        return
    if training.device == "auto" and torch.accelerator.is_available():
        return
    rate = _products_per_second()
    seconds = seconds_an_epoch(model, dataset, rate)
    if seconds < _LONG:
        return
    preset = PRESETS[name]["small"]
    of_model, _ = split_settings(type(model), preset.settings)
    small = build_model(type(model), dataset.event_shape, settings | of_model, training.seed)
    say(
        f"{name} has its published size, {model.num_parameters:,} parameters: about "
        f"{_duration(seconds)} an epoch on this machine. For a laptop, --preset small has "
        f"{small.num_parameters:,}: about {_duration(seconds_an_epoch(small, dataset, rate))}."
    )


def seconds_an_epoch(model: LikelihoodModel, dataset: Dataset, products_per_second: float) -> float:
    """About how long an epoch takes: three times the products of a likelihood, at part of the full speed."""
    products = getattr(model, "multiply_adds", None)
    if products is None:
        products = model.num_parameters * model.num_variables
    return 3 * float(products) * len(dataset.split("train")) / (_EFFICIENCY * products_per_second)


def _products_per_second() -> float:
    """Multiply-adds in a second of a product of two matrices, on as many cores as PyTorch uses here."""
    import torch

    size = 768
    a = torch.ones(size, size)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - began)
    return float(size**3 / best)


def _duration(seconds: float) -> str:
    """In words, to one digit or two: nobody should trust it more than that."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
