"""What a plot of traffic shows, as plain data: bytes against N and against the tile, counted and recorded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import log2
from typing import Any, NamedTuple

import numpy as np

from .. import algorithms
from ..algorithms import Algorithm
from ..inputs import qkv as inputs
from ..machine.devices import Device
from ..runs import counting
from ..runs import record as run
from ..traffic import report

#: where a curve by N begins, between which tiles a curve by tile goes, and how many points there are for each doubling
FIRST, TILES, DENSITY, FEW = 128, (8, 512), 8, 128

#: the N of the curves by tile, or the largest asked for where that is less
TILE_N = 1 << 13

#: the N that are recorded, as far as a plot shows them and a run has no more tiles than this
RECORDED, MOST_TILES = (16, 32, 64, 128, 256, 512, 1024), 1 << 12

STEP = "decoding step"


class Curve(NamedTuple):
    """Bytes of one algorithm at some x: an N, or the side of a tile.

    `recorded` are those of real runs; `level` is the first x from which it moves no more than standard attention, None
    where it never or always does; `fits` the last x at which its tile fits on the device, None where all do.
    """

    algorithm: str
    points: tuple[tuple[int, int], ...]
    recorded: tuple[tuple[int, int], ...] = ()
    level: int | None = None
    fits: int | None = None


def kind(names: Sequence[str]) -> str:
    """What the algorithms do: a forward pass, a backward pass or a decoding step.

    Raises ValueError where they do different things: their bytes do not belong in one picture.
    """
    found = {_kind(algorithms.algorithm(name)): name for name in reversed(names)}
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise ValueError(
            f"{other} and {one} do different things: plot forward, backward, decode algorithms one kind at a time"
        )
    return next(iter(found))


def _kind(about: Algorithm) -> str:
    return STEP if about.decodes else f"{about.direction} pass"


def by_size(name: str, most: int, rule: str, times: int, options: dict[str, Any]) -> Curve:
    """Bytes of so many heads against N, up to `most`; `options` are those of `flashsteps.count`."""
    low, area = min(FIRST, most // 8), options["block_q"] * options["block_k"]
    recorded = [n for n in RECORDED if low <= n <= most and n * n <= MOST_TILES * area]
    sizes = sorted({*_between(low, most), *recorded})
    return Curve(
        name,
        tuple((n, times * _counted(name, n, rule, options)) for n in sizes),
        tuple((n, times * _recorded(name, n, rule, options)) for n in recorded),
    )


def by_tile(name: str, n: int, rule: str, times: int, options: dict[str, Any], gpu: Device) -> Curve:
    """Bytes of so many heads against the side of a square tile at n keys."""
    low, high = (min(side, n) for side in TILES)
    every = range(low, high + 1)
    standard = report.standard(name, n, options).total

    def with_tile(tile: int) -> dict[str, Any]:
        return options | {"block_q": tile, "block_k": tile}

    def moves_no_more(tile: int) -> bool:
        return _counted(name, n, rule, with_tile(tile)) <= standard

    def is_too_large(tile: int) -> bool:
        return report.fits(name, counting.count(name, **report.arguments(name, n, with_tile(tile))), gpu) is False

    level, beyond = bisect_left(every, True, key=moves_no_more), bisect_left(every, True, key=is_too_large)
    return Curve(
        name,
        tuple((tile, times * _counted(name, n, rule, with_tile(tile))) for tile in _between(low, high)),
        level=every[level] if 0 < level < len(every) else None,
        fits=every[beyond - 1] if 0 < beyond < len(every) else None,
    )


def _between(low: int, high: int) -> list[int]:
    """Whole numbers from low to high: all of them where they are few, else `DENSITY` for each doubling."""
    if high - low <= FEW:
        return [*range(low, high + 1)]
    steps = max(round(DENSITY * log2(high / low)), 1)
    return sorted({round(low * (high / low) ** (step / steps)) for step in range(steps + 1)})


def _counted(name: str, n: int, rule: str, options: dict[str, Any]) -> int:
    return counting.count(name, **report.arguments(name, n, options), rule=report.rule_of(name, rule)).total


def _recorded(name: str, n: int, rule: str, options: dict[str, Any]) -> int:
    """What a run on random numbers moved, the same ones for each head."""
    one, shape = inputs.load_qkv(f"random:{n},{options['d']}"), report.arguments(name, n, options)
    given = {key: value for key, value in shape.items() if key not in ("d", "d_v", "n", "n_keys", "heads", "kv_heads")}
    q = np.repeat(one.q[None, : shape["n"]], shape.get("heads", 1), axis=0)
    v = np.resize(one.v, (n, options.get("d_v") or options["d"]))
    if algorithms.algorithm(name).backward:
        given["do"] = np.zeros((*q.shape[:2], v.shape[1]))  # whatever it is, as many bytes of it move
    return run.record(name, q, one.k[None], v[None], **given).io(report.rule_of(name, rule)).total
