"""Number types: how wide a value is in HBM, and what it is computed in on chip."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ..errors import unknown
from ..inputs.types import STORAGE, name_of, numpy_type

#: what is stored where there is no data that has a type of its own
DEFAULT = "float16"


def storage(dtype: Any) -> np.dtype[Any]:
    """The type that q, k, v and O have in HBM: by its name, or as NumPy or torch have it.

    Raises ValueError for one that isn't known, or needs a package.
    """
    try:
        name = name_of(dtype)
    except TypeError:
        name = str(dtype)
    if name not in STORAGE:
        raise ValueError(unknown("dtype", name, STORAGE))
    return numpy_type(name)


def computing(dtype: Any) -> np.dtype[np.floating]:
    """The type of on-chip values and of m, ℓ and LSE: float32, or float64 where storage is float64."""
    return np.dtype(np.float64 if storage(dtype) == np.float64 else np.float32)


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
