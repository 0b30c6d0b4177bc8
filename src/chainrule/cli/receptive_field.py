"""`chainrule receptive-field`: which pixels the conditional of one pixel really depends on."""

from __future__ import annotations

from typing import Annotated

import typer

from chainrule.cli.image_output import OutOption, check_out, open_images
from chainrule.cli.options import AsJson, ContextOption, Overwrite, RunArgument, add_command
from chainrule.cli.output import print_facts, print_json
from chainrule.errors import ChainruleError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        receptive_field,
        "chainrule receptive-field runs/pixels --out seen.png",
        "chainrule receptive-field runs/pixels --pixel 14,14 --json --out seen.png --overwrite",
    )


def receptive_field(
    run: RunArgument,
    out: OutOption = None,
    pixel: Annotated[
        str | None,
        typer.Option(
            "--pixel",
            metavar="ROW,COLUMN",
            help="Of which pixel, counted from 0; the middle if not said.",
            show_default=False,
        ),
    ] = None,
    context: ContextOption = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw which pixels a pixel depends on, and how strongly, by gradient; blind spots show as holes."""
    out = check_out(out, overwrite=overwrite)
    opened = open_images(run)

    import io

    import numpy as np

    from chainrule import images
    from chainrule.cli.contexts import context_for
    from chainrule.report import save_receptive_fields, write_file

    height, width = opened.model.event_shape[-2:]
    place = (height // 2, width // 2) if pixel is None else _place(pixel)
    field = images.receptive_field(
        opened.model, place, context=context_for(opened.model, context, opened.label_names)
    )
    if out.suffix.lower() == ".png":
        save_receptive_fields({opened.name: field}, place, out, overwrite=overwrite)
    else:
        buffer = io.BytesIO()
        np.save(buffer, field.numpy())
        write_file(out, buffer.getvalue(), overwrite=overwrite)
    before = place[0] * width + place[1]
    seen = int((field > 0).sum())
    if as_json:
        content = {"run": run, "model": opened.name, "out": str(out), "pixel": list(place)}
        print_json({**content, "pixels_seen": seen, "pixels_before_in_raster_order": before})
        return
    print_facts(
        [
            (
                "pixel",
                f"row {place[0]}, column {place[1]} of {opened.name}: depends on {seen} pixels; "
                f"{before} come before it in raster order",
            ),
            ("file", str(out)),
        ]
    )


def _place(text: str) -> tuple[int, int]:
    row, comma, column = text.partition(",")
    if not (comma and row.strip().isdecimal() and column.strip().isdecimal()):
        raise ChainruleError(f"--pixel {text}: expected a row and a column, such as --pixel 14,14.")
    return int(row), int(column)
