"""What models cost and reach, as measured by `benchmarks/`; a test compares these with the results.

Times are of two cores of an AMD EPYC, 64 images of 28 x 28 drawn together; likelihoods of static binarized
MNIST, test split. They tell orders of magnitude, not what another machine will take.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COSTS", "Cost"]


@dataclass(frozen=True)
class Cost:
    """Measured with `size` (the row's name in the results).

    - `sample_seconds`: 64 images, reusing everything; `naive_seconds`: with a pass for every variable.
    - `nll`: nats an image of binarized MNIST, of the configuration `run`; None where there is none.
    """

    size: str
    sample_seconds: float
    naive_seconds: float
    nll: float | None = None
    run: str = ""

    @property
    def text(self) -> str:
        """In words."""
        times = self.naive_seconds / self.sample_seconds
        drawn = f"{self.size} draws 64 images of 28 x 28 in {_seconds(self.sample_seconds)}"
        words = f"{drawn} ({times:,.0f} times faster than a pass per pixel)"
        return words if self.nll is None else f"{words}; {self.nll:.1f} nats on binarized MNIST"


def _seconds(value: float) -> str:
    return f"{1000 * value:.2g} ms" if value < 0.1 else f"{value:.2g} s"


COSTS: dict[str, Cost] = {
    "fvsbn": Cost("FVSBN", 0.001468, 0.4932, 97.55, "fvsbn-paper"),
    "nade": Cost("NADE, 500 hidden", 0.020, 5.2, 87.94, "nade-paper"),
    "made": Cost("MADE, 8000 hidden", 0.0083, 7.8, 88.90, "made-paper-1x8000-1mask"),
    "deep-nade": Cost("DeepNADE, 2 x 500 hidden", 0.19, 134.0),
    "pixelcnn": Cost("pixelcnn", 2.22, 1279.0),
    "gated-pixelcnn": Cost("gated-pixelcnn-small", 0.23, 52.0, 88.38, "gated-pixelcnn-32x7"),
    "row-lstm": Cost("row-lstm", 0.19, 76.0),
    "diagonal-bilstm": Cost("diagonal-bilstm", 0.26, 118.0),
}
