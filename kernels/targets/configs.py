"""The tile that each kernel is shipped with, and the candidates that a run on a GPU picks from.

A `Config` is for a tile of block_m rows of packed queries by block_n keys: heads that share keys and values are packed
as rows, so block_m rows are block_m // group tokens. What each candidate takes on chip, as compiled, is in
compiled.json (`python -m flashsteps.kernels.compiling` makes it anew); `SHIPPED` names those that are used, unless
`flashsteps bench --tune` has found a faster one on the same GPU (tuned.json).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from ..problem import Problem
from ..tile import ADDED
from . import tuned
from .target import Target, target

#: what each candidate takes on chip, as compiled by one version of Triton, which it names: a row a build
COMPILED = Path(__file__).with_name("compiled.json")


class Config(NamedTuple):
    """A tile of block_m rows by block_n keys, and how it is compiled; `descriptors`: fetched by TMA where possible.

    With `hopper` it is for `hopper_forward` or `hopper_backward`, which have warps of their own for what they do; the
    warpgroups of `hopper_forward` do it `in_turn`.
    """

    block_m: int
    block_n: int
    num_warps: int = 4
    num_stages: int = 2
    descriptors: bool = False
    hopper: bool = False
    in_turn: bool = False

    @property
    def options(self) -> dict[str, int]:
        """What the compiler is told."""
        return {"num_warps": self.num_warps, "num_stages": self.num_stages}


#: the kernels that have candidates: all others are bound by memory, and one tile does for them
TUNED = ("forward", "dkdv", "dq")

#: head dimensions on chip that are tuned apart; others take the next larger one's
HEAD_DIMS = (64, 128, 256)

#: what is tried on a GPU, for 16-bit types: (block_m, block_n, warps, stages)
_TRIED: dict[tuple[str, int], tuple[tuple[int, int, int, int], ...]] = {
    ("forward", 64): (
        (128, 128, 8, 2), (128, 128, 8, 3), (128, 64, 4, 2), (128, 64, 4, 3), (128, 64, 4, 4), (128, 64, 8, 3),
        (64, 128, 4, 2), (64, 64, 4, 3), (128, 128, 4, 2), (256, 64, 8, 2), (256, 64, 8, 3), (128, 32, 4, 2),
    ),
    ("forward", 128): (
        (128, 128, 8, 2), (128, 128, 8, 3), (128, 64, 8, 2), (128, 64, 8, 3), (128, 64, 8, 4), (128, 64, 4, 2),
        (128, 64, 4, 3), (64, 128, 4, 2), (64, 64, 4, 2), (64, 64, 4, 3), (128, 32, 4, 2), (128, 32, 8, 2),
    ),
    ("forward", 256): (
        (128, 64, 8, 2), (128, 32, 8, 2), (128, 32, 8, 3), (64, 64, 4, 2), (64, 64, 8, 2), (64, 32, 4, 2),
        (64, 16, 4, 2), (64, 32, 4, 1), (128, 16, 8, 2),
    ),
    ("dkdv", 64): (
        (64, 128, 8, 2), (64, 128, 8, 3), (128, 128, 8, 2), (64, 128, 4, 2), (64, 64, 4, 2), (64, 64, 4, 3),
        (32, 128, 4, 2), (32, 128, 8, 2), (128, 64, 8, 2), (32, 64, 4, 2),
    ),
    ("dkdv", 128): (
        (64, 128, 8, 2), (64, 128, 8, 3), (32, 128, 8, 2), (32, 128, 8, 3), (64, 64, 4, 2), (64, 64, 8, 2),
        (128, 64, 8, 2), (32, 64, 4, 2), (32, 64, 8, 2), (16, 64, 4, 2), (32, 32, 4, 2),
    ),
    ("dkdv", 256): (
        (64, 64, 8, 2), (32, 64, 8, 2), (32, 64, 8, 1), (16, 64, 8, 2), (32, 32, 8, 2), (16, 64, 4, 2), (16, 32, 4, 2),
        (32, 32, 4, 2), (32, 32, 4, 1), (32, 64, 4, 1),
    ),
    ("dq", 64): (
        (128, 64, 8, 2), (128, 128, 8, 2), (128, 64, 4, 2), (128, 64, 4, 3), (128, 64, 8, 3), (64, 128, 4, 2),
        (64, 64, 4, 2), (64, 64, 4, 3), (128, 32, 4, 2), (64, 32, 4, 2),
    ),
    ("dq", 128): (
        (128, 64, 8, 2), (128, 64, 8, 3), (128, 128, 8, 1), (64, 128, 8, 2), (64, 64, 4, 2), (64, 64, 8, 2),
        (128, 32, 8, 2), (128, 32, 8, 3), (64, 32, 4, 2), (64, 32, 4, 1), (32, 32, 4, 2),
    ),
    ("dq", 256): (
        (128, 32, 8, 2), (64, 64, 8, 2), (64, 32, 8, 2), (64, 32, 4, 2), (64, 16, 4, 2), (64, 32, 8, 1), (32, 32, 4, 2),
        (32, 32, 4, 1), (32, 16, 4, 2), (64, 64, 8, 1),
    ),
}  # fmt: skip


#: the same for `hopper_forward` and `hopper_backward`, by head dimension: (block_m, block_n, warps, stages), a producer
#: and two warpgroups, which have 64 rows each, or 64 keys; those that `hopper_backward_wide` has share its 64 keys
_HOPPER: dict[tuple[str, int], tuple[tuple[int, int, int, int], ...]] = {
    ("forward", 64): ((128, 128, 12, 2), (128, 128, 12, 3), (128, 64, 12, 4)),
    ("forward", 128): ((128, 128, 12, 2), (128, 64, 12, 3)),
    ("forward", 256): ((128, 64, 12, 2), (128, 32, 12, 3)),
    ("backward", 64): ((128, 128, 12, 2),),
    ("backward", 128): ((64, 128, 12, 2), (64, 128, 12, 3)),
    ("backward", 256): ((64, 64, 12, 2),),
}


def tried(kernel: str, d: int, on: Target) -> list[Config]:
    """All tiles that were ever thought of, for one of `TUNED` and a head dimension; or for "backward", the whole pass.

    That is something of its own only on Hopper: `hopper_backward` or, for heads of 256, `hopper_backward_wide`.
    """
    plain = [Config(*one, descriptors=on.descriptors) for one in _TRIED.get((kernel, head_dim(d)), ())]
    hopper = _HOPPER.get((kernel, head_dim(d)), ()) if on == Target("cuda", 90) else ()
    turns = (False, True) if kernel == "forward" else (False,)
    return plain + [Config(*one, descriptors=True, hopper=True, in_turn=turn) for one in hopper for turn in turns]


#: bytes a thread that a candidate may spill: two programs a multiprocessor can be worth more
SPILLS = 128


def candidates(kernel: str, d: int, on: Target, *, causal: bool) -> list[Config]:
    """The tiles to try on a GPU for one of `TUNED`, 16-bit types and a head dimension: those that spill little.

    What spills was found out beforehand for sm_80 and sm_90 (compiled.json); on other GPUs nothing is left out. With
    another version of Triton it is a few bytes more or less.
    """
    found = json.loads(COMPILED.read_text())["rows"]
    spilling = {
        Config(*row["config"])
        for row in found
        if [row[key] for key in ("arch", "kernel", "d", "causal")] == [str(on.arch), kernel, head_dim(d), causal]
        and row["spilled"] > SPILLS
    }
    return [one for one in tried(kernel, d, on) if one not in spilling]


@cache
def head_dim(d: int) -> int:
    """Whose tiles a head dimension takes."""
    return next(one for one in HEAD_DIMS if d <= one)


#: where Triton's interpreter runs a kernel, as `flashsteps.runs.record` has it
INTERPRETER = Config(64, 64)

#: what is used: (family, kernel, head dimension) → the tile, and a smaller one for what takes more registers
SHIPPED: dict[tuple[str, str, int], tuple[Config, Config]] = {
    ("hopper", "forward", 64): (Config(128, 128, 8, 2), Config(128, 64, 8, 3)),
    ("hopper", "forward", 128): (Config(128, 128, 8, 2), Config(128, 64, 8, 3)),
    ("hopper", "forward", 256): (Config(128, 64, 8, 2), Config(128, 32, 8, 2)),
    ("hopper", "dkdv", 64): (Config(64, 128, 8, 3), Config(32, 128, 8, 2)),
    ("hopper", "dkdv", 128): (Config(64, 128, 8, 3), Config(32, 64, 8, 2)),
    ("hopper", "dkdv", 256): (Config(32, 32, 8, 2), Config(32, 32, 8, 2)),
    ("hopper", "dq", 64): (Config(128, 64, 8, 3), Config(128, 64, 8, 2)),
    ("hopper", "dq", 128): (Config(128, 64, 8, 2), Config(128, 32, 8, 2)),
    ("hopper", "dq", 256): (Config(64, 32, 8, 2), Config(32, 32, 4, 2)),
    ("ampere", "forward", 64): (Config(128, 64, 4, 3), Config(64, 64, 4, 3)),
    ("ampere", "forward", 128): (Config(128, 32, 8, 2), Config(64, 32, 4, 2)),
    ("ampere", "forward", 256): (Config(64, 64, 8, 2), Config(64, 16, 4, 2)),
    ("ampere", "dkdv", 64): (Config(64, 128, 8, 3), Config(32, 128, 8, 2)),
    ("ampere", "dkdv", 128): (Config(64, 64, 8, 2), Config(32, 64, 8, 2)),
    ("ampere", "dkdv", 256): (Config(32, 32, 8, 2), Config(32, 32, 8, 2)),
    ("ampere", "dq", 64): (Config(128, 64, 8, 3), Config(64, 64, 4, 3)),
    ("ampere", "dq", 128): (Config(128, 32, 8, 3), Config(64, 32, 4, 2)),
    ("ampere", "dq", 256): (Config(64, 32, 8, 2), Config(32, 32, 4, 2)),
    ("small", "forward", 64): (Config(64, 64, 4, 2), Config(64, 64, 4, 2)),
    ("small", "forward", 128): (Config(128, 32, 8, 2), Config(64, 32, 4, 2)),
    ("small", "forward", 256): (Config(64, 16, 4, 2), Config(64, 16, 4, 2)),
    ("small", "dkdv", 64): (Config(64, 64, 4, 3), Config(32, 64, 4, 2)),
    ("small", "dkdv", 128): (Config(32, 64, 8, 2), Config(32, 64, 8, 2)),
    ("small", "dkdv", 256): (Config(16, 32, 4, 2), Config(16, 32, 4, 2)),
    ("small", "dq", 64): (Config(64, 64, 4, 2), Config(64, 32, 4, 2)),
    ("small", "dq", 128): (Config(64, 32, 4, 2), Config(64, 32, 4, 2)),
    ("small", "dq", 256): (Config(32, 16, 4, 2), Config(32, 16, 4, 2)),
    ("cdna", "forward", 64): (Config(128, 64, 4, 1), Config(64, 64, 4, 1)),
    ("cdna", "forward", 128): (Config(128, 64, 8, 1), Config(64, 64, 4, 1)),
    ("cdna", "forward", 256): (Config(64, 32, 4, 1), Config(64, 32, 4, 1)),
    ("cdna", "dkdv", 64): (Config(64, 64, 4, 1), Config(32, 64, 4, 1)),
    ("cdna", "dkdv", 128): (Config(32, 128, 8, 1), Config(32, 64, 4, 1)),
    ("cdna", "dkdv", 256): (Config(16, 64, 4, 1), Config(16, 64, 4, 1)),
    ("cdna", "dq", 64): (Config(64, 64, 4, 1), Config(64, 32, 4, 1)),
    ("cdna", "dq", 128): (Config(64, 32, 4, 1), Config(32, 32, 4, 1)),
    ("cdna", "dq", 256): (Config(32, 32, 4, 1), Config(32, 32, 4, 1)),
}

#: the same for float32, whose values are twice as wide and whose products are three: (kernel, head dimension) → tile
FLOAT32: dict[tuple[str, int], Config] = {
    ("forward", 64): Config(64, 32, 4, 2),
    ("forward", 128): Config(16, 32, 4, 1),
    ("forward", 256): Config(32, 16, 8, 2),
    ("dkdv", 64): Config(32, 32, 8, 2),
    ("dkdv", 128): Config(32, 16, 8, 1),
    ("dkdv", 256): Config(16, 16, 8, 1),
    ("dq", 64): Config(32, 32, 8, 2),
    ("dq", 128): Config(32, 16, 8, 1),
    ("dq", 256): Config(32, 16, 8, 1),
}

#: beside a mask that takes few addresses: one of keys, or one whose tiles TMA fetches
FEW_ADDRESSES: dict[tuple[str, str, int], Config] = {
    ("hopper", "forward", 64): Config(128, 64, 8, 3),
    ("hopper", "forward", 128): Config(128, 64, 8, 3),
    ("hopper", "dkdv", 64): Config(64, 64, 4, 2),
    ("hopper", "dkdv", 128): Config(32, 64, 4, 2),
    ("hopper", "dq", 64): Config(128, 64, 8, 2),
    ("hopper", "dq", 128): Config(128, 64, 8, 3),
}

#: beside any other mask, where half a tile spills
MASKED: dict[tuple[str, str, int], Config] = {
    ("ampere", "dkdv", 64): Config(32, 64, 8, 1),
    ("float32", "dq", 128): Config(16, 32, 4, 1),
}

#: kernels that memory holds back, whatever the GPU: rows are few when decoding, and tiles are cut to them
STREAMING: dict[str, Config] = {
    "delta": Config(64, 16, 4, 1),
    "split_kv": Config(64, 64, 4, 3),
    "merge": Config(16, 16, 8, 1),
    "paged": Config(64, 16, 4, 3),
}


def shipped(kernel: str, problem: Problem, *, plain: bool = False) -> Config:
    """The tile that a kernel uses for a problem, on the GPU where its tensors are.

    A `hopper` tile is given only for "forward", as `of_hopper` has it; with `plain` never.
    """
    on = target(problem.device)
    plain = plain or kernel != "forward"
    if on.backend == "interpreter":
        return INTERPRETER
    if kernel in STREAMING:
        config = STREAMING[kernel]
        small = config._replace(block_m=16, block_n=32, num_stages=1)
        return (
            small
            if max(problem.d, problem.d_v) > 128 or problem.dtype == torch.float32 or on.backend == "hip"
            else config
        )
    kernel, d = "forward" if kernel == "block_sparse" else kernel, head_dim(max(problem.d, problem.d_v))
    if problem.dtype == torch.float32:
        return beside_a_mask("float32", kernel, d) if problem.mask else FLOAT32[kernel, d]
    config, smaller = SHIPPED[family(on), kernel, d]
    if problem.mask:
        few = problem.mask > ADDED.value or (on.descriptors and problem.mask_in_tiles and problem.group == 1)
        chosen = (FEW_ADDRESSES if few else {}).get((family(on), kernel, d)) or beside_a_mask(family(on), kernel, d)
        return chosen._replace(descriptors=on.descriptors)
    if not plain and (own := of_hopper("forward", problem)):
        return own
    if problem.softcap > 0 or problem.left >= 0 or (kernel == "dkdv" and problem.group > 1):
        return smaller._replace(descriptors=on.descriptors)
    fastest = _fastest(kernel, problem)
    return fastest if fastest and not fastest.hopper else config._replace(descriptors=on.descriptors)


def beside_a_mask(family: str, kernel: str, d: int) -> Config:
    """Half the smaller tile: a mask's tile of numbers, and the addresses that they come from, take registers, too."""
    if (family, kernel, d) in MASKED:
        return MASKED[family, kernel, d]
    config = FLOAT32[kernel, d] if family == "float32" else SHIPPED[family, kernel, d][1]
    narrow = config.block_n <= 16
    return config._replace(block_m=config.block_m // 2) if narrow else config._replace(block_n=config.block_n // 2)


def of_hopper(kernel: str, problem: Problem) -> Config | None:
    """The tile of Hopper's own "forward" or "backward", where tuning on such a GPU found it faster than the plain ones.

    Tuning times no windows: beside one it is the tile that was the fastest without it, full or causal by whether later
    keys are seen.
    """
    if target(problem.device) != Target("cuda", 90) or not problem.usual:
        return None
    fastest = _fastest(kernel, problem)
    return fastest if fastest and fastest.hopper else None


def _fastest(kernel: str, problem: Problem) -> Config | None:
    """What tuning found, on this GPU or its twin."""
    if problem.device.type != "cuda":  # one that is only pretended
        return None
    gpu, bits, d = tuned.name(problem.device), 8 * problem.dtype.itemsize, head_dim(max(problem.d, problem.d_v))
    found = tuned.best(gpu, kernel, d, problem.right >= 0, bits)
    return Config(**found) if found else None


@cache
def family(on: Target) -> str:
    """Whose tiles a GPU takes: hopper (also Blackwell's B200), ampere (A100), small (at most 64 KiB), cdna (MI300X)."""
    if on.backend == "hip":
        return "cdna"
    arch = int(on.arch)
    return "hopper" if 90 <= arch < 120 else "ampere" if arch == 80 else "small"
