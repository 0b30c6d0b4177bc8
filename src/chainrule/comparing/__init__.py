"""Models side by side, each trained within the same time: one table, measured.

from chainrule import comparing, data, models
digits = data.load("digits")
contenders = {"nade": models.NADE(digits.event_shape), "made": models.MADE(digits.event_shape)}
comparing.compare(digits, contenders, "compared", minutes=0.2).results
"""

from __future__ import annotations

from chainrule.comparing.results import Failure, Result
from chainrule.comparing.running import Comparison, compare
from chainrule.comparing.sequence_tasks import AudioTask, SeriesTask, TextTask
from chainrule.comparing.tasks import ArrayTask, Entry, Figures, TableTask, Task
from chainrule.comparing.writing import write_tables

__all__ = [
    "ArrayTask",
    "AudioTask",
    "Comparison",
    "Entry",
    "Failure",
    "Figures",
    "Result",
    "SeriesTask",
    "TableTask",
    "Task",
    "TextTask",
    "compare",
    "write_tables",
]
