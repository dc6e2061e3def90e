"""What reaches the launcher past Triton's search is what Triton gives it: held in a process of its own, uninterpreted.

python tests/kernels/relaunched.py

Every launch is done twice, by `relaunch.run` and by Triton, on a GPU that is only pretended (`stubbed`), and both have
to reach the launcher with the same compiled kernel, grid and arguments. It prints how many launches did so in all, and
in how many of these Triton was not asked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import triton
import triton.language as tl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from triton import knobs
from triton.compiler import LazyDict
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GluonDescriptor
from triton.knobs import HookChain
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

sys.path.insert(0, str(Path(__file__).parents[2]))
from flashsteps import kernels  # noqa: E402
from flashsteps.kernels import hopper_forward, launch, relaunch  # noqa: E402
from tests.kernels.stubbed import stubbed  # noqa: E402

torch.set_printoptions(threshold=4)  # of tensors in what is told of an example

FACTOR = tl.constexpr(3)


@triton.jit(do_not_specialize=["count"])
def kernel(X, Y, Z, strides, more, count, size, scale, flag, log, BLOCK: tl.constexpr, NAME: tl.constexpr,
           MASK: tl.constexpr):  # fmt: skip
    tl.store(X, size * FACTOR)


# ---- a launch, twice

#: launches, and those in which Triton was not asked
told = {"launches": 0, "past Triton": 0}


def plain(given: Any) -> Any:
    """What the launcher is given, in a form in which all that is the same is equal, and nothing else: 1 is not True."""
    if isinstance(given, torch.Tensor):
        return "tensor", id(given)
    if isinstance(given, TensorDescriptor | GluonDescriptor):
        return type(given), {name: plain(one) for name, one in vars(given).items()}
    if isinstance(given, tuple | list):
        return type(given), [plain(one) for one in given]
    if isinstance(given, LazyDict) or (isinstance(given, HookChain) and not given.calls):
        return plain(None)  # for hooks, of which there are none
    return type(given), repr(given)


#: what reached the launcher in the last launch, and how often Triton was asked for a kernel
reached: list[Any] = []
asked = [0]


@contextmanager
def watched() -> Iterator[None]:
    """A GPU that is pretended; what reaches its launcher is noted, and how often Triton looks for a kernel."""
    run = JITFunction.run

    def noted(self: Any, *args: Any, **options: Any) -> Any:
        asked[0] += 1
        return run(self, *args, **options)

    launched = lambda *given: reached.append([plain(one) for one in given])  # noqa: E731
    with stubbed(launched), mock.patch.object(JITFunction, "run", noted):
        yield


def reaches(call: Callable[[], None]) -> Any:
    """What reaches the launcher in a call that launches once, or what it raises."""
    reached.clear()
    try:
        call()
    except (RuntimeError, OverflowError, TypeError) as error:
        return type(error), str(error)
    (found,) = reached
    return found


def twice(kernel: Any, grid: Any, options: dict[str, Any], arguments: dict[str, Any]) -> bool:
    """Whether this is launched without asking Triton, which by itself has to do the same."""
    asked[0] = 0
    ours = reaches(lambda: RUN(kernel, grid, options, arguments))
    past = not asked[0]
    assert ours == reaches(lambda: kernel[grid](**arguments, **options))
    told["launches"] += 1
    told["past Triton"] += past
    return past


RUN = relaunch.run


# ---- any arguments

#: numbers of which Triton looks at the size, at whether they are multiples of 16, and at 1
NUMBERS = st.sampled_from([0, 1, 2, 16, 17, 32, -1, -16, 2**31 - 1, 2**31, 2**31 + 15, -(2**31), -(2**31) - 1, 2**62])
ROOM = torch.zeros(4096, dtype=torch.uint8)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.uint8, torch.int32, torch.int64]
#: views of the same memory at addresses that are multiples of 16, and that are not, which live as long as this
TENSORS = [ROOM[at : at + 1024].view(dtype) for dtype in DTYPES for at in (0, 8, 16, 24, 64)]
TENSORS.append(torch.nn.Parameter(torch.zeros(8)))


def described() -> list[Any]:
    x = torch.zeros(1, 2, 64, 64, dtype=torch.float16)
    shapes = [x, x[:, :1], x[:, :, :16], x.float(), x.bfloat16(), x.transpose(1, 2)]
    by_rows = [launch.descriptor(one, rows) for one in shapes for rows in (16, 32)]
    for_gluon = [hopper_forward.described(one, [1, 1, rows, 64], swizzle) for one in shapes for rows in (16, 32)
                 for swizzle in (0, 128)]  # fmt: skip
    return by_rows + for_gluon


POINTERS = st.sampled_from([*TENSORS, None, *described()])
STRIDES = st.sampled_from([(1, 2, 3), (16, 32, 48), (1, 16, 3), (17, 16, 3), (2**31, 16, 1), (0, 0, 0), (1, 2), ()])
ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "X": POINTERS,
    "Y": POINTERS,
    "Z": st.sampled_from([*TENSORS[:5], None]),
    "strides": STRIDES,
    "more": STRIDES | st.none(),
    "count": NUMBERS,
    "size": NUMBERS,
    "scale": st.sampled_from([0.0, -0.0, 1.0, 0.125]),
    "flag": st.booleans(),
    "log": st.sampled_from([None, TENSORS[0]]),
    "BLOCK": st.sampled_from([16, 32, 1]),
    "NAME": st.sampled_from(["tf32", "ieee", "", None]),
    "MASK": st.sampled_from([0, 1, False, True]),
}
#: what no kernel here is given, and is easily taken for something else
ODD: dict[str, st.SearchStrategy[Any]] = {
    "Z": st.sampled_from([0, 16, 1, 2**63]),
    "strides": st.sampled_from([(True, 2, 3), (1.0, 2, 3), (-0.0, 0.0), (None, 1), ((1, 2), 3), tuple(TENSORS[:2])]),
    "count": st.sampled_from([True, None, 1.0, TENSORS[0]]),
    "size": st.sampled_from([True, False, 1.0, None]),
    "scale": st.sampled_from([1, 16, 0, True]),
    "flag": st.sampled_from([1, 0, None, 1.0]),
    "log": st.just(1),
    "BLOCK": st.sampled_from([True, 1.0, 16.0]),
    "MASK": st.sampled_from([0.0, -0.0, None]),
}
OPTIONS = st.sampled_from(
    [{"num_warps": 4}, {"num_warps": 8}, {"num_warps": 4, "num_stages": 2}, {"num_stages": 2, "num_warps": 4},
     {"num_warps": 4, "maxnreg": 168}, {"num_warps": 4, "num_stages": 3}]
)  # fmt: skip
GRIDS = st.sampled_from([(1,), (2, 3), (2, 3, 4)])
#: what is other than in the launch before; or the first launch, again
CHANGES = st.lists(
    st.none()
    | st.one_of([st.tuples(st.just(name), one) for which in (ARGUMENTS, ODD) for name, one in which.items()]),
    max_size=9,
)


@settings(max_examples=250)
@given(st.fixed_dictionaries(ARGUMENTS), CHANGES, st.tuples(OPTIONS, OPTIONS), GRIDS)
def any_arguments(first: dict[str, Any], changes: list[Any], options: Any, grid: Any) -> None:
    """A launch, then others, of which each is other than the one before in one argument, or is the first again."""
    relaunch._kernels.clear()
    now = first
    for change in (None, *changes, None):
        now = now | {change[0]: change[1]} if change else first
        twice(kernel, grid, options[0], now)
        twice(kernel, (3,), options[1], now)
    # by then it is known, but for numbers of more than 32 bits where Triton looks no further
    assert twice(kernel, grid, options[0], first) == (-(2**31) <= first["count"] < 2**31)


if __name__ == "__main__":
    calm = [HealthCheck.too_slow]  # others may be at work on this machine
    settings.register_profile("flashsteps", deadline=None, derandomize=True, suppress_health_check=calm)
    settings.load_profile("flashsteps")
    with watched():
        any_arguments()
    json.dump(told, sys.stdout)
