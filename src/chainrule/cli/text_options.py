"""The options of `sample` that only texts have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from chainrule.cli.text_runs import is_text_run
from chainrule.errors import ChainruleError

__all__ = ["MaxTokensOption", "StopOption", "TextSampling", "TopKOption", "TopPOption"]

MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        metavar="N",
        help="Texts: at most so many tokens; 300 if not said.",
        show_default=False,
    ),
]
TopKOption = Annotated[
    int | None,
    typer.Option(
        "--top-k", metavar="K", help="Texts: draw from the K most likely tokens only.", show_default=False
    ),
]
TopPOption = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        metavar="P",
        help="Texts: draw from the most likely tokens that together have probability P only.",
        show_default=False,
    ),
]
StopOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stop",
        metavar="TEXT",
        help=r"Texts: end where this comes, and leave it out; \\n is a line end. May be repeated.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class TextSampling:
    """What these options said."""

    prompt: str | None
    max_tokens: int | None
    top_k: int | None
    top_p: float | None
    stop: list[str] | None

    def is_for(self, run: str) -> bool:
        """Whether `run` is one of a text.

        Raises `ChainruleError` where it is another and one of these options was given, but for the prompt,
        which sound has, too.
        """
        if is_text_run(run):
            return True
        given = [name for name, value in vars(self).items() if value is not None and name != "prompt"]
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ChainruleError(
                f"{flags}: for runs of texts, but {run} is none; train one with `chainrule train transformer "
                "--data my.txt --out RUN`."
            )
        return False

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings; line ends and tabs, hard to type in a shell, for what stands for them."""
        return tuple(text.replace(r"\n", "\n").replace(r"\t", "\t") for text in self.stop or ())
