"""What the forward kernel writes down itself when its TRACE switch is on: per tile, where and when it was visited.

A log has a line for each program, and in it an entry for each tile visited, in the order of visits: the tile's number
j, the multiprocessor (SM) that the program runs on, and that GPU's clock in nanoseconds. In the interpreter, and on
GPUs that are not NVIDIA's, there is neither: both are 0.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import globaltimer, smid

from .tile import INTERPRETED

#: one visit of one tile: program (part · blocks + block), tile j, SM, and time in ns
ENTRY = np.dtype([("program", np.int64), ("tile", np.int64), ("sm", np.int64), ("time", np.int64)])


@triton.jit
def stamp(log, j, CLOCK: tl.constexpr):
    """Write one entry, and give the address of the next."""
    tl.store(log, j)
    if CLOCK and not INTERPRETED:
        tl.store(log + 1, smid())
        tl.store(log + 2, globaltimer())
    else:
        tl.store(log + 1, 0)
        tl.store(log + 2, 0)
    return log + 3


def empty(programs: int, tiles: int, device: torch.device) -> torch.Tensor:
    """A log with room for so many tiles a program. Shape (programs, tiles, 3), int64, full of −1."""
    return torch.full((programs, tiles, 3), -1, dtype=torch.int64, device=device)


def read(log: torch.Tensor) -> np.ndarray:
    """The entries of a log (`ENTRY`), program by program, each in the order of its visits."""
    raw = log.cpu().numpy()
    program, slot = np.nonzero(raw[:, :, 0] >= 0)
    entries = np.empty(len(program), ENTRY)
    entries["program"] = program
    entries["tile"], entries["sm"], entries["time"] = raw[program, slot].T
    return entries
