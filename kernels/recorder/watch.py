"""A kernel's own variables, watched: after each line that the interpreter runs as Python, which got a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .source import is_kernel
from .tape import KernelTape


def watcher(builder: Any, tape: KernelTape) -> Callable[..., Any]:
    """A tracer for `sys.settrace`, which tells the tape of each watched variable that gets a value."""

    def enter(frame: Any, event: str, _: Any) -> Any:
        if not is_kernel(frame.f_code) or frame.f_code.co_name in tape.source.through:
            return None
        ran: list[int] = []

        def local(frame: Any, event: str, _: Any) -> Any:
            code = frame.f_code
            if event == "line" and ran and tape.source.line(code, frame.f_lineno) == tape.source.line(code, ran[0]):
                return local  # another line of the same statement, which is not done yet
            if event in ("line", "return") and ran:
                line = ran.pop()
                for name in tape.source.assigned(code, line):
                    data = getattr(getattr(frame.f_locals.get(name), "handle", None), "data", None)
                    if isinstance(data, np.ndarray) and tape.watched(code, name):
                        tape.bound(builder.grid_idx, frame, line, name, data)
            if event == "line":
                ran.append(frame.f_lineno)
            return local

        return local

    return enter
