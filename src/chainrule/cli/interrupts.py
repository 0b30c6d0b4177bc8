"""Ctrl-C while modules are being imported: half a second to several in which Python shows tracebacks.

An interrupt that arrives inside an import can surface as any exception, or vanish in foreign code. Nothing
has begun at that point, so the process simply ends, with the one line that other interrupts get.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["calm_imports", "default_interrupts"]

_SHOW_CURSOR = "\x1b[?25h"  # a progress bar may have hidden it


@contextmanager
def calm_imports() -> Iterator[None]:
    """End the process with one line at a Ctrl-C that meets an import; elsewhere it is `KeyboardInterrupt`.

    Nothing is changed outside the main thread, and where Ctrl-C is handled already.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def default_interrupts() -> Iterator[None]:
    """Python's own handler for a block: training, which looks for it, ends its step and saves at Ctrl-C."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not _interrupt
    ):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _importing(frame):
        with suppress(Exception):
            sys.stdout.flush()
        with suppress(OSError):
            line = f"{_SHOW_CURSOR if os.isatty(2) else ''}\nchainrule: interrupted\n"
            os.write(2, line.encode())
        os._exit(130)
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
