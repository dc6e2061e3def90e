"""What moves at every size, by closed forms: curves by tokens and by tile, and a table of figures for each."""

from __future__ import annotations

from functools import cache

from ...machine.devices import MODEL
from ...traffic import formulas
from ...units import short, size_of
from ..actors.curve import Axis, Curve, Line
from ..actors.table import Table
from ..values import Made, Value

D, TILE, TOKENS = 64, 128, 8192
LENGTHS, TILES = tuple(TILE << k for k in range(11)), tuple(8 << k for k in range(7))
SHOWN = (1 << 10, 1 << 13, 1 << 16)
NAMES = {"standard-forward": "standard", "flash-forward": "FlashAttention", "flash2-forward": "FlashAttention-2"}
LOOKS = {"standard-forward": ("dim", 0), "flash-forward": ("accent", 10), "flash2-forward": ("accent", 0)}
STANDARD, FLASH, FLASH2 = NAMES
COUNTED = f"one head, d = {D}, fp16; {MODEL}"


def by_tokens(dots: Value, upto: Value) -> Curve:
    """Curves by the number of tokens, up to 10 to the power of `upto`."""
    x = Axis(0.8 * LENGTHS[0], LENGTHS[-1], tuple((n, short(n)) for n in LENGTHS[::3]), "N, tokens", log=True)
    y = Axis(5e3, 3e11, tuple((n, size_of(n).replace(".0", "")) for n in (1e5, 1e7, 1e9, 1e11)), log=True)
    lines = tuple(Line(NAMES[name], tuple((n, moved(name, n, TILE)) for n in LENGTHS), *LOOKS[name]) for name in NAMES)
    end = Made(lambda n: 10**n * (1 + 1e-9), upto)
    return Curve(x, y, lines, dots, upto=end, title=f"HBM traffic, tiles of {TILE}")


def of_standard() -> Table:
    """What both move for a few numbers of tokens, as a share of what standard attention does."""
    rows = tuple(
        (short(n), *(f"{moved(name, n, TILE) / moved(STANDARD, n, TILE):.2f}×" for name in (FLASH, FLASH2)))
        for n in SHOWN
    )
    return Table(rows, ("of standard’s", "FA1", "FA2"))


def by_tile(dots: Value, rules: Value, upto: Value) -> Curve:
    """Curves by the size of a tile, likewise."""
    x = Axis(TILES[0], TILES[-1], tuple((n, str(n)) for n in TILES), "rows of a tile", log=True)
    y = Axis(2e7, 8e9, tuple((n, size_of(n).replace(".0", "")) for n in (1e8, 1e9)), log=True)
    lines = tuple(Line(NAMES[name], tuple((n, moved(name, TOKENS, n)) for n in TILES), *LOOKS[name]) for name in NAMES)
    end = Made(lambda n: 10**n * (1 + 1e-9), upto)
    return Curve(x, y, lines, dots, rules=rules, upto=end, title=f"HBM traffic, N = {short(TOKENS)}")


def of_tiles() -> Table:
    """What both move with tiles of so many rows."""
    rows = tuple((str(n), *(size_of(moved(name, TOKENS, n)) for name in (FLASH, FLASH2))) for n in TILES[2:])
    return Table(rows, ("rows", "FA1", "FA2"))


@cache
def moved(name: str, n: int, tile: int) -> int:
    """Bytes by the closed form, square tiles."""
    if name == STANDARD:
        return formulas.standard_forward(n, n, D).nbytes()
    form = formulas.flash_forward if name == FLASH else formulas.flash2_forward
    return form(n, n, D, tile, tile).nbytes()
