"""Triton kernels of attention, and the recorder that proves them against the traces of the NumPy reference."""

from __future__ import annotations

import importlib
from typing import Any

#: what is public here, and the module that has it: imported when asked for, because torch and triton take seconds
_WHERE = {
    "backward": "flash2_backward",
    "block_sparse": "flash2_block_sparse",
    "csr": "flash2_block_sparse",
    "forward": "flash2_forward",
    "paged_decode": "paged",
    "partial_results": "split_kv",
    "split_kv_decode": "split_kv",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{_WHERE[name]}", __name__)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "triton"):
            raise
        raise ImportError(f"{name} needs {error.name}: pip install 'flashsteps[kernels]'", name=error.name) from None
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
