"""Number types: how wide a value is in HBM, and what it is computed in on chip."""

from __future__ import annotations

import numpy as np

from .errors import unknown

#: what a tensor may be stored in; the bytes of a value are this type's `itemsize`, and nobody else's business
STORAGE: dict[str, type[np.floating]] = {"float16": np.float16, "float32": np.float32, "float64": np.float64}

DEFAULT = "float16"


def storage(name: str) -> np.dtype[np.floating]:
    """The type that q, k, v and O have in HBM. Raises ValueError for a name that isn't known."""
    if name not in STORAGE:
        raise ValueError(unknown("dtype", name, STORAGE))
    return np.dtype(STORAGE[name])


def computing(name: str) -> np.dtype[np.floating]:
    """The type of on-chip values and of m, ℓ and LSE: float32, or float64 where storage is float64."""
    return np.dtype(np.float64 if storage(name) == np.float64 else np.float32)
