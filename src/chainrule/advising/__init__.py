"""Which model for which problem: the lecture's decision framework with this library's measured costs.

>>> from chainrule.advising import Situation, advise
>>> advise(Situation(kind="text", length=128)).choices[0].model
'transformer'
"""

from __future__ import annotations

from chainrule.advising.advice import Advice, Choice, advise
from chainrule.advising.looking import Look, look_at
from chainrule.advising.rules import ALTERNATIVES, RULES, Alternative, Rule
from chainrule.advising.situation import COMPUTE, KINDS, PRIORITIES, Situation

__all__ = [
    "ALTERNATIVES",
    "COMPUTE",
    "KINDS",
    "PRIORITIES",
    "RULES",
    "Advice",
    "Alternative",
    "Choice",
    "Look",
    "Rule",
    "Situation",
    "advise",
    "look_at",
]
