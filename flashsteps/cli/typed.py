"""Numbers, sizes and ranges as they are typed: a text becomes a value, or a ValueError; `options` says what to give."""

from __future__ import annotations

import math
import re

from ..scalars import MOST


class TooLarge(ValueError):
    """A number past what is read."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most


def integer(text: str, most: int = (1 << 63) - 1) -> int:
    """A whole number in plain digits. int() would take 1_0, the digits of all alphabets, and millions of them."""
    if not re.fullmatch(r"[+-]?[0-9]+", text.strip()):
        raise ValueError
    if len(text) > 40 or abs(number := int(text)) > most:
        raise TooLarge(most)
    return number


def positive(text: str) -> int:
    if (number := integer(text, MOST)) < 1:
        raise ValueError
    return number


def index(text: str) -> int:
    if (number := integer(text, MOST)) < 0:
        raise ValueError
    return number


def finite(text: str) -> float:
    """A number in plain digits: not nan, not inf."""
    plain = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text.strip().lower())
    if not plain or not math.isfinite(number := float(text)):
        raise ValueError
    return number


def indices(text: str) -> tuple[int, ...]:
    return tuple(map(integer, text.split(",")))


def slopes(text: str) -> float | tuple[float, ...]:
    found = tuple(map(finite, text.split(",")))
    return found if len(found) > 1 else found[0]


def size(text: str) -> tuple[int, int]:
    width, height = map(positive, re.split("[x×X]", text))
    return width, height


_UNITS = {"": 1, "b": 1} | {f"{k}{i}b": (1024 if i else 1000) ** n for n, k in enumerate("kmg", 1) for i in ("", "i")}


def nbytes(text: str) -> int:
    number, unit = _split(text, "[a-z]*")
    found = float(number) * _UNITS.get(unit, 0)
    if found > MOST:
        raise TooLarge(MOST)
    if found < 1 or found % 1:
        raise ValueError
    return int(found)


def tokens(text: str) -> int:
    number, unit = _split(text, "[km]?")
    if (count := positive(number) * {"": 1, "k": 1 << 10, "m": 1 << 20}[unit]) > MOST:
        raise TooLarge(MOST)
    return count


def _split(text: str, unit: str) -> tuple[str, str]:
    """A number and its unit, in lower case."""
    found = re.fullmatch(rf"(\d+\.?\d*)\s*({unit})", text.strip().lower(), re.ASCII)
    if not found:
        raise ValueError
    return found[1], found[2]


def moment(text: str) -> float:
    return math.inf if text == "last" else finite(text)


def steps(text: str) -> slice:
    if text == "all":
        return slice(None)
    start, stop = (integer(part) if part else None for part in text.split(":"))
    if (start or 0) < 0 or (stop or 0) < 0:
        raise ValueError
    return slice(start, stop)
