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
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
import triton.language as tl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import LazyDict
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GluonDescriptor
from triton.knobs import HookChain
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

sys.path.insert(0, str(Path(__file__).parents[2]))
from flashsteps import kernels  # noqa: E402
from flashsteps.kernels import hopper, launch, paged, relaunch, split_kv  # noqa: E402
from tests.kernels.stubbed import stubbed  # noqa: E402

torch.set_printoptions(threshold=4)  # of tensors in what is told of an example

calm = [HealthCheck.too_slow]  # others may be at work on this machine
settings.register_profile("here", deadline=None, derandomize=True, suppress_health_check=calm)
settings.load_profile("here")

FACTOR = tl.constexpr(3)


@triton.jit(do_not_specialize=["count"])
def kernel(X, Y, Z, strides, more, count, size, scale, flag, log, BLOCK: tl.constexpr, NAME: tl.constexpr,
           MASK: tl.constexpr):  # fmt: skip
    tl.store(X, size * FACTOR)


# ---- a launch, twice

#: launches, and those of each kernel in which Triton was not asked
told: dict[str, Any] = {"launches": 0, "past Triton": {}}


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

    def room(problem: Any, count: int) -> Any:
        return made(problem._replace(device=torch.device("cpu")), count)

    made = split_kv.room
    with ExitStack() as stack:
        stack.enter_context(stubbed(lambda *given: reached.append([plain(one) for one in given])))
        stack.enter_context(mock.patch.object(JITFunction, "run", noted))
        for module in (split_kv, paged):
            stack.enter_context(mock.patch.object(module, "room", room))
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
    told["past Triton"][kernel.__name__] = told["past Triton"].get(kernel.__name__, 0) + past
    return past


RUN = relaunch.run


# ---- any arguments

#: numbers of which Triton looks at the size, at whether they are multiples of 16, and at 1
NUMBERS = [0, 1, 2, 16, 17, 32, -1, -16, 2**31 - 1, 2**31, 2**31 + 15, -(2**31), -(2**31) - 1, 2**62]
ROOM = torch.zeros(4096, dtype=torch.uint8)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.uint8, torch.int32, torch.int64]
#: views of the same memory at addresses that are multiples of 16, and that are not, which live as long as this
TENSORS = [ROOM[at : at + 1024].view(dtype) for dtype in DTYPES for at in (0, 8, 16, 24, 64)]
TENSORS.append(torch.nn.Parameter(torch.zeros(8)))


def described() -> list[Any]:
    x = torch.zeros(1, 2, 64, 64, dtype=torch.float16)
    shapes = [x, x[:, :1], x[:, :, :16], x.float(), x.bfloat16(), x.transpose(1, 2)]
    by_rows = [launch.descriptor(one, rows) for one in shapes for rows in (16, 32)]
    for_gluon = [hopper.described(one, [1, 1, rows, 64], swizzle) for one in shapes for rows in (16, 32)
                 for swizzle in (0, 128)]  # fmt: skip
    return by_rows + for_gluon


POINTERS = [*TENSORS, None, *described()]
STRIDES = [(1, 2, 3), (16, 32, 48), (1, 16, 3), (17, 16, 3), (2**31, 16, 1), (0, 0, 0), (1, 2), ()]
ARGUMENTS: dict[str, list[Any]] = {
    "X": POINTERS,
    "Y": POINTERS,
    "Z": [*TENSORS[:5], None],
    "strides": STRIDES,
    "more": [*STRIDES, None],
    "count": NUMBERS,
    "size": NUMBERS,
    "scale": [0.0, -0.0, 1.0, 0.125],
    "flag": [True, False],
    "log": [None, TENSORS[0]],
    "BLOCK": [16, 32, 1],
    "NAME": ["tf32", "ieee", "", None],
    "MASK": [0, 1, False, True],
}
#: what no kernel here is given, and is easily taken for something else
ODD: dict[str, list[Any]] = {
    "Z": [0, 16, 1, 2**63],
    "strides": [(True, 2, 3), (1.0, 2, 3), (-0.0, 0.0), (None, 1), ((1, 2), 3), tuple(TENSORS[:2]), (False, 0, 0)],
    "count": [True, None, 1.0, TENSORS[0]],
    "size": [True, False, 1.0, None],
    "scale": [1, 16, 0, True],
    "flag": [1, 0, None, 1.0],
    "log": [1],
    "BLOCK": [True, 1.0, 16.0],
    "MASK": [0.0, -0.0, None],
}
OPTIONS = [
    {"num_warps": 4}, {"num_warps": 8}, {"num_warps": 4, "num_stages": 2}, {"num_stages": 4, "num_warps": 2},
    {"num_warps": 4, "maxnreg": 168}, {"num_warps": 4, "num_stages": 3},
]  # fmt: skip
GRIDS = [(1,), (2, 3), (2, 3, 4)]


def one_after_the_other() -> None:
    """Launches each of which is other than the first in one argument: none of them is taken for another."""
    relaunch._kernels.clear()
    first = {name: pool[0] for name, pool in ARGUMENTS.items()}
    for which in (ARGUMENTS, ODD):
        for name, pool in which.items():
            for one in pool:
                for options in OPTIONS[:2]:
                    twice(kernel, GRIDS[1], options, first | {name: one})
    for options in OPTIONS:
        for grid in GRIDS:
            twice(kernel, grid, options, first)
    for name in ("get_current_device", "get_current_stream"):
        with mock.patch.object(driver.active, name, return_value=1):
            twice(kernel, GRIDS[1], OPTIONS[0], first)
            assert twice(kernel, GRIDS[1], OPTIONS[0], first)
    assert twice(kernel, GRIDS[1], OPTIONS[0], first)


#: what is other than in the launch before; or the first launch, again
CHANGES = st.lists(
    st.none() | st.sampled_from([(name, one) for which in (ARGUMENTS, ODD) for name in which for one in which[name]]),
    max_size=9,
)


@settings(max_examples=60)
@given(
    st.fixed_dictionaries({name: st.sampled_from(pool) for name, pool in ARGUMENTS.items()}),
    CHANGES,
    st.tuples(st.sampled_from(OPTIONS), st.sampled_from(OPTIONS)),
    st.sampled_from(GRIDS),
)
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


# ---- the kernels' own launches


@st.composite
def calls(draw: st.DrawFn) -> Callable[[], None]:
    """A call of one of the kernels' functions, forward and mostly backward, on tensors that live as long as it does."""
    dtype = draw(st.sampled_from([torch.bfloat16, torch.bfloat16, torch.float16, torch.float32]))
    batch, hk, group = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 1, 2, 3]))
    n, m, d = (draw(st.sampled_from(sizes)) for sizes in ((1, 16, 17, 64), (1, 16, 33, 128), (1, 16, 40, 64, 128, 256)))
    kind = draw(st.sampled_from(["flash_attention"] * 6 + ["varlen", "split_kv", "paged", "block_sparse"]))
    by_token, start = draw(st.booleans()), draw(st.sampled_from([0, 0, 0, 1, 8]))

    def tensor(heads: int, tokens: int) -> torch.Tensor:
        """(batch, heads, tokens, d) in either order, at an address that is a multiple of 16 or not."""
        shape = (batch, tokens, heads, d) if by_token else (batch, heads, tokens, d)
        x = torch.zeros(start + batch * heads * tokens * d, dtype=dtype)[start:].view(shape)
        return (x.transpose(1, 2) if by_token else x).requires_grad_()

    q, k, v = tensor(hk * group, n), tensor(hk, m), tensor(hk, m)
    options = draw(
        st.fixed_dictionaries(
            {"causal": st.booleans()},
            optional={"window": st.sampled_from([(3, 0), (16, 16), (-1, -1)]), "softcap": st.just(20.0),
                      "scale": st.sampled_from([1.0, 0.5])},
        )
    )  # fmt: skip
    more: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        each = draw(st.sampled_from([(batch, hk * group, n, m), (1, 1, n, m), (batch, 1, 1, m)]))
        more["attn_mask"] = torch.zeros(each, dtype=draw(st.sampled_from([torch.bool, dtype])))
    if draw(st.integers(0, 3)) == 0:
        more["sinks"] = torch.zeros(hk * group)

    def called() -> None:
        match kind:
            case "flash_attention":
                kernels.flash_attention(q, k, v, **options, **more).sum().backward()
            case "varlen":
                packed = (x.detach()[0].transpose(0, 1).requires_grad_() for x in (q, k, v))
                to = (torch.tensor([0, n], dtype=torch.int32), torch.tensor([0, m], dtype=torch.int32), n, m)
                kernels.flash_attention_varlen(*packed, *to, **options).sum().backward()
            case "split_kv":
                kernels.split_kv_decode(q.detach(), k.detach(), v.detach(), splits=2, **options)
            case "paged":
                pool, table = torch.zeros(8, 16, hk, d, dtype=dtype), torch.zeros(batch, 8, dtype=torch.int32)
                kernels.paged_decode(q.detach(), pool, pool, table, m, **options)
            case "block_sparse":
                kernels.block_sparse(*(x.detach() for x in (q, k, v)), "butterfly", block_q=64, block_k=64, **options)

    return called


@settings(max_examples=15)
@given(st.lists(calls(), min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=4))
def any_calls(each: list[Callable[[], None]], order: list[int]) -> None:
    """Calls one after the other, some of them again: each launch of theirs; and at last none needs to ask Triton."""
    relaunch._kernels.clear()
    past: list[bool] = []
    with mock.patch.object(relaunch, "run", lambda *given: past.append(twice(*given))):
        for at in (*range(len(each)), *order):
            each[at % len(each)]()
        past.clear()
        each[0]()
        assert past
        assert all(past)


def usual_calls() -> None:
    """What a model asks for, a few times each: also by the kernels for Hopper, of which TMA copies all."""
    with mock.patch.object(relaunch, "run", twice):
        for d, group, n in [*product((64, 128, 256), (1, 2), (16, 64))] * 2:
            q, k, v = (
                torch.zeros(1, heads, n, d, dtype=torch.bfloat16).requires_grad_() for heads in (2 * group, 2, 2)
            )
            kernels.flash_attention(q, k, v, is_causal=True).sum().backward()


# ---- what leaves a launch to Triton


def anything_set() -> None:
    """A launch that is known is Triton's again while anything is set, and only then; and it says what Triton says."""
    runtime = knobs.runtime
    ordinary = {
        **{"X": TENSORS[0], "Y": None, "Z": TENSORS[1], "strides": (16, 4, 1), "more": None, "count": 5, "size": 16},
        **{"scale": 0.5, "flag": True, "log": None, "BLOCK": 16, "NAME": "", "MASK": 0},
    }
    hook = lambda *of, **more: None  # noqa: E731
    others: dict[str, tuple[Any, str, Any]] = {
        "a hook before each launch": (runtime.launch_enter_hook, "calls", [hook]),
        "a hook after each launch": (runtime.launch_exit_hook, "calls", [hook]),
        "no chain of hooks": (runtime, "launch_enter_hook", hook),
        "a hook of the kernel's": (kernel, "pre_run_hooks", [hook]),
        "a hook between a compiler's stages": (runtime, "add_stages_inspection_hook", lambda: ("a", "b")),
        "torch.compile": (torch.compiler, "is_compiling", lambda: True),
        "another version of Triton": (relaunch, "HELD_AGAINST", ("3.5.0",)),
        "debug": (runtime, "debug", True),
        "the kernel's debug": (kernel, "debug", True),
        "instrumentation": (knobs.compilation, "instrumentation_mode", "any"),
        "another global": (sys.modules[kernel.fn.__module__], "FACTOR", tl.constexpr(4)),
        "another value of a global": (FACTOR, "value", 4),
    }

    def past() -> bool:
        return twice(kernel, (1,), {"num_warps": 4}, ordinary)

    relaunch._kernels.clear()
    past()
    for name, other in others.items():
        assert past(), name
        with mock.patch.object(*other):
            assert not past(), name
    assert past()
    relaunch._kernels.clear()
    cache, keys, _, *rest = kernel.device_caches[0]
    kernel.device_caches[0] = cache, keys, GPUTarget("hip", "gfx942", 64), *rest
    past()
    assert not past()  # on AMD's GPUs Triton looks at how much memory a tensor has


if __name__ == "__main__":
    version = triton.__version__
    assert version in relaunch.HELD_AGAINST, f"Triton is {version}: add it to HELD_AGAINST in relaunch.py if all holds"
    with watched():
        one_after_the_other()
        any_arguments()
        any_calls()
        usual_calls()
        anything_set()
    json.dump(told, sys.stdout)
