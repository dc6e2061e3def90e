"""hopper_backward where there is no GPU: its own source, run as Python, against float64 and against the trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.kernels import checks, hopper_backward
from flashsteps.kernels.flash2_backward import backward
from flashsteps.kernels.problem import Problem as CallProblem
from flashsteps.kernels.targets import configs, tuned
from flashsteps.kernels.targets.configs import Config
from flashsteps.kernels.targets.target import Target, pretend
from tests.kernels.gluon_emulator import Fault, emulate, mutant
from tests.kernels.kernel_problems import Problem, are_gradients, attention, hopper_problems

SM_90 = Target("cuda", 90)
PROBLEM = Problem(150, 333, 128, group=2, dtype=torch.float16, causal=True)
PARTITIONS = ("", "consume_first", "consume_second", "produce")


def config(d: int, stages: int = 2) -> Config:
    return Config(64 if d > 64 else 128, 128, 12, stages, descriptors=True, hopper=True)


class Run:
    """One backward pass: its gradients, D and what moved, program by program; all poisoned before."""

    def __init__(
        self,
        problem: Problem,
        stages: int = 2,
        module: Any = hopper_backward,
        late: int | None = None,
        lazy: str = "",
    ) -> None:
        q, k, v = problem.tensors()
        torch.manual_seed(problem.seed + 1)
        self.do = torch.randn(q.transpose(1, 2).shape).to(q.dtype).transpose(1, 2)
        self.dlse = torch.randn(q.shape[:3]) if problem.seed % 2 else torch.zeros(q.shape[:3])
        o, lse = attention(problem, (x.double() for x in (q, k, v)))
        self.delta = torch.full(q.shape[:3], torch.nan)
        with pretend(SM_90) as launches:
            sizes = checks.problem(q, k, v, causal=problem.causal, window=problem.window, scale=problem.scale)
            assert module.takes(sizes, q, k, v, self.do)
            self.made = module.backward(
                sizes, self.do, q, k, v, o.to(q.dtype), lse.float(), self.dlse, self.delta, config(problem.d, stages)
            )
        before, main, after = launches
        for x in (*self.made, before.arguments["Rows"], before.arguments["dQ"]):
            x.fill_(torch.nan)
        before.kernel[before.grid](**before.arguments, **before.options)
        self.programs = list(emulate(main, late, lazy))
        after.kernel[after.grid](**after.arguments, **after.options)


def right(problem: Problem, run: Run) -> bool:
    return are_gradients(run.made, problem, run.do, run.dlse)


@given(
    hopper_problems((40, 64, 80, 128), (1, 1, 2, 3), keys=400, kv_heads=2),
    st.sampled_from((2, 3)),
    st.sampled_from((None, 0, -1)),
    st.sampled_from(PARTITIONS),
)
@settings(max_examples=8)
def test_it_is_the_gradient_of_attention(problem: Problem, stages: int, late: int | None, lazy: str) -> None:
    assert right(problem, Run(problem, stages, late=late, lazy=lazy))


def test_it_is_the_same_for_d_and_rows_that_see_nothing() -> None:
    """D is written where it is asked for; rows with no key have no gradient, nor do keys that nobody sees."""
    problem = Problem(200, 90, 64, dtype=torch.bfloat16, causal=True)
    run = Run(problem)
    assert right(problem, run)
    assert torch.isfinite(run.delta).all()
    assert not run.made[0][:, :, :110].any()
    alone = Run(Problem(20, 300, 64, dtype=torch.bfloat16, window=(0, 0)))
    assert not any(x[:, :, :280].any() for x in alone.made[1:])


@pytest.mark.parametrize("mask", [None, "causal", "window:60,9"])
def test_it_moves_what_the_trace_moves(mask: str | None) -> None:
    """For each block of keys, the tiles that the two-kernel pass moves for dK and dV; and to each tile its dQ."""
    options: dict[str, Any] = {"causal": mask == "causal", "window": (60, 9) if mask and "window" in mask else None}
    problem = Problem(150, 333, 128, kv_heads=2, dtype=torch.float16, **options)
    q, k, v = (x.float().flatten(0, 1).numpy() for x in problem.tensors())
    reference = fs.record("flash2-backward", q, k, v, do=q, block_q=64, block_k=128, mask=mask, dtype="float16")
    programs: dict[int, list[Any]] = {}
    for event in reference:
        if event.op in ("load", "store") and event.tile and event.tile.tensor not in ("LSE", "D"):
            programs.setdefault(event.program, []).append((event.op, *event.tile[:3]))
    expected = [one for one in programs.values() if one[0][1] == "K"]
    found = {}
    blocks = -(-problem.m // 128)
    for (j, part), moved in Run(problem).programs:
        if mask == "causal":  # the first blocks of both heads, then those after them
            j, part = (part * blocks + j) // 2, (part * blocks + j) % 2  # noqa: PLW2901
        steps = [(op, name, *_rows(name, at, problem)) for op, name, at in moved if name != "Rows"]
        loads = [one for one in steps if one[1] in ("Q", "dO")]
        adds = Counter(one[2:] for one in steps if one[0] == "add")
        assert adds == {one[2:]: 2 for one in loads if one[1] == "Q"}  # each half of a row
        whole = {name: _whole(one for one in steps if one[1] == name) for name in ("K", "V", "dK", "dV")}
        found[part * blocks + j] = [whole["K"], whole["V"], *loads, whole["dK"], whole["dV"]]
    assert [found[at] for at in sorted(found)] == expected


def _rows(name: str, at: tuple[slice, ...], problem: Problem) -> tuple[int, int]:
    """The rows of HBM that a copy is of: those of one head after those of another."""
    length = problem.m if name[-1] in "KV" else problem.n
    return at[1].start * length + at[2].start, at[1].start * length + at[2].stop


def _whole(steps: Iterable[Any]) -> Any:
    """Copies side by side as the one that they are in the trace; what is empty is past the end."""
    parts = [one for one in steps if one[3] > one[2]]
    return (*parts[0][:2], min(one[2] for one in parts), max(one[3] for one in parts))


WAIT = "        dk, dv = warpgroup_mma_wait(2, deps=(dk, dv))\n"
GIVE_BACK = "        mbarrier.arrive(empty.index(stage), count=1)\n"
FENCE = "        fence_async_shared()\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("((t // STAGES) & 1) ^ 1)", "(t // STAGES) & 1)"),
        ("    empty = barriers(STAGES, 2)", "    empty = barriers(STAGES, 3)"),
        ("    ds_full = barriers(1, 2)", "    ds_full = barriers(1, 1)"),
        ("        wait_for(do_full, t, STAGES, True)\n", ""),
        ("        wait_for(q_full, t + 1, STAGES, t + 1 < total)\n", ""),
        ("        mbarrier.wait(ds_full.index(0), t & 1)\n", ""),
        ("    mbarrier.wait(k_free.index(0), 0)\n", ""),
        (WAIT + GIVE_BACK, GIVE_BACK + WAIT),
        ("        tma.store_wait(0)\n", ""),
        (".store(ds)\n" + FENCE, ".store(ds)\n"),
        (".store(dq)\n" + FENCE, ".store(dq)\n"),
        ("head = h * GROUP + t // (hi - lo)", "head = h * GROUP"),
        ("C * 64], dq_sm", "0], dq_sm"),
    ],
    ids=["phase", "arrivals", "one half of dS", "dO too soon", "queries too soon", "dS too soon", "keys overwritten",
         "given back too soon", "dQ overwritten", "dS not fenced", "dQ not fenced", "heads",
         "halves"],
)  # fmt: skip
def test_a_fault_is_caught(old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A barrier that is wrong hangs, or lets somebody read what is not there: there are no third ways."""
    made = mutant(hopper_backward, old, new, tmp_path, monkeypatch)
    assert any(_faulty(made, late) for late in (None, 0, -1))


def _faulty(module: Any, late: int | None) -> bool:
    try:
        run = Run(PROBLEM, module=module, late=late)
    except Fault:
        return True
    return not right(PROBLEM, run)


# ---- when it is chosen

HOPPER = configs.tried("backward", 64, SM_90)[0]
PLAIN = ["delta_kernel", "dkdv_kernel", "dq_kernel"]
OURS = ["rows_kernel", "hopper_backward_kernel", "round_kernel"]
WIDE = ["rows_kernel", "hopper_dkdv_kernel", "hopper_dq_kernel"]


def launched(**options: Any) -> list[str]:
    """The kernels that `backward` would run on an H100."""
    options = {"dtype": torch.bfloat16, "heads": 4, "d": 64} | options
    q = torch.empty(1, options.pop("heads"), 256, options.pop("d"), dtype=options.pop("dtype"))
    k = torch.empty(1, 1, 256, q.shape[3], dtype=q.dtype)
    with pretend(SM_90) as launches:
        backward(q, q, k, k, q, torch.empty(q.shape[:3]), **options)
    return [one.kernel.__name__ for one in launches]


def test_it_is_never_chosen_by_itself() -> None:
    assert HOPPER.hopper
    assert launched() == launched(d=256) == PLAIN
    assert not configs.tried("backward", 64, Target("cuda", 100))


@pytest.mark.parametrize(
    "options",
    [{"softcap": 5.0}, {"dtype": torch.float32}, {"d": 32}, {"d": 68}, {"d": 252}, {"block_q": 64}, {"block_k": 64},
     {"deterministic": True}],
    ids=str,
)  # fmt: skip
def test_what_it_does_not_take_is_the_plain_kernels(options: dict[str, Any]) -> None:
    assert launched(config=HOPPER) == OURS
    assert launched(config=HOPPER, d=256) == launched(config=HOPPER, d=136) == WIDE
    assert launched(config=HOPPER, **{"d": 256} | options) == PLAIN
    assert launched(config=HOPPER, **options) == PLAIN


def test_where_torch_asks_for_what_is_deterministic_it_does_not_run() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        assert launched(config=HOPPER) == PLAIN
    finally:
        torch.use_deterministic_algorithms(False)


def test_where_tuning_found_it_faster_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned, "name", lambda device: "NVIDIA H100")
    sizes = CallProblem(1, 4, 1, 256, 256, 64, 64, -1, -1, 0.1, 0.0, torch.bfloat16, torch.device("cuda"))
    with pretend(SM_90):
        monkeypatch.setattr(tuned, "best", lambda *key: HOPPER._asdict() if key[1] == "backward" else None)
        assert configs.of_hopper("backward", sizes) == HOPPER
        monkeypatch.setattr(tuned, "best", lambda *key: HOPPER._asdict() if key[2] == 64 else None)
        assert configs.of_hopper("backward", sizes._replace(d=256, d_v=256)) is None
        monkeypatch.setattr(tuned, "best", lambda *key: None)
        assert configs.of_hopper("backward", sizes) is None
    with pretend(Target("cuda", 100)):
        monkeypatch.setattr(tuned, "best", lambda *key: HOPPER._asdict())
        assert configs.of_hopper("backward", sizes) is None
