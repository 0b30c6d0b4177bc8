"""What training borrows from the process, the accelerator, the random state, Ctrl-C, and gives back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from chainrule.errors import ChainruleError
from chainrule.training.settings import TrainingSettings

__all__ = ["interrupt_between_steps", "own_accelerator", "reseed", "seeded"]


@contextmanager
def own_accelerator(settings: TrainingSettings) -> Iterator[Any]:
    """An `accelerate.Accelerator` with these settings' device and precision, for this block only.

    Accelerate keeps device, precision and gradient accumulation in state shared by the whole process,
    fixed by whoever comes first. That state is set aside and put back, so that fits of different
    precision can follow each other and an `Accelerator` of the caller's is afterwards as it was. What
    a caller or `accelerate launch` chose as the device is kept, unless `device="cpu"`.

    Raises `ChainruleError` for `device="cpu"` among several processes that were launched on others.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared = [cls._shared_state for cls in (PartialState, AcceleratorState, GradientState)]
    before = [dict(state) for state in shared]
    on_cpu, distributed = settings.device == "cpu", torch.distributed.is_initialized()
    # The process group lives in the first of them: it can be made only once.
    for state in shared if on_cpu and not distributed else shared[1:]:
        state.clear()
    try:
        accelerator = Accelerator(
            cpu=on_cpu, mixed_precision="bf16" if settings.precision == "bf16" else "no"
        )
        if on_cpu and accelerator.device.type != "cpu":
            raise ChainruleError(
                f"device='cpu' was asked for, but the processes were launched on {accelerator.device.type}; "
                "launch them with `accelerate launch --cpu` or leave device at 'auto'."
            )
        yield accelerator
    finally:
        for state, old in zip(shared, before, strict=True):
            state.clear()
            state.update(old)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block under a torch seed of its own; the global generators are left as they were."""
    devices = [torch.cuda.current_device()] if _cuda_in_use() else []
    with torch.random.fork_rng(devices):
        reseed(seed)
        yield


def reseed(seed: int) -> None:
    """Seed the global generators in use; `torch.manual_seed` also visits the others, at 80 us a call."""
    torch.default_generator.manual_seed(seed)
    if _cuda_in_use():
        torch.cuda.manual_seed(seed)


def _cuda_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextmanager
def interrupt_between_steps() -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C: the block asks the function it gets whether there was one.

    A step of training is only good to save when it is done. A second Ctrl-C comes through at once,
    and one that the block did not act on comes through at its end. Where Ctrl-C is handled already,
    or in a thread other than the main one, nothing is changed.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return
    requested = False

    def note(number: int, frame: Any) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: requested
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if requested:
        raise KeyboardInterrupt
