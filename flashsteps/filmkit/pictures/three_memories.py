"""SRAM, HBM and DRAM as the paper has them: how much they hold, how fast tiles come from each, how long one takes."""

from __future__ import annotations

from math import sqrt

from ...machine.devices import Device
from ...traffic.published import figure
from .. import shapes
from ..actors.areas import Areas
from ..actors.bars import Bar, Bars
from ..actors.ladder import Ladder, Level
from ..values import Made, Value

ROWS, D = 128, 64  # of a tile
TILE = ROWS * D * 2  # bytes
SPEED = {"SRAM": figure("sram-bandwidth").value * 1e12, "HBM": figure("hbm-bandwidth").value * 1e12,
         "DRAM": figure("dram-bandwidth").value * 1e9}  # fmt: skip
TAKES = {name: TILE / speed for name, speed in SPEED.items()}  # seconds
COME = {name: speed * TAKES["DRAM"] / TILE for name, speed in SPEED.items()}  # tiles, while one comes from DRAM


def times() -> float:
    """How many times as much HBM holds as all SRAM together."""
    return figure("hbm-size").value * 1e3 / figure("sram-size").value


def held(wide: bool, grown: Value) -> Areas:
    """SRAM's area beside HBM's, which opens as it has `grown`, and words for DRAM's; in a `wide` picture or another."""
    small, large, far = (figure(f"{name}-size").value for name in ("sram", "hbm", "dram"))
    words = f"{small:g} MB", f"{large:g} GB", f"> {far:g} TB: over {far * 1e3 / large:.0f} of these"
    areas = Made(shapes.memories, grown, 1 / sqrt(times()), wide, words)
    return Areas(areas, 2.0 if wide else 1.5, 1.02 if wide else 1.3, middle=True)


def ladder(gpu: Device, passed: Value) -> Ladder:
    """Tiles that come from each in the same time, of which a share has `passed`."""
    says = {
        "SRAM": f"{figure('sram-size').value:g} MB, {figure('sram-bandwidth').value:g} TB/s",
        "HBM": f"{figure('hbm-size').value:g} GB, {figure('hbm-bandwidth').value:g} TB/s",
        "DRAM": f"> {figure('dram-size').value:g} TB, {figure('dram-bandwidth').value:g} GB/s",
    }
    what = f"on chip, {gpu.multiprocessors} SMs", "GPU memory", "CPU memory"
    levels = tuple(
        Level(name, said, where, Made(lambda u, most=COME[name]: most * u, passed), COME[name])
        for (name, said), where in zip(says.items(), what, strict=True)
    )
    clock = Made(lambda u: f"{1e6 * TAKES['DRAM'] * u:.2f} of {1e6 * TAKES['DRAM']:.2f} µs", passed)
    return Ladder(levels, title="tiles that have come", clock=clock)


def one_tile(passed: Value) -> Bars:
    """How long one takes from each, as far as the time has `passed` (seconds)."""
    bars = tuple(Bar(name, Made(min, passed, time), "K") for name, time in TAKES.items())
    return Bars(bars, TAKES["DRAM"], "time", title="until one tile has come")
