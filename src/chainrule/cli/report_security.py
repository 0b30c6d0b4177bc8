"""`chainrule report RUN --victim VICTIM`: the page of a classifier and the guard in front of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.detect_images import read_images
from chainrule.cli.example_files import saying_warnings
from chainrule.cli.image_output import open_images
from chainrule.cli.names import ATTACK_NAMES
from chainrule.cli.output import print_facts, print_json, say
from chainrule.cli.victims import OpenedVictim, open_victim
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.security import PixelDefend

__all__ = ["FILE_NAME", "refuse_without_victim", "report_security"]

FILE_NAME = "security.html"
#: Images under attack, unless told otherwise; of a guard that is made here, the share of false alarms.
_IMAGES, _LEVEL = 200, 0.05


def report_security(
    run: str,
    victim: str,
    *,
    data: str | None,
    eps: float | None,
    attacks: list[str],
    limit: int | None,
    adaptive_images: int,
    seed: int,
    place: Path,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Attack `victim`, see what the guard in `run` makes of it, and write the page.

    A run without a guard gets one for this page, calibrated on the validation images of its data; it is not
    kept.
    """
    from chainrule.report import write_file
    from chainrule.reporting import security_page
    from chainrule.security import measure_defence
    from chainrule.security.defence import PAPER_ATTACKS
    from chainrule.security.passes import checked_levels

    for name in attacks:
        if name not in ATTACK_NAMES:
            raise unknown_name("attack", name, ATTACK_NAMES)
    opened = open_victim(victim)
    with saying_warnings():
        guard, origin = _guard(run)
    dataset, images, labels, available = opened.labelled(
        data, "test", _IMAGES if limit is None else limit, levels=checked_levels(guard.density)
    )
    guard.density.check_levels(dataset.levels, dataset.name)

    def on_stage(name: str, number: int, stages: int) -> None:
        say(f"{number} of {stages}: {name}")

    found = measure_defence(
        guard,
        opened.model,
        images,
        labels,
        eps=eps,
        attacks=attacks or PAPER_ATTACKS,
        adaptive_images=adaptive_images,
        seed=seed,
        on_stage=None if quiet else on_stage,
    )
    spread = f", of {available:,} spread evenly" if len(images) < available else ""
    about = [
        ("victim", f"{opened.name}, {opened.num_parameters:,} parameters ({victim})"),
        ("density", f"{type(guard.density).__name__}, {guard.density.num_parameters:,} parameters ({run})"),
        ("guard", origin),
        ("data", f"{len(images):,} test images of {dataset.name}{spread}"),
    ]
    page = security_page(
        found,
        guard,
        about,
        title=f"{opened.name} on {dataset.name}, attacked and guarded",
        label_names=opened.label_names,
    )
    content = page.html().encode("utf-8", errors="replace")
    write_file(place, content, overwrite=overwrite)
    titles = [section.title for section in page.sections]
    _show(run, opened, place, content, titles, found.as_dict(), as_json)


def _guard(run: str) -> tuple[PixelDefend, str]:
    """The guard of a run and where it comes from, or one that is calibrated now."""
    from chainrule.detection import Rule
    from chainrule.security import PixelDefend
    from chainrule.security.guard_files import GUARD_NAME

    if (Path(run) / GUARD_NAME).is_file():
        guard = PixelDefend.load(run)
        return guard, f"of {run}, calibrated on {guard.about.get('clean', 'images that it does not name')}"
    clean = read_images(open_images(run), None, split="validation", limit=None)
    guard = PixelDefend.fit(run, clean.values, rule=Rule("conformal", _LEVEL))
    return guard, f"made for this page: log p(x), level {_LEVEL:g}, calibrated on {clean.source}"


def _show(
    run: str,
    victim: OpenedVictim,
    place: Path,
    content: bytes,
    titles: list[str],
    figures: dict[str, Any],
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            {
                "run": run,
                "victim": victim.source,
                "out": str(place),
                "bytes": len(content),
                "sections": titles,
                **figures,
            }
        )
        return
    strongest = min(figures["attacks"], key=lambda row: row["accuracy"]["value"])
    mended = min(row["accuracy_purified"]["value"] for row in figures["attacks"])
    facts = [
        ("run", run),
        ("page", f"{place}, {len(content) / 1024:,.0f} KiB, no requests"),
        ("clean", f"{figures['clean']['accuracy']['value']:.1%} right"),
        (
            "attacked",
            f"{strongest['accuracy']['value']:.1%} right under {strongest['name']}, the strongest; purified, "
            f"{mended:.1%} or more",
        ),
    ]
    if figures["joint"] is not None:
        joint, through = figures["joint"], figures["bpda"]
        facts += [
            ("knows density", f"{joint['unnoticed']['value']:.1%} misread without an alarm"),
            ("knows purifier", f"{through['after']['value']:.1%} right behind it"),
            ("tries all", f"{through['right_under_all']['value']:.1%} right behind the purifier"),
        ]
    print_facts(facts)


def refuse_without_victim(options: dict[str, Any]) -> None:
    """`ChainruleError` for options that only mean something with a victim."""
    given = [name for name, value in options.items() if value not in (None, [], ())]
    if given:
        raise ChainruleError(f"{', '.join(given)}: attacks need a classifier; name its run, --victim RUN.")
