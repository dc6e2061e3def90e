"""hopper_backward_wide and hopper_dq where there is no GPU: their source, run as Python, against float64 and traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.kernels import checks, hopper_backward, hopper_backward_wide, hopper_dq
from flashsteps.kernels.targets import configs
from flashsteps.kernels.targets.target import Target, pretend
from tests.kernels.gluon_emulator import Fault, emulate, mutant
from tests.kernels.kernel_problems import Problem, are_gradients, attention, hopper_problems

SM_90 = Target("cuda", 90)
HOPPER = configs.tried("backward", 256, SM_90)[0]
PROBLEM = Problem(150, 333, 256, group=2, dtype=torch.float16, causal=True)
PARTITIONS = ("", "make_dv", "make_dk", "fetch_queries", "make_first", "make_second", "fetch_keys")


class Run:
    """One backward pass: its gradients and what moved, program by program, of both kernels; all poisoned before."""

    def __init__(self, problem: Problem, late: int | None = None, lazy: str = "") -> None:
        q, k, v = problem.tensors()
        torch.manual_seed(problem.seed + 1)
        self.do = torch.randn(q.transpose(1, 2).shape).to(q.dtype).transpose(1, 2)
        self.dlse = torch.randn(q.shape[:3]) if problem.seed % 2 else torch.zeros(q.shape[:3])
        o, lse = attention(problem, (x.double() for x in (q, k, v)))
        with pretend(SM_90) as launches:
            sizes = checks.problem(q, k, v, causal=problem.causal, window=problem.window, scale=problem.scale)
            assert hopper_backward.takes(sizes, q, k, v, self.do)
            self.made = hopper_backward.backward(
                sizes, self.do, q, k, v, o.to(q.dtype), lse.float(), self.dlse, None, HOPPER
            )
        before, dkdv, dq = launches
        for x in (*self.made, before.arguments["Rows"]):
            x.fill_(torch.nan)
        before.kernel[before.grid](**before.arguments, **before.options)
        self.dkdv, self.dq = (list(emulate(one, late, lazy)) for one in (dkdv, dq))


def right(problem: Problem, run: Run) -> bool:
    return are_gradients(run.made, problem, run.do, run.dlse)


@given(
    hopper_problems((136, 256), (1, 1, 2, 3), keys=300, kv_heads=1),
    st.sampled_from((None, 0, -1)),
    st.sampled_from(PARTITIONS),
)
@settings(max_examples=8)
def test_it_is_the_gradient_of_attention(problem: Problem, late: int | None, lazy: str) -> None:
    assert right(problem, Run(problem, late, lazy))


def test_rows_that_see_nothing_and_keys_that_nobody_sees_have_no_gradient() -> None:
    problem = Problem(200, 90, 256, dtype=torch.bfloat16, causal=True)
    run = Run(problem)
    assert right(problem, run)
    assert not run.made[0][:, :, :110].any()
    alone = Run(Problem(20, 300, 256, dtype=torch.bfloat16, window=(0, 0)))
    assert not any(x[:, :, :280].any() for x in alone.made[1:])


@pytest.mark.parametrize("mask", [None, "causal", "window:60,9"])
def test_it_moves_what_the_trace_moves(mask: str | None) -> None:
    """Tile by tile what the two-kernel pass moves for each block of keys, and for each block of queries."""
    options: dict[str, Any] = {"causal": mask == "causal", "window": (60, 9) if mask and "window" in mask else None}
    problem = Problem(150, 333, 256, kv_heads=2, dtype=torch.float16, **options)
    run, causal = Run(problem), mask == "causal"
    blocks = -(-problem.m // 64), -(-problem.n // 128)
    found = {_place(at, blocks[0], causal, False): _moves(moved, ("Q", "dO"), problem) for at, moved in run.dkdv}
    assert [found[at] for at in sorted(found)] == _expected("K", 64, mask, problem)
    found = {_place(at, blocks[1], causal, causal): _moves(moved, ("K", "V"), problem) for at, moved in run.dq}
    assert [found[at] for at in sorted(found)] == _expected("Q", 128, mask, problem)


def _expected(first: str, block_q: int, mask: str | None, problem: Problem) -> list[Any]:
    """The moves of the reference's programs that begin with a tile of this tensor, but for LSE and D."""
    q, k, v = (x.float().flatten(0, 1).numpy() for x in problem.tensors())
    trace = fs.record("flash2-backward", q, k, v, do=q, block_q=block_q, block_k=64, mask=mask, dtype="float16")
    programs: dict[int, list[Any]] = {}
    for event in trace:
        if event.op in ("load", "store") and event.tile and event.tile.tensor not in ("LSE", "D"):
            programs.setdefault(event.program, []).append((event.op, *event.tile[:3]))
    return [one for one in programs.values() if one[0][1] == first]


def _place(at: tuple[int, ...], blocks: int, together: bool, last_first: bool) -> int:
    """Which block, of all heads, a program is for: with `together` the first of both heads, then those after them."""
    block, part = at
    if together:
        block, part = (part * blocks + block) // 2, (part * blocks + block) % 2
    return part * blocks + (blocks - 1 - block if last_first else block)


def _moves(moved: list[Any], streamed: tuple[str, str], problem: Problem) -> list[Any]:
    """A program's moves in their order: what is not streamed comes whole, before that or after it."""
    steps = []
    for op, name, place in moved:
        length = problem.m if name[-1] in "KV" else problem.n
        start, stop = (place[1].start * length + min(x, length) for x in (place[2].start, place[2].stop))
        if name != "Rows" and start < stop:
            steps.append((op, name, start, stop))
    names = dict.fromkeys((op, name) for op, name, *_ in steps if name not in streamed)
    of = {one: [step for step in steps if step[:2] == one] for one in names}
    whole = [(*one, min(x[2] for x in parts), max(x[3] for x in parts)) for one, parts in of.items()]
    stream = [one for one in steps if one[1] in streamed]
    loads, stores = ([one for one in whole if one[0] == op] for op in ("load", "store"))
    return [*loads, *stream, *sorted(stores)]


KEYS, QUERIES = hopper_backward_wide, hopper_dq
WAITS = "        mbarrier.wait(q_empty.index(stage), free)\n", "        mbarrier.wait(do_empty.index(stage), free)\n"


def too_soon(made: str, empty: str) -> tuple[str, str]:
    """A place is given back, and only then what reads it is waited for."""
    wait = f"        {made} = warpgroup_mma_wait(1, deps=({made},))\n"
    give_back = f"        mbarrier.arrive({empty}, count=1)\n"
    return wait + give_back, give_back + wait


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (KEYS, "free = ((t // STAGES) & 1) ^ 1", "free = (t // STAGES) & 1"),
        (KEYS, "    do_empty = barriers(STAGES, 1)", "    do_empty = barriers(STAGES, 2)"),
        (KEYS, "        mbarrier.wait(p_full.index(0), t & 1)\n", ""),
        (KEYS, "        mbarrier.wait(p_empty.index(0), (t & 1) ^ 1)\n", ""),
        (KEYS, "        wait_for(do_full, t, STAGES, True)\n", ""),
        (KEYS, "        wait_for(do_full, t + 1, STAGES, t + 1 < total)\n", ""),
        (KEYS, "        wait_for(q_full, t + 1, STAGES, t + 1 < total)\n", ""),
        (KEYS, *too_soon("dv", "do_empty.index(stage)")),
        (KEYS, *too_soon("dk", "q_empty.index(stage)")),
        (KEYS, WAITS[0], ""),
        (KEYS, "    k.store(dv.to(k_sm.dtype))\n    fence_async_shared()\n", "    k.store(dv.to(k_sm.dtype))\n"),
        (KEYS, "head = h * GROUP + t // (hi - lo)", "head = h * GROUP"),
        (QUERIES, "(t & 1) ^ 1)", "t & 1)"),
        (QUERIES, "    v_empty = barriers(1, 2)", "    v_empty = barriers(1, 1)"),
        (QUERIES, "    k_empty = barriers(STAGES, 2)", "    k_empty = barriers(STAGES, 1)"),
        (QUERIES, "        mbarrier.wait(v_full.index(0), t & 1)\n", ""),
        (QUERIES, "        wait_for(k_full, t + 1, STAGES, j + 1 < hi)\n", ""),
        (QUERIES, *too_soon("dq", "k_empty.index(t % STAGES)")),
        (QUERIES, "h // SHARED", "h"),
    ],
    ids=["phase", "arrivals", "P too soon", "P overwritten", "dO too soon", "the next dO too soon", "queries too soon",
         "dO given back too soon", "queries given back too soon", "queries overwritten", "dV not fenced", "heads",
         "values' phase", "values given back by one", "keys given back by one", "values too soon", "keys too soon",
         "keys given back too soon", "heads of keys"],
)  # fmt: skip
def test_a_fault_is_caught(module: Any, old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A barrier that is wrong hangs, or lets somebody read what is not there: there are no third ways."""
    made = mutant(module, old, new, tmp_path, monkeypatch)
    kernel = "hopper_dkdv_kernel" if module is KEYS else "hopper_dq_kernel"
    monkeypatch.setattr(hopper_backward_wide, kernel, getattr(made, kernel))
    assert any(_faulty(late, lazy) for lazy in ("", "make_dv") for late in (None, 0, -1))


def test_queries_are_waited_for_before_do_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or dO of another tile would come while dP is still made of this one: only who makes dV gives dO back."""
    text = Path(KEYS.__file__).read_text("utf-8")
    queries = text[text.index(WAITS[0]) : text.index(WAITS[1])]
    do = text[text.index(WAITS[1]) : text.index("\n\n@gluon.jit\ndef make_dv")]
    made = mutant(KEYS, queries + do, f"{do}\n{queries}", tmp_path, monkeypatch)
    assert not _faulty(None, "make_dk")
    monkeypatch.setattr(hopper_backward_wide, "hopper_dkdv_kernel", made.hopper_dkdv_kernel)
    assert _faulty(None, "make_dk")


def _faulty(late: int | None, lazy: str = "") -> bool:
    try:
        run = Run(PROBLEM, late, lazy)
    except Fault:
        return True
    return not right(PROBLEM, run)
