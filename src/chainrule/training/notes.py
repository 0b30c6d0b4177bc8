"""What a run of text, sound or a series notes about itself, so that the command line finds its data again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["path_of", "plan_note"]


def path_of(source: object) -> str | None:
    """The absolute path of a source that is one, so that the run finds it from anywhere; else None."""
    return str(Path(source).absolute()) if isinstance(source, str | Path) else None


def plan_note(kind: str, source: Mapping[str, str | None], **plan: Any) -> dict[str, Any]:
    """`{kind: source | plan}` for the notes of a run.

    - `source`: what the command line calls the data, under the name that it has there.

    The keys are those that `chainrule train` notes for this kind of data, so that a run begun in Python is
    evaluated and resumed like one of its own. Empty for data that has no name, and where the plan holds what
    JSON cannot say.
    """
    whole = {**source, **plan}
    try:
        json.dumps(whole)
    except (TypeError, ValueError):
        return {}
    return {} if None in source.values() else {kind: whole}
