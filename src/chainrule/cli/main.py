"""The entry point: the list of commands, and what happens when something goes wrong.

Nothing heavy is imported here or by the modules of the commands: torch comes with the first command
that needs it, so `--help` and shell completion answer at once.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

from chainrule._version import __version__
from chainrule.cli import (
    advise,
    attack,
    browse,
    compare,
    demo,
    denoise,
    detect,
    evaluate,
    fill,
    mix,
    purify,
    receptive_field,
    report,
    sample,
    score,
    series_forecast,
    texture,
    train,
    upscale,
)
from chainrule.cli import examples as worked_examples
from chainrule.cli.options import examples, help_text
from chainrule.cli.output import Interrupted
from chainrule.errors import ChainruleError

__all__ = ["app", "run"]

#: Failures of the machine that its owner can mend; everything else that breaks is ours.
_MENDABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)

app = typer.Typer(
    name="chainrule",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "chainrule demo",
        "chainrule train nade --data binarized-mnist --set hidden=500 --out runs/nade",
        "chainrule evaluate runs/nade",
        "chainrule sample runs/nade -n 64 --out samples.png",
        "chainrule detect fit transactions.csv --out runs/fraud",
    ),
)
for _module in (
    demo,
    browse,
    train,
    evaluate,
    sample,
    score,
    fill,
    upscale,
    denoise,
    texture,
    receptive_field,
    detect,
    attack,
    purify,
    series_forecast,
    mix,
    compare,
    advise,
    report,
    worked_examples,
):
    _module.register(app)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"chainrule {__version__}")
        raise typer.Exit


def _main(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Exact-likelihood autoregressive models: train, score, sample.

    Every model here is the chain rule, p(x) = prod_i p(x_i given the earlier ones), so every one gives
    exact likelihoods and samples. Start with [bold]chainrule demo[/bold].
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


app.callback(invoke_without_command=True, help=help_text(_main))(_main)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: done; 1: a failure of ours, with a traceback; 2: a mistake in what was asked for, in one line on
    stderr; 130: interrupted.
    """
    command = typer.main.get_command(app)
    empty = _empty_argument(sys.argv[1:] if arguments is None else arguments)
    if empty:
        return _refuse(
            f"{empty} is empty; give it a value, or leave it out (an unset variable of the shell?)."
        )
    try:
        status = command.main(
            args=None if arguments is None else list(arguments), prog_name="chainrule", standalone_mode=False
        )
    except ChainruleError as error:
        return _refuse(str(error))
    except Interrupted as interrupted:
        return _interrupted(str(interrupted))
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted("")
    except OSError as error:
        if error.errno in _MENDABLE:
            return _refuse(
                f"{error.filename or 'writing'}: {error.strerror}; make room or choose another place."
            )
        return _our_failure()
    except Exception as error:
        if _was_interrupted(error):
            return _interrupted("")
        if hasattr(
            error, "format_message"
        ):  # what typer raises for an unknown option, a missing argument, ...
            return _refuse(f"{error.format_message().rstrip('.')}.{_help_hint(error)}")
        return _our_failure()
    if status == 130:
        return _interrupted("")
    return status if isinstance(status, int) else 0


def _empty_argument(arguments: Sequence[str]) -> str | None:
    """The option without its value, or the argument, that is an empty text: never what anybody meant."""
    for before, argument in pairwise(("", *arguments)):
        if not argument.strip():
            return before if before.startswith("-") else "an argument"
        if argument.startswith("--") and argument.endswith("=") and argument.count("=") == 1:
            return argument[:-1]
    return None


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C is at the root of the error: some libraries turn it into one of their own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _refuse(message: str) -> int:
    print(f"chainrule: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _help_hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f" See `{context.command_path} --help`." if context is not None else ""


def _interrupted(advice: str) -> int:
    print(f"\nchainrule: interrupted{f'; {advice}' if advice else ''}", file=sys.stderr)
    return 130


def _our_failure() -> int:
    traceback.print_exc()
    print(
        f"chainrule: this is a failure of chainrule {__version__}, not yours; "
        "please report it to its authors with the lines above",
        file=sys.stderr,
    )
    return 1
