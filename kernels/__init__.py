"""Triton kernels of attention, and the recorder that proves them against the traces of the NumPy reference."""

from __future__ import annotations

import importlib
from typing import Any

#: what is public here, and the module that has it: imported when asked for, because torch and triton take seconds
_WHERE = {
    "Argument": "recorder.tensors.Argument",
    "FallbackWarning": "attention.FallbackWarning",
    "backward": "flash2_backward.backward",
    "block_sparse": "flash2_block_sparse.block_sparse",
    "csr": "flash2_block_sparse.csr",
    "empty_log": "flash2_forward.empty_log",
    "flash_attention": "attention.flash_attention",
    "flash_attention_varlen": "varlen.flash_attention_varlen",
    "flash_attention_with_kvcache": "kv_cache.flash_attention_with_kvcache",
    "forward": "flash2_forward.forward",
    "paged_decode": "paged.paged_decode",
    "partial_results": "split_kv.partial_results",
    "read_log": "trace_log.read",
    "record_kernels": "recorder.record.record_kernels",
    "split_kv_decode": "split_kv.split_kv_decode",
    "trace_of": "recorder.trace_of.trace_of",
    "twin": "validation.twins.twin",
    "Vector": "recorder.tensors.Vector",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _WHERE[name].rpartition(".")
    try:
        return getattr(importlib.import_module(f".{module}", __name__), attribute)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "triton"):
            raise
        raise ImportError(f"{name} needs {error.name}: pip install 'flashsteps[kernels]'", name=error.name) from None


def __dir__() -> list[str]:
    return __all__
