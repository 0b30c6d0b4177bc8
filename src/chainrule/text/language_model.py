"""A sequence model and a tokenizer together: exact likelihoods of texts, and texts from prompts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from chainrule.arguments import checked_seed, some_path, whole_number
from chainrule.errors import ChainruleError
from chainrule.loading import load as load_model
from chainrule.models.sequence import SequenceModel
from chainrule.saving import write_json
from chainrule.text.decoding import GrowingText, pieces_of
from chainrule.text.generating import Cuts, hop_of, tokens_from
from chainrule.text.lines import lines_of, padded_rows
from chainrule.text.tokenizers import Tokenizer, WordTokenizer, tokenizer_from_spec

__all__ = ["TOKENIZER_NAME", "LanguageModel", "TextScore", "tokenizer_in"]

TOKENIZER_NAME = "tokenizer.json"

#: Windows that are scored together: bounds memory.
_ROWS = 32
#: Tokens that are read at once, and the longest line that is read together with others, without a limit.
_PIECE, _LONGEST_ROW = 1024, 1024


@dataclass(frozen=True)
class TextScore:
    """What a text costs under a model; every figure is exact.

    - `tokens`: the pieces of text, `(n,)`; `surprise`: -log p of each given all before it, nats, float64.
    - `characters`: of the text; `unknown`: tokens that the model has never seen in training.

    Of a model of lines, the end of each line is a token, and a character, too.
    """

    tokens: list[str]
    surprise: np.ndarray[Any, np.dtype[np.float64]]
    characters: int
    unknown: int

    @property
    def nll(self) -> float:
        """-log p of the whole text, nats."""
        return float(self.surprise.sum())

    @property
    def bits_per_character(self) -> float:
        """-log2 p / characters: the same for every tokenizer, so that models can be compared."""
        return self.nll / math.log(2) / max(1, self.characters)

    @property
    def perplexity(self) -> float:
        """exp(NLL per token): of this tokenizer's tokens."""
        return math.exp(min(700.0, self.nll / max(1, len(self.surprise))))


class LanguageModel:
    """An exact distribution of texts.

    - `model`: a `SequenceModel` over categories, one for each token.
    - `tokenizer`: what turns text into them. A model with an `end` has one category more for it: it is a
      distribution of single lines, and a text is as many of them as it has lines that are not blank.

    A text of more tokens than the model's `context_limit` is read through windows that overlap by half
    (`Reader` says how); that is part of the distribution, and what is sampled is sampled from it.

    Raises `ChainruleError` where the two do not fit together.
    """

    def __init__(self, model: SequenceModel, tokenizer: Tokenizer) -> None:
        levels = getattr(model.conditional, "levels", None)
        end = getattr(model, "end", None)
        expected = tokenizer.levels + (end is not None)
        if not isinstance(model, SequenceModel) or levels != expected or end not in (None, levels - 1):
            raise ChainruleError(
                f"the tokenizer has {tokenizer.levels} tokens, but the model is a {type(model).__name__} of "
                f"{model.conditional.value_range}."
            )
        self.model, self.tokenizer = model.eval(), tokenizer

    # ---------------------------------------------------------------- likelihood

    @property
    def of_lines(self) -> bool:
        """Whether it is a distribution of single lines."""
        return self.model.end is not None

    def score(self, text: str, *, on_tokens: Callable[[int, int], None] | None = None) -> TextScore:
        """The surprise of every token of a text. Raises `ChainruleError` for a text without tokens.

        - `on_tokens`: called with (tokens done, tokens in all) now and then.
        """
        _check_text("the text", text)
        if self.of_lines:
            return _joined(self.score_lines(lines_of([text], "the text"), on_tokens))
        tokens = self.tokenizer.encode(text)
        if not len(tokens):
            raise ChainruleError("there is no text to score.")
        surprise = -self.log_prob_per_token(torch.from_numpy(tokens), on_tokens).numpy()
        pieces = pieces_of(self.tokenizer, text, tokens)
        return TextScore(pieces, surprise, len(text), self._unknown(tokens))

    def score_lines(
        self, lines: Sequence[str], on_tokens: Callable[[int, int], None] | None = None
    ) -> list[TextScore]:
        """The same for each of these lines, which may not hold a line end, by a model of lines.

        Raises `ChainruleError` for another model.
        """
        end = self.model.end
        if end is None:
            raise ChainruleError("this is a model of running text, not of lines; use score.")
        tokens = [np.append(self.tokenizer.encode(line), end) for line in lines]
        found = self.log_prob_of_lines([torch.from_numpy(line) for line in tokens], on_tokens)
        return [
            TextScore(
                [*pieces_of(self.tokenizer, text, line[:-1]), "\n"],
                -log_prob.numpy(),
                len(text) + 1,
                self._unknown(line[:-1]),
            )
            for text, line, log_prob in zip(lines, tokens, found, strict=True)
        ]

    def unknown_parts(self, text: str) -> list[str]:
        """The characters or words of a text that the training text did not have, sorted."""
        if self.tokenizer.unknown is None:
            return []
        parts = set(text.split() if isinstance(self.tokenizer, WordTokenizer) else text)
        return sorted(part for part in parts if self._unknown(self.tokenizer.encode(part)))

    def _unknown(self, tokens: np.ndarray[Any, np.dtype[np.int64]]) -> int:
        return 0 if self.tokenizer.unknown is None else int((tokens == self.tokenizer.unknown).sum())

    def log_prob(self, text: str) -> float:
        """log p(text), nats."""
        return -self.score(text).nll

    @torch.no_grad()
    def log_prob_per_token(
        self, tokens: Tensor, on_tokens: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """log p of every token given all before it (as far as the model looks), nats, float64 `(n,)`.

        - `tokens`: `(n,)` whole numbers; may be memory-mapped.
        - `on_tokens`: called with (tokens done, tokens in all) now and then.
        """
        limit = self.model.context_limit
        if limit is None or len(tokens) <= limit:
            return self._in_one_go(tokens, on_tokens)
        hop = hop_of(limit)
        found = [self._in_one_go(tokens[:limit])]
        starts = list(range(hop, len(tokens) - (limit - hop), hop))
        whole = [start for start in starts if start + limit <= len(tokens)]
        for first in range(0, len(whole), _ROWS):
            rows = torch.stack([tokens[start : start + limit] for start in whole[first : first + _ROWS]])
            found.append(self._log_prob(rows)[:, limit - hop :].flatten())
            if on_tokens is not None:
                on_tokens(whole[first] + len(rows) * hop, len(tokens))
        for start in starts[len(whole) :]:
            found.append(self._in_one_go(tokens[start:])[limit - hop :])
        return torch.cat(found)

    @torch.no_grad()
    def log_prob_of_lines(
        self, lines: Sequence[Tensor], on_tokens: Callable[[int, int], None] | None = None
    ) -> list[Tensor]:
        """log p of every token of each line, nats, float64; the end of a line is its last token.

        - `lines`: `(n,)` whole numbers each. They are read many at a time, filled up with ends.
        """
        assert self.model.end is not None
        limit = self.model.context_limit or _LONGEST_ROW
        total, done = sum(map(len, lines)), 0
        found: list[Tensor] = [torch.empty(0)] * len(lines)
        order = sorted(range(len(lines)), key=lambda number: len(lines[number]))
        short = [number for number in order if len(lines[number]) <= limit]
        for first in range(0, len(short), _ROWS):
            chosen = short[first : first + _ROWS]
            width = max(len(lines[number]) for number in chosen)
            rows = self._log_prob(padded_rows([lines[number] for number in chosen], self.model.end, width))
            for number, row in zip(chosen, rows, strict=True):
                found[number] = row[: len(lines[number])]
                done += len(lines[number])
            if on_tokens is not None:
                on_tokens(done, total)
        for number in order[len(short) :]:
            found[number] = self.log_prob_per_token(lines[number])
        return found

    def _in_one_go(self, tokens: Tensor, on_tokens: Callable[[int, int], None] | None = None) -> Tensor:
        if self.model.context_limit is not None:
            return self._log_prob(tokens[None])[0]
        passage, found = None, []
        for number, piece in enumerate(torch.split(tokens, _PIECE), start=1):
            log_prob, passage = self.model.go_on(piece[None].to(self.model._reference), passage)
            found.append(log_prob[0].double().cpu())
            if on_tokens is not None:
                on_tokens(min(number * _PIECE, len(tokens)), len(tokens))
        return torch.cat(found)

    def _log_prob(self, rows: Tensor) -> Tensor:
        """The same for windows `(rows, k)`, each read from its beginning."""
        values = rows.to(self.model._reference)
        return self.model.with_length(rows.shape[1])._log_prob_per_variable(values, None).double().cpu()

    # ---------------------------------------------------------------- generation

    def generate(
        self,
        prompt: str = "",
        max_tokens: int = 200,
        *,
        num_samples: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[str]:
        """What follows a prompt, `num_samples` times; the prompt itself is not repeated.

        - `max_tokens`: at most so many; a model of lines stops at the end of a line, which is left out.
        - `temperature`, `top_k`, `top_p`: as in `Cuts`; with any of them, these are no samples of p.
        - `stop`: texts at which to end; they are left out.
        - `seed`: the same seed gives the same texts.
        - `on_text`: is handed every new piece of text as it comes; for a single sample.

        Raises `ChainruleError` for values out of range, and for several lines as the prompt of a single one.
        """
        cuts = Cuts(temperature, top_k, top_p)
        whole_number("max_tokens", max_tokens)
        rows = whole_number("num_samples", num_samples, minimum=1)
        if on_text is not None and rows > 1:
            raise ChainruleError("text is streamed for one sample; ask for num_samples=1.")
        generator = torch.Generator()
        generator.seed() if seed is None else generator.manual_seed(checked_seed(seed))
        if isinstance(stop, str):
            stop = (stop,)
        for ending in stop:
            _check_text("a stop string", ending)
        self.check_prompt(prompt)
        before = self.tokenizer.encode(prompt)
        read = torch.from_numpy(before).to(self.model._reference).expand(rows, -1)
        texts = [GrowingText(self.tokenizer, stop, before.tolist(), end=self.model.end) for _ in range(rows)]
        for drawn in tokens_from(self.model, read, max_tokens, cuts, generator):
            for text, token in zip(texts, drawn.long().tolist(), strict=True):
                text.add(token)
            if on_text is not None:
                on_text(texts[0].fresh())
            if all(text.is_over for text in texts):
                break
        for text in texts:
            text.end()
        if on_text is not None:
            on_text(texts[0].fresh())
        return [text.text for text in texts]

    def check_prompt(self, prompt: str) -> None:
        """Raise `ChainruleError` for a prompt that is no text, or of several lines where one is a text."""
        _check_text("the prompt", prompt)
        if self.of_lines and "\n" in prompt:
            raise ChainruleError("a prompt is the beginning of one line here; leave line ends out.")

    # ---------------------------------------------------------------- saving

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model and `tokenizer.json` into a folder; errors as in `save_pretrained`."""
        folder = some_path("the folder to save to", folder)
        self.model.save_pretrained(folder, overwrite=overwrite)
        write_json(folder / TOKENIZER_NAME, self.tokenizer.spec())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What `save` or `fit_text` left in a folder.

        Raises `ChainruleError` where there is none, or where the tokenizer is damaged.
        """
        tokenizer = tokenizer_in(folder)
        model = load_model(folder)
        if not isinstance(model, SequenceModel):
            raise ChainruleError(f"{folder} holds a {type(model).__name__}, which is no model of sequences.")
        return cls(model, tokenizer)


def tokenizer_in(folder: str | Path) -> Tokenizer:
    """The tokenizer beside a model; `ChainruleError` where there is none, or where it is damaged."""
    file = some_path("the folder", folder) / TOKENIZER_NAME
    try:
        spec = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ChainruleError(f"{folder} is no language model: it has no {TOKENIZER_NAME}.") from None
    except (OSError, ValueError) as error:
        raise ChainruleError(f"{file} is damaged ({error}).") from None
    return tokenizer_from_spec(spec)


def _check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise ChainruleError(f"{what} must be a str, not {type(text).__name__}.")


def _joined(scores: Sequence[TextScore]) -> TextScore:
    return TextScore(
        [piece for score in scores for piece in score.tokens],
        np.concatenate([score.surprise for score in scores]),
        sum(score.characters for score in scores),
        sum(score.unknown for score in scores),
    )
