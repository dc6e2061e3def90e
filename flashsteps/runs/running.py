"""A run, with data or without: its HBM and SRAM, what lies in HBM before, and the turn of each key-value head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from .. import algorithms
from ..machine import dtypes, mask_arrays
from ..machine.devices import device as device_of
from ..machine.events import Event
from ..machine.memory import ADDRESSES, HBM, SRAM, Capacity, Tape, Tensor
from ..scalars import whole


def machine(
    algorithm: str,
    dtype: Any,
    device: str | None,
    sram: int | None,
    tape: Tape,
    counting: bool = False,
    by_runs: bool = False,
    parts: int = 1,
) -> tuple[HBM, SRAM]:
    """HBM and SRAM for one run, with the capacity that is to be enforced."""
    capacity = Capacity()
    if device is not None and sram is not None:
        raise ValueError(f"device={device!r} and sram={sram!r} both say what fits on chip: give one of them")
    if sram is not None:
        capacity = Capacity(total=whole("sram", sram))
    if device is not None:
        gpu = device_of(device)
        capacity = Capacity(gpu.shared_per_block * 1024, gpu.registers_per_sm * 1024)
    if algorithms.algorithm(algorithm).ideal_products:
        capacity = Capacity()
    hbm = HBM(dtypes.storage(dtype), dtypes.computing(dtype), counting, parts)
    return hbm, SRAM(hbm, tape, capacity, by_runs)


class _Nobody:
    """A tape for what is no part of the trace."""

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        pass


def initial(
    algorithm: str,
    hbm: HBM,
    shapes: Mapping[str, tuple[int, ...]],
    data: Mapping[str, np.ndarray] | None,
    options: dict[str, Any],
) -> list[Tensor]:
    """The tensors that an algorithm finds in HBM: those given, and those that its forward pass saved."""
    names = algorithms.algorithm(algorithm).tensors(options)
    for name in names:
        if name in ADDRESSES:
            hbm.addresses(name, shapes[name], None if data is None else data[name])
        elif name in shapes:
            found = None if data is None else data[name]
            found = mask_arrays.in_type(found, hbm.storage) if name == "bias" and found is not None else found
            hbm.tensor(name, shapes[name], found, _per(name, shapes), options["mask"].group)
    if saved_by := algorithms.algorithm(algorithm).saved_by:
        before = HBM(hbm.storage, hbm.computing, hbm.counting, hbm.parts)
        forward = SRAM(before, _Nobody())
        run(saved_by, before, forward, initial(saved_by, before, shapes, data, options), options)
        before.check_lost()
        for name in names:
            if name not in hbm.tensors:
                hbm.tensors[name] = before.tensors[name]
    return [hbm.tensors[name] for name in names]


def _per(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Literal["row", "token", "head"]:
    """What a tensor has its rows for: a bias that all heads share for tokens, sinks for heads, all others for rows."""
    if name == "bias" and shapes[name][0] < shapes["Q"][0]:
        return "token"
    return "head" if name == "sinks" else "row"


def run(
    algorithm: str, hbm: HBM, memory: SRAM, tensors: Sequence[Tensor], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Run it for each key-value head; what each returns."""
    about = algorithms.algorithm(algorithm)
    taken = {name: option for name, option in options.items() if name in about.options}
    alike = hbm.counting and not options["mask"].by_head  # so that one key-value head is counted for all
    memory.times = hbm.parts if alike else 1
    results = []
    # ln 0 = −∞ is right for a query that sees no key; NaN and +∞ are refused where a slot gets them
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for part in range(1 if alike else hbm.parts):
            hbm.part = part
            taken["mask"] = replace(options["mask"], part=part)
            if hbm.parts > 1:
                memory.loops["h"] = part
            found = {tensor.name: tensor.part(part, hbm.parts) for tensor in tensors}
            results.append(about.attend(hbm, memory, **found, **taken))
            memory.finish()
    return results
