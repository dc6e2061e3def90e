"""Numbers as people read them: bytes in decimal units, counts of tokens in binary ones, values in few signs."""

from __future__ import annotations

import math


def size_of(nbytes: float) -> str:
    """Bytes: 6,144 B, 16.5 KB, 8.6 GB."""
    if nbytes < 10_000:
        return f"{nbytes:,.0f} B"
    for unit in ("KB", "MB", "GB"):
        nbytes /= 1000
        if nbytes < 999.5:
            return f"{nbytes:.1f} {unit}" if nbytes < 99.95 else f"{nbytes:,.0f} {unit}"
    return f"{nbytes / 1000:,.1f} TB"


def time_of(seconds: float) -> str:
    """A time: 125 ps, 1.2 µs, 67.4 ms, 4.31 s."""
    for size, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps")):
        if seconds >= size * 0.9995:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds * 1e15:.3g} fs"


def rows_of(start: int, stop: int) -> str:
    """Rows start … stop − 1: `rows 8–11`, `row 4`."""
    return f"rows {start}–{stop - 1}" if stop - start > 1 else f"row {start}"


def short(n: int) -> str:
    """A number of tokens: 16, 1K, 64K, 1M."""
    for size, name in ((1 << 20, "M"), (1 << 10, "K")):
        if n >= size and n % size == 0:
            return f"{n // size}{name}"
    return str(n)


def head_of(d: int, d_v: int | None = None) -> str:
    """The size of a head: `d = 64`, and of its values, where it is another: `d = 64, v 32 wide`."""
    return f"d = {d}" if d_v in (None, d) else f"d = {d}, v {d_v} wide"


def number(x: float, places: int = 2, room: int = 5) -> str:
    """A value as cells show it: a true minus, no minus zero, fewer places where it would be too long, then 1e3.

    NaN, what is not there yet, is "".
    """
    if math.isnan(x):
        return ""
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    for digits in range(places, -1, -1):
        shown = f"{abs(x):.{digits}f}"
        shown = "−" + shown if x < 0 and float(shown) else shown
        if len(shown) <= room:
            return shown
    mantissa, exponent = f"{x:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def fixed(x: float, places: int, least: int | None = None) -> str:
    """A value with so many places, or with `least` where it has no digit beyond them; a very large one as `number`."""
    if least is not None and least < places and math.isfinite(x) and round(x, least) == x:
        places = least
    return number(x, places, 8 + places)


def places(most: float, least: int = 1) -> int:
    """With how many places values up to `most` are told apart: the largest has five units of the last one, or more."""
    return max(least, min(6, -math.floor(math.log10(most / 5)))) if 0 < most < math.inf else least


#: how many times as large a rounding error may be on another processor, which sums in another order
ELSEWHERE = 3


def at_most(x: float) -> str:
    """A bound of a rounding error, true on any processor: a power of ten, `10^{−6}`, or `0`; raised as words on screen
    take it."""
    if x == 0:
        return "0"
    return f"10^{{{math.ceil(math.log10(ELSEWHERE * x))}}}".replace("-", "−")
