"""How much memory training takes: measured in a process of its own, where nothing else has grown before.

`python -m chainrule.comparing.memory RUN BATCH.npy` takes a few updates and prints the peak in MiB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["main", "training_memory"]

_UPDATES = 3
_TIMEOUT = 120.0
_STATUS = Path("/proc/self/status")


def training_memory(run: Path, samples: object, batch_size: int) -> float | None:
    """MiB that updates of training on `batch_size` examples add at the most; None where it is not known.

    - `samples`: a tensor of examples, repeated to fill the batch.
    """
    import numpy as np

    if not _STATUS.exists():
        return None
    rows = np.asarray(samples)
    rows = rows[np.arange(batch_size) % len(rows)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batch.npy"
        np.save(file, rows, allow_pickle=False)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "chainrule.comparing.memory", str(run), str(file)],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=True,
                env=os.environ,
            )
            return float(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None


def main(run: str, batch: str) -> None:
    """Train the model in a folder on a batch for some updates, and print what that added, in MiB."""
    import numpy as np
    import torch

    from chainrule.loading import load_network

    x = torch.from_numpy(np.load(batch, allow_pickle=False))
    torch.mm(x.new_zeros(64, 64), x.new_zeros(64, 64))  # libraries load now and not later
    before = _resident("VmRSS")
    model = load_network(Path(run))
    generator = torch.Generator().manual_seed(0)
    context = model._context_of_rows(0, len(x)) if model.context_size else None
    if model.closed_form:
        model.fit_counts(x)
    else:
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9)
        for _ in range(_UPDATES):
            loss = model.training_loss(x, context, generator).mean()
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    print(max(_resident("VmHWM") - before, 0.0))


def _resident(name: str) -> float:
    """A figure of this process that Linux keeps, in MiB."""
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
