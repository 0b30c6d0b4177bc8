"""`chainrule sample` from a model of a text: streamed to the terminal as it comes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.cli.options import chosen_seed
from chainrule.cli.output import print_facts, print_json, say
from chainrule.cli.text_options import TextSampling
from chainrule.cli.text_runs import TextRun, open_text_run
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.text import Cuts

__all__ = ["sample_text"]

_MAX_TOKENS = 300
#: Where nobody says how many: one running text, some lines.
_LINES = 10
_NO_TEXT = (".png", ".gif", ".apng", ".npy", ".npz", ".csv", ".parquet", ".html")


def sample_text(
    run: str,
    options: TextSampling,
    number: int | None,
    temperature: float,
    seed: int | None,
    out: Path | None,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Texts that go on from a prompt; a single one appears token by token."""
    from chainrule.report import check_writable, write_file
    from chainrule.text import Cuts

    if out is not None:
        if out.suffix.lower() in _NO_TEXT:
            raise ChainruleError(f"{out}: texts are written as .txt; choose that ending.")
        check_writable(out, overwrite=overwrite)
    cuts = Cuts(temperature, options.top_k, options.top_p)
    opened = open_text_run(run)
    prompt = options.prompt or ""
    count = (_LINES if opened.model.of_lines else 1) if number is None else number
    seed = chosen_seed(seed)
    opened.model.check_prompt(prompt)
    _remark(opened, prompt, cuts)
    streamed = count == 1 and out is None and not as_json
    began = time.perf_counter()
    try:
        texts = opened.model.generate(
            prompt,
            _MAX_TOKENS if options.max_tokens is None else options.max_tokens,
            num_samples=count,
            temperature=temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            stop=options.stops,
            seed=seed,
            on_text=_Stream(prompt).add if streamed else None,
        )
        seconds = time.perf_counter() - began
        whole = _laid_out(opened, [prompt + text for text in texts])
        if out is not None:
            write_file(out, whole.encode("utf-8", errors="replace"), overwrite=overwrite)
        elif not as_json:
            _put("\n" if streamed else whole)
    except BrokenPipeError:
        # Whoever read has seen enough; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if as_json:
        print_json(
            {
                "run": run,
                "model": opened.name,
                "prompt": prompt,
                "texts": texts,
                "out": None if out is None else str(out),
                "temperature": temperature,
                "top_k": options.top_k,
                "top_p": options.top_p,
                "exact": cuts.is_exact,
                "seed": seed,
                "seconds": seconds,
            }
        )
        return
    size = f"{sum(map(len, texts)):,} characters, {seconds:.2f} s"
    if out is None:
        say(f"[{size}; --seed {seed} draws {'this' if count == 1 else 'these'} again]")
        return
    print_facts(
        [
            ("texts", f"{count} of {opened.name}: {size}"),
            ("seed", f"{seed}  (--seed {seed} draws them again)"),
            ("file", str(out)),
        ]
    )


def _remark(run: TextRun, prompt: str, cuts: Cuts) -> None:
    """What a reader of the text must know, a line each on stderr."""
    if not cuts.is_exact:
        changes = {"temperature": cuts.temperature, "top-k": cuts.top_k, "top-p": cuts.top_p}
        named = ", ".join(
            f"{name} {value:g}"
            for name, value in changes.items()
            if value is not None and (name != "temperature" or value != 1)
        )
        say(f"note: with {named} this is no sample of p; its likelihood under the model does not describe it")
    unknown = run.model.unknown_parts(prompt)
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        say(f"note: the training text has no {shown}; read as unknown in the prompt")
    limit, tokens = run.model.model.context_limit, len(run.model.tokenizer.encode(prompt))
    if limit is not None and tokens > limit:
        say(
            f"note: the prompt has {tokens:,} tokens; the model looks at the last {limit - limit // 2:,} to "
            f"{limit - 1:,}"
        )


def _laid_out(run: TextRun, texts: list[str]) -> str:
    """Several texts in one: lines as lines, others under a heading each."""
    if run.model.of_lines:
        return "".join(f"{text}\n" for text in texts)
    if len(texts) == 1:
        return texts[0] + "\n"
    return "\n".join(f"--- {number} ---\n{text}\n" for number, text in enumerate(texts, start=1))


class _Stream:
    """A prompt and what comes after it, on stdout as it comes."""

    def __init__(self, prompt: str) -> None:
        self._before = prompt

    def add(self, piece: str) -> None:
        """Put the next piece; the prompt goes with the first: nothing asked for can be wrong by then."""
        _put(self._before + piece)
        self._before = ""


def _put(text: str) -> None:
    """Text on stdout at once; a terminal that has no such character gets a question mark."""
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
    sys.stdout.flush()
