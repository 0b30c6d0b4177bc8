"""The page of a guarded classifier: what attacks break, what the guard tells and mends, what gets through.

page = security_page(measure_defence(guard, victim, images, labels), guard, [("victim", "runs/victim")])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from chainrule.detection import Figure
from chainrule.detection.scores import Booleans, Floats
from chainrule.report.defences import (
    AttackExample,
    save_attack_examples,
    save_densities,
    save_roc_curves,
)
from chainrule.report.page import Page, Section, drawn, facts, paragraph, table, text
from chainrule.security.attacks import ATTACKS
from chainrule.security.defence import CLEAN, Defence, KnowsDensity, KnowsPurifier, Seen, share
from chainrule.security.guard import PixelDefend
from chainrule.security.passes import event_places

__all__ = ["security_page", "security_sections", "what_it_does_not_withstand"]

#: The title of a paragraph, and the paragraph.
_Words = tuple[str, str]
#: What attacks are called on the page.
_SHOWN = {
    "rand": "RAND",
    "fgsm": "FGSM",
    "bim": "BIM",
    "pgd": "PGD",
    "deepfool": "DeepFool",
    "cw": "CW",
    "cw-linf": "CW L∞",
    "square": "Square",
    "hop-skip-jump": "HopSkipJump",
}


def security_page(
    found: Defence,
    guard: PixelDefend,
    about: Sequence[tuple[str, object]] = (),
    *,
    title: str = "A classifier under attack, guarded",
    label_names: Sequence[str] = (),
) -> Page:
    """The whole page.

    - `about`: facts for its beginning, such as where victim and guard come from; `label_names`: of classes.
    """
    return Page(
        title,
        security_sections(found, guard, about, label_names=label_names),
        "A security report of chainrule. This page stands alone: it makes no requests.",
    )


def security_sections(
    found: Defence,
    guard: PixelDefend,
    about: Sequence[tuple[str, object]] = (),
    *,
    label_names: Sequence[str] = (),
) -> list[Section]:
    """Its sections, to go into another page."""
    return [
        Section("Guard and victim", facts([*about, *_overview(found, guard)])),
        Section(
            "What this does not withstand",
            "".join(
                f"<h3>{text(title)}</h3>{paragraph(words)}"
                for title, words in what_it_does_not_withstand(found)
            ),
        ),
        _likelihoods(found, guard),
        _detection(found, guard),
        _accuracies(found),
        _examples(found, label_names),
        _measured(found, guard),
    ]


# ---------------------------------------------------------------- in words


def what_it_does_not_withstand(found: Defence) -> list[tuple[str, str]]:
    """Paragraphs of plain words with their titles, and with the figures of this measurement."""
    return [*_of_detector(found), *_of_purifier(found), *_of_small_changes(found), _of_the_rest(found)]


def _of_detector(found: Defence) -> list[_Words]:
    joint = found.joint
    if joint is None:
        words = (
            "No attack that knows the guard was measured, because the classifier read none of these images "
            "rightly: nothing on this page is evidence of protection."
        )
        return [("An attacker who knows of it", words)]
    worst = _strongest(found)
    words = (
        "One who keeps log p(x) high while fooling the classifier (joint attack), by moving pixels by at "
        f"most {found.eps:g} levels, gets {_share(joint.unnoticed)} of {joint.images} images misread "
        f"without an alarm, and {_share(joint.fooled)} misread in all. Of {_shown(worst.name)}, which knows "
        f"nothing of the guard, {_share(worst.unnoticed)} are misread without an alarm: how many images of "
        "such attacks a detector finds says little of what an informed attacker can do. Who tries all "
        f"attacks of this page gets {_share(joint.unnoticed_by_any)} of those {joint.images} past the "
        f"detector.{_not_aimed_at(found.score)}"
    )
    return [("An attacker who knows the density", words)]


def _not_aimed_at(score: str) -> str:
    if score == "log-likelihood":
        return ""
    return (
        f" But this detector reads another score, {score}, at which no attack of this page aims: who does "
        "may get more past it."
    )


def _of_purifier(found: Defence) -> list[_Words]:
    through = found.through
    if through is None:
        return []
    worst = _strongest_purified(found)
    words = (
        "Following the gradient through it as if it were not there (BPDA) takes the accuracy behind it "
        f"from {_share(through.before)} to {_share(through.after)} on {through.images} images; "
        f"{_share(through.unnoticed)} are misread and raise no alarm either, at which this attack does not "
        f"aim. Under {_shown(worst.name)}, which knows nothing of the guard, {_share(_purified(worst))} of "
        "all images are read rightly when purified; under every attack of this page, "
        f"{_share(through.right_under_all)} of those {through.images}. More steps, restarts, or an attack "
        "on purifier and detector together can only break more. Purification hides gradients and certifies "
        "nothing: there is no radius within which the guarded classifier is known to be right."
    )
    return [("An attacker who knows the purifier", words)]


def _of_small_changes(found: Defence) -> list[_Words]:
    """The attack that got most past the detector, of those that look for the smallest change."""
    small = [seen for seen in found.attacked if not ATTACKS[seen.name].needs_eps]
    if not small:
        return []
    quiet = max(small, key=lambda seen: seen.unnoticed.value)
    words = (
        f"{_shown(quiet.name)} looks for the smallest change that is misread (here their mean Euclidean "
        f"length is {quiet.mean_l2:.1f} levels): {_share(share(quiet.alarms))} of its images raise an "
        f"alarm, against {_share(share(found.clean.alarms))} of clean ones, and {_share(quiet.unnoticed)} "
        "are misread without one."
    )
    return [("Attacks that move little", words)]


def _of_the_rest(found: Defence) -> _Words:
    short = (
        f" Here the purifier moves a pixel by at most {found.purify_eps}, less than the attacks' "
        f"{found.eps:g}, so it cannot even undo them."
        if found.purify_eps < found.eps
        else ""
    )
    words = (
        "Larger changes than those above, patches, rotations, other victims, and images that drifted away "
        "from those the guard was calibrated on: the promised rate of false alarms holds for images like "
        f"those, and for no others.{short} An attack that failed here may only have been a weak one."
    )
    return ("What was not tried", words)


# ---------------------------------------------------------------- sections


def _overview(found: Defence, guard: PixelDefend) -> list[tuple[str, object]]:
    worst = _strongest(found)
    mended = _strongest_purified(found)
    names = [_shown(seen.name) for seen in found.attacked]
    lines: list[tuple[str, object]] = [
        ("attacks", f"eps {found.eps:g} levels, {len(found.labels):,} images: {', '.join(names)}"),
        ("alarm", f"{guard.score.name} below {guard.detector.threshold:.3f} ({guard.detector.rule})"),
        ("purification", f"eps {found.purify_eps} levels"),
        ("clean accuracy", f"{_share(share(found.clean.right))}, purified {_share(_purified(found.clean))}"),
        ("strongest attack", f"{_shown(worst.name)}: {_share(share(worst.right))} right without defence"),
        ("strongest, purified", f"{_shown(mended.name)}: {_share(_purified(mended))} right"),
    ]
    if found.joint is not None and found.through is not None:
        lines += [
            ("knows the density", f"{_share(found.joint.unnoticed)} misread without an alarm (joint attack)"),
            ("knows the purifier", f"{_share(found.through.after)} right behind it (BPDA)"),
            ("tries everything", f"{_share(found.through.right_under_all)} right behind the purifier"),
        ]
    return [*lines, ("in brackets", "95 % intervals")]


def _likelihoods(found: Defence, guard: PixelDefend) -> Section:
    groups = {_shown(seen.name): _finite(seen.bits_per_dim) for seen in found.seen}
    groups = {name: bits for name, bits in groups.items() if len(bits)}
    threshold = None
    if guard.score.name == "log-likelihood":
        threshold = -guard.detector.threshold / (guard.density.num_variables * math.log(2))
    means = ", ".join(f"{name} {bits.mean():.3f}" for name, bits in groups.items())
    rows = []
    for seen in found.seen:
        bits = seen.bits_per_dim
        error = bits.std(ddof=1) / math.sqrt(len(bits)) if len(bits) > 1 else math.nan
        rows.append((_shown(seen.name), f"{bits.mean():.4f}", f"{error:.4f}", f"{seen.mean_l2:.1f}"))
    columns = ("images", ">bits/dim", ">± standard error", ">mean L2 of the change, levels")
    picture = drawn(
        lambda path: save_densities(groups, path, threshold=threshold),
        f"Distributions of bits per dimension of clean and attacked images; means: {means}",
        caption="More bits are less probable images. Where a curve lies on that of clean images, log p(x) "
        "cannot tell them apart.",
    )
    return Section("Likelihood of clean and attacked images", picture + table(columns, rows))


def _detection(found: Defence, guard: PixelDefend) -> Section:
    groups = {_shown(seen.name): seen.scores for seen in found.attacked}
    areas = {_shown(seen.name): found.auroc(seen.name) for seen in found.attacked}
    labels = {name: f"{name}, AUROC {area}" for name, area in areas.items()}
    picture = drawn(
        lambda path: save_roc_curves(
            found.clean.scores,
            groups,
            path,
            labels=labels,
            operating=float(found.clean.alarms.mean()),
        ),
        "ROC curves; AUROC with 95 % intervals: " + ", ".join(f"{name} {a}" for name, a in areas.items()),
        caption=f"By the score {guard.score.name}. AUROC has DeLong's 95 % interval, the curves pointwise "
        "bootstrap bands. Attacked images count as odd whether they were misread or not.",
    )
    rows = [
        (
            _shown(seen.name),
            "-" if seen is found.clean else str(areas[_shown(seen.name)]),
            _share(share(seen.alarms)),
            _share(seen.unnoticed),
        )
        for seen in found.seen
    ]
    columns = ("images", ">AUROC", ">alarms", ">misread without an alarm")
    return Section("Detection", picture + table(columns, rows) + paragraph(_false_alarms(found, guard)))


def _false_alarms(found: Defence, guard: PixelDefend) -> str:
    expected = guard.detector.false_alarm_interval(fresh_rows=len(found.labels))
    if expected is None:
        return "Alarms on clean images are false ones; this rule promises no rate of them."
    low, high = expected
    held = low <= float(found.clean.alarms.mean()) <= high
    words = "as here" if held else "not so here, so these are not images like those it was calibrated on"
    return (
        f"Alarms on clean images are false ones. Of {len(found.labels):,} images like those of calibration, "
        f"{low:.2%} to {high:.2%} raise one (99 % sure); {words}."
    )


def _accuracies(found: Defence) -> Section:
    rows = [(_shown(seen.name), *(_share(share(right)) for right in _defences(seen))) for seen in found.seen]
    weakest = [min(share(_defences(seen)[place]).value for seen in found.attacked) for place in range(3)]
    rows.append(("strongest of these", *(f"{value:.1%}" for value in weakest)))
    columns = ("images", ">no defence", ">purified", ">adaptively purified")
    words = (
        "Adaptive purification leaves images alone whose log p is as high as that of most clean ones. None "
        "of these attacks knows of the guard."
    )
    caption = "Share of images read rightly, with 95 % intervals"
    parts = [table(columns, rows, caption=caption), paragraph(words)]
    knowing = _knowing(found.joint, found.through)
    if knowing:
        head = ("attack", ">images", "what it reaches")
        parts.append(
            table(head, knowing, caption="Attacks that know the guard, on images that were read rightly")
        )
    return Section("Accuracy under attack", "".join(parts))


def _defences(seen: Seen) -> tuple[Booleans, ...]:
    return seen.right, seen.right_purified, seen.right_adaptive


def _knowing(joint: KnowsDensity | None, through: KnowsPurifier | None) -> list[tuple[str, int, str]]:
    if joint is None or through is None:
        return []
    return [
        ("joint, classifier and density", joint.images, f"{_share(joint.fooled)} misread"),
        ("", joint.images, f"{_share(joint.unnoticed)} misread without an alarm"),
        (
            "this or any of the above",
            joint.images,
            f"{_share(joint.unnoticed_by_any)} misread without an alarm",
        ),
        (
            "BPDA, through the purifier",
            through.images,
            f"{_share(through.after)} right, {_share(through.before)} before",
        ),
        ("", through.images, f"{_share(through.unnoticed)} misread without an alarm"),
        ("this and all of the above", through.images, f"{_share(through.right_under_all)} right"),
    ]


def _examples(found: Defence, label_names: Sequence[str]) -> Section:
    examples = [
        _example(found, seen, _row_to_show(found, seen, place), label_names)
        for place, seen in enumerate(found.attacked)
    ]
    names = ", ".join(_shown(seen.name) for seen in found.attacked)
    return Section(
        "Examples",
        drawn(
            lambda path: save_attack_examples(examples, path),
            f"A row each for {names}: the clean image, attacked, purified, the difference, the surprise map",
            caption="A row for each attack, an image that it broke if there is one, whatever became of that "
            "afterwards; above each the label that is read. Difference: attacked minus clean, red is "
            "brighter. Surprise: -log2 of the probability of each pixel of the attacked image given those "
            "before it.",
        ),
    )


def _row_to_show(found: Defence, seen: Seen, place: int) -> int:
    """The place-th of the images that this attack broke, so that not all rows show the same one."""
    broken = np.flatnonzero(found.clean.right & ~seen.right)
    return int(broken[place % len(broken)]) if len(broken) else place % len(seen.right)


def _example(found: Defence, seen: Seen, row: int, label_names: Sequence[str]) -> AttackExample:
    shape = event_places(seen.images.shape[1:])

    def shown(images: Tensor) -> Floats:
        pixels: Floats = images[row].view(shape).double().numpy() / (found.levels - 1)
        return pixels if shape[0] in (1, 3) else pixels[:1]

    def read(labels: Tensor) -> str:
        label = int(labels[row])
        return label_names[label] if label < len(label_names) else str(label)

    return AttackExample(
        _shown(seen.name),
        shown(found.clean.images),
        shown(seen.images),
        shown(seen.purified),
        -seen.passed.by_pixel[row].view(shape).double().sum(0).numpy() / math.log(2),
        (
            f"clean: {read(found.clean.predicted)}",
            f"attacked: {read(seen.predicted)}",
            f"purified: {read(seen.predicted_purified)}",
        ),
    )


def _measured(found: Defence, guard: PixelDefend) -> Section:
    sure = "training images, so that its p-values are not valid"
    if guard.reference != "training":
        sure = "images that the density was not trained on"
    return Section(
        "How it was measured",
        paragraph(
            f"The guard ranks images among {len(guard.detector.calibration):,} {sure}. Attacks have the "
            "settings of the PixelDefend paper (Song et al. 2018) where it has them, and start from all "
            "images, also from those that are misread anyway. Shares have exact binomial intervals. The "
            "attacks that know the guard start from images that the classifier reads rightly: the joint "
            "attack climbs the classifier's margin and log p(x) together with six weights between them and "
            "keeps the most probable image that is misread; BPDA follows the gradient at the purified "
            "image."
        ),
    )


# ---------------------------------------------------------------- odds and ends


def _strongest(found: Defence) -> Seen:
    """The attack under which the classifier alone is least often right."""
    return min(found.attacked, key=lambda seen: share(seen.right).value)


def _strongest_purified(found: Defence) -> Seen:
    """The attack under which it is least often right behind the purifier."""
    return min(found.attacked, key=lambda seen: _purified(seen).value)


def _shown(name: str) -> str:
    return name if name == CLEAN else _SHOWN.get(name, name)


def _purified(seen: Seen) -> Figure:
    return share(seen.right_purified)


def _share(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1%}"
    return f"{figure.value:.1%} [{figure.low:.1%}, {figure.high:.1%}]"


def _finite(values: Floats) -> Floats:
    finite: Floats = values[np.isfinite(values)]
    return finite
