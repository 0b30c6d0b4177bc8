"""What models that walk over an image pixel by pixel share: how they read it, and in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from chainrule.conditionals import Categorical, Conditional
from chainrule.errors import ChainruleError
from chainrule.inputs import checked_event_shape
from chainrule.layers import Columns
from chainrule.layers.conv_stepper import ImageStepper
from chainrule.layers.masked_conv import ShiftedConv2d
from chainrule.model import AutoregressiveModel
from chainrule.orderings import Ordering, resolve_ordering
from chainrule.sampling import by_looking_ahead

__all__ = ["RasterImageModel"]

#: With more images some pixel is always guessed wrong in one of them, and arithmetic, not the reading of
#: weights, is what a step costs.
_ROWS_LOOKING_AHEAD = 16

#: Orderings that are a raster scan of the image, turned or transposed, channels of a pixel together.
_SCANS = ("raster", "reversed", "column")


class RasterImageModel(AutoregressiveModel):
    """A model of images `(C, H, W)` in raster order, the colour channels of a pixel one after another.

    - `event_shape`: `(C, H, W)`; `(H, W)` is one channel.
    - `conditional`, `context_size`: as in `AutoregressiveModel`; every variable reads and needs as many
      numbers as every other.
    - `ordering`: `"raster"`, `"reversed"` (from the last pixel and channel) or `"column"` (column by
      column). The network sees the image turned so that the ordering is a raster scan.
    - `one_hot`: read categories by their one-hot code; otherwise as an intensity from -1 to 1, as the
      papers do. Other families are read as they say themselves.

    Networks see `(batch, C I, rows, columns)`, where I numbers are read for each variable.
    """

    #: Whether the network treats all places of an image alike, so that it can be run over any size.
    any_size: ClassVar[bool] = False

    #: Whether its stepper computes several pixels of a row together, where they are of a single colour.
    rows_at_once: ClassVar[bool] = False

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        conditional: str | Conditional = "bernoulli",
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        one_hot: bool = False,
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        if len(self.event_shape) not in (2, 3):
            raise ChainruleError(
                f"{type(self).__name__} is a model of images, event_shape (C, H, W), not {self.event_shape}."
            )
        if not (self.inputs.are_alike and self.outputs.are_alike):
            raise ChainruleError(
                f"{type(self).__name__} treats all pixels alike, so every variable needs the same family."
            )
        self.one_hot = bool(one_hot)
        self.channels = self.event_shape[0] if len(self.event_shape) == 3 else 1
        self.grid = self._grid()
        self._intensities = isinstance(self.conditional, Categorical) and not self.one_hot
        #: Numbers that are read for a variable.
        self.read_size = 1 if self._intensities else self.inputs.width

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one parallel pass, rows below a pixel not counted, since they are not computed."""
        rows, columns = self.grid
        convolutions = sum(m.multiply_adds for m in self.modules() if isinstance(m, ShiftedConv2d))
        of_context = sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Linear))
        return rows * columns * convolutions + of_context

    def with_size(self, event_shape: Sequence[int]) -> Self:
        """The same network for images of another height and width; shares every parameter.

        Far from the edges the network may see further than the images it was trained on were wide: what it
        makes of that is not what it learned. Raises `ChainruleError` where the network is bound to its size,
        and for another number of channels.
        """
        shape = checked_event_shape(event_shape)
        if not self.any_size:
            raise ChainruleError(
                f"{type(self).__name__} is bound to images of shape {self.event_shape}; "
                "PixelCNN and GatedPixelCNN can be run over any size."
            )
        if len(shape) != len(self.event_shape) or shape[:-2] != self.event_shape[:-2]:
            expected = str((*self.event_shape[:-2], "H", "W")).replace("'", "")
            raise ChainruleError(f"the size must be {expected}, with the channels of the model, not {shape}.")
        view = self._shared_copy()
        view.event_shape, view.num_variables = shape, math.prod(shape)
        view.inputs = Columns(view.conditional.input_sizes(view.num_variables))
        view.outputs = Columns(view.conditional.param_sizes(view.num_variables))
        view._set_ordering(resolve_ordering(self._scan(), shape))
        view.grid = view._grid()
        return view

    # ---------------------------------------------------------------- looking ahead

    @property
    def looks_ahead(self) -> bool:
        """Whether several pixels of a row can be computed together, which takes a single colour."""
        return self.rows_at_once and self.channels == 1

    def _sample_incremental(
        self, noise: Tensor, context: Tensor | None, temperature: float, with_log_prob: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Few images by looking ahead, which gives the sample of single steps, and sooner."""
        guessed = self.conditional.support() is not None  # a real value never is
        mixed = torch.is_autocast_enabled(noise.device.type)  # in which caches and features differ in dtype
        if self.looks_ahead and guessed and not mixed and len(noise) <= _ROWS_LOOKING_AHEAD:
            return by_looking_ahead(self, noise, context, temperature, with_log_prob=with_log_prob)
        return super()._sample_incremental(noise, context, temperature, with_log_prob)

    @property
    def period_of_guesses(self) -> int:
        """The first guess of a pixel is made of the one above it."""
        return self.grid[1]

    def reach(self, state: ImageStepper) -> int:
        """How many of the next variables can be looked at together: the rest of the row."""
        return state.reach

    def look_ahead(self, state: ImageStepper, previous_value: Tensor | None, guesses: Tensor) -> Tensor:
        """Parameters `(batch, k + 1, num_params)` of the next pixels, were k `guesses` `(batch, k)` right."""
        return state.look_ahead(previous_value, guesses)

    def settle(self, state: ImageStepper, count: int) -> None:
        """Go on by `count` of the pixels looked at."""
        state.settle(count)

    def _grid(self) -> tuple[int, int]:
        """Height and width of the image as the network sees it."""
        height, width = self.event_shape[-2:]
        return (width, height) if self._scan() == "column" else (height, width)

    def _scan(self) -> str:
        for name in _SCANS:
            if self.ordering.permutation == resolve_ordering(name, self.event_shape).permutation:
                return name
        raise ChainruleError(
            f"{type(self).__name__} reads images in the orderings {', '.join(_SCANS)}, "
            f"not {self.ordering.name!r}: convolutions need neighbours that are known."
        )

    def _as_seen(self, x: Tensor) -> Tensor:
        """What the network sees of x: `(batch, C I, rows, columns)`, channels last in memory."""
        sequence = self.to_sequence(x)
        seen = self._intensity(sequence) if self._intensities else self.encode_sequence(sequence)
        return seen.view(len(x), *self.grid, -1).permute(0, 3, 1, 2)

    def _as_read(self, values: Tensor, position: int) -> Tensor:
        """The same of the values `(batch, k)` of the variables from a position on: `(batch, k I)`."""
        return self._intensity(values) if self._intensities else self.encode_sequence(values, position)

    def _intensity(self, values: Tensor) -> Tensor:
        assert isinstance(self.conditional, Categorical)
        return values * (2 / max(self.conditional.levels - 1, 1)) - 1

    def _as_params(self, z: Tensor) -> Tensor:
        """From what the network says, `(batch, C P, rows, columns)`, to `(batch, *event_shape, P)`."""
        return self.from_sequence(z.permute(0, 2, 3, 1).reshape(len(z), self.num_variables, -1))
