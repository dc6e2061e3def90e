"""What a script shows in a stretch of its time, in a few letters: the same in whatever process it is told.

manim keeps what it has rendered, and asks by hash whether a scene is still the same. So a chapter has its own: a word
that changes elsewhere does not change it, nor does when the chapter begins.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from .values import Made, Value


def digest(shape: str, pace: float, parts: Sequence[Any], start: float, stop: float) -> str:
    """Names what a script's parts show from `start` until just before `stop` (seconds), and the code that draws it."""
    a, b = start * pace, stop * pace - 1e-7
    seen: dict[int, tuple[Any, str]] = {}
    shown = [_told((p.actor, p.box, p.opacity), a, b, seen) for p in parts if _is_seen(p, a, b)]
    return hashlib.sha256(f"{shape} {pace} {shown} {_code()}".encode()).hexdigest()[:16]


def _is_seen(part: Any, a: float, b: float) -> bool:
    return any(part.opacity.at(t) > 0 for t in (a, b, *(t for t in part.opacity.times if a <= t <= b)))


def _told(x: Any, a: float, b: float, seen: dict[int, tuple[Any, str]]) -> Any:
    """A thing as tuples of words and numbers: values as what they do from a to b, seen from a."""
    if x is None or isinstance(x, str | int | float | bytes):
        return repr(x)
    tell = partial(_told, a=a, b=b, seen=seen)
    match x:
        case Value():
            return _track(x, a, b, tell)
        case Made():
            times = [a, *(t for t in x.times if a < t < b), b]
            some = [s + (e - s) * k / 16 for s, e in zip(times, times[1:], strict=False) for k in range(16)]
            return tuple(tell(x.at(t)) for t in (*some, b))
        case tuple() | list():
            return (type(x).__name__, *map(tell, x))
        case set() | frozenset():
            return sorted(map(str, map(tell, x)))
        case Mapping():
            return tuple((tell(key), tell(value)) for key, value in x.items())
        case FunctionType():
            code = x.__code__
            inner = [cell.cell_contents for cell in x.__closure__ or ()]
            consts = [c for c in code.co_consts if not hasattr(c, "co_code")]
            return (x.__qualname__, code.co_code.hex(), code.co_names, tell(consts), tell(inner), tell(x.__defaults__))
        case MethodType() | BuiltinFunctionType():
            return (x.__qualname__, tell(x.__self__))
        case partial():
            return (tell(x.func), tell(x.args), tell(x.keywords))
        case type():
            return x.__qualname__
    if id(x) not in seen:  # what is large is told once; and kept, so that its id stays its own
        seen[id(x)] = x, _large(x, tell)
    return seen[id(x)][1]


def _large(x: Any, tell: Any) -> str:
    if isinstance(x, np.ndarray):
        told: Any = (x.shape, str(x.dtype), hashlib.sha256(x.tobytes()).hexdigest())
    elif is_dataclass(x):
        told = (type(x).__name__, *(tell(getattr(x, field.name)) for field in fields(x)))
        if getattr(x, "changing", ()):  # an actor: it does something else in each stretch
            return str(told)
    else:
        told = repr(x)
        if " at 0x" in told:  # it says nothing but where it lies
            told = hashlib.sha256(pickle.dumps(x)).hexdigest()
    return hashlib.sha256(str(told).encode()).hexdigest()


def _track(value: Value, a: float, b: float, tell: Any) -> Any:
    """The legs that a viewer sees from a to b; what went before is where the value stands at a."""
    found = [tell(value.at(a))]
    for leg in value.legs:
        if leg.begin <= b and leg.end > a:
            times = round(leg.begin - a, 6), round(leg.end - a, 6)
            found.append((times, tell(leg.start), tell(leg.goal), leg.ease.__qualname__))
    return tuple(found)


@cache
def _code() -> str:
    """The source of all that draws."""
    here = Path(__file__).parent
    files = [*sorted(here.rglob("*.py")), here.parent / "theme.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
