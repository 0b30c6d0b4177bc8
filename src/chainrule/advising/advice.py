"""`advise`: rank the models for a situation, with reasons, costs and a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainrule.advising.commands import command_of, next_command_of
from chainrule.advising.costs import COSTS
from chainrule.advising.rules import ALTERNATIVES, CANDIDATES, RULES
from chainrule.advising.situation import Situation

__all__ = ["Advice", "Choice", "advise"]

#: How many models are advised.
_SHOWN = 3


@dataclass(frozen=True)
class Choice:
    """One advised model: why, what it costs (empty where it was not measured), and what to type.

    - `against`: reasons that speak against it.
    """

    model: str
    points: int
    reasons: tuple[str, ...]
    against: tuple[str, ...]
    cost: str
    command: str
    then: str


@dataclass(frozen=True)
class Advice:
    """Models in the order of the advice, and what else deserves a look.

    - `wrong_tool`: whether, for some of what is wanted, none of these models is the tool.
    - `alternatives`: (what to look at, why, whether a model of p(x) is the wrong tool there).
    - `branches`: those of the lecture's framework that were taken.
    """

    choices: tuple[Choice, ...]
    alternatives: tuple[tuple[str, str, bool], ...]
    notes: tuple[str, ...]
    branches: tuple[str, ...]

    @property
    def wrong_tool(self) -> bool:
        """Whether one of the alternatives says so."""
        return any(wrong for _, _, wrong in self.alternatives)

    def summary(self) -> dict[str, Any]:
        """Everything in it, JSON-ready."""
        return {
            "wrong_tool": self.wrong_tool,
            "alternatives": [
                {"instead": instead, "reason": reason, "wrong_tool": wrong}
                for instead, reason, wrong in self.alternatives
            ],
            "choices": [{**vars(choice), "rank": rank} for rank, choice in enumerate(self.choices, start=1)],
            "notes": list(self.notes),
            "branches": list(self.branches),
        }


def advise(situation: Situation) -> Advice:
    """The models of this library that suit a situation best, the best first.

    Points of the rules that apply are added up; ties keep the order of `CANDIDATES`.
    """
    start = CANDIDATES[situation.kind]
    rules = [rule for rule in RULES if rule.when(situation)]
    points = {
        model: first + sum(rule.points.get(model, 0) for rule in rules) for model, first in start.items()
    }
    if not situation.binary and situation.kind in ("image", "vector"):
        points.pop("chow-liu", None)  # its tables are of 0 and 1
    ranked = sorted(points, key=lambda model: -points[model])[:_SHOWN]
    choices = tuple(
        Choice(
            model,
            points[model],
            tuple(rule.reason for rule in rules if rule.points.get(model, 0) > 0) or ("can take such data",),
            tuple(rule.against for rule in rules if rule.points.get(model, 0) < 0),
            COSTS[model].text if model in COSTS and situation.kind in ("image", "vector") else "",
            command_of(model, situation),
            next_command_of(model, situation),
        )
        for model in ranked
    )
    others = [each for each in ALTERNATIVES if each.when(situation)]
    return Advice(
        choices,
        tuple((each.instead, each.reason, each.wrong_tool) for each in others),
        tuple(rule.reason for rule in rules if not rule.points),
        (*(rule.branch for rule in rules), *(other.branch for other in others)),
    )
