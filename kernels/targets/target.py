"""What the kernels are compiled for: a GPU that is there, one that is only pretended, or Triton's interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import torch

from ..tile import INTERPRETED


class Target(NamedTuple):
    """`backend` as Triton names it, "cuda" or "hip", or "interpreter"; `arch`, such as 90 or "gfx942"."""

    backend: str
    arch: int | str

    @property
    def descriptors(self) -> bool:
        """Whether it has an engine (TMA) that copies tiles by descriptor."""
        return self.backend == "cuda" and int(self.arch) >= 90


class Launch(NamedTuple):
    """A kernel that would have been run, over which grid, with what, and how compiled."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]


class _Pretence(NamedTuple):
    target: Target
    launches: list[Launch]


_pretence: ContextVar[_Pretence | None] = ContextVar("pretence", default=None)


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels here."""
    return bool(INTERPRETED.value)


def target(device: torch.device) -> Target:
    """What a kernel on this device is compiled for."""
    if pretence := _pretence.get():
        return pretence.target
    if interpreted():
        return Target("interpreter", 0)
    return _there(device)


@cache
def _there(device: torch.device) -> Target:
    if torch.version.hip is not None:
        return Target("hip", torch.cuda.get_device_properties(device).gcnArchName.partition(":")[0])
    major, minor = torch.cuda.get_device_capability(device)
    return Target("cuda", 10 * major + minor)


@contextmanager
def pretend(on: Target) -> Iterator[list[Launch]]:
    """Let the functions of this package, given tensors on a CPU, only say what they would run on such a GPU."""
    launches: list[Launch] = []
    token = _pretence.set(_Pretence(on, launches))
    try:
        yield launches
    finally:
        _pretence.reset(token)


def pretended() -> list[Launch] | None:
    """Where to write down what would be run, if it is only pretended."""
    pretence = _pretence.get()
    return pretence.launches if pretence else None
