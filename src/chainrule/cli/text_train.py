"""`chainrule train` on a text: telling texts from other files, fitting, and what came out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.interrupts import default_interrupts
from chainrule.cli.names import DATASETS, TEXT_MODELS, TEXTS
from chainrule.cli.output import Interrupted, counting, print_facts, print_json, say, show
from chainrule.cli.text_runs import TextPlan, text_plan, text_source
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.text import Corpus, LanguageModel, TextFigures

__all__ = ["is_text", "train_text"]

#: Settings that are neither the model's nor of training, but of `fit_text`.
_OF_TEXT = ("tokenizer", "lines", "length")
#: Those that no other kind of data has.
_ONLY_OF_TEXT = ("tokenizer", "lines")
#: Settings that a text decides.
_DECIDED = ("conditional", "context_size", "ordering", "end", "local_size")

#: Endings of files that are no text, or that other commands read as numbers; `.gz` and case do not count.
_OTHER_ENDINGS = (
    *(".npy", ".npz", ".csv", ".tsv", ".data", ".parquet", ".pq", "ubyte"),
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"),
    *(".wav", ".flac", ".mp3", ".ogg", ".zip", ".tar", ".pt", ".safetensors"),
)
_TEXT_ENDINGS = (".txt", ".md", ".log", ".py", ".rst", ".smi")

#: Files of more bytes have their tokens in a file that is mapped into memory.
_LARGE = 100 << 20
#: Tokens of the validation part that the figures at the end are taken on.
_MEASURED = 200_000


def is_text(
    model: str | None, spec: str | None, out: Path, values: Mapping[str, Any], *, resume: bool, other: bool
) -> bool:
    """Whether to model a text: the run to resume is one, or `--data` names one.

    - `other`: an option was given that says the data is something else.

    With a model of text, any file is text unless its name ends like an image, an array, a table or a sound;
    `--set tokenizer=` makes it text whatever its name. Raises `ChainruleError` for a text of the catalogue
    and a model that is not for text.
    """
    if resume and text_plan(out) is not None:
        return True
    if spec is None or other:
        return False
    if spec in TEXTS and model is not None and model not in TEXT_MODELS:
        raise ChainruleError(f"{spec} is text; models of text are {', '.join(TEXT_MODELS)}, not {model}.")
    if spec in DATASETS or model not in TEXT_MODELS:
        return spec in TEXTS
    if any(name in values for name in _ONLY_OF_TEXT):
        return True
    name = spec.lower().removesuffix(".gz")
    if Path(spec).is_dir() or name.endswith(_OTHER_ENDINGS):
        return False
    return Path(spec).is_file() or name.endswith(_TEXT_ENDINGS)


def train_text(
    model: str | None,
    data: str | None,
    out: Path,
    values: dict[str, Any],
    *,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fit a model to a text, or go on with the run in `out`; prints what came out."""
    from chainrule.text import fit_text, window_length
    from chainrule.training import Run
    from chainrule.training.run import check_place

    check_place(out, resume=resume, overwrite=overwrite)
    plan = text_plan(out) if resume else None
    begun = plan is not None
    plan = _new_plan(model, data, values) if plan is None else _resumed(plan, out, model, data, values)
    if begun and Run(out).is_finished:
        say(f"{out} is a finished run; there is nothing to resume.")
    with _corpus(plan, out, begun) as corpus:
        length = window_length(corpus, plan.length)
        notes = _remarks(plan, corpus, length)
        if not quiet:
            for note in notes:
                say(note)
        try:
            with default_interrupts():
                fitted = fit_text(
                    corpus,
                    out,
                    model=plan.model,
                    length=length,
                    model_settings=plan.settings,
                    seed=plan.seed,
                    resume=resume,
                    overwrite=overwrite,
                    progress=not quiet,
                    notes=plan.notes(),
                    **plan.training,
                )
        except KeyboardInterrupt:
            raise Interrupted(
                f"`chainrule train --resume --out {out}` continues from the last checkpoint."
            ) from None
        _report(plan, corpus, length, fitted, out, as_json, quiet)


def _new_plan(model: str | None, data: str | None, values: dict[str, Any]) -> TextPlan:
    from chainrule.cli.setting_values import build_model, split_settings
    from chainrule.conditionals import Categorical
    from chainrule.text import TEXT_MODELS as KNOWN
    from chainrule.training import training_settings

    if model is None:
        raise ChainruleError(f"MODEL is missing: name what to train, such as {TEXT_MODELS[0]}.")
    assert data is not None  # is_text has seen it
    options = _checked_options({name: values[name] for name in _OF_TEXT if name in values})
    for name in _DECIDED:
        if name in values:
            raise ChainruleError(f"--set {name} is not for texts, which decide it themselves; leave it out.")
    build, defaults = KNOWN[model]
    model_class: Any = build
    others = {name: value for name, value in values.items() if name not in _OF_TEXT}
    settings, training = split_settings(model_class, others)
    # What is wrong with these is said before a long file is read.
    build_model(model_class, (8,), {**defaults, **settings, "conditional": Categorical(8)}, 0)
    seed = training_settings(training).seed
    training.pop("seed", None)
    spec = data if data in TEXTS else str(Path(data).absolute())
    if data not in TEXTS:
        text_source(data)  # what is wrong with the path is said in the words of whoever typed it
    return TextPlan(spec, model, seed=seed, settings=settings, training=training, **options)


def _checked_options(options: dict[str, Any]) -> dict[str, Any]:
    from chainrule.arguments import whole_number
    from chainrule.text import learn_tokenizer

    tokenizer, lines, length = (options.get(name) for name in _OF_TEXT)
    if tokenizer is not None:
        learn_tokenizer(str(tokenizer), ["a word\n"])
    if lines not in (None, True, False):
        raise ChainruleError(f"--set lines={lines}: expected true or false.")
    if length is not None:
        whole_number("length", length, minimum=2)
    return {name: value for name, value in options.items() if value is not None}


def _resumed(
    plan: TextPlan, out: Path, model: str | None, data: str | None, values: dict[str, Any]
) -> TextPlan:
    if model not in (None, plan.model):
        raise ChainruleError(f"{out} is a run of {plan.model}, not of {model}; choose another --out.")
    if data is not None and data != plan.spec and str(Path(data).absolute()) != plan.spec:
        raise ChainruleError(f"{out} is a run on {plan.spec}, not on {data}; choose another --out.")
    if values:
        raise ChainruleError(
            f"{out} goes on with the settings that it was begun with; leave --set out, or choose another "
            "--out."
        )
    return plan


@contextmanager
def _corpus(plan: TextPlan, out: Path, begun: bool) -> Iterator[Corpus]:
    """The text in tokens; those of a large file lie in files beside the run while it trains."""
    from chainrule.text import corpus_of
    from chainrule.text.language_model import TOKENIZER_NAME, tokenizer_in

    source = text_source(plan.spec)
    # A byte-pair encoding takes long to learn, and must be the same again.
    tokenizer = tokenizer_in(out) if begun and (out / TOKENIZER_NAME).exists() else plan.tokenizer
    if not isinstance(source, Path) or source.stat().st_size < _LARGE:
        yield corpus_of(source, tokenizer, lines=plan.lines)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-tokens-", dir=out.parent) as folder:
        yield corpus_of(source, tokenizer, lines=plan.lines, folder=folder)


def _remarks(plan: TextPlan, corpus: Corpus, length: int) -> list[str]:
    """What was decided, and what is odd about the text, a line each."""
    from chainrule.text import DEFAULT_LENGTH

    unit = "lines of up to" if corpus.lines else "windows of"
    kind = corpus.tokenizer.name
    lines = [f"{plan.name} is modelled as text: {kind} tokens, {corpus.levels:,} of them, {unit} {length}"]
    if plan.length is None and length < DEFAULT_LENGTH and not corpus.lines:
        lines.append(f"note: the text is short, so its windows are, too (length={length})")
    if corpus.lines:
        cut = sum(len(line) > length for line in corpus.texts("train"))
        if cut:
            lines.append(
                f"note: {cut:,} lines are longer than {length} tokens; their beginnings train "
                f"(--set length={corpus.longest('train')} trains on all)"
            )
    unknown = corpus.unknown.get("validation", 0)
    if unknown:
        lines.append(
            f"note: {unknown:,} of {len(corpus.split('validation')):,} tokens to validate on are not known "
            f"from the training part; each counts as the token for all such {_UNITS[kind]}"
        )
    return lines


_UNITS = {"char": "characters", "word": "words"}


def _report(
    plan: TextPlan, corpus: Corpus, length: int, fitted: LanguageModel, out: Path, as_json: bool, quiet: bool
) -> None:
    from chainrule import report
    from chainrule.text import measure
    from chainrule.training import Run

    metrics = Run(out).metrics()
    best = min((r for r in metrics if "validation_nll" in r), key=lambda r: r["validation_nll"])
    with counting("validating", enabled=not quiet) as on_tokens:
        figures = measure(fitted, corpus, "validation", limit=_MEASURED, on_tokens=on_tokens)
    pictures = []
    if len(metrics) > 1:
        picture = report.save_learning_curve(
            metrics,
            out / "learning_curve.png",
            title=f"{plan.model} on {plan.name}",
            num_variables=length,
            overwrite=True,
        )
        pictures.append(picture.name)
    parts = {name: len(corpus.split(name)) for name in corpus.characters}
    if as_json:
        print_json(
            {
                "run": str(out),
                "model": plan.model,
                "data": plan.spec,
                "tokenizer": corpus.tokenizer.name,
                "levels": corpus.levels,
                "lines": corpus.lines,
                "length": length,
                "parameters": fitted.model.num_parameters,
                "tokens": parts,
                "characters": corpus.characters,
                "unknown": corpus.unknown,
                "epochs": metrics[-1]["epoch"],
                "selected_epoch": best["epoch"],
                "validation_nats_per_token": figures.nll,
                "validation_standard_error": figures.standard_error,
                "validation_bits_per_character": figures.bits_per_character,
                "validation_perplexity": figures.perplexity,
                "seconds": metrics[-1]["seconds"],
                "pictures": pictures,
            }
        )
        return
    unit = {"train": "tokens to train on", "validation": "to validate on", "test": "to test on"}
    print_facts(
        [
            ("run", str(out)),
            ("model", f"{plan.model}, {fitted.model.num_parameters:,} parameters"),
            ("text", ", ".join(f"{count:,} {unit[name]}" for name, count in parts.items())),
            ("", f"{corpus.tokenizer.name} tokens, {corpus.levels:,} of them"),
            ("validation", f"{figures.nll:.4f} nats/token, {figures.bits_per_character:.4f} bits/char"),
            ("", f"perplexity {figures.perplexity:.2f}{_of_all(figures)}, epoch {best['epoch']}"),
            ("training", f"{metrics[-1]['epoch']} epochs in {metrics[-1]['seconds']:.1f} s"),
            ("pictures", ", ".join(pictures) or "none"),
        ]
    )
    split = "" if corpus.test is not None else " --split validation"
    show("\nNext:")
    show(f"  chainrule sample {out}" + ("" if corpus.lines else ' --prompt "Once upon a time"'))
    show(f"  chainrule evaluate {out}{split}")
    show(f"  chainrule score {out} a_text.txt --out surprise.html")


def _of_all(figures: TextFigures) -> str:
    if figures.tokens == figures.available:
        return ""
    return f" (of {figures.tokens:,} of {figures.available:,} tokens)"
