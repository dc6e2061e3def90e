"""Number types: how wide a value is in HBM, and what it is computed in on chip."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ..errors import unknown

#: what a tensor may be stored in, and the module that has it; its `itemsize` is the bytes of a value, nobody else's
#: business
STORAGE = {"float16": "numpy", "bfloat16": "ml_dtypes", "float32": "numpy", "float64": "numpy"}

DEFAULT = "float16"


def storage(name: str) -> np.dtype[Any]:
    """The type that q, k, v and O have in HBM. Raises ValueError for a name that isn't known, or needs a package."""
    if name not in STORAGE:
        raise ValueError(unknown("dtype", name, STORAGE))
    try:
        dtype: np.dtype[Any] = np.dtype(getattr(importlib.import_module(STORAGE[name]), name))
    except ImportError:
        raise ValueError(f"dtype {name!r} needs {STORAGE[name]}: pip install 'flashsteps[inputs]'") from None
    return dtype


def computing(name: str) -> np.dtype[np.floating]:
    """The type of on-chip values and of m, ℓ and LSE: float32, or float64 where storage is float64."""
    return np.dtype(np.float64 if storage(name) == np.float64 else np.float32)


def largest(dtype: np.dtype[Any]) -> float:
    """The largest number of a type."""
    module: Any = importlib.import_module(STORAGE[dtype.name])
    return float(module.finfo(dtype).max)


def to_plain(array: np.ndarray) -> np.ndarray:
    """An array that any NumPy can save: bfloat16 as its bits, uint16."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def from_plain(array: np.ndarray) -> np.ndarray:
    """The same back: no other tensor is of uint16."""
    return array.view(storage("bfloat16")) if array.dtype == np.uint16 else array
