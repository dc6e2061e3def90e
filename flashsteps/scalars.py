"""A number from the user: Python's, NumPy's, or the only one of an array or of a tensor of any library."""

from __future__ import annotations

import sys
from contextlib import suppress
from numbers import Real
from typing import Any

#: how much there may be of anything that is counted: beyond any machine, and well inside what a float can hold
MOST = 1 << 40


def plain(given: Any) -> Any:
    """The Python number that an array or a tensor without axes holds (torch's, with its gradient left behind).

    All else is given back as it is, to be refused in the words of whoever asked.
    """
    held = given
    if getattr(given, "ndim", None) == 0 and hasattr(given, "item"):
        with suppress(Exception):  # whatever a tensor without numbers, or on a device that is gone, raises
            held = given.item()
    if not isinstance(held, bool | Real) and type(held).__module__.startswith("ml_dtypes"):
        held = float(held)
    return held


def whole(name: str, given: Any, least: int = 1) -> int:
    """`given` as an int. Raises ValueError, with its name, unless it is a whole number, `least` (0 or 1) or more."""
    number = plain(given)
    if hasattr(number, "__index__") and not isinstance(number, bool) and getattr(number, "ndim", 0) == 0:
        with suppress(TypeError):
            if (found := number.__index__()) >= least:
                return int(found)
    raise ValueError(f"{name} is {given!r}: give a whole number, {least} or more")


def finite(given: Any) -> float | None:
    """`given` as a float; None where it is no finite number."""
    number = plain(given)
    if not isinstance(number, Real) or isinstance(number, bool):
        return None
    return float(number) if abs(number) <= sys.float_info.max else None  # type: ignore[operator]


def real(name: str, given: Any, none: str = "None") -> float:
    """`given` as a float. Raises ValueError, with its name, unless it is a finite number; `none` is what else may be
    given."""
    if (number := finite(given)) is None:
        raise ValueError(f"{name} is {given!r}: give a finite number, or {none}")
    return number
