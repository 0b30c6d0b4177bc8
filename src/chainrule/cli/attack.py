"""`chainrule attack`: images changed a little so that a classifier misreads them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.names import ATTACK_NAMES, SPLITS, complete_dataset
from chainrule.cli.options import AsJson, Overwrite, Quiet, add_command
from chainrule.cli.output import print_facts, print_json, say, show
from chainrule.cli.victims import OpenedVictim, VictimRun, open_victim
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.likelihood import LikelihoodModel

__all__ = ["register"]

_SUFFIXES = (".npz", ".npy")
_JOINT = "joint"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        attack,
        "chainrule attack runs/victim --attack bim --eps 8 --out attacked.npz",
        "chainrule attack runs/victim --attack pgd --target 3 --norm l2 --eps 400 --limit 100 --json",
        "chainrule attack runs/victim --attack fgsm --transfer runs/other --limit 500",
        "chainrule attack runs/victim --attack joint --density runs/pixels --eps 8 --limit 64",
        "chainrule attack classifier.py:make --data mnist --attack cw --eps 25 --limit 100",
    )


def attack(
    victim: Annotated[
        str,
        typer.Argument(
            metavar="VICTIM",
            help="The run of a classifier, as `chainrule train cnn --data mnist --out RUN` makes; or "
            "FILE.py:NAME, your own torch.nn.Module or what returns it. Such a file is run.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str,
        typer.Option(
            "--attack",
            metavar="A",
            help=f"One of {', '.join(ATTACK_NAMES)}; or joint, which also keeps log p under --density high.",
            autocompletion=lambda: [*ATTACK_NAMES, _JOINT],
        ),
    ] = "bim",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="D",
            help="A data set's name, or a path; default: what the victim was trained on.",
            autocompletion=complete_dataset,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="train, validation or test.", autocompletion=lambda: list(SPLITS))
    ] = "test",
    eps: Annotated[
        float | None,
        typer.Option(
            "--eps",
            metavar="E",
            help="How far a value may move, in levels (linf), or all together (l2); 8 of 256 if not said.",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[
        str, typer.Option("--norm", help="linf or l2.", autocompletion=lambda: ["linf", "l2"])
    ] = "linf",
    target: Annotated[
        int | None,
        typer.Option(
            "--target",
            metavar="LABEL",
            help="Be misread as this; any wrong label if not said.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="N", help="Steps of the iteration; as published.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Only N images, spread evenly.", show_default=False),
    ] = None,
    transfer: Annotated[
        list[str] | None,
        typer.Option(
            "--transfer",
            metavar="RUN",
            help="Also show the images to this other classifier. May be repeated.",
            show_default=False,
        ),
    ] = None,
    density: Annotated[
        str | None,
        typer.Option(
            "--density",
            metavar="RUN",
            help="Also say what log p of this model of images thinks of them; needed by joint.",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option(
            "--levels",
            metavar="K",
            help="Of your own classifier: --data, a file, holds values 0..K-1; 256 if not said.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of noise and random starts.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help=".npz with images, labels, original, predicted and predicted_before; or .npy, the images.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Attack a classifier: its accuracy on images that were changed a little to be misread.

    White-box attacks know the network; square and hop-skip-jump only ask it for answers. Settings are those
    of the PixelDefend paper where it has them. Needs the extra: pip install "chainrule[detect]"
    (rand, cw, cw-linf and joint do without).
    """
    _check(name, limit, out, density, overwrite)
    opened = open_victim(victim)
    if levels is not None and isinstance(opened, VictimRun):
        raise ChainruleError(f"--levels: {victim} knows its own ({opened.model.levels}); leave it out.")
    dataset, images, labels, _ = opened.labelled(data, split, limit, levels=levels)
    spec = dataset.name
    model = None if density is None else _density(density)
    others = {run: open_victim(run) for run in transfer or ()}
    if not quiet:
        say(f"attacking {len(images):,} images of {spec} with {name}")
    targets = None if target is None else labels.new_full((len(images),), target)
    attacked = _attacked(opened, model, name, images, labels, targets, eps, norm, steps, seed, dataset.levels)
    content, before, after = _measured(opened, images, attacked, labels, targets)
    content = {"victim": victim, "data": spec, "split": split, "attack": name, "norm": norm, **content}
    content["transfer"] = [_seen_by(run, other, images, attacked, labels) for run, other in others.items()]
    content["density"] = (
        None if model is None or density is None else _judged(density, model, images, attacked)
    )
    content["out"] = None if out is None else str(out)
    if out is not None:
        _write(out, attacked, images, labels, before, after, opened.label_names)
    if as_json:
        print_json(content)
        return
    _show(content)


def _check(name: str, limit: int | None, out: Path | None, density: str | None, overwrite: bool) -> None:
    """Refuse what cannot be, before anything is loaded."""
    from chainrule.report import check_writable

    if name not in (*ATTACK_NAMES, _JOINT):
        raise unknown_name("attack", name, (*ATTACK_NAMES, _JOINT))
    if name == _JOINT and density is None:
        raise ChainruleError("--attack joint fools a detector too: name the model it reads, --density RUN.")
    if limit is not None and limit < 1:
        raise ChainruleError(f"--limit must be at least 1, not {limit}.")
    if out is None:
        return
    if out.suffix.lower() not in _SUFFIXES:
        raise ChainruleError(f"{out}: attacked images are written as {' or '.join(_SUFFIXES)}.")
    check_writable(out, overwrite=overwrite)


def _density(source: str) -> LikelihoodModel:
    from chainrule.cli.sources import open_model

    return open_model(source).model


def _attacked(
    opened: OpenedVictim,
    density: LikelihoodModel | None,
    name: str,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    eps: float | None,
    norm: str,
    steps: int | None,
    seed: int,
    levels: int | None,
) -> Tensor:
    from chainrule.security.adaptive import joint_attack
    from chainrule.security.attack_box import checked_norm
    from chainrule.security.attacks import attack as run_attack
    from chainrule.security.attacks import default_eps

    measure = checked_norm(norm)
    if name != _JOINT:
        return run_attack(
            name,
            opened.model,
            images,
            labels,
            eps=eps,
            norm=measure,
            targets=targets,
            levels=levels,
            steps=steps,
            seed=seed,
        )
    assert density is not None
    chosen: dict[str, Any] = {} if steps is None else {"steps": steps}
    return joint_attack(
        opened.model,
        density,
        images,
        labels,
        eps=default_eps(levels) if eps is None else eps,
        norm=measure,
        targets=targets,
        levels=levels,
        **chosen,
    ).images


def _measured(
    opened: OpenedVictim, images: Tensor, attacked: Tensor, labels: Tensor, targets: Tensor | None
) -> tuple[dict[str, Any], Tensor, Tensor]:
    """Facts for people and programs, and what the victim said before and after."""
    from chainrule.contrasts.accuracy import logits_of
    from chainrule.security.attack_measures import measure_attack

    facts = vars(measure_attack(opened.model, images, attacked, labels, targets))
    before, after = (logits_of(opened.model, x).argmax(1) for x in (images, attacked))
    return dict(facts), before, after


def _seen_by(
    run: str, other: OpenedVictim, images: Tensor, attacked: Tensor, labels: Tensor
) -> dict[str, Any]:
    from chainrule.security.attack_measures import measure_attack

    found = measure_attack(other.model, images, attacked, labels)
    return {
        "run": run,
        "clean_accuracy": found.clean_accuracy,
        "accuracy": found.accuracy,
        "success": found.success,
    }


def _judged(run: str, density: LikelihoodModel, images: Tensor, attacked: Tensor) -> dict[str, Any]:
    """Mean bits per dimension of the images before and after."""
    import torch

    means = []
    for values in (images, attacked):
        shaped = values.reshape(len(values), *density.event_shape)
        with torch.no_grad():
            bits = torch.cat([density.bits_per_dim(batch) for batch in torch.split(shaped, 100)])
        means.append(bits.double().mean().item())
    return {"run": run, "clean_bits_per_dim": means[0], "bits_per_dim": means[1]}


def _write(
    out: Path,
    attacked: Tensor,
    images: Tensor,
    labels: Tensor,
    before: Tensor,
    after: Tensor,
    names: tuple[str, ...],
) -> None:
    import numpy as np

    from chainrule.saving import write_atomically

    buffer = io.BytesIO()
    if out.suffix.lower() == ".npy":
        np.save(buffer, attacked.numpy())
    else:
        arrays: dict[str, Any] = {
            "images": attacked.numpy(),
            "labels": labels.numpy(),
            "original": images.numpy(),
            "predicted": after.numpy(),
            "predicted_before": before.numpy(),
        }
        if names:
            arrays["label_names"] = np.array(names)
        np.savez_compressed(buffer, **arrays)
    write_atomically(out, buffer.getvalue())


def _show(content: dict[str, Any]) -> None:
    facts = [
        ("victim", content["victim"]),
        ("data", f"{content['images']:,} images of {content['data']}, {content['split']}"),
        (
            "attack",
            f"{content['attack']}, greatest change {content['largest']:g}, mean L2 {content['mean_l2']:.1f}",
        ),
        (
            "accuracy",
            f"{content['accuracy']:.1%} ± {content['standard_error']:.1%} (standard error); "
            f"clean {content['clean_accuracy']:.1%}",
        ),
        (
            "success",
            f"{content['success']:.1%} of the images that were read rightly"
            if content["clean_accuracy"] > 0
            else "no image was read rightly before",
        ),
    ]
    if content["hit"] is not None:
        facts.append(("target", f"{content['hit']:.1%} are read as the target"))
    for other in content["transfer"]:
        facts.append(
            ("transfer", f"{other['run']}: {other['accuracy']:.1%}; clean {other['clean_accuracy']:.1%}")
        )
    if content["density"] is not None:
        judged = content["density"]
        facts.append(
            (
                "density",
                f"{judged['bits_per_dim']:.4f} bits/dim; clean {judged['clean_bits_per_dim']:.4f} "
                f"({judged['run']})",
            )
        )
    if content["out"]:
        facts.append(("written", content["out"]))
    print_facts(facts)
    if content["out"] and content["density"] is None:
        show("\nNext, with a model of such images:")
        show(f"  chainrule attack {content['victim']} --attack joint --density RUN")
