"""flashsteps: attention, tile by tile, from a run. `record` a head, read its trace, count its bytes, render its film.

Names are imported when they are first used, so that `import flashsteps` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .filmkit.reel import film as film
    from .filmkit.reel import render as render
    from .inputs.qkv import QKV as QKV
    from .inputs.qkv import load_qkv as load_qkv
    from .machine.events import IO as IO
    from .machine.events import Event as Event
    from .machine.events import Tile as Tile
    from .models.capture import capture as capture
    from .runs.counting import count as count
    from .runs.live import stepping as stepping
    from .runs.record import record as record
    from .runs.stepper import Stepper as Stepper
    from .trace.exports import export as export
    from .trace.npz import load as load
    from .trace.trace import State as State
    from .trace.trace import Trace as Trace

__version__ = "0.1.0"

_HOME = {
    "QKV": "inputs.qkv",
    "load_qkv": "inputs.qkv",
    "record": "runs.record",
    "count": "runs.counting",
    "capture": "models.capture",
    "stepping": "runs.live",
    "Stepper": "runs.stepper",
    "export": "trace.exports",
    "IO": "machine.events",
    "Event": "machine.events",
    "State": "trace.trace",
    "Tile": "machine.events",
    "Trace": "trace.trace",
    "load": "trace.npz",
    "film": "filmkit.reel",
    "render": "filmkit.reel",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flashsteps' has no attribute {name!r}: it has {', '.join(_HOME)}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
