"""Ensemble: an equal-weight mixture of exact-likelihood models, over orderings, masks, or anything.

    p(x) = (1/K) sum_k p_k(x),        log p(x) = logsumexp_k log p_k(x) - log K.

Probabilities of whole examples are averaged, never logits: averaged logits are the likelihood of no
model. A mixture of different orderings has no single chain rule, so it has no conditionals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel, SampleMethod

__all__ = ["Ensemble"]


class Ensemble(LikelihoodModel):
    """The mixture of `members`, which must agree in event shape, conditional and context.

    Members may share parameters (views of one network under several orderings or masks); shared
    parameters are saved once.
    """

    #: Filled by `chainrule.models`: the class of a member from its saved name.
    member_classes: ClassVar[dict[str, type[LikelihoodModel]]] = {}

    def __init__(self, members: Sequence[LikelihoodModel]) -> None:
        if not members:
            raise ChainruleError("an ensemble needs at least one member.")
        first = members[0]
        for index, member in enumerate(members):
            if (member.event_shape, member.context_size) != (first.event_shape, first.context_size):
                raise ChainruleError(
                    f"member {index} models {member.event_shape} with a context of {member.context_size}, "
                    f"but member 0 models {first.event_shape} with {first.context_size}; they must agree."
                )
        super().__init__(first.event_shape, conditional=first.conditional, context_size=first.context_size)
        self.members = nn.ModuleList(members)

    def log_prob_of_members(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p_k(x) of every member, nats, `(batch, K)`; their spread shows where they disagree."""
        x = self._checked_values(x)
        return self._log_prob_of_members(x, self._checked_context(context, len(x)))

    def _log_prob_of_members(self, x: Tensor, context: Tensor | None) -> Tensor:
        return torch.stack([member._log_prob(x, context) for member in self._members()], dim=1)

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        return torch.logsumexp(self._log_prob_of_members(x, context), dim=1) - math.log(len(self.members))

    def _sample(
        self,
        noise: Tensor,
        context: Tensor | None,
        temperature: float,
        with_log_prob: bool,
        method: SampleMethod,
    ) -> tuple[Tensor, Tensor | None]:
        """Choose a member for each sample, then sample from it; the noise decides both.

        The first uniform u of a sample chooses member floor(K u); what is left of it, K u - floor(K u),
        is again uniform and serves the first variable.
        """
        scaled = noise[:, 0, 0] * len(self.members)
        chosen = scaled.long().clamp_max(len(self.members) - 1)
        noise = noise.clone()
        noise[:, 0, 0] = scaled - chosen
        x = noise.new_empty(len(noise), *self.event_shape)
        for index, member in enumerate(self._members()):
            rows = (chosen == index).nonzero()[:, 0]
            if len(rows):
                own = None if context is None else context[rows]
                x[rows], _ = member._sample(noise[rows], own, temperature, False, method)
        return x, None

    def _members(self) -> list[LikelihoodModel]:
        return cast("list[LikelihoodModel]", list(self.members))

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned, shared ones counted once."""
        return sum(p.numel() for p in self.parameters())

    # ---------------------------------------------------------------- saving

    def settings(self) -> dict[str, Any]:
        """Each member's class and settings, and which members share weights."""
        owners: dict[int, int] = {}
        members = []
        for index, member in enumerate(self._members()):
            owner = owners.setdefault(_weights_id(member, index), index)
            members.append(
                {"model": type(member).__name__, "settings": member.settings(), "weights_of": owner}
            )
        return {"members": members}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """Rebuild the members; those that shared weights share them again."""
        members: list[Any] = []
        for index, entry in enumerate(settings["members"]):
            owner, own_settings = entry["weights_of"], entry["settings"]
            if owner == index:
                members.append(cls.member_classes[entry["model"]].from_settings(own_settings))
            else:
                members.append(members[owner].view_like(own_settings))
        return cls(members)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """As usual, but parameters that members share appear once, under the first of them."""
        unique: dict[str, Any] = {}
        seen: set[int] = set()
        for name, tensor in super().state_dict(*args, **kwargs).items():
            if tensor.numel() == 0 or tensor.data_ptr() not in seen:
                unique[name] = tensor
                seen.add(tensor.data_ptr())
        return unique

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """As usual; names that `state_dict` left out because they are shared are not missing."""
        result = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing = set(self.state_dict()) - set(state_dict)
        if strict and (missing or result.unexpected_keys):
            raise ChainruleError(f"the weights do not fit this ensemble: {sorted(missing)} are missing.")
        return result


def _weights_id(member: nn.Module, index: int) -> int:
    """Something equal for members that share their weights; members without weights are all different."""
    # Empty parameters (a layer without inputs) all have the address 0.
    first = next((p for p in member.parameters() if p.numel()), None)
    return -index - 1 if first is None else first.data_ptr()
