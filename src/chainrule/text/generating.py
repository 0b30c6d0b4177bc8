"""Tokens from a model, one by one, after a prompt; and cuts of its conditionals, named for what they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chainrule.arguments import real_number, whole_number
from chainrule.errors import ChainruleError
from chainrule.models.sequence import SequenceModel

__all__ = ["Cuts", "Reader", "hop_of", "tokens_from"]

#: Values of a prompt that are read at once; bounds memory.
_CHUNK = 1024


@dataclass(frozen=True)
class Cuts:
    """How a conditional is changed before it is drawn from; by default not at all.

    With any of them, what comes out is **no sample of p**: likelihoods do not describe it any more.

    - `temperature`: divides the logits; below 1 prefers what is likely already.
    - `top_k`: only the k most likely tokens, exactly k even where some are equally likely.
    - `top_p`: only the most likely tokens that together have at least this probability (Holtzman et al.
      2020, nucleus sampling).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        real_number("temperature", self.temperature, above=0.0)
        if self.top_k is not None:
            whole_number("top_k", self.top_k, minimum=1)
        if self.top_p is not None and not 0 < real_number("top_p", self.top_p) <= 1:
            raise ChainruleError(f"top_p must be above 0 and at most 1, not {self.top_p}.")

    @property
    def is_exact(self) -> bool:
        """Whether draws are samples of p."""
        return self.temperature == 1.0 and self.top_k is None and self.top_p in (None, 1.0)

    def applied(self, logits: Tensor) -> Tensor:
        """The logits `(batch, levels)` of what is drawn from: -inf where a token is cut away."""
        logits = logits / self.temperature
        if self.top_k is None and self.top_p is None:
            return logits
        # A stable order decides between equally likely tokens, by their number.
        order = logits.argsort(dim=-1, descending=True, stable=True)
        kept = torch.ones_like(order, dtype=torch.bool)
        if self.top_k is not None:
            kept[:, self.top_k :] = False
        if self.top_p is not None:
            probability = logits.gather(1, order).softmax(-1)
            # A token stays while those before it do not make up top_p: so the first always stays.
            kept &= probability.cumsum(-1) - probability < self.top_p
        return logits.masked_fill(~torch.zeros_like(kept).scatter(1, order, kept), -torch.inf)


def hop_of(limit: int) -> int:
    """How many values are forgotten at once when a model with a context limit has read that many."""
    return max(1, limit // 2)


class Reader:
    """A model that reads on and on: the conditional of the next value, given what was read.

    A model with a `context_limit` of n sees all of the first n values. Then it forgets the oldest n / 2, and
    again after each n / 2 more, so that a value further on is predicted from the n / 2 to n - 1 values before
    it. That is a distribution of texts of any length like any other, and `LanguageModel.log_prob` is the
    likelihood under this one.
    """

    def __init__(self, model: SequenceModel, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size
        self.limit = model.context_limit
        self.seen = model._zeros(batch_size, 0)  # since the last thing that was forgotten; only under a limit
        self.params, self.state = model.read(model.init_state(batch_size), self.seen, begin=True)

    def next(self) -> Tensor:
        """Parameters of the next value, `(batch, num_params)`."""
        return self.params[:, -1]

    def read(self, values: Tensor) -> None:
        """Read values `(batch, k)`, k > 0."""
        while values.shape[1]:
            room = _CHUNK if self.limit is None else min(_CHUNK, self.limit - self.seen.shape[1])
            piece, values = values[:, :room], values[:, room:]
            if self.limit is not None:
                self.seen = torch.cat([self.seen, piece], dim=1)
                if self.seen.shape[1] == self.limit:
                    self._forget(self.limit)
                    continue
            self.params, self.state = self.model.read(self.state, piece)

    def _forget(self, limit: int) -> None:
        self.seen = self.seen[:, hop_of(limit) :]
        fresh = self.model.begin_again(self.state)
        self.params, self.state = self.model.read(fresh, self.seen, begin=True)


@torch.no_grad()
def tokens_from(
    model: SequenceModel,
    prompt: Tensor,
    count: int,
    cuts: Cuts,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    """The next tokens, one after another, `(batch,)` each; one uniform is drawn for each.

    - `prompt`: `(batch, k)`, k >= 0, in the parameters' dtype.
    """
    reader = Reader(model, len(prompt))
    reader.read(prompt)
    family: Any = model.conditional
    for number in range(count):
        uniform = torch.rand(len(prompt), 1, generator=generator, dtype=prompt.dtype)
        params = cuts.applied(reader.next()) if not cuts.is_exact else reader.next()
        drawn = family.sample(params, uniform.to(params.device))
        yield drawn
        if number + 1 < count:
            reader.read(drawn[:, None])
