"""Ensemble: an equal-weight mixture of exact-likelihood models, over orderings, masks, or anything.

    p(x) = (1/K) sum_k p_k(x),        log p(x) = logsumexp_k log p_k(x) - log K.

Probabilities of whole examples are averaged, never logits: averaged logits are the likelihood of no
model. A mixture of different orderings has no single chain rule, so it has no conditionals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel, SampleMethod
from chainrule.sampling import FillInfo, FillOptions, RowNoise, pick_by_weight

__all__ = ["Ensemble"]


class Ensemble(LikelihoodModel):
    """The mixture of `members`, which must agree in event shape, conditional and context.

    Members may share parameters (views of one network under several orderings or masks); shared
    parameters are saved once.
    """

    #: Filled by `chainrule.models`: the class of a member from its saved name.
    member_classes: ClassVar[dict[str, type[LikelihoodModel]]] = {}

    def __init__(self, members: Sequence[LikelihoodModel]) -> None:
        members = _checked_members(members)
        first = members[0]
        for index, member in enumerate(members):
            if _family(member) != _family(first):
                raise ChainruleError(
                    f"member {index} has the conditional {member.conditional!r}, but member 0 has "
                    f"{first.conditional!r}; they must agree."
                )
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

    def _fill(
        self, evidence: Tensor, holes: Tensor, context: Tensor | None, options: FillOptions
    ) -> tuple[Tensor, FillInfo]:
        """Choose a member by its posterior p(k | x_known), in proportion to p_k(x_known); take its filling.

        With particles, p_k(x_known) is each member's estimate, which pools the particles of all members.
        """
        results = [
            member._fill(evidence, holes, context, options.of_member(index))
            for index, member in enumerate(self._members())
        ]
        evidence_of = torch.stack([info.log_evidence for _, info in results], dim=1)  # (rows, K)
        uniform = RowNoise(options, range(len(evidence)), evidence.device).uniform(
            options.num_samples, dtype=torch.float64
        )
        # Filling from left to right weighs nothing, not even the members: it chooses evenly.
        chosen = pick_by_weight(evidence_of, uniform)  # (rows, num_samples)
        filled = torch.empty_like(results[0][0])
        for index, (own, _) in enumerate(results):
            filled[chosen == index] = own[chosen == index]
        info = FillInfo(
            torch.logsumexp(evidence_of, dim=1) - math.log(len(results)),
            _pooled_size(evidence_of, torch.stack([i.effective_sample_size for _, i in results], dim=1)),
            [_common_method(methods) for methods in zip(*(i.method for _, i in results), strict=True)],
        )
        return filled, info

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
                members.append(cls._class_of_member(entry["model"]).from_settings(own_settings))
            else:
                members.append(members[owner].view_like(own_settings))
        return cls(members)

    @classmethod
    def _class_of_member(cls, name: str) -> type[LikelihoodModel]:
        if name not in cls.member_classes:
            raise ChainruleError(
                f"the ensemble has a member of class {name}, which is no model of this library; make it "
                f"known with chainrule.models.Ensemble.member_classes[{name!r}] = {name}, then load again."
            )
        return cls.member_classes[name]

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


def _checked_members(members: object) -> list[LikelihoodModel]:
    """The members as a list, or a `ChainruleError`."""
    if not isinstance(members, Iterable) or isinstance(members, str):
        raise ChainruleError(f"an ensemble is made of a list of models, not of a {type(members).__name__}.")
    found = list(members)
    if not found:
        raise ChainruleError("an ensemble needs at least one member.")
    for index, member in enumerate(found):
        if not isinstance(member, LikelihoodModel):
            raise ChainruleError(
                f"member {index} is a {type(member).__name__}; an ensemble is made of chainrule models."
            )
    return found


def _pooled_size(log_evidence: Tensor, sizes: Tensor) -> Tensor:
    """Effective size of all members' particles together, `(rows,)`, from those of each, `(rows, K)`."""
    posterior = torch.softmax(log_evidence, dim=1)
    size = 1 / torch.where(posterior == 0, 0.0, posterior.square() / sizes).sum(1)
    return torch.where(log_evidence.isneginf().all(1), 0.0, size)


def _common_method(methods: tuple[str, ...]) -> str:
    """Exact only if every member is."""
    return next((method for method in methods if method != "exact"), "exact")


def _family(member: LikelihoodModel) -> tuple[str, dict[str, object]]:
    return member.conditional.name, member.conditional.settings()


def _weights_id(member: nn.Module, index: int) -> int:
    """Something equal for members that share their weights; members without weights are all different."""
    # Empty parameters (a layer without inputs) all have the address 0.
    first = next((p for p in member.parameters() if p.numel()), None)
    return -index - 1 if first is None else first.data_ptr()
