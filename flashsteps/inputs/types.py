"""Number types of arrays: what each library calls them, and which type holds the numbers of others exactly."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

#: what a tensor may be stored in, and the module that has it; its `itemsize` is the bytes of a value, nobody else's
#: business
STORAGE = {"float16": "numpy", "bfloat16": "ml_dtypes", "float32": "numpy", "float64": "numpy"}

#: real numbers, by their type's name
_REAL = re.compile(r"(bfloat|float|int|uint)\d+\w*")

#: types of 8 bits and fewer whose numbers are all among float16's; powers of two alone (e8m0) reach further
_SMALL = re.compile(r"float[468]_(?!e8m0)\w+")


def name_of(dtype: Any) -> str:
    """The name of a type, as NumPy, ml_dtypes and torch have it: float32, bfloat16, int8 …; a str is one already."""
    if isinstance(dtype, str):
        return dtype
    if isinstance(dtype, type):
        dtype = np.dtype(dtype)
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def is_real(kind: str) -> bool:
    """Whether a type is one of real numbers."""
    return _REAL.fullmatch(kind) is not None


def kept_as(kind: str) -> str:
    """What numbers of a type are stored as unless told otherwise: as what they are, or as what holds them exactly.

    Whole numbers become float32, as arithmetic on a GPU has them.
    """
    if kind in STORAGE:
        return kind
    if kind in ("float96", "float128"):
        return "float64"
    return "float16" if _SMALL.fullmatch(kind) else "float32"


def common(kinds: Iterable[str]) -> str:
    """The narrowest of the storage types that holds all numbers of these ones."""
    found = set(kinds)
    if len(found) == 1:
        return found.pop()
    return "float64" if "float64" in found else "float32"


def numpy_type(name: str) -> np.dtype[Any]:
    """A storage type. Raises ValueError where it needs a package that is not there."""
    try:
        dtype: np.dtype[Any] = np.dtype(getattr(importlib.import_module(STORAGE[name]), name))
    except ImportError:
        raise ValueError(f"dtype {name!r} needs {STORAGE[name]}: pip install 'flashsteps[inputs]'") from None
    return dtype
