"""What training shows while it runs: a bar on a terminal, a line per validation elsewhere; on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

__all__ = ["Bar", "Progress"]


class Progress:
    """Speaks on stderr if `enabled`, and not at all otherwise."""

    def __init__(self, *, enabled: bool) -> None:
        self.console = Console(stderr=True, quiet=not enabled)

    def say(self, line: str) -> None:
        """One line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def over(self, total_steps: int, done: int, words: Callable[[float], str]) -> Iterator[Bar]:
        """A bar over `total_steps` updates of which `done` are behind us; `words` says a loss in words."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
        )
        with RichProgress(
            *columns,
            console=self.console,
            disable=not self.console.is_terminal,
            redirect_stdout=False,  # results go there, and not through this console to stderr
        ) as rich:
            task = rich.add_task("training", total=total_steps, completed=done, state="")
            bar = Bar(self, rich, task, words)
            try:
                yield bar
            finally:
                bar.draw()


class Bar:
    """The bar of one run."""

    def __init__(
        self, progress: Progress, rich: RichProgress, task: TaskID, words: Callable[[float], str]
    ) -> None:
        self._progress, self._rich, self._task = progress, rich, task
        self._words = words
        self._smooth: float | None = None
        self._epoch = "training"
        self._shown = 0.0
        self._steps = 0

    def advance(self, loss: float, epoch: int, epochs: int) -> None:
        """One update with this loss (nats per example)."""
        self._smooth = loss if self._smooth is None else 0.98 * self._smooth + 0.02 * loss
        self._epoch = f"epoch {epoch}/{epochs}"
        self._steps += 1
        if time.monotonic() - self._shown > 0.2:  # drawing more often would cost more than small steps
            self.draw()

    def draw(self) -> None:
        """Bring what is shown up to date."""
        if self._smooth is not None:
            state = self._words(self._smooth)
            self._rich.update(self._task, advance=self._steps, description=self._epoch, state=state)
            self._steps, self._shown = 0, time.monotonic()

    def validated(self, epoch: int, nll: float) -> None:
        """A validation at the end of this epoch."""
        self._progress.say(f"epoch {epoch}: validation {self._words(nll)}")
