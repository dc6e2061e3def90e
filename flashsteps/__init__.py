"""flashsteps: attention, tile by tile, from a run. `record` a head, read its trace, count its bytes, render its film.

Names are imported when they are first used, so that `import flashsteps` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exports import export as export
    from .inputs import QKV as QKV
    from .inputs import load_qkv as load_qkv
    from .live import stepping as stepping
    from .run import count as count
    from .run import record as record
    from .stepper import Stepper as Stepper
    from .trace import IO as IO
    from .trace import Event as Event
    from .trace import State as State
    from .trace import Tile as Tile
    from .trace import Trace as Trace
    from .trace_file import load as load

__version__ = "0.1.0"

_HOME = {
    "QKV": "inputs",
    "load_qkv": "inputs",
    "record": "run",
    "count": "run",
    "stepping": "live",
    "Stepper": "stepper",
    "export": "exports",
    "IO": "trace",
    "Event": "trace",
    "State": "trace",
    "Tile": "trace",
    "Trace": "trace",
    "load": "trace_file",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flashsteps' has no attribute {name!r}: it has {', '.join(_HOME)}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
