"""`bench` measures what it says: FLOPs by the papers' rule, the right outputs only, turn about, whatever goes wrong."""

import math
import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

import flashsteps as fs
from flashsteps.kernels.bench import backends, exact, machine, schedule, speed, trial
from flashsteps.kernels.bench.schedule import Deadline
from flashsteps.kernels.bench.speed import Point
from tests.kernels.bench.bench_machine import FakeMachine, backend

OOM = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64.00 GiB")
POINT = Point(n=8, d=4, causal=False, batch=2, heads=3)


def rows_of(fake: FakeMachine, which: dict[str, backends.Backend], todo=(POINT,), minutes=None, **options: Any):
    options = {"dtype": torch.float32, "budget": 1.0} | options
    points = list(speed.run(fake, which, todo, deadline=Deadline(minutes, fake.clock), **options))
    return [row for rows in points for row in rows]


# ---- FLOPs


@pytest.mark.parametrize("point", [POINT, Point(64, 16, False, 1, 2), Point(33, 8, False, 2, 1)])
def test_flops_are_those_that_torch_counts(point):
    q, k, v = (torch.randn(point.batch, point.heads, point.n, point.d, requires_grad=True) for _ in range(3))
    with FlopCounterMode(display=False) as counted:
        out = backends.standard(q, k, v)
    assert point.flops("forward") == counted.get_total_flops()
    with FlopCounterMode(display=False) as counted:
        out.sum().backward()
    assert counted.get_total_flops() == 2 * point.flops("forward")  # P was kept: without that, one product more
    assert point.flops("backward") == 2.5 * point.flops("forward")


@pytest.mark.parametrize("n", [64, 256])
def test_flops_are_those_that_the_reference_does(n):
    point = Point(n, 32, False, 1, 1)
    shape = {"n": n, "d": 32, "block_q": 16, "block_k": 16}
    products = fs.count("flash2-forward", **shape).work.matmul
    assert 1 <= products / point.flops("forward") < 1.1  # the reference counts scaling the scores too
    assert Point(n, 32, True, 1, 1).flops("forward") == point.flops("forward") / 2


@given(st.lists(st.integers(1, 1 << 16), min_size=1, max_size=6), st.sampled_from([(64,), (128, 64), (32, 64)]))
def test_points_are_as_many_tokens_and_heads_as_said(sizes, dims):
    todo = speed.points(sizes, dims, (False, True), 1 << 14, 2048)
    assert len(todo) == len(set(sizes)) * len(dims) * 2
    for point in todo:
        assert point.heads * point.d == 2048
        assert point.batch == max(1, (1 << 14) // point.n)
    assert todo[0].n == min(set(sizes), key=lambda n: (abs(n.bit_length() - 15), n))


def test_a_head_that_does_not_divide_what_is_hidden_is_refused():
    with pytest.raises(ValueError, match="d is 48, and 2,048 hidden"):
        speed.points([64], [48], [False], 1 << 14, 2048)


# ---- what outputs are held against


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("most", [1 << 26, 300])
def test_the_reference_is_autograds_in_float64(causal, most):
    q, k, v, do = (torch.randn(2, 3, 21, 5, dtype=torch.float64) for _ in range(4))
    made = exact.outputs(q, k, v, do, causal=causal, dtype=torch.float64, most=most)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    out = scaled_dot_product_attention(q, k, v, is_causal=causal)
    expected = dict(zip(("O", "dQ", "dK", "dV"), (out, *torch.autograd.grad(out, leaves, do)), strict=True))
    assert exact.refusal(expected, made, dict.fromkeys(made, 1e-12)) == ""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("name", ["flash", "math", "standard", "numpy"])
def test_every_backend_of_a_cpu_is_right(name, dtype):
    made = trial.inputs((1, 2, 40, 16), causal=True, dtype=dtype, device=torch.device("cpu"), seed=1)
    if name == "numpy" and dtype != torch.float32:
        with pytest.raises(trial.Failed, match="NumPy has fast products of float32"):
            trial.ready(machine.Cpu(), name, backends.BACKENDS[name], made, trial.PASSES)
    else:
        trial.ready(machine.Cpu(), name, backends.BACKENDS[name], made, trial.PASSES)


@pytest.mark.parametrize("name", ["O", "dQ", "dK", "dV"])
@pytest.mark.parametrize("harm", ["one number", "a head", "nan"])
def test_one_wrong_number_is_seen(name, harm):
    made = trial.inputs((1, 2, 16, 8), causal=False, dtype=torch.float16, device=torch.device("cpu"), seed=1)
    found = {key: x.clone() for key, x in made.reference.items()}
    if harm == "a head":
        found[name] = found[name].flip(1)
    else:
        found[name][0, 1, 3, 2] += math.nan if harm == "nan" else 0.1
    assert exact.refusal(found, made.reference, made.bound).startswith(f"{name} is ")


def test_an_output_of_another_shape_is_wrong():
    made = trial.inputs((1, 1, 4, 2), causal=False, dtype=torch.float32, device=torch.device("cpu"), seed=1)
    found = made.reference | {"dK": made.reference["dK"][:, :, :2]}
    assert exact.refusal(found, made.reference, made.bound) == "dK is (1, 1, 2, 2), not (1, 1, 4, 2)"


# ---- timing


def test_times_are_those_between_the_marks_and_nothing_else():
    fake = FakeMachine()
    rows = rows_of(fake, {"fast": backend(fake, 0.25), "slow": backend(fake, 0.5)})
    found = {(row["pass"], row["backend"]): row for row in rows}
    assert {key: row["status"] for key, row in found.items()} == dict.fromkeys(found, "ok")
    fast, slow = found["forward", "fast"], found["forward", "slow"]
    assert fast["seconds"] == {"median": 0.25, "min": 0.25, "max": 0.25}
    assert (fast["runs"], slow["runs"]) == (4, schedule.LEAST)
    assert slow["tflops"] == pytest.approx(POINT.flops("forward") / 0.5 / 1e12, rel=1e-3)
    assert found["backward", "fast"]["seconds"]["median"] == 0.5  # its forward pass stands before the mark
    assert fast["peak_bytes"] == 1000 + 3 * 4 * 2 * 3 * 8 * 4


def test_the_cache_is_flushed_right_before_every_timed_call():
    fake = FakeMachine()
    rows_of(fake, {"one": backend(fake, 0.1), "two": backend(fake, 0.2)})
    assert fake.log
    assert fake.log == ["flush", "mark", "mark"] * (len(fake.log) // 3)


def test_inputs_take_turns():
    seen = Counter[int]()
    fake = FakeMachine()

    def make(n: int, causal: bool, device: torch.device) -> backends.Attention:
        def attention(q, k, v):
            seen[q.data_ptr()] += 1
            fake.spend(0.1)
            return backends.standard(q, k, v)

        return attention

    rows_of(fake, {"it": backends.Backend(make)}, passes=("forward",))
    assert len(seen) == trial.SETS
    assert min(seen.values()) >= 3


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 40), min_size=1))
def test_turns_are_spread_over_all_rounds(counts):
    order = list(schedule.rounds(counts))
    for name, count in counts.items():
        assert [turn for which, turn in order if which == name] == list(range(count))
    if len(set(counts.values())) == 1:  # then each round has each once
        size = len(counts)
        assert all({name for name, _ in order[at : at + size]} == set(counts) for at in range(0, len(order), size))
    most = max(counts, key=lambda name: counts[name])
    for name in counts:  # never far ahead of its share
        for at in range(len(order)):
            so_far = Counter(which for which, _ in order[: at + 1])
            assert abs(so_far[name] / counts[name] - so_far[most] / counts[most]) <= 1 / counts[name] + 1 / counts[most]


def test_how_often_a_call_is_timed_follows_its_time():
    assert schedule.times(0.01, 0.2) == 20
    assert schedule.times(9.0, 0.2) == schedule.LEAST
    assert schedule.times(0.0, 0.2) == schedule.MOST


# ---- what goes wrong


def test_a_wrong_backend_is_not_timed():
    fake = FakeMachine()
    timed: list[int] = []
    wrong = backend(fake, 0.1, wrong=0.01, fails=lambda call: timed.append(call))
    rows = rows_of(fake, {"right": backend(fake, 0.1), "wrong": wrong})
    assert {row["backend"]: row["status"] for row in rows} == {"right": "ok", "wrong": "wrong"}
    assert all(row["why"].startswith("O is 0.01 off") for row in rows if row["status"] == "wrong")
    assert timed == [1]


@pytest.mark.parametrize(
    "error",
    [
        OOM,
        MemoryError("Unable to allocate 9 TiB"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize("at", range(1, 9))
def test_too_little_memory_is_a_result_wherever_it_comes(error, at):
    fake = FakeMachine()
    short = backend(fake, 0.1, fails=lambda call: error if call >= at else None)
    rows = rows_of(fake, {"short": short, "other": backend(fake, 0.1)}, passes=("forward",))
    assert {row["backend"]: row["status"] for row in rows} == {"short": "out of memory", "other": "ok"}
    assert all(row["seconds"] is None and row["tflops"] is None for row in rows if row["backend"] == "short")


def test_a_cpu_is_not_asked_for_more_than_it_has():
    fake = FakeMachine(room=2 * 3 * 8 * 8 * 4 * 5 - 1)
    large = backend(fake, 0.1, matrices=5, fails=lambda call: AssertionError("it was tried"))
    small = backend(fake, 0.1, matrices=4)
    rows = rows_of(fake, {"large": large, "small": small}, passes=("forward",))
    assert {row["backend"]: row["status"] for row in rows} == {"large": "out of memory", "small": "ok"}


def test_what_cannot_run_says_why_in_one_line_without_folders():
    fake = FakeMachine()
    error = RuntimeError("\n/home/someone/x/kernel.py:12: no such instruction\nmore")
    rows = rows_of(fake, {"it": backend(fake, 0.1, fails=lambda call: error)})
    assert [(row["status"], row["why"]) for row in rows] == [("not available", "kernel.py:12: no such instruction")] * 2


def test_torchs_warnings_say_why_a_backend_will_not(recwarn):
    def make(n: int, causal: bool, device: torch.device) -> backends.Attention:
        def attention(q, k, v):
            warnings.warn("Flash attention kernel not used because: (Triggered internally at x.cpp:7.)", stacklevel=1)
            warnings.warn(
                "Flash attention only supports heads up to 256. (Triggered internally at x.cpp:9.)", stacklevel=1
            )
            warnings.warn("CuDNN attention has been runtime disabled. (Triggered internally at x.cpp:8.)", stacklevel=1)
            raise RuntimeError("No available kernel. Aborting execution.")

        return attention

    (row,) = rows_of(FakeMachine(), {"it": backends.Backend(make)}, passes=("forward",))
    assert row["why"] == "Flash attention only supports heads up to 256."
    assert len(recwarn) == 0


@pytest.mark.parametrize("at", [1, 6])
def test_when_the_machine_fails_all_that_is_left_is_not_run(at):
    fake = FakeMachine()

    def fails(call: int) -> Exception | None:
        if call >= at:
            fake.broken = "an illegal memory access was encountered"
        return RuntimeError("CUDA error") if call >= at else None

    rows = rows_of(fake, {"fine": backend(fake, 0.1), "bad": backend(fake, 0.1, fails=fails)}, todo=(POINT, POINT))
    assert {row["status"] for row in rows} == {"not run"}
    assert len(rows) == 2 * 2 * 2
    assert all(row["why"].startswith("the machine failed: in bad, ") for row in rows)


def test_the_time_that_is_over_leaves_rows_that_say_so():
    fake = FakeMachine()
    todo = [POINT._replace(n=n) for n in (4, 5, 6)]
    rows = rows_of(fake, {"it": backend(fake, 0.1)}, todo=todo, minutes=5, passes=("forward",))
    assert [row["status"] for row in rows] == ["ok", "not run", "not run"]
    assert rows[-1]["why"] == "the time was over"


def test_what_is_compiled_is_left_out_first():
    fake = FakeMachine()
    plain, compiled = backend(fake, 0.1), backend(fake, 0.1, compiled=True)

    def make(n: int, causal: bool, device: torch.device) -> backends.Attention:
        fake.spend(10_000)
        return compiled.make(n, causal, device)

    todo = [POINT._replace(n=n) for n in range(4, 10)]
    which = {"plain": plain, "compiled": compiled._replace(make=make)}
    rows = rows_of(fake, which, todo=todo, minutes=720, passes=("forward",))
    assert [row["status"] for row in rows if row["backend"] == "plain"] == ["ok"] * 6
    statuses = [row["status"] for row in rows if row["backend"] == "compiled"]
    assert statuses[0] == "ok"
    assert set(statuses) == {"ok", "not run"}
    assert {row["why"] for row in rows} == {None, "no time was left to compile it"}
