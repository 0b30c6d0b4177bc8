"""`chainrule mix`: the exact mixture of several trained models, saved as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.options import AsJson, add_command
from chainrule.cli.output import print_json, show
from chainrule.cli.sources import open_model
from chainrule.errors import ChainruleError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        mix,
        "chainrule mix runs/made-raster runs/made-spiral runs/nade --out runs/mixture",
        "chainrule mix runs/nade runs/made --out runs/mixture --overwrite --json",
    )


def mix(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Two or more trained models.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where to save it.", show_default=False)
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier mixture (and nothing else).")
    ] = False,
    as_json: AsJson = False,
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
    _check_out(out, runs, overwrite)
    opened = [open_model(source) for source in runs]
    for source in runs:
        if (Path(source) / "schema.json").is_file():
            raise ChainruleError(
                f"{source} is a model of a table: every table model maps columns in its own way, "
                "so they cannot be mixed; fit one model with more --steps instead."
            )
    mixture = Ensemble([one.model for one in opened])
    mixture.save_pretrained(out, overwrite=overwrite)
    first, config = opened[0].config, read_config(out)
    # What the members were trained on is what the mixture is evaluated on, unless told otherwise.
    kept = {key: first[key] for key in ("data", "notes") if key in first}
    write_json(out / CONFIG_NAME, {**config, **kept})
    if as_json:
        print_json(
            {
                "mixture": str(out),
                "members": runs,
                "parameters": mixture.num_parameters,
                "data": kept.get("data"),
            }
        )
        return
    show(f"{len(runs)} models mixed in {out}; {mixture.num_parameters:,} parameters.")
    show(f"Next: chainrule evaluate {out}")


def _check_out(out: Path, runs: list[str], overwrite: bool) -> None:
    """Refuse to write where anything but an earlier mixture would be lost."""
    if out.exists() and not out.is_dir():
        raise ChainruleError(f"{out} is a file; name a folder with --out.")
    if not out.exists() or not any(out.iterdir()):
        return
    if any(Path(run).is_dir() and Path(run).samefile(out) for run in runs):
        raise ChainruleError(f"{out} is one of the models to mix; choose another --out.")
    if not _is_mixture(out):
        raise ChainruleError(
            f"{out} exists and is not a mixture; it will not be overwritten. Choose another --out."
        )
    if not overwrite:
        raise ChainruleError(
            f"{out} already holds a mixture; pass --overwrite to replace it, or another --out."
        )


def _is_mixture(folder: Path) -> bool:
    """Whether this command (or `Ensemble.save_pretrained`) made the folder, in this version or another."""
    from chainrule.saving import CONFIG_NAME

    try:
        config = json.loads((folder / CONFIG_NAME).read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(config, dict) or not {"format", "chainrule", "settings"} <= config.keys():
        return False
    return config.get("model") == "Ensemble" and "training" not in config
