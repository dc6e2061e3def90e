"""`bench --tune`: each candidate is checked, then timed turn about; the best is written down for the kernels."""

import json
from typing import Any

import pytest
import torch

from flashsteps import results
from flashsteps.kernels import checks
from flashsteps.kernels.bench import exact, modes, trial, tune
from flashsteps.kernels.bench.schedule import Deadline
from flashsteps.kernels.bench.tune import Candidate
from flashsteps.kernels.targets import configs, tuned
from flashsteps.kernels.targets.configs import Config
from flashsteps.kernels.targets.target import Target
from tests.cli.test_cli import flashsteps
from tests.kernels.bench.bench_machine import FakeMachine

D, N = 16, 32
SMALL, LARGE = Config(16, 16), Config(32, 16)
KERNELS = ("forward", "dkdv", "dq")
TODO = [Candidate(kernel, D, True, config) for kernel in KERNELS for config in (SMALL, LARGE)]


@pytest.fixture
def fake(monkeypatch):
    """A machine on which larger tiles are faster in a forward pass, and slower in a backward one; no kernel runs."""
    machine = FakeMachine()

    def right(q, k, v, do, causal):
        made = exact.outputs(q, k, v, do, causal=causal, dtype=torch.float64)
        return {name: x.to(q.dtype) for name, x in made.items()}

    def forward(q, k, v, *, causal, config=None):
        machine.spend(0.04 if config == SMALL else 0.03)
        return right(q, k, v, v, causal)["O"], torch.zeros(q.shape[:3])

    def backward(do, q, k, v, o, lse, *, causal, config=None, deterministic=False):
        machine.spend(sum(0.03 if configs.shipped(name, None) == LARGE else 0.02 for name in ("dkdv", "dq")))
        made = right(q, k, v, do, causal)
        return made["dQ"], made["dK"], made["dV"]

    monkeypatch.setattr(configs, "shipped", lambda kernel, problem: SMALL)
    monkeypatch.setattr(tune, "forward", forward)
    monkeypatch.setattr(tune, "backward", backward)
    return machine


def rows_of(fake, todo=TODO, harmful=None, minutes=None):
    made = tune.run(
        fake,
        todo,
        n=N,
        hidden=2 * D,
        dtype=torch.float32,
        deadline=Deadline(minutes, fake.clock),
        prepare=lambda *given: harmful or {},
    )
    return [row for rows in made for row in rows]


def test_the_fastest_of_each_kernel_is_the_best(fake):
    rows = rows_of(fake)
    assert {row["status"] for row in rows} == {"ok"}, [row["why"] for row in rows]
    best = {row["kernel"]: Config(**row["config"]) for row in rows if row["best"]}
    assert best == {"forward": LARGE, "dkdv": SMALL, "dq": SMALL}
    assert [row["seconds"]["median"] for row in rows if row["kernel"] == "forward"] == [0.04, 0.03]
    assert {row["n"] for row in rows} == {N}


def test_heads_are_tuned_in_the_order_in_which_they_come(fake):
    todo = [one._replace(d=d) for d in (16, 8, 32) for one in TODO]
    rows = rows_of(fake, todo)
    assert {row["status"] for row in rows} == {"ok"}, [row["why"] for row in rows]
    assert list(dict.fromkeys(row["d"] for row in rows)) == [16, 8, 32]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_wrong_tile_is_neither_timed_nor_best(fake, monkeypatch, kernel):
    right = tune.call

    def wrong(one, given, before):
        made = right(one, given, before)
        return {name: x + 0.1 * (one.kernel == kernel and one.config == LARGE) for name, x in made.items()}

    monkeypatch.setattr(tune, "call", wrong)
    rows = [row for row in rows_of(fake) if row["kernel"] == kernel]
    assert [(row["status"], row["best"], row["seconds"] is None) for row in rows] == [
        ("ok", True, False), ("wrong", False, True),
    ]  # fmt: skip
    assert " is 0.1 off" in rows[1]["why"]


def test_what_did_harm_in_another_process_is_not_run_in_this_one(fake, monkeypatch):
    right, harmful = tune.call, {TODO[1]: "an illegal memory access"}

    def call(one, given, before):
        assert one not in harmful
        return right(one, given, before)

    monkeypatch.setattr(tune, "call", call)
    row = rows_of(fake, harmful=harmful)[1]
    assert (row["status"], row["why"]) == ("not available", "an illegal memory access")


@pytest.mark.parametrize("one", TODO, ids=str)
def test_the_kernels_themselves_make_the_right_outputs_with_each_tile(one):
    given = trial.inputs((1, 1, N, D), causal=True, dtype=torch.float32, device=torch.device("cpu"), seed=0)
    before = tune._before(given.sets[0], True)
    tune._checked(one, given, before)
    with pytest.raises(trial.Failed, match="off, where"):
        tune._checked(one._replace(causal=False), given, before)


def test_only_the_kernel_that_is_tried_has_another_tile(monkeypatch):
    monkeypatch.setattr(configs, "shipped", lambda kernel, problem: SMALL)
    shipped = configs.shipped
    with tune.using("dq", LARGE):
        assert [configs.shipped(kernel, None) for kernel in ("dkdv", "dq")] == [SMALL, LARGE]
    assert configs.shipped is shipped


def test_the_time_that_is_over_is_said(fake):
    deadline_over = rows_of(fake, minutes=-1)
    assert {(row["status"], row["why"]) for row in deadline_over} == {("not run", "the time was over")}
    assert not any(row["best"] for row in deadline_over)


def test_compiling_elsewhere_ends_and_tells_what_did_harm():
    """Here there is no GPU, which is as harmful as can be."""
    one = Candidate("forward", D, False, SMALL)
    found = tune.compile_all([one], 2 * D, torch.float32, Deadline(None), processes=1)
    assert list(found) == [one]
    assert found[one]
    assert tune.compile_all([one], 2 * D, torch.float32, Deadline(0), processes=1) == {}


# ---- what is kept


def test_the_best_is_found_again_and_others_stay(tmp_path, monkeypatch):
    path = tmp_path / "tuned.json"
    monkeypatch.setattr(tuned, "PATH", path)
    assert tuned.best("A GPU", "forward", 64, True, 16) is None

    def row(kernel, config, best=True):
        return {"kernel": kernel, "d": 64, "causal": True, "config": config._asdict(), "best": best}

    tuned.keep("A GPU", 16, [row("forward", SMALL), row("dq", LARGE), row("dq", SMALL, best=False)])
    tuned.keep("A GPU", 16, [row("forward", LARGE)])
    tuned.keep("Another", 16, [row("forward", SMALL)])
    assert tuned.best("A GPU", "forward", 64, True, 16) == LARGE._asdict()
    assert tuned.best("A GPU", "dq", 64, True, 16) == LARGE._asdict()
    assert tuned.best("Another", "forward", 64, True, 16) == SMALL._asdict()
    assert tuned.best("A GPU", "forward", 64, False, 16) is None
    assert tuned.best("A GPU", "forward", 64, True, 32) is None
    assert len(json.loads(path.read_text())) == 3
    assert [line for line in path.read_text().splitlines() if "forward" in line]


def test_kernels_take_the_tile_that_was_kept_for_their_gpu_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(tuned, "PATH", tmp_path / "tuned.json")
    monkeypatch.setattr(tuned, "name", lambda device: "A GPU")
    monkeypatch.setattr(configs, "target", lambda device: Target("cuda", 90))
    rows = [{"kernel": "forward", "d": 128, "causal": True, "config": LARGE._asdict(), "best": True}]

    def tile(kernel="forward", d=80, dtype=torch.float16, **options):
        q = torch.empty(1, 2, 64, d, dtype=dtype)
        usual = {"causal": True, "window": None, "scale": None, "softcap": None}
        problem = checks.problem(q, q, q, **usual | options)
        return configs.shipped(kernel, problem._replace(device=torch.device("cuda")))

    others: dict[str, dict[str, Any]] = {
        "dq": {"kernel": "dq"},
        "full": {"causal": False},
        "d": {"d": 64},
        "wide": {"dtype": torch.float32},
        "softcap": {"softcap": 5.0},
        "window": {"window": (4, 0)},
    }
    before = {name: tile(**other) for name, other in others.items()}
    assert tile() != LARGE
    tuned.keep("A GPU", 16, rows)
    assert tile() == LARGE
    assert {name: tile(**other) for name, other in others.items()} == before
    monkeypatch.setattr(tuned, "name", lambda device: "Another GPU")
    assert tile() != LARGE


def test_a_window_is_hoppers_where_that_is_faster_without_one(monkeypatch):
    """One rule for both passes: full or causal by whether later keys are seen; what Hopper's can't do stays plain."""
    monkeypatch.setattr(tuned, "name", lambda device: "A GPU")
    monkeypatch.setattr(configs, "target", lambda device: Target("cuda", 90))
    full, causal = (configs.tried("forward", 128, Target("cuda", 90))[at] for at in (-1, -2))
    assert full.hopper
    assert causal.hopper
    found = {False: full, True: causal}
    monkeypatch.setattr(tuned, "best", lambda gpu, kernel, d, causal, bits: found[causal]._asdict())
    q = torch.empty(1, 2, 64, 128, dtype=torch.float16)

    def tiles(**options):
        usual = {"causal": False, "window": None, "scale": None, "softcap": None}
        problem = checks.problem(q, q, q, **usual | options)._replace(device=torch.device("cuda"))
        assert not configs.shipped("forward", problem, plain=True).hopper
        assert not any(configs.shipped(kernel, problem).hopper for kernel in ("dkdv", "dq", "block_sparse"))
        forward = configs.shipped("forward", problem)
        return forward if forward.hopper else None, configs.of_hopper("backward", problem)

    assert tiles() == tiles(window=(9, -1)) == (full, full)
    assert tiles(causal=True) == tiles(window=(9, 0)) == tiles(window=(9, 4)) == (causal, causal)
    assert tiles(softcap=5.0) == tiles(softcap=5.0, window=(9, 0)) == (None, None)
    found[True] = LARGE  # a plain one, which was not tuned beside a window either
    assert tiles(window=(9, 0)) == (None, None)
    window = checks.problem(q, q, q, causal=False, window=(9, 0), scale=None, softcap=None)
    assert configs.shipped("forward", window._replace(device=torch.device("cuda"))) not in (LARGE, causal)


def test_results_come_kernel_by_kernel_and_the_best_are_kept_at_once(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(tuned, "PATH", tmp_path / "tuned.json")
    rows = rows_of(fake)
    monkeypatch.setattr(tune, "all_candidates", lambda dims, masks, device, kernels: TODO)
    monkeypatch.setattr(tune, "run", lambda machine, todo, **given: iter([rows[:2], rows[2:]]))
    gpu = FakeMachine()
    gpu.kind = "cuda"
    made = modes.tune_results(machine=gpu)
    assert next(made).rows == []
    assert len(next(made).rows) == 2
    assert tuned.best("Fake Machine 1", "forward", D, True, 16) == LARGE._asdict()
    assert tuned.best("Fake Machine 1", "dq", D, True, 16) is None
    assert [one.finished for one in made] == [False, True]
    assert tuned.best("Fake Machine 1", "dq", D, True, 16) == SMALL._asdict()


def test_the_table_shows_every_candidate(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = results.begin("tune", {"kind": "cuda", "name": "A GPU"}, {}, {"dtype": "bfloat16", "n": N})
    results.write("a.json", made._replace(rows=rows_of(fake), finished=True))
    assert results.read("a.json").finished
    lines = flashsteps("bench", "--from", "a.json")
    assert ["forward", "causal", "d=16", "30", "ms*"] in [line.split()[:5] for line in lines]
    assert sum("block_m=" in line for line in lines) == len(TODO)
    assert sum("*" in line for line in lines) == len(KERNELS) + 1  # and what it means


@pytest.mark.parametrize("gpu", [80, 90])
def test_each_candidate_was_compiled_beforehand(gpu):
    """So that what spills much is known, and left out. Hopper's own are on sm_90 alone, and none of them does."""
    on, rows = Target("cuda", gpu), json.loads(configs.COMPILED.read_text(encoding="utf-8"))["rows"]
    for kernel in configs.TUNED:
        for d in configs.HEAD_DIMS:
            for causal in (False, True):
                key = [str(gpu), kernel, d, causal]
                found = [row for row in rows if [row[name] for name in ("arch", "kernel", "d", "causal")] == key]
                tried = configs.tried(kernel, d, on)
                assert [Config(*row["config"]) for row in found] == tried
                kept = configs.candidates(kernel, d, on, causal=causal)
                assert kept == [one for one, row in zip(tried, found, strict=True) if row["spilled"] <= configs.SPILLS]
                assert [one for one in tried if one.hopper] == [one for one in kept if one.hopper]
                assert any(one.hopper for one in tried) == (gpu == 90 and kernel == "forward")
