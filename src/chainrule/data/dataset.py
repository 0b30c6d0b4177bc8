"""One data set in memory: its splits as tensors, and what a reader of a result must know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import torch
from torch import Tensor

from chainrule.arguments import LARGEST_SIZE
from chainrule.data.entries import SPLITS, Kind, PublishedResult
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["Dataset", "binarize"]


def binarize(values: Tensor, generator: torch.Generator) -> Tensor:
    """Draw x ~ Bernoulli(g / 255) for 8-bit grey levels g: uint8 0 / 1 of the same shape and device.

    The uniforms come from `generator` alone, on its own device, so that a CPU generator gives the
    same draw for values on any device. 0 always gives 0 and 255 always gives 1.

    >>> g = torch.tensor([[0, 255, 0, 255]], dtype=torch.uint8)
    >>> binarize(g, torch.Generator().manual_seed(0))
    tensor([[0, 1, 0, 1]], dtype=torch.uint8)
    """
    uniform = torch.rand(values.shape, generator=generator, device=generator.device)  # in [0, 1)
    return (uniform.to(values.device) < values.float() / 255).to(torch.uint8)


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """Splits of examples, shape (N, *event_shape) each: values 0 ... levels - 1, or real ones.

    Whole numbers are uint8 for up to 256 levels, int32 for more.

    - `train`, `validation`, `test`: None where the data set does not have that split;
    - `event_shape`: (1, 28, 28) for images (channels first), (D,) for tables;
    - `levels`: how many values a variable takes, 2 for binary data and 256 for grey images; None for
      real and mixed values, which are float tensors, NaN where one is missing;
    - `labels`: int64 class labels of shape (N,) by split, for the data sets that have them, and
      `label_names`, what they are called, where they have names;
    - `contexts`: floats of shape (N, K) by split, for models conditioned on K numbers and not on a label;
    - `dynamic`: the tensors hold grey levels g in 0 ... 255, and every use draws
      x ~ Bernoulli(g / 255), so `levels` is 2: see `binarize` and `evaluation_split`.

    Raises `ChainruleError` when the parts do not fit together.
    """

    name: str
    train: Tensor | None
    validation: Tensor | None
    test: Tensor | None
    event_shape: tuple[int, ...]
    kind: Kind
    levels: int | None
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    dynamic: bool = False
    licence: str = "not stated"
    source: str = ""
    description: str = ""
    published: tuple[PublishedResult, ...] = ()
    label_names: tuple[str, ...] = ()
    contexts: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            expected = ", ".join(get_args(Kind))
            raise ChainruleError(f"data set {self.name!r}: kind {self.kind!r}; expected one of {expected}")
        counted = 2 if self.levels is None else self.levels
        if not 2 <= counted <= LARGEST_SIZE or (self.dynamic and self.levels != 2):
            expected = "2, as dynamic=True draws 0 or 1" if self.dynamic else "2 or more"
            raise ChainruleError(f"data set {self.name!r}: levels={self.levels}; expected {expected}")
        for split, values in self._present().items():
            self._check_values(split, values)
        for split, labels in self.labels.items():
            values = self.split(split)
            if labels.dtype != torch.int64 or labels.shape != values.shape[:1]:
                raise ChainruleError(
                    f"data set {self.name!r}: labels of {split} are {labels.dtype} {tuple(labels.shape)}; "
                    f"expected torch.int64 ({len(values)},)"
                )
        for split, contexts in self.contexts.items():
            count = len(self.split(split))
            if not contexts.is_floating_point() or contexts.ndim != 2 or len(contexts) != count:
                raise ChainruleError(
                    f"data set {self.name!r}: contexts of {split} are {contexts.dtype} "
                    f"{tuple(contexts.shape)}; expected floats ({count}, K)"
                )

    def split(self, name: str) -> Tensor:
        """The tensor of a split: `train`, `validation` or `test`; grey levels where `dynamic`.

        Raises `ChainruleError` for another name, and for a split that the data set does not have.
        """
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        values: Tensor | None = getattr(self, name)
        if values is None:
            present = ", ".join(self._present()) or "none"
            raise ChainruleError(f"data set {self.name!r} has no {name} split; it has: {present}")
        return values

    def evaluation_split(self, name: str, seed: int = 0) -> Tensor:
        """The split as a model scores it: one fixed binarisation where `dynamic`, else the split itself.

        The same seed always gives the same 0 / 1 tensor, and the first n examples do not depend on how
        many follow, so a test NLL on a `dynamic` data set is reproducible. Other seeds give the other
        draws that published dynamic results average over or pick from.
        """
        values = self.split(name)
        return binarize(values, torch.Generator().manual_seed(seed)) if self.dynamic else values

    def _present(self) -> dict[str, Tensor]:
        return {split: values for split in SPLITS if (values := getattr(self, split)) is not None}

    def _check_values(self, split: str, values: Tensor) -> None:
        whole = [torch.uint8 if (self.levels or 0) <= 256 else torch.int32]
        dtypes = whole if self.levels else [torch.float32, torch.float64]
        expected = f"{dtypes[0]} {('N', *self.event_shape)} with N >= 1".replace("'", "")
        if values.dtype not in dtypes or values.shape[1:] != self.event_shape or values.numel() == 0:
            raise ChainruleError(
                f"data set {self.name!r}: {split} is {values.dtype} {tuple(values.shape)}; "
                f"expected {expected}"
            )
        if self.levels is None:
            return
        largest = int(values.max())
        if largest >= self.levels and not self.dynamic:
            raise ChainruleError(
                f"data set {self.name!r}: {split} has the value {largest}; expected 0 to {self.levels - 1}"
            )

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{split} -" if (values := getattr(self, split)) is None else f"{split} {len(values):,}"
            for split in SPLITS
        )
        levels = f"{self.levels} levels" if self.levels else "real values"
        drawn = " drawn from grey" if self.dynamic else ""
        return f"Dataset({self.name!r}, {self.kind} {self.event_shape}, {levels}{drawn}, {sizes})"
