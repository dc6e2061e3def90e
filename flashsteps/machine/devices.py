"""GPUs: how much memory they have, how fast it is, and how much fits on chip."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import unknown

#: what the figures that are counted for a device leave out: said beside them
MODEL = "counted between HBM and SRAM only"


class Device(NamedTuple):
    """One GPU. Shared memory from NVIDIA's architecture traits (CCCL), the rest from datasheets.

    Units: KiB (1,024 B) on chip, GB and MB (decimal) elsewhere, bandwidth in TB/s, dense fp16 in TFLOP/s.
    """

    title: str
    multiprocessors: int
    shared_per_sm: int
    shared_per_block: int
    registers_per_sm: int
    l2: int
    memory: int
    memory_kind: str
    bandwidth: float
    tflops: int

    @property
    def model(self) -> str:
        """Its title without its maker."""
        return self.title.partition(" ")[2]

    @property
    def chip(self) -> str:
        """Its model without its memory: what is said of what is on chip."""
        return re.sub(r" \d+ GB$", "", self.model)

    @property
    def shared(self) -> int:
        """Bytes of shared memory in all multiprocessors together: what of S could stay on chip at most."""
        return self.multiprocessors * self.shared_per_sm * 1024


DEVICES = {
    "t4": Device("NVIDIA T4", 40, 64, 64, 256, 4, 16, "GDDR6", 0.320, 65),
    "rtx4090": Device("NVIDIA RTX 4090", 128, 100, 99, 256, 72, 24, "GDDR6X", 1.008, 165),
    "a100-40gb": Device("NVIDIA A100 40 GB", 108, 164, 163, 256, 40, 40, "HBM2", 1.555, 312),
    "a100-80gb": Device("NVIDIA A100 80 GB", 108, 164, 163, 256, 40, 80, "HBM2e", 2.039, 312),
    "h100": Device("NVIDIA H100 SXM", 132, 228, 227, 256, 50, 80, "HBM3", 3.35, 989),
    "h200": Device("NVIDIA H200", 132, 228, 227, 256, 50, 141, "HBM3e", 4.8, 989),
    "b200": Device("NVIDIA B200", 148, 228, 227, 256, 126, 180, "HBM3e", 8.0, 2250),
    "mi300x": Device("AMD MI300X", 304, 64, 64, 512, 32, 192, "HBM3", 5.3, 1307),
}

DEFAULT = "a100-80gb"


def device(name: str) -> Device:
    """The GPU of that name. Raises ValueError for one that isn't known."""
    if name not in DEVICES:
        raise ValueError(unknown("device", name, DEVICES))
    return DEVICES[name]
