"""The page of a run on a text."""

from __future__ import annotations

import torch

from chainrule.report.page import Section, paragraph, text
from chainrule.reporting.calibration import calibration_section
from chainrule.reporting.common import likelihood_section
from chainrule.text import Corpus, LanguageModel, measure, segments_of, shades_of
from chainrule.training.batches import spread_rows

__all__ = ["text_sections"]

#: Tokens that are scored, unless told otherwise; tokens of a sample; characters whose surprise is shown.
_TOKENS, _SAMPLE, _EXCERPT = 20_000, 300, 1200
_ROWS = 32
_COLOUR = "217, 95, 2"


def text_sections(
    model: LanguageModel, corpus: Corpus, *, tokens: int = _TOKENS, seed: int = 0
) -> tuple[list[Section], list[tuple[str, object]]]:
    """Likelihood by token, samples, a coloured excerpt and calibration; and facts for the overview."""
    split = "validation" if corpus.test is None else "test"
    found = measure(model, corpus, split, limit=_lines(corpus, split, tokens))
    of_all = f"{found.tokens:,} of {found.available:,} tokens, {split}"
    overview: list[tuple[str, object]] = [
        ("NLL", f"{found.nll:.4f} ± {found.standard_error:.4f} nats a token ({of_all})"),
        ("", f"{found.bits_per_character:.4f} bits a character, perplexity {found.perplexity:.2f}"),
        ("tokens", f"{corpus.tokenizer.name}, {corpus.levels:,} of them"),
    ]
    groups = {part: _log_prob(model, corpus, part, tokens // 2) for part in ("train", split)}
    sections = [
        likelihood_section(groups, "token", "Most tokens are expected; the tail on the left is surprise."),
        _samples(model, seed),
        _excerpt(model, corpus, split),
    ]
    data = corpus.windows(model.model.num_variables)
    part = split if getattr(data, split) is not None else "validation"
    rows = data.split(part)
    x = rows[spread_rows(len(rows), _ROWS)].to(model.model._reference)
    return [*sections, *calibration_section(model.model, x, None)], overview


def _lines(corpus: Corpus, split: str, tokens: int) -> int:
    """What `measure` counts: lines of a text of lines, else tokens."""
    if not corpus.lines:
        return tokens
    lines = corpus.texts(split)
    return max(1, tokens * len(lines) // max(1, sum(map(len, lines))))


def _log_prob(model: LanguageModel, corpus: Corpus, split: str, count: int) -> torch.Tensor:
    if corpus.lines:
        lines = corpus.texts(split)
        chosen = [lines[row] for row in spread_rows(len(lines), _lines(corpus, split, count)).tolist()]
        return torch.cat(model.log_prob_of_lines(chosen))
    return model.log_prob_per_token(corpus.split(split)[:count])


def _samples(model: LanguageModel, seed: int) -> Section:
    texts = model.generate("", _SAMPLE, num_samples=3, seed=seed)
    shown = "".join(f"<pre>{text(each)}</pre>" for each in texts)
    return Section(
        "Samples", shown + paragraph(f"Three samples from the beginning, not chosen, seed {seed}.")
    )


def _excerpt(model: LanguageModel, corpus: Corpus, split: str) -> Section:
    """The beginning of the held-out text, coloured by surprise."""
    end = model.model.end
    tokens = corpus.split(split)[:_EXCERPT].tolist()
    if end is None:
        words = model.tokenizer.decode(tokens)
    else:
        lines = [line[:-1].tolist() for line in corpus.texts(split)[:20]]
        words = "\n".join(model.tokenizer.decode(line) for line in lines)
    words = words[:_EXCERPT]
    if not words.strip():
        return Section("Surprise", paragraph("The held-out text begins with nothing but blanks."))
    score = model.score(words)
    segments = segments_of(score)
    parts = []
    for segment, shade in zip(segments, shades_of(segments), strict=True):
        if segment.is_word and shade >= 0.005:
            title = f'title="{segment.surprise:.2f} nats"'
            parts.append(
                f'<mark style="background: rgba({_COLOUR}, {shade:.2f})" {title}>{text(segment.text)}</mark>'
            )
        else:
            parts.append(text(segment.text))
    mean = score.nll / max(1, len(score.surprise))
    shown = paragraph(
        f"The beginning of the {split} part, {mean:.2f} nats a token; the darker a word, the more it "
        "surprised the model. Half of the words are left white."
    )
    return Section("Surprise", f"{shown}<pre>{''.join(parts)}</pre>")
