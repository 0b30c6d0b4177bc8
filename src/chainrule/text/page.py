"""A text coloured by surprise: the shade of each word, and a page of HTML that stands alone."""

from __future__ import annotations

import html
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from chainrule.errors import ChainruleError
from chainrule.report import write_file
from chainrule.text.language_model import TextScore
from chainrule.text.words import Segment, segments_of, words_of

__all__ = ["save_surprise_page", "shades_of"]

#: Words on a page: with more, browsers become slow.
_MOST_WORDS = 200_000
#: The share of the words that are left white, and the one above which all have the full colour.
_WHITE, _FULL = 0.5, 0.99
_COLOUR = "217, 95, 2"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 2rem auto; max-width: 50rem; padding: 0 1rem; color: #1f2430; background: #fff;
  font: 16px/1.6 system-ui, sans-serif }}
h1 {{ font-size: 1.2rem }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: 15px/1.7 ui-monospace, monospace }}
pre span {{ border-radius: 3px }}
table {{ border-collapse: collapse }}
td, th {{ padding: 0 1.2rem 0 0; text-align: left }}
td:first-child {{ font-variant-numeric: tabular-nums; text-align: right }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
<p>The darker a word, the more it surprised the model, given all before it; point at one for its surprise.
Half of the words are left white.</p>
<table>
<tr><th>nats</th><th>most surprising</th><th>line</th></tr>
{rows}
</table>
<pre>{text}</pre>
</body>
</html>
"""


def shades_of(segments: Sequence[Segment]) -> list[float]:
    """How dark each segment is, 0 to 1: by the surprise of words, the lower half of which stays white."""
    words = [segment.surprise for segment in segments if segment.is_word]
    if not words:
        return [0.0] * len(segments)
    white, full = np.quantile(words, [_WHITE, _FULL]).tolist()
    width = max(full - white, 1e-9)
    return [
        min(1.0, max(0.0, (segment.surprise - white) / width)) if segment.is_word else 0.0
        for segment in segments
    ]


def save_surprise_page(
    score: TextScore, path: str | PathLike[str], *, title: str = "Surprise", overwrite: bool = False
) -> Path:
    """Write the text as a page of HTML on which surprising words stand out.

    Raises `ChainruleError` for a file that is there already, and for a text of more than 200,000 words.
    """
    segments = segments_of(score)
    words = words_of(segments)
    if len(words) > _MOST_WORDS:
        raise ChainruleError(
            f"{path}: {len(words):,} words are too many for a page; score a part of the text, or write .csv."
        )
    parts = [_span(segment, shade) for segment, shade in zip(segments, shades_of(segments), strict=True)]
    rows = [
        f"<tr><td>{word.surprise:.2f}</td><td>{html.escape(word.text)}</td><td>{word.line:,}</td></tr>"
        for word in words[:10]
    ]
    page = _PAGE.format(
        title=html.escape(title),
        summary=f"{score.nll:,.1f} nats in {len(score.tokens):,} tokens, "
        f"{score.bits_per_character:.3f} bits per character, perplexity {score.perplexity:.2f} per token",
        rows="\n".join(rows),
        text="".join(parts),
    )
    return write_file(path, page.encode("utf-8", errors="replace"), overwrite=overwrite)


def _span(segment: Segment, shade: float) -> str:
    text = html.escape(segment.text)
    if not segment.is_word:
        return text
    style = f' style="background: rgba({_COLOUR}, {shade:.2f})"' if shade >= 0.005 else ""
    return f'<span title="{segment.surprise:.2f} nats"{style}>{text}</span>'
