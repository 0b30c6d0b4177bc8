"""The pictures of docs/images.md, from a class-conditional run on MNIST: the commands the page shows, run.

    python docs/make_image_pictures.py runs/digits-by-class

The run is `chainrule train gated-pixelcnn --data dynamic-mnist --class-conditional`, with the settings that
the page shows. Needs the test images of MNIST (`chainrule datasets dynamic-mnist` says where they belong).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import torch

import chainrule as cr
from chainrule import report
from chainrule.cli.main import run

FOLDER = Path(__file__).parent / "images"

#: What the page shows, with RUN and the folder of the pictures left out.
COMMANDS = (
    "sample RUN -n 10 --context all --seed 0 --out ten-of-each.png",
    "fill RUN dynamic-mnist --mask lower-half --limit 20 -n 5 --seed 0 --out lower-half.png",
    "fill RUN dynamic-mnist --mask upper-half --limit 8 -n 3 --seed 0 --out upper-half.png",
    "upscale RUN dynamic-mnist --shrink 4 --limit 6 -n 4 --seed 0 --out upscaled.png",
    "denoise RUN dynamic-mnist --flip 0.1 --degrade --limit 6 --seed 0 --out denoised.png",
    "sample RUN -n 1 --context all --seed 1 --animate drawing.gif",
)


def draw_with_commands(folder: str) -> None:
    """Run every command; the pictures go into docs/images."""
    for command in COMMANDS:
        words = shlex.split(command.replace("RUN", folder))
        words[-1] = str(FOLDER / f"images-{words[-1]}")
        print("$ chainrule", shlex.join(words), flush=True)
        if run([*words, "--overwrite"]):
            raise SystemExit(1)


def draw_surprise(folder: str) -> None:
    """Test digits under their surprise, each given its own class and given the next one."""
    model, digits = cr.load(folder), cr.data.load("dynamic-mnist")
    x, labels = digits.evaluation_split("test")[:5].float(), digits.labels["test"][:5]
    contexts = torch.cat([labels, (labels + 1) % 10])
    bits = cr.images.surprise_bits(model, x.repeat(2, 1, 1, 1), contexts)
    report.save_surprise_overlays(
        x.repeat(2, 1, 1, 1),
        bits,
        FOLDER / "images-surprise.png",
        names=[f"given {label}" for label in contexts.tolist()],
        columns=5,
        overwrite=True,
    )


def draw_receptive_fields() -> None:
    """What a pixel depends on in untrained networks of each kind."""
    torch.manual_seed(0)
    shape, kernels = (1, 15, 15), {"kernel_size": 3, "first_kernel_size": 3, "head": ()}
    models = {
        "PixelCNN": cr.models.PixelCNN(shape, features=8, num_blocks=4, **kernels),
        "Gated PixelCNN": cr.models.GatedPixelCNN(shape, features=8, num_layers=5, **kernels),
        "with attention": cr.models.GatedPixelCNN(
            shape, features=8, num_layers=5, attention_every=5, **kernels
        ),
        "Row LSTM": cr.models.RowLSTM(shape, features=8, num_layers=3, **kernels),
        "Diagonal BiLSTM": cr.models.DiagonalBiLSTM(
            shape, features=8, num_layers=1, first_kernel_size=3, head=()
        ),
    }
    fields = {name: cr.images.receptive_field(model, (9, 7)) for name, model in models.items()}
    report.save_receptive_fields(
        fields,
        (9, 7),
        FOLDER / "images-receptive-fields.png",
        title="What the pixel in the frame depends on",
        overwrite=True,
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    draw_receptive_fields()
    draw_with_commands(sys.argv[1])
    draw_surprise(sys.argv[1])
