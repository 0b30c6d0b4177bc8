"""`chainrule mix`: the exact mixture of several trained models, saved as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.options import Overwrite, add_command
from chainrule.cli.output import show
from chainrule.cli.sources import open_model
from chainrule.errors import ChainruleError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        mix,
        "chainrule mix runs/made-raster runs/made-spiral runs/nade --out runs/mixture",
        "chainrule evaluate runs/mixture",
    )


def mix(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Two or more trained models.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where to save it.", show_default=False)
    ],
    overwrite: Overwrite = False,
) -> None:
    """Mix trained models with equal weights: p(x) is the mean of theirs, exactly.

    The mixture averages probabilities of whole examples, never logits, so its likelihood is exact and on
    average at least as good as that of its members; models with different orderings gain most. It is
    evaluated, sampled and scored like any other model.
    """
    from chainrule.models import Ensemble
    from chainrule.saving import CONFIG_NAME, read_config, write_json

    if len(runs) < 2:
        raise ChainruleError("mix needs two or more models.")
    opened = [open_model(source) for source in runs]
    mixture = Ensemble([one.model for one in opened])
    mixture.save_pretrained(out, overwrite=overwrite)
    first, config = opened[0].config, read_config(out)
    # What the members were trained on is what the mixture is evaluated on, unless told otherwise.
    kept = {key: first[key] for key in ("data", "notes") if key in first}
    write_json(out / CONFIG_NAME, {**config, **kept})
    show(f"{len(runs)} models mixed in {out}; {mixture.num_parameters:,} parameters.")
    show(f"Next: chainrule evaluate {out}")
