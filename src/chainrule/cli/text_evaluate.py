"""`chainrule evaluate` of a model of a text: every token of a part, exactly."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from chainrule.cli.names import TEXTS
from chainrule.cli.output import counting, print_facts, print_json, print_table, say
from chainrule.cli.text_runs import TextRun, check_split, corpus_for, open_text_run, read_whole
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.text import Corpus, TextFigures

__all__ = ["evaluate_text"]


def evaluate_text(run: str, data: str | None, split: str, limit: int | None, as_json: bool) -> None:
    """Nats per token with a standard error, bits per character and perplexity."""
    from chainrule.text import measure

    check_split(split)
    opened = open_text_run(run)
    corpus, part, what = _chosen(opened, data, split)
    changed = _changed(opened, corpus) if data is None else []
    if changed:
        say(f"warning: the {' and '.join(changed)} part of {what} changed since {run} was trained on it")
    began = time.perf_counter()
    with counting("evaluating", enabled=not as_json) as on_tokens:
        figures = measure(opened.model, corpus, part, limit=limit, on_tokens=on_tokens)
    content = _content(opened, figures, what, time.perf_counter() - began)
    content["data_changed"] = changed
    published = _published(opened, data)
    content["published"] = [vars(result) for result in published]
    if as_json:
        print_json(content)
        return
    _show(opened, figures, content)
    if published:
        print_table(
            (">nats/token", ">perplexity", "published", "note", "source", "how sure"),
            [
                (f"{r.nll:.4f}", f"{math.exp(r.nll):.2f}", r.model, r.note, r.source, r.status)
                for r in sorted(published, key=lambda r: r.nll)
            ],
            title="Published results on this text (of the test part where nothing else is noted)",
        )


def _chosen(run: TextRun, data: str | None, split: str) -> tuple[Corpus, str, str]:
    """The text in tokens, the part of it to evaluate, and what to call that."""
    if data is not None and data not in TEXTS:
        from chainrule.data import TextDataset
        from chainrule.text import corpus_of

        # A file of one's own is evaluated whole, whatever `split` says by default.
        text, name = read_whole(run, data, None)
        whole = TextDataset(name, text)
        return corpus_of(whole, run.model.tokenizer, lines=run.model.of_lines), "train", f"{name}, all of it"
    spec = data or (run.plan.spec if run.plan else None)
    if spec is None:
        raise ChainruleError(f"{run.source} does not say what it was trained on; name a text with --data.")
    corpus = corpus_for(run, spec)
    corpus.split(split)
    return corpus, split, f"{corpus.name}, {split}"


def _changed(run: TextRun, corpus: Corpus) -> list[str]:
    from chainrule.training import changed_splits

    return changed_splits(run.opened.config, corpus.windows(run.model.model.num_variables))


def _published(run: TextRun, data: str | None) -> tuple[Any, ...]:
    """What is published on the text that was evaluated, in the same tokens."""
    from chainrule.data import CATALOGUE, TextEntry

    spec = data or (run.plan.spec if run.plan else "")
    entry = CATALOGUE.get(spec)
    same = isinstance(entry, TextEntry) and entry.tokenizer == run.model.tokenizer.name
    return entry.published if entry is not None and same and not run.model.of_lines else ()


def _content(run: TextRun, figures: TextFigures, what: str, seconds: float) -> dict[str, Any]:
    return {
        "run": run.source,
        "model": run.name,
        "data": what,
        "tokenizer": run.model.tokenizer.name,
        "tokens": figures.tokens,
        "available": figures.available,
        "characters": figures.characters,
        "unknown": figures.unknown,
        "nats_per_token": figures.nll,
        "standard_error": figures.standard_error,
        "blocks": figures.blocks,
        "block": figures.block,
        "bits_per_character": figures.bits_per_character,
        "perplexity": figures.perplexity,
        "seconds": seconds,
    }


def _show(run: TextRun, figures: TextFigures, content: dict[str, Any]) -> None:
    of_all = "" if figures.tokens == figures.available else f" of {figures.available:,}"
    size = f"{figures.tokens:,}{of_all} {content['tokenizer']} tokens, {figures.characters:,} characters"
    over = "lines" if figures.block is None else f"blocks of {figures.block} tokens"
    spread = f"± {figures.standard_error:.4f} nats/token (standard error, over {figures.blocks:,} {over})"
    if figures.blocks < 2:
        spread = f"nats/token ({'one line' if figures.block is None else 'too short'}: no standard error)"
    unknown = f"not known from training: {content['unknown']:,}" if content["unknown"] else ""
    limit = run.model.model.context_limit
    context = "all before it"
    if limit is not None:
        context = f"the {limit - limit // 2} to {limit - 1} before it (all of them near the beginning)"
    print_facts(
        [
            ("model", f"{run.name} ({run.source})"),
            ("data", content["data"]),
            ("", size),
            *([("", unknown)] if unknown else []),
            ("NLL", f"{figures.nll:.4f} {spread}"),
            ("", f"{figures.bits_per_character:.4f} bits/char, perplexity {figures.perplexity:.2f}"),
            ("context", f"every token given {context}"),
            ("time", f"{content['seconds']:.1f} s"),
        ]
    )
