"""hopper_forward where there is no GPU: its own source, run as Python, against float64 and against the trace."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.kernels import block_sparse, checks, empty_log, forward, hopper_forward
from flashsteps.kernels.problem import Problem as CallProblem
from flashsteps.kernels.targets import configs, tuned
from flashsteps.kernels.targets.configs import Config
from flashsteps.kernels.targets.target import Target, pretend
from tests.kernels.gluon_emulator import Fault, emulate, mutant
from tests.kernels.kernel_problems import Problem, attention, hopper_problems, near

SM_90 = Target("cuda", 90)
WAIT = "        acc, l_i = warpgroup_mma_wait(0, deps=(acc, l_i))\n"
GIVE_BACK = "        mbarrier.arrive(v_empty.index(last), count=1)\n"
PROBLEM = Problem(150, 333, 64, group=2, dtype=torch.float16, causal=True)


Run = tuple[torch.Tensor, torch.Tensor, list[Any]]


def run(problem: Problem, config: Config, module: Any = hopper_forward, late: int | None = None, lazy: str = "") -> Run:
    """o, lse and what moved, program by program: poisoned before, so that what is not written shows."""
    q, k, v = problem.tensors()
    with pretend(SM_90) as launches:
        sizes = checks.problem(q, k, v, causal=problem.causal, window=problem.window, scale=problem.scale)
        assert module.takes(sizes, q, k, v)
        o, lse = module.forward(sizes, q, k, v, config)
    o.fill_(torch.nan)
    lse.fill_(torch.nan)
    return o, lse, list(emulate(launches[0], late, lazy))


def right(problem: Problem, o: torch.Tensor, lse: torch.Tensor) -> bool:
    tensors = problem.tensors()
    exact, exact_lse = attention(problem, (x.double() for x in tensors))
    standard, _ = attention(problem, tensors)
    hidden = torch.isneginf(exact_lse)
    same = torch.equal(torch.isneginf(lse), hidden) and not o[hidden].any() and bool(torch.isfinite(o).all())
    seen = exact_lse.masked_fill(hidden, 0)
    off = float((lse.double().masked_fill(hidden, 0) - seen).abs().max())
    # an LSE of 16 is rounded to a place of 1e-6 in fp32, and so is each m_i * scale and log(l_i) that it is the sum of
    return same and off < 1e-6 * (10 + float(seen.abs().max())) and near(o, exact, standard)


@given(
    hopper_problems((40, 64, 80, 128, 256), (1, 2, 4, 8), keys=400, kv_heads=2),
    st.sampled_from(((128, 2), (64, 3), (32, 2))),
    st.booleans(),
    st.sampled_from((None, 0, -1)),
    st.sampled_from(("", "consume_first", "consume_second", "produce")),
)
@settings(max_examples=8)
def test_it_is_attention(problem: Problem, tile: tuple[int, int], in_turn: bool, late: int | None, lazy: str) -> None:
    o, lse, _ = run(problem, Config(128, tile[0], 12, tile[1], hopper=True, in_turn=in_turn), late=late, lazy=lazy)
    assert right(problem, o, lse)
    assert o.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("mask", [None, "causal", "window:60,9"])
def test_it_moves_what_the_trace_moves(mask: str | None) -> None:
    """Each tile of keys and values, in that order, and nothing that is not seen; queries and outputs in two halves."""
    options: dict[str, Any] = {"causal": mask == "causal", "window": (60, 9) if mask and "window" in mask else None}
    problem = Problem(150, 333, 64, kv_heads=2, dtype=torch.float16, **options)
    q, k, v = (x.float().flatten(0, 1).numpy() for x in problem.tensors())
    reference = fs.record("flash2-forward", q, k, v, block_q=128, block_k=64, mask=mask, dtype="float16")
    _, _, programs = run(problem, Config(128, 64, 12, 2, hopper=True))
    expected: dict[int, list[Any]] = {}
    for event in reference:
        if event.op in ("load", "store") and event.tile and event.tile.tensor != "LSE":
            expected.setdefault(event.program, []).append((event.op, *event.tile[:3]))
    found = {}
    blocks = -(-problem.n // 128)
    for (i, part), moved in programs:
        first = i
        if mask == "causal":  # the last blocks of both heads, then those before them
            first, part = blocks - 1 - (part * blocks + i) // 2, (part * blocks + i) % 2
        steps = [(op, name, _rows(at, problem)) for op, name, at in moved if name != "LSE"]
        loads = [_whole(name, run) for name, run in groupby((one for one in steps if one[1] != "O"), _of)]
        found[part * blocks + first] = [*loads, _whole("O", (one for one in steps if one[1] == "O"))]
    assert found == expected


def _of(step: Any) -> Any:
    return step[1] if step[1] == "Q" else step[1:]


def _rows(at: tuple[slice, ...], problem: Problem) -> tuple[int, int]:
    """The rows of HBM that a copy is of: those of one head after those of another."""
    length = problem.n if len(at) == 5 else problem.m
    return at[1].start * length + at[2].start, at[1].start * length + at[2].stop


def _whole(name: Any, run: Any) -> tuple[str, str, int, int]:
    """Copies side by side as the one that they are in the trace; what is empty is past the end."""
    parts = [one for one in run if one[2][1] > one[2][0]]
    return parts[0][0], parts[0][1], min(one[2][0] for one in parts), max(one[2][1] for one in parts)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("free = ((t // STAGES) & 1) ^ 1", "free = (t // STAGES) & 1"),
        ("    k_empty = barriers(STAGES, 2)", "    k_empty = barriers(STAGES, 3)"),
        ("        wait_for(v_full, t - 1, STAGES, True)\n", ""),
        (WAIT + GIVE_BACK, GIVE_BACK + WAIT),
        ("        acc = acc * gl.convert_layout(alpha, gl.SliceLayout(1, O_LAYOUT))[:, None]\n", ""),
        ("lo + 1 < hi)", "lo + 1 > hi)"),
        ("first + c * TOKENS, 0, 0], q_full", "first, 0, 0], q_full"),
    ],
    ids=["phase", "arrivals", "values too soon", "given back too soon", "no rescale", "keys too soon", "queries"],
)  # fmt: skip
def test_a_fault_is_caught(old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A barrier that is wrong hangs, or lets somebody read what is not there: there are no third ways."""
    made = mutant(hopper_forward, old, new, tmp_path, monkeypatch)
    assert any(_faulty(made, late) for late in (None, 0, -1))


def _faulty(module: Any, late: int | None) -> bool:
    try:
        o, lse, _ = run(PROBLEM, Config(128, 64, 12, 2, hopper=True), module, late)
    except Fault:
        return True
    return not right(PROBLEM, o, lse)


def test_a_row_whose_scores_all_overflow_is_nan() -> None:
    q = torch.zeros(1, 1, 70, 64, dtype=torch.bfloat16)
    k = torch.full((1, 1, 90, 64), 1e30, dtype=torch.bfloat16)
    q[:, :, 3] = -1e30
    with pretend(SM_90) as launches:
        o, lse = hopper_forward.forward(checks.problem(q, k, k, causal=True), q, k, k, Config(128, 64, hopper=True))
    assert list(emulate(launches[0]))
    assert torch.isnan(lse[0, 0]).nonzero().flatten().tolist() == [3]
    assert torch.isnan(o[0, 0]).all(-1).nonzero().flatten().tolist() == [3]


# ---- when it is chosen


def launched(**options: Any) -> str:
    """The kernel that `forward` would run on an H100."""
    options = {"dtype": torch.bfloat16, "heads": 4, "d": 64} | options
    q = torch.empty(1, options.pop("heads"), 256, options.pop("d"), dtype=options.pop("dtype"))
    k = torch.empty(1, 1, 256, q.shape[3], dtype=q.dtype)
    with pretend(SM_90) as launches:
        if options.pop("log", False):
            options["trace"] = empty_log(q, k, k, config=options.get("config"))
        forward(q, k, k, **options)
    return str(launches[0].kernel.__name__)


HOPPER = configs.tried("forward", 64, SM_90)[-1]


def test_it_is_never_chosen_by_itself() -> None:
    assert HOPPER.hopper
    assert launched() == "forward_kernel"
    assert not any(one.hopper for one in configs.tried("forward", 64, Target("cuda", 100)))
    assert not any(config.hopper for both in configs.SHIPPED.values() for config in both)


@pytest.mark.parametrize(
    "options",
    [{"softcap": 5.0}, {"dtype": torch.float32}, {"heads": 3}, {"d": 32}, {"block_q": 64}, {"block_k": 64},
     {"log": True}],
    ids=str,
)  # fmt: skip
def test_what_it_does_not_take_is_the_plain_kernels(options: dict[str, Any]) -> None:
    assert launched(config=HOPPER) == "hopper_forward_kernel"
    assert launched(config=HOPPER, **options) == "forward_kernel"


def test_where_tuning_found_it_faster_it_is_chosen_for_forward_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned, "name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(tuned, "best", lambda *key: HOPPER._asdict())
    sizes = CallProblem(1, 4, 1, 256, 256, 64, 64, -1, -1, 0.1, 0.0, torch.bfloat16, torch.device("cuda"))
    with pretend(SM_90):
        assert configs.shipped("forward", sizes) == HOPPER
        assert not configs.shipped("forward", sizes, plain=True).hopper
        assert not configs.shipped("block_sparse", sizes).hopper
    q = torch.empty(1, 1, 64, 64, dtype=torch.bfloat16)
    with pretend(SM_90) as launches:
        block_sparse(q, q, q, np.ones((1, 1), bool), block_q=64, block_k=64)
    assert launches[0].kernel.__name__ == "block_sparse_kernel"


def test_rows_that_the_copy_engine_cannot_place_are_left_to_the_plain_kernel() -> None:
    """36 numbers of two bytes are no multiple of 16: q may be a slice of wider rows, but the output is not."""
    wide = torch.randn(1, 1, 64, 48, dtype=torch.float16)
    x = wide[..., :36]
    sizes = checks.problem(x, x, x, causal=False, window=None, scale=None)
    assert not hopper_forward.takes(sizes, x, x, x)
    assert hopper_forward.takes(checks.problem(wide, wide, wide, causal=False, window=None, scale=None), wide)
