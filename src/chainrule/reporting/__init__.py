"""One page about a run: what was trained and how, how good it is, what it draws, whether it can be believed.

A function for each kind of data makes the sections; `run_page` puts a page together, to which others may add
sections of their own (`chainrule.report.page.Section`).
"""

from __future__ import annotations

from chainrule.reporting.arrays import array_sections
from chainrule.reporting.audio import audio_sections
from chainrule.reporting.common import run_page
from chainrule.reporting.security import security_page, security_sections
from chainrule.reporting.series import series_sections
from chainrule.reporting.tables import table_sections
from chainrule.reporting.texts import text_sections

__all__ = [
    "array_sections",
    "audio_sections",
    "run_page",
    "security_page",
    "security_sections",
    "series_sections",
    "table_sections",
    "text_sections",
]
