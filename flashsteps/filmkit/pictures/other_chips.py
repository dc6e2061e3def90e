"""The bandwidth of GPUs' memory, from datasheets: one bar a GPU, in order, of which one stands out."""

from __future__ import annotations

from typing import Any

from ...machine.devices import DEVICES, Device
from ..actors.bars import Bar, Bars
from ..values import Made


def bandwidths(chosen: Device, grown: Any) -> Bars:
    """Of all that are known, as far as they have `grown`."""
    ordered = sorted(DEVICES.values(), key=lambda gpu: gpu.bandwidth)
    bars = tuple(
        Bar(gpu.model, Made(lambda u, of=gpu: u * of.bandwidth, grown), "accent" if gpu == chosen else "dim",
            note=f"{gpu.memory} GB {gpu.memory_kind}")
        for gpu in ordered
    )  # fmt: skip
    return Bars(bars, ordered[-1].bandwidth, "{:.3f} TB/s", title="bandwidth of GPU memory")
