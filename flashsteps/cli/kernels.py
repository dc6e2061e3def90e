"""The Triton kernels, for commands: imported late, and in Triton's interpreter where they run without a GPU."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..trace.trace import Trace


def module(name: str) -> Any:
    """A module of `flashsteps.kernels`."""
    return importlib.import_module(f"flashsteps.kernels.{name}")


def needed(name: str) -> Any:
    """torch or triton. Raises ValueError, one line, where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError(f"{name} is missing: pip install 'flashsteps[kernels]'") from None


def ready(name: str, device: str) -> Any:
    """A module with kernels that are made for this device: Triton asks once, when a kernel is defined.

    Raises ValueError, one line, where torch or triton is missing.
    """
    if device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    for package in ("torch", "triton"):
        needed(package)
    return module(name)


def twin(trace: Trace) -> Trace:
    """The Triton kernel's run of what a trace is of, in the interpreter.

    Raises ValueError, one line, where torch or triton is missing, and where there is no such kernel.
    """
    twins = ready("validation.twins", "cpu")
    with warnings.catch_warnings():  # that the interpreter is slow: it was asked for
        warnings.simplefilter("ignore")
        found: Trace = twins.twin(trace)
    return found
