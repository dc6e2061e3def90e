"""A report: what attention moves, takes and does at several sizes, beside standard attention; rows of plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .. import algorithms
from ..machine import dtypes, masks
from ..machine import heads as head_groups
from ..machine.devices import DEFAULT as DEFAULT_DEVICE
from ..machine.devices import Device
from ..machine.devices import device as device_of
from ..machine.events import IO
from ..runs import counting
from ..runs.arguments import own_size, takes
from ..scalars import MOST, whole
from ..trace import rules
from . import intensity
from .footprint import footprint, training
from .standard import beside

#: a tile as real kernels have it, and the sizes that are reported, where none are given
BLOCK, D, SIZES = 128, 64, (1 << 10, 1 << 13, 1 << 17, 1 << 20)

#: the algorithms that are reported where none are given
REPORTED = (
    "standard-forward", "flash-forward", "flash2-forward", "standard-backward", "flash-backward", "flash2-backward",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One algorithm at one size, all heads of the batch together.

    Bytes are between HBM and SRAM (`read`, `written`), or allocated in HBM at one time: `footprint` in this pass alone,
    `training_footprint` in the forward and the backward pass together (None where there is no backward pass).
    `matmul`, `exp` and `other` are floating-point operations; `intensity` is those in matrix products per byte moved.
    `bound_seconds` is the time that the device's bandwidth and its dense fp16 peak alone would allow, the longer of the
    two, and `bound_by` which one that is: a bound, not a prediction. `ratio` is the bytes moved over those of standard
    attention in the same direction, with all bytes counted. `shared` and `registers` are the most bytes on chip at one
    time, for one tile, and `fits` says whether the device has them (None for standard attention, whose matrix products
    are ideal).
    """

    algorithm: str
    queries: int
    keys: int
    d: int
    d_v: int
    batch: int
    heads: int
    kv_heads: int
    block_q: int
    block_k: int
    mask: str | None
    dtype: str
    rule: str
    device: str
    read: int
    written: int
    footprint: int
    training_footprint: int | None
    matmul: int
    exp: int
    other: int
    intensity: float
    bound_seconds: float
    bound_by: str
    ratio: float
    shared: int
    registers: int
    fits: bool | None

    @property
    def total(self) -> int:
        """Bytes read and written."""
        return self.read + self.written

    @property
    def tile(self) -> str:
        """The tile as it is written: 128×64."""
        return f"{self.block_q}×{self.block_k}"

    def data(self) -> dict[str, Any]:
        """All of it by name, as JSON takes it."""
        return asdict(self)


def default_algorithms(rule: str = rules.DEFAULT) -> tuple[str, ...]:
    """The algorithms that are reported unless others are named: those that the rule is for, and standard attention."""
    found: list[str] = []
    for direction in ("forward", "backward"):
        there = [name for name in REPORTED if algorithms.algorithm(name).direction == direction]
        taken = [name for name in there if _is_standard(name) or _takes(name, rule)]
        found += taken if len(taken) > 1 else []
    return tuple(found)


def _size(name: str, given: Any) -> int:
    """A size, MOST at most."""
    if (size := whole(name, given)) > MOST:
        raise ValueError(f"{name} is {size}: give at most {MOST}")
    return size


def rows(
    names: Iterable[str] | None = None,
    sizes: Iterable[int] = SIZES,
    *,
    d: int = D,
    d_v: int | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: str | None = None,
    block_mask: str | None = None,
    dtype: Any = dtypes.DEFAULT,
    rule: str = rules.DEFAULT,
    device: str = DEFAULT_DEVICE,
    batch: int = 1,
    heads: int = 1,
    kv_heads: int | None = None,
) -> list[Row]:
    """One row for each size and algorithm, by size: n keys, and as many queries, or one for a decoding algorithm.

    Values have d_v numbers (d unless given). Blocks are `BLOCK` unless given, or what the algorithm says (a page). Of
    `heads`, equally many share each of `kv_heads` (as many unless given), and so its tiles. `block_mask` is for the
    algorithms that take one. `rule` says which bytes of the algorithms count; those of standard attention all do.
    Raises ValueError as `flashsteps.count` does, and for a size past `MOST`.
    """
    gpu = device_of(device)
    algorithm_names = default_algorithms(rule) if names is None else tuple(dict.fromkeys(names))
    sizes = tuple(dict.fromkeys(_size("n", n) for n in sizes))
    d, batch, heads = _size("d", d), _size("batch", batch), _size("heads", heads)
    d_v = d if d_v is None else _size("d_v", d_v)
    kv_heads = heads if kv_heads is None else _size("kv_heads", kv_heads)
    head_groups.group_of(heads, kv_heads)
    mask, dtype = "+".join(masks.rules(mask)) or None, dtypes.storage(dtype).name
    options: dict[str, Any] = {"d": d, "d_v": d_v, "block_q": block_q, "block_k": block_k, "mask": mask, "dtype": dtype}
    options |= {"block_mask": block_mask, "heads": batch * heads, "kv_heads": batch * kv_heads}
    if block_mask is not None and not any(takes(name, "block_mask") for name in algorithm_names):
        takers = ", ".join(name for name in algorithms.names() if takes(name, "block_mask"))
        raise ValueError(f"block_mask={block_mask!r} is for {takers}: name it among the algorithms, or leave this out")
    found = []
    for n in sizes:
        for name in algorithm_names:
            shape = arguments(name, n, options)
            counted = rule_of(name, rule)
            io, level = counting.count(name, **shape, rule=counted), standard(name, n, options).total
            found.append(
                Row(
                    algorithm=name, queries=shape["n"], keys=n, d=d, d_v=d_v, batch=batch, heads=heads,
                    kv_heads=kv_heads, block_q=min(shape["block_q"], shape["n"]), block_k=min(shape["block_k"], n),
                    mask=mask, dtype=dtype, rule=counted, device=device, **_amounts(io), **_allocated(name, shape),
                    **_bound(io, gpu), ratio=io.total / level,
                    shared=io.peak.shared, registers=io.peak.registers, fits=fits(name, io, gpu),
                )
            )  # fmt: skip
    return found


def arguments(algorithm: str, n: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """`count`'s arguments for n keys: of `options` those that the algorithm takes, with its own blocks or `BLOCK`."""
    found = rows_of(algorithm, n) | dict(options)
    for side in ("block_q", "block_k"):
        if found[side] is None:
            found[side] = own_size(algorithm, side, BLOCK)
    if not takes(algorithm, "block_mask"):
        found.pop("block_mask", None)
    return found


def rows_of(algorithm: str, n: int) -> dict[str, int]:
    """`count`'s n and n_keys for n keys: as many queries look at them, or the one that is decoded."""
    return {"n": 1 if algorithms.algorithm(algorithm).decodes else n, "n_keys": n}


def standard(algorithm: str, n: int, options: Mapping[str, Any]) -> IO:
    """What standard attention moves for n keys, and as many queries as the algorithm has, with the same `options`."""
    return beside(algorithm, **arguments(algorithms.algorithm(algorithm).standard, n, options) | rows_of(algorithm, n))


def rule_of(algorithm: str, rule: str) -> str:
    """The rule that counts for an algorithm: standard attention's bytes all do."""
    return rules.DEFAULT if _is_standard(algorithm) else rule


def fits(algorithm: str, io: IO, gpu: Device) -> bool | None:
    """Whether one tile's loads fit into a block's shared memory and what is computed into a multiprocessor's registers.

    None for an algorithm whose matrix products are ideal: nothing is held against it.
    """
    if algorithms.algorithm(algorithm).ideal_products:
        return None
    return io.peak.shared <= gpu.shared_per_block * 1024 and io.peak.registers <= gpu.registers_per_sm * 1024


def ratio_of(ratio: float) -> str:
    """A ratio as it is written: 0.25×, or 0.0006× where two places would not tell it from nothing."""
    return f"{ratio:.2f}×" if ratio >= 0.01 else f"{ratio:.1g}×"


def too_large(found: Sequence[Row]) -> list[Row]:
    """The rows whose footprint is more than the device's memory."""
    return [row for row in found if row.footprint > device_of(row.device).memory * 10**9]


def _amounts(io: IO) -> dict[str, Any]:
    return {"read": io.read, "written": io.written, **io.work._asdict(), "intensity": intensity.of(io.work, io.total)}


def _allocated(name: str, shape: dict[str, Any]) -> dict[str, Any]:
    alone, both = footprint(name, **shape), training(name, **shape)
    return {"footprint": alone.total, "training_footprint": both.total if both else None}


def _bound(io: IO, gpu: Device) -> dict[str, Any]:
    bandwidth, peak = io.total / (gpu.bandwidth * 1e12), io.work.matmul / (gpu.tflops * 1e12)
    return {"bound_seconds": max(bandwidth, peak), "bound_by": "bandwidth" if bandwidth >= peak else "peak"}


def _is_standard(name: str) -> bool:
    return name == algorithms.algorithm(name).standard


def _takes(name: str, rule: str) -> bool:
    try:
        rules.rule(rule, name)
    except ValueError:
        return rule not in rules.RULES  # an unknown one is refused where it is used
    return True
