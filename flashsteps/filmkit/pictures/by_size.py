"""What moves at every size, by closed forms: curves by tokens and by tile, and the transfers that a formula counts."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...machine.devices import MODEL
from ...runs.record import record
from ...theme import hue
from ...traffic import formulas
from ...units import short, size_of
from ..actors.areas import Area
from ..actors.curve import Axis, Curve, Line
from ..actors.formula import Term
from ..values import Made, Value

D, TILE, TOKENS = 64, 128, 8192
LENGTHS, TILES = tuple(TILE << k for k in range(11)), tuple(8 << k for k in range(7))
RECORDED, SHOWN = (128, 512), (1 << 10, 1 << 13, 1 << 16)
SRAMS = (1 << 13, 1 << 14, 1 << 15, 1 << 16)  # numbers
NAMES = {"standard-forward": "standard", "flash-forward": "FlashAttention", "flash2-forward": "FlashAttention-2"}
SHORT = {"standard-forward": "standard", "flash-forward": "FA1", "flash2-forward": "FA2"}
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


def by_tile(dots: Value, rules: Value, upto: Value) -> Curve:
    """Curves by the size of a tile, likewise."""
    x = Axis(TILES[0], TILES[-1], tuple((n, str(n)) for n in TILES), "rows of a tile", log=True)
    y = Axis(2e7, 8e9, tuple((n, size_of(n).replace(".0", "")) for n in (1e8, 1e9)), log=True)
    lines = tuple(Line(NAMES[name], tuple((n, moved(name, TOKENS, n)) for n in TILES), *LOOKS[name]) for name in NAMES)
    end = Made(lambda n: 10**n * (1 + 1e-9), upto)
    return Curve(x, y, lines, dots, rules=rules, upto=end, title=f"HBM traffic, N = {short(TOKENS)}")


@cache
def moved(name: str, n: int, tile: int) -> int:
    """Bytes by the closed form, square tiles."""
    if name == STANDARD:
        return formulas.standard_forward(n, n, D).nbytes()
    form = formulas.flash_forward if name == FLASH else formulas.flash2_forward
    return form(n, n, D, tile, tile).nbytes()


@cache
def recorded(name: str, n: int) -> int:
    """Bytes of a run, on numbers at random: what moves doesn't depend on them."""
    q, k, v = np.random.default_rng(n).standard_normal((3, n, D)).astype(np.float32)
    return record(name, q, k, v, block_q=TILE, block_k=TILE, dtype="float16").io().total


@cache
def transfers() -> tuple[tuple[str, float, bool], ...]:
    """What standard attention moves, in the order of a tiny run: tensor, width (d is a quarter of N), is it written?"""
    N, d = 16, 4
    run = record("standard-forward", *np.zeros((3, N, d), np.float16), block_q=N, block_k=N)
    return tuple((e.tile.tensor, 256 * e.nbytes / (2 * N * N), e.op == "store") for e in run if e.tile and e.nbytes)


def in_order(count: float) -> tuple[Area, ...]:
    """The transfers so far, to scale, side by side."""
    areas, x = [], 0.0
    for n, (tensor, wide, written) in enumerate(transfers()):
        if n < count:
            part, there = min(1.0, count - n), n + 1 <= count
            areas.append(Area(x, 0, wide, 256, hue(tensor), tensor, part=part, hatched=written and there))
        x += wide + 40
    return tuple(areas)


def so_far(count: float) -> tuple[Term | str, ...]:
    """How many numbers that are: Nd for a strip, N² for a square."""
    done = [wide for _, wide, _ in transfers()[: int(count + 1e-9)]]
    squares = done.count(256)
    return Term(f"{len(done) - squares}Nd"), " + ", Term(f"{squares}N²", "S")


def with_sram(M: int) -> int:
    """FlashAttention's bytes with the tiles that the paper makes of M numbers."""
    return formulas.flash_forward(TOKENS, TOKENS, D, *formulas.flash_blocks(M, D)).nbytes()
