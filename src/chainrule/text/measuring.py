"""How well a model predicts a part of a text, with a standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError
from chainrule.text.corpus import Corpus
from chainrule.text.language_model import LanguageModel
from chainrule.training.batches import spread_rows

__all__ = ["TextFigures", "measure"]


@dataclass(frozen=True)
class TextFigures:
    """The likelihood of a part of a text, exact under the model's distribution of texts.

    - `tokens`, `characters`: what was measured; `unknown`: how many of the tokens stand for what training
      never showed; `available`: tokens of the whole part.
    - `nll`: nats per token; `standard_error`: of that, by the spread over `blocks` of `block` tokens on
      end (or, where `block` is None, over lines), taken for independent; NaN for a single one.
    """

    tokens: int
    characters: int
    unknown: int
    available: int
    nll: float
    standard_error: float
    blocks: int
    block: int | None

    @property
    def bits_per_character(self) -> float:
        """The same for every tokenizer."""
        return self.nll * self.tokens / math.log(2) / max(1, self.characters)

    @property
    def perplexity(self) -> float:
        """exp(NLL per token)."""
        return math.exp(min(700.0, self.nll))


def measure(
    model: LanguageModel,
    corpus: Corpus,
    split: str,
    *,
    limit: int | None = None,
    on_tokens: Callable[[int, int], None] | None = None,
) -> TextFigures:
    """Score every token of a part: running text as one text, from its beginning; lines one by one.

    - `limit`: only so many tokens, from the beginning; of lines, so many lines, spread evenly.
    - `on_tokens`: called with (tokens done, tokens in all) now and then.

    Raises `ChainruleError` for a part that is not there, and for a corpus of other tokens than the model's.
    """
    if corpus.levels != model.tokenizer.levels + model.of_lines or corpus.lines != model.of_lines:
        raise ChainruleError(f"{corpus.name} was not cut into the tokens of this model.")
    limit = None if limit is None else whole_number("limit", limit, minimum=1)
    part = corpus.split(split)
    block: int | None
    if corpus.lines:
        lines = corpus.texts(split)
        if limit is not None and limit < len(lines):
            lines = [lines[number] for number in spread_rows(len(lines), limit).tolist()]
        found = model.log_prob_of_lines(lines, on_tokens)
        parts, tokens, block = found, torch.cat(lines), None
    else:
        tokens, block = part[:limit], model.model.num_variables
        parts = list(torch.split(model.log_prob_per_token(tokens, on_tokens), block))
    whole, unknown = len(tokens) == len(part), model.tokenizer.unknown
    sums = -torch.stack([each.sum() for each in parts])
    sizes = torch.tensor([len(each) for each in parts], dtype=torch.float64)
    return TextFigures(
        tokens=len(tokens),
        characters=corpus.characters[split] if whole else _characters(model, tokens),
        unknown=0 if unknown is None else int(tokens.eq(unknown).sum()),
        available=len(part),
        nll=float(sums.sum() / sizes.sum()),
        standard_error=_standard_error(sums, sizes),
        blocks=len(parts),
        block=block,
    )


def _standard_error(sums: Tensor, sizes: Tensor) -> float:
    """Of a ratio of two sums over independent blocks (Cochran 1977, eq. 2.46)."""
    count = len(sums)
    if count < 2:
        return math.nan
    residuals = sums - sizes * (sums.sum() / sizes.sum())
    return float((residuals.square().sum() * count / (count - 1)).sqrt() / sizes.sum())


def _characters(model: LanguageModel, tokens: Tensor) -> int:
    ends = 0 if model.model.end is None else int(tokens.eq(model.model.end).sum())
    return len(model.tokenizer.decode(tokens[tokens < model.tokenizer.levels].tolist())) + ends
