"""The recordings of the catalogue."""

from __future__ import annotations

from chainrule.data.audio_entry import AudioEntry
from chainrule.data.files import DataFile

__all__ = ["AUDIO"]

AUDIO = (
    AudioEntry(
        name="fsdd",
        description="Spoken digits 0 to 9 by six speakers, 0.14 to 1.3 s each: recordings 0 to 14 of every "
        "digit and speaker. Test is the published one, recordings 0 to 4; validation is recording 5. The "
        "whole data set has 50 of each, so that what is trained here saw a fifth of what others may.",
        event_shape=(),
        levels=65_536,
        kind="audio",
        splits={"train": 540, "validation": 60, "test": 300},
        licence="CC BY-SA 4.0",
        source="Free Spoken Digit Dataset, Jakobovski/free-spoken-digit-dataset, commit 26eb9aa",
        form="audio",
        files=(
            DataFile(
                "fsdd/fsdd_subset.npz",
                4_606_286,
                "4bb3a9c740aeac2c0c80739f90c1c3e06170328b199aebbbdc34677dd6929c29",
            ),
        ),
        classes=tuple("0123456789"),
        rate=8_000,
    ),
)
