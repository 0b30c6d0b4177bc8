"""MADE: the masked autoencoder for distribution estimation.

Germain et al. 2015. Every input and hidden unit gets a number, the inputs that of their position in
the ordering; weights are masked so that a unit only hears of smaller positions:

    h^l = f((W^l * M^l) h^{l-1} + b^l),       M^l open where number(below) <= number(above),
    z   =   (V   * M^V) h^L     + c,          M^V open where number(below) <  number(output).

One pass gives all conditionals. A hidden unit numbered m is final once m inputs are known, so with
the units taken in the order of their numbers a whole sample uses every weight exactly once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from chainrule.arguments import layer_sizes, real_number, whole_number
from chainrule.conditionals import Conditional
from chainrule.errors import ChainruleError, unknown_name
from chainrule.inputs import check_size
from chainrule.layers import (
    Columns,
    Connectivity,
    MaskedLinear,
    MaskedStepper,
    Schedule,
    SortedLayer,
    Staircase,
    balanced_degrees,
    connect_by_adjacency,
    connect_by_degrees,
    random_degrees,
    topological_ordering,
)
from chainrule.model import AutoregressiveModel
from chainrule.models.ensemble import Ensemble
from chainrule.orderings import Ordering

__all__ = ["MADE"]

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "elu": nn.functional.elu}


class MADE(AutoregressiveModel):
    """Masked autoencoder of any depth.

    - `event_shape`, `ordering`, `conditional`, `context_size`: as in `AutoregressiveModel`. The
      context enters the first hidden layer and the outputs unmasked (it has number 0).
    - `hidden`: sizes of the hidden layers; `()` with `direct=True` is a linear model.
    - `activation`: one of `"relu"`, `"tanh"`, `"sigmoid"`, `"elu"`.
    - `residual`: add the previous hidden layer to each later one (equal sizes; ResMADE, Nash &
      Durkan 2019).
    - `direct`: masked connections from the inputs straight to the outputs.
    - `degrees`: numbers of the hidden units: `"balanced"` (evenly over 1..n-1, sorted), `"random"`
      (drawn from `mask_seed`; no unit is ever unconnected), or the numbers themselves per layer.
    - `num_masks`: train on a set of this many masks, one drawn for each batch (connectivity-agnostic
      training). Mask 0 is as the other arguments say; the others permute the hidden numbers.
    - `random_orderings`: masks other than 0 also have random orderings (order-agnostic training).
    - `mask`: which mask of the set is in use; `view(mask=k)` changes it, sharing the weights, and
      `ensemble()` mixes them all.
    - `adjacency`: any DAG over the variables instead of all earlier ones: `adjacency[i][j]` is true
      if x_i may depend on x_j directly. The ordering is then a topological one, parents first: of those
      possible the one nearest to `ordering`, so the DAG wins where the two disagree.
    - `dropout`: on hidden units, in training only.

    Parameters, in the layout of the variables: `layers[l].weight` `(d_l, d_{l-1})` and
    `output.weight` `(outputs.total, d_L)`; (in + 1) * out per layer, masked weights included. A binary
    variable is one input and one output; others as many as their conditional reads and needs.

    >>> MADE((784,), hidden=(500,)).num_parameters
    785284
    """

    _output_mask: Tensor
    _direct_mask: Tensor
    layers: list[MaskedLinear]  # in fact an nn.ModuleList
    output: MaskedLinear
    input_to_output: MaskedLinear | None
    context_to_hidden: nn.Linear | None
    context_to_output: nn.Linear | None

    default_learning_rate = 1e-2

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        hidden: Sequence[int] = (500,),
        ordering: str | Sequence[int] | Ordering = "raster",
        activation: Literal["relu", "tanh", "sigmoid", "elu"] = "relu",
        residual: bool = False,
        direct: bool = False,
        degrees: Literal["balanced", "random"] | Sequence[Sequence[int]] = "balanced",
        num_masks: int = 1,
        random_orderings: bool = False,
        mask_seed: int = 0,
        mask: int = 0,
        adjacency: Sequence[Sequence[int]] | Tensor | None = None,
        dropout: float = 0.0,
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        self.hidden = layer_sizes("hidden", hidden)
        self.activation = activation
        self.residual, self.direct, self.dropout = residual, direct, dropout
        self.degrees = degrees
        self.num_masks, self.random_orderings, self.mask_seed = num_masks, random_orderings, mask_seed
        self.adjacency = None if adjacency is None else torch.as_tensor(adjacency).bool().tolist()
        self._check_settings()
        self._base_ordering = self.ordering if adjacency is None else self._ordering_of_dag()
        self._build_layers()
        self._use_mask(mask)
        self._initialise()

    # ---------------------------------------------------------------- in parallel

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`."""
        params = self.outputs.unpack(self._packed_params(x, context))
        return params.view(len(x), *self.event_shape, self.outputs.width)

    def _log_prob_per_variable(self, x: Tensor, context: Tensor | None) -> Tensor:
        # One below the other, as x lies: what comes out of a staircase stands in columns.
        params = self._packed_params(x, context).to(x.dtype).contiguous()
        return self.conditional.log_prob_packed(params, x)

    def _packed_params(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The parameters of all variables end to end, `(batch, outputs.total)`."""
        x = self.encode(x)
        h = x
        for index, layer in enumerate(self.layers):
            z = layer(h, self.get_buffer(f"_mask{index}"), self._staircases[index])
            if index == 0 and self.context_to_hidden is not None:
                z = z + self.context_to_hidden(context)
            h = self._activate(z, h if self.residual and index else None)
            if self.dropout and self.training:  # even at rate 0 it would draw from the global generator
                h = nn.functional.dropout(h, self.dropout)
        params: Tensor = self.output(h if self.hidden else h[:, :0], self._output_mask, self._staircases[-1])
        if self.input_to_output is not None:
            params = params + self.input_to_output(x, self._direct_mask)
        if self.context_to_output is not None:
            params = params + self.context_to_output(context)
        return params

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """Exact NLL in nats under one mask of the set, drawn for the batch; `(batch,)`."""
        if self.num_masks == 1:
            return super().training_loss(x, context, generator)
        mask = int(torch.randint(self.num_masks, (), generator=generator))
        return -self.view(mask=mask)._log_prob(x, context)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one parallel pass: every entry of every weight once, masked ones included."""
        return sum(
            layer.in_features * layer.out_features for layer in self.modules() if isinstance(layer, nn.Linear)
        )

    def _activate(self, z: Tensor, skip: Tensor | None) -> Tensor:
        h: Tensor = ACTIVATIONS[self.activation](z)
        return h if skip is None else h + skip

    # ---------------------------------------------------------------- step by step

    def init_state(self, batch_size: int, context: Tensor | None = None) -> MaskedStepper:
        """The same network with inputs, units and outputs sorted by when they are known."""
        below = inputs = self._numbers_in_order(self.inputs)
        sorted_layers = []
        for index, layer in enumerate(self.layers):
            units = self._unit_order(index)
            start = layer.bias.expand(batch_size, -1)
            if index == 0 and self.context_to_hidden is not None:
                start = start + self.context_to_hidden(context)
            weight = self._weight_for_steps(layer, self.get_buffer(f"_mask{index}"))
            sorted_layers.append(SortedLayer(_pick(weight, units, below), _pick(start, None, units)))
            below = units
        outputs = self._numbers_in_order(self.outputs)
        weight = self._weight_for_steps(self.output, self._output_mask)
        start = self.output.bias.expand(batch_size, -1)
        if self.context_to_output is not None:
            start = start + self.context_to_output(context)
        direct = None
        if self.input_to_output is not None:
            direct = self._weight_for_steps(self.input_to_output, self._direct_mask)
            direct = _pick(direct, outputs, inputs)
        return MaskedStepper(
            self._schedule(),
            sorted_layers,
            _pick(weight, outputs, below if self.hidden else None),
            _pick(start, None, outputs),
            direct,
            self.encode_sequence,
            self._activate,
            self.residual,
        )

    def step(self, state: MaskedStepper, previous_value: Tensor | None) -> tuple[Tensor, MaskedStepper]:
        """Finish the units that waited for the previous variable, then read the next one's output."""
        return state.step(previous_value), state

    def _sample_incremental(
        self, noise: Tensor, context: Tensor | None, temperature: float, with_log_prob: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Block by block, each settled by fixed-point sweeps: the sample that `step` would give, sooner.

        Only values that come from a list settle in a few sweeps; real ones are drawn step by step.
        """
        if self.conditional.support() is None:
            return super()._sample_incremental(noise, context, temperature, with_log_prob)
        state = self.init_state(len(noise), context)
        values = []
        for block in state.schedule.blocks:
            family = self.conditional_over(block.first, block.last)
            values.append(state.settle(block, family, noise[:, block.first : block.last], temperature))
        return self.from_sequence(torch.cat(values, dim=1)), None

    def _numbers_in_order(self, columns: Columns) -> Tensor | None:
        """The flat numbers of the variables in the ordering; None if they already stand so."""
        if self._is_natural:
            return None
        return columns.numbers_of(self.ordering.permutation).to(self._order.device)

    def _unit_order(self, index: int) -> Tensor | None:
        """The units of a hidden layer by ascending number; None if they already stand so."""
        degrees = self.get_buffer(f"_degrees{index}")
        if bool((degrees[1:] >= degrees[:-1]).all()):
            return None
        return torch.argsort(degrees, stable=True)

    def _schedule(self) -> Schedule:
        """What steps need to know of the mask in use: worked out when first asked for, then kept."""
        weight = self.output.weight
        key = weight.dtype, weight.device
        if key not in self._schedules:
            degrees = [self.get_buffer(f"_degrees{index}").sort()[0] for index in range(len(self.hidden))]
            self._schedules[key] = Schedule(self.sequence_inputs, self.sequence_outputs, degrees, weight)
        return self._schedules[key]

    def _weight_for_steps(self, layer: MaskedLinear, mask: Tensor) -> Tensor:
        # Numbers mask by leading slices alone; only the sets of a DAG need the mask itself.
        return layer.weight if self.adjacency is None else layer.masked_weight(mask)

    # ---------------------------------------------------------------- masks

    def masks(self) -> list[Tensor]:
        """The masks in use, bool, between variables and units: from the first hidden layer to `(n, d_L)`."""
        connectivity = self._connectivity(self.mask)[1]
        return [*connectivity.hidden, connectivity.output]

    def view(self, *, mask: int) -> Self:
        """The same network under another mask of the set; shares every parameter."""
        view = self._shared_copy()
        view._use_mask(mask)
        return view

    def view_like(self, settings: dict[str, Any]) -> Self:
        """The view of this network that has these settings."""
        return self.view(mask=settings["mask"])

    def ensemble(self, num_members: int | None = None) -> Ensemble:
        """The mixture of the first `num_members` masks of the set (all by default)."""
        return Ensemble([self.view(mask=k) for k in range(num_members or self.num_masks)])

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-ready."""
        return {**super().settings(), "ordering": self._base_ordering.spec}

    def _use_mask(self, mask: int) -> None:
        if not 0 <= mask < self.num_masks:
            raise ChainruleError(f"mask {mask} is not in the set of {self.num_masks} masks (num_masks).")
        self.mask = mask
        ordering, connectivity = self._connectivity(mask)
        self._set_ordering(ordering)
        weight, read_as, heard_by = self.output.weight, self.inputs.owner, self.outputs.owner
        masks = {f"_mask{index}": mask for index, mask in enumerate(connectivity.hidden)}
        if self.hidden:
            masks["_mask0"] = connectivity.hidden[0][:, read_as]
        masks["_output_mask"] = connectivity.output[heard_by]
        masks["_direct_mask"] = connectivity.direct[heard_by][:, read_as]
        for name, open_weights in masks.items():
            self.register_buffer(name, open_weights.to(weight.device, weight.dtype), persistent=False)
        layers = [*(masks[f"_mask{index}"] for index in range(len(self.hidden))), masks["_output_mask"]]
        self._staircases = [Staircase.of(mask) for mask in layers]
        self._schedules: dict[tuple[torch.dtype, torch.device], Schedule] = {}
        for index, degrees in enumerate(connectivity.degrees):
            self.register_buffer(f"_degrees{index}", degrees.to(weight.device), persistent=False)

    def _connectivity(self, mask: int) -> tuple[Ordering, Connectivity]:
        """Ordering and masks number `mask` of the set, always the same for the same settings."""
        generator = torch.Generator().manual_seed(self.mask_seed * 1_000_003 + mask)
        ordering = self._base_ordering
        if self.adjacency is not None:
            adjacency = torch.tensor(self.adjacency)
            return ordering, connect_by_adjacency(adjacency, ordering.positions(), self.hidden)
        if mask and self.random_orderings:
            permutation = torch.randperm(self.num_variables, generator=generator)
            ordering = Ordering(tuple(permutation.tolist()))
        degrees = [self._layer_degrees(layer, generator) for layer in range(len(self.hidden))]
        if mask:
            shuffles = [torch.randperm(len(d), generator=generator) for d in degrees]
            # A skip connection needs the same number at both of its ends.
            degrees = [d[shuffles[0 if self.residual else i]] for i, d in enumerate(degrees)]
        elif self.residual:
            degrees = [degrees[0]] * len(degrees)
        return ordering, connect_by_degrees(ordering.positions(), degrees)

    def _layer_degrees(self, layer: int, generator: torch.Generator) -> Tensor:
        size = self.hidden[layer]
        if self.degrees == "balanced":
            return balanced_degrees(size, self.num_variables)
        if self.degrees == "random":
            return random_degrees(size, self.num_variables, generator)
        return torch.tensor(self.degrees[layer])

    def _ordering_of_dag(self) -> Ordering:
        adjacency = torch.tensor(self.adjacency)
        return Ordering(tuple(topological_ordering(adjacency, self.ordering.permutation)))

    # ---------------------------------------------------------------- construction

    def _build_layers(self) -> None:
        inputs, outputs = self.inputs.total, self.outputs.total
        sizes = [inputs, *self.hidden]
        check_size("MADE", self._count_weights(inputs, outputs))
        self.layers = nn.ModuleList(  # type: ignore[assignment]
            MaskedLinear(i, o) for i, o in itertools.pairwise(sizes)
        )
        self.output = MaskedLinear(sizes[-1] if self.hidden else 0, outputs)
        self.input_to_output = MaskedLinear(inputs, outputs, bias=False) if self.direct else None
        size = self.context_size
        self.context_to_hidden = nn.Linear(size, self.hidden[0], bias=False) if size and self.hidden else None
        self.context_to_output = nn.Linear(size, outputs, bias=False) if size else None

    def _count_weights(self, inputs: int, outputs: int) -> int:
        """Entries of all matrices."""
        layers = sum(i * o for i, o in itertools.pairwise((inputs, *self.hidden)))
        layers += self.hidden[-1] * outputs if self.hidden else 0
        return layers + self.direct * inputs * outputs + self.context_size * (sum(self.hidden[:1]) + outputs)

    def _initialise(self) -> None:
        """Scaled by what each unit may hear; direct connections start at zero."""
        gain = math.sqrt(2.0) if self.activation == "relu" else 1.0
        for index, layer in enumerate(self.layers):
            layer.initialise(self.get_buffer(f"_mask{index}"), gain)
        self.output.initialise(self._output_mask, 1.0)

    def _check_settings(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise unknown_name("activation", self.activation, ACTIVATIONS)
        if not self.hidden and not self.direct:
            raise ChainruleError(
                "MADE without hidden layers needs direct=True, or no variable hears another."
            )
        if self.residual and len(set(self.hidden)) > 1:
            raise ChainruleError(f"residual=True needs hidden layers of equal size, not {self.hidden}.")
        real_number("dropout", self.dropout, minimum=0, below=1)
        if isinstance(self.degrees, str) and self.degrees not in ("balanced", "random"):
            raise unknown_name("way of choosing degrees", self.degrees, ("balanced", "random"))
        if not isinstance(self.degrees, str) and tuple(map(len, self.degrees)) != self.hidden:
            raise ChainruleError(
                f"degrees must give a number for each unit of the hidden layers {self.hidden}."
            )
        whole_number("num_masks", self.num_masks, minimum=1)
        whole_number("mask_seed", self.mask_seed, maximum=2**31 - 1)
        if self.adjacency is not None:
            self._check_adjacency()

    def _check_adjacency(self) -> None:
        n = self.num_variables
        if tuple(torch.tensor(self.adjacency).shape) != (n, n):
            raise ChainruleError(f"adjacency must be a {n} x {n} matrix, one row per variable.")
        if self.random_orderings or self.num_masks > 1 or self.degrees != "balanced":
            raise ChainruleError(
                "an adjacency fixes the masks: leave degrees, num_masks and random_orderings alone."
            )


def _pick(tensor: Tensor, *indices: Tensor | None) -> Tensor:
    """Index leading dimensions one after another; None leaves a dimension (and the memory) as it is."""
    for dimension, index in enumerate(indices):
        if index is not None:
            tensor = tensor.index_select(dimension, index)
    return tensor
