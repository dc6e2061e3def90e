"""Areas to scale that films are made of: S beside Q and K, heads in a card's memory, memories, blocks in SRAM."""

from __future__ import annotations

from math import ceil, log2

from ..theme import hue
from ..units import short
from .actors.areas import Area
from .boxes import Box

BESIDE = 1.3  # where S begins, in widths of Q, which stands at its left, and of K, which lies above it


def scores(n: float, d: int, was: float = 0) -> tuple[Area, ...]:
    """S of n tokens with Q and K at its sides; what it was before is dashed."""
    at, half, name = BESIDE * d, n / 2, _squared(n)
    square = Area(at, at, n, n, "S"), Area(at + half, at + half, half, half, "S", name)
    strips = Area(0, at, d, n, "Q", "Q"), Area(at, 0, n, d, "K", "K")
    return (*square, *strips, *([Area(at, at, was, was, "bg", open=True)] if was else []))


def nested(n: float, d: int, sizes: tuple[int, ...]) -> tuple[Area, ...]:
    """The same, with those of the sizes that are smaller inside."""
    at, inside = BESIDE * d, [m for m in reversed(sizes) if m < n]
    whole = Area(at, at, n, n, "S", f"S {_squared(n)}".rstrip(), edge="bg", strength=0.6)
    squares = (
        Area(at, at, m, m, "S", short(m), edge="bg", strength=0.8 + 0.2 * min(k, 1)) for k, m in enumerate(inside)
    )
    return (whole, *squares, Area(0, at, d, n, "Q"), Area(at, 0, n, d, "K"))


def _squared(n: float) -> str:
    """`1K × 1K`; nothing while n is on its way."""
    return f"{short(int(n))} × {short(int(n))}" if n == int(n) else ""


def packed(count: float, fit: float, name: str) -> tuple[Area, ...]:
    """So many heads, one square each, and the memory that has room for `fit` of them, four in a line."""
    head, gap, areas = 0.45, 0.06, [Area(0, 0, 4, 0.4, "bg", f"{name}: room for {fit:.1f}")]
    for line in range(4):
        wide = min(4.0, max(0.0, fit - 4 * line))
        areas += [Area(0, head + line, wide, 1 - gap / 2, "panel", edge="ink")] if wide else []
    for n in range(ceil(count)):
        x, y, inside, side = n % 4 + gap, head + n // 4 + gap, min(1.0, max(0.0, fit - n)), 1 - 2.5 * gap
        if inside < 1:
            areas.append(Area(x, y, side, side, "S", "" if inside else str(n + 1), open=True))
        areas += [Area(x, y, side * inside, side, "S", str(n + 1), part=min(1.0, count - n))] if inside else []
    return tuple(areas)


def multiprocessor(shared: int, registers: int, part: float) -> tuple[Area, ...]:
    """What an SM has on chip (KiB), as far as it is filled: as wide as large, and 0.45 as high as both are wide."""
    gap, high = 3.0, (shared + registers) * 0.45
    return tuple(
        Area(x, 0, size - gap, high, "sram_line", f"{size} KiB", name, part=part, edge="sram_line")
        for x, size, name in ((0, shared, "shared memory"), (shared + gap, registers, "registers"))
    )


def memories(part: float, side: float, wide: bool, sizes: tuple[str, str, str]) -> tuple[Area, ...]:
    """SRAM's square, of this side, and HBM's, of 1, which opens from behind it; DRAM's doesn't fit, and is said."""
    now, foot, there = side + (1 - side) * part, 1.02, part == 1
    small, large, others = sizes
    dram = Area(1.52, foot - 0.16, 0.48, 0.16, "bg") if wide else Area(0.5, foot + 0.04, 1.0, 0.22, "bg")
    hbm = Area(0.5, foot - now, now, now, "dim", "HBM" if there else "", large if there else "", strength=0.5)
    sram = Area(0.5 - side - 0.02, foot - side, side, side, "sram_line")
    name = Area(0, foot - 0.16, 0.46 - side, 0.16, "bg", "SRAM", small)
    return (hbm, sram, name, *([dram._replace(name="DRAM", under=others)] if there else []))


def blocks(M: float, d: int, most: int) -> tuple[Area, ...]:
    """SRAM as an area of M numbers, 4d wide, and the four blocks that FA1 makes of it, min(M/4d, d) and M/4d high.

    It stands on a ground that has room for `most` numbers.
    """
    keys, foot, edge = M / 4 / d, most / 4 / d, 6
    frame = Area(0, foot - keys, 4 * d + 2 * edge, keys + 2 * edge, "sram", "SRAM", edge="sram_line", beside=True)
    high = {"K": keys, "V": keys, "Q": min(keys, d), "O": min(keys, d)}
    inside = (
        Area(edge + k * d + 1, edge + foot - rows, d - 2, rows, name, name)
        for k, (name, rows) in enumerate(high.items())
    )
    return (frame._replace(under=f"M = {short(2 ** round(log2(M)))}"), *inside)


LEFT, TOP, SIDE, PAD = 1.9, 1.3, 0.94, 0.06  # where tiles of S begin, how large they are, and their frame


def owners(blocks: tuple[int, int], keys: bool, lit: float) -> tuple[Area, ...]:
    """The tiles of S, with Q and dO beside them and K and V above; the program `lit` owns a column, or a row; without
    one, −1, all is pale."""
    (rows, columns), at, runs = blocks, int(lit), lit >= 0

    def area(x: float, y: float, w: float, h: float, name: str, on: bool) -> Area:
        words = name if (on or not runs) and name != "S" else ""
        return Area(x + PAD, y + PAD, w, h, hue(name), words, strength=1.0 if on and runs else 0.2)

    above = (area(LEFT + j, k * 0.6, SIDE, 0.5, "KV"[k], j == at or not keys) for j in range(columns) for k in (0, 1))
    beside = (area(k * 0.9, TOP + i, 0.8, SIDE, ("Q", "dO")[k], i == at or keys) for i in range(rows) for k in (0, 1))
    tiles = (
        area(LEFT + j, TOP + i, SIDE, SIDE, "S", (j if keys else i) == at) for i in range(rows) for j in range(columns)
    )
    x, y, w, h = (LEFT + at, 0.0, SIDE, TOP + rows) if keys else (0.0, TOP + at, LEFT + columns, SIDE)
    frame = Area(x, y, w + 2 * PAD, h + 2 * PAD, "accent", open=True)
    return (*above, *beside, *tiles, *([frame] if runs else []))


def owners_size(blocks: tuple[int, int]) -> tuple[float, float]:
    """How wide and how high that is."""
    return LEFT + blocks[1] + 2 * PAD, TOP + blocks[0] + 2 * PAD


def strips(read: float, sizes: tuple[int, ...], box: Box) -> tuple[Area, ...]:
    """K over V in pieces of so many keys, in the units of a box; of each, `read` keys are gone, from above."""
    letter, high, whole, areas = 50.0, min(54.0, box.h / 2 - 16), sum(sizes), list[Area]()
    for k, name in enumerate("KV"):
        y, x = k * (high + 22), letter
        areas.append(Area(0, y, letter - 8, high, "bg", name))
        for size in sizes:
            wide, gone = (box.w - letter) * size / whole, min(1.0, read / size)
            thin = wide - min(3.0, 0.35 * wide) * (len(sizes) > 1)
            areas.append(Area(x, y, thin, high, name, strength=0.18))
            areas.append(Area(x, y + gone * high, thin, (1 - gone) * high, name))
            x += wide
    return tuple(areas)


def weights(shares: tuple[float, ...], said: tuple[str, ...], shown: tuple[float, ...], box: Box) -> tuple[Area, ...]:
    """Shares of 1 as parts of one bar that fills a box, each with what is `said` of it, as far as it has grown."""
    areas, start = list[Area](), 0.0
    for n, (share, part, words) in enumerate(zip(shares, shown, said, strict=True)):
        wide = max(0.0, box.w * share * part - 3)
        areas.append(Area(start, 0, wide, box.h, "stat", words, strength=(1.0, 0.6)[n % 2]))
        start += box.w * share
    return tuple(areas)
