"""chainrule: exact-likelihood autoregressive models behind one interface.

    import chainrule as cr

    data = cr.data.load("digits")
    model = cr.models.NADE(data.event_shape, hidden=50)
    run = cr.fit(model, data, out="runs/nade", epochs=20)
    model = cr.load("runs/nade")
    model.log_prob(data.test)      # exact, nats, (batch,)
    model.sample(64, seed=0)       # (64, *event_shape)

Submodules are imported when first used, so `import chainrule` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule._version import __version__

if TYPE_CHECKING:
    from chainrule import (
        conditionals,
        contrasts,
        data,
        detection,
        images,
        models,
        orderings,
        report,
        sampling,
        security,
        tables,
        tabular,
        testing,
        training,
    )
    from chainrule.errors import ChainruleError
    from chainrule.loading import load
    from chainrule.model import AutoregressiveModel
    from chainrule.training import evaluate, fit

__all__ = [
    "AutoregressiveModel",
    "ChainruleError",
    "__version__",
    "conditionals",
    "contrasts",
    "data",
    "detection",
    "evaluate",
    "fit",
    "images",
    "load",
    "models",
    "orderings",
    "report",
    "sampling",
    "security",
    "tables",
    "tabular",
    "testing",
    "training",
]

#: Where each public name that is not a submodule lives.
_HOMES = {
    "AutoregressiveModel": "chainrule.model",
    "ChainruleError": "chainrule.errors",
    "evaluate": "chainrule.training",
    "fit": "chainrule.training",
    "load": "chainrule.loading",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"chainrule.{name}")
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
