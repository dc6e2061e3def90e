"""The footprint: what is allocated at one time, from declarations and events, and by arithmetic."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given

import flashsteps as fs
from flashsteps.machine import dtypes
from flashsteps.traffic import footprint
from tests.problems import ALL, DECODE, SPARSE, Problem, problems

FORWARD = ("standard-forward", "flash-forward", "flash2-forward")
FAMILIES = ("standard", "flash", "flash2")


def of(problem: Problem) -> footprint.Footprint:
    return footprint.footprint(problem.algorithm, **problem.sizes(), **problem.options())


@given(problems(FORWARD, largest=40))
def test_a_forward_pass_takes_what_arithmetic_says(problem):
    """Q, K, V and O, and the statistics; standard attention also S with P, or P with O, whichever is larger."""
    N, M, d = problem.n, problem.n_keys, problem.d
    storage, statistic = dtypes.storage(problem.dtype).itemsize, dtypes.computing(problem.dtype).itemsize
    expected = {
        "standard-forward": storage * (N * d + 2 * M * d + N * M + max(N * M, N * d)),
        "flash-forward": storage * (2 * N * d + 2 * M * d) + statistic * 2 * N,
        "flash2-forward": storage * (2 * N * d + 2 * M * d) + statistic * N,
    }
    assert of(problem).total == expected[problem.algorithm]


@given(problems(largest=20, more=True))
@example(Problem(SPARSE[1], 1, 1, 1, 1, 1, block_mask="random:0.1,0"))  # an empty list
def test_it_is_what_a_recorded_run_holds(problem):
    """A second opinion, from a recording: step through its programs with the arrays that it really has."""
    trace = problem.record()
    size = {name: data.nbytes for name, data in trace.initial.items()}
    given_to_it = {name for name, data in trace.initial.items() if not np.isnan(data).all()}
    moves = [(event.program, event.op, event.tile.tensor) for event in trace if event.tile and event.nbytes]
    most = 0
    for now in range(trace[-1].program + 1):
        alive = set()
        for name in size:
            own = [(program, op) for program, op, tensor in moves if tensor == name]
            brought = name in given_to_it or not own  # what never moves, an empty list say, is just there
            left = bool(own) and own[-1][1] == "store"
            if (brought or own[0][0] <= now) and (brought or left or now <= own[-1][0]):
                alive.add(name)
        most = max(most, sum(size[name] for name in alive))
    assert of(problem).total == most


@given(problems([f"{family}-backward" for family in FAMILIES], largest=40))
def test_training_takes_what_arithmetic_says(problem):
    """Each of the papers' matrices once, and of S, P, dP and dS those that are alive together."""
    N, M, d = problem.n, problem.n_keys, problem.d
    storage, statistic = dtypes.storage(problem.dtype).itemsize, dtypes.computing(problem.dtype).itemsize
    caller = 3 * N * d + 2 * M * d  # Q, O, dO; K, V
    gradients = N * d + 2 * M * d
    expected = {
        "standard-backward": storage
        * max(
            N * d + 2 * M * d + 2 * N * M,  # S and P, before there is O
            caller + M * d + 3 * N * M,  # P, dP and dS, with dV
            caller + gradients + N * M,  # dS, with all gradients
        ),
        "flash-backward": storage * (caller + gradients) + statistic * 2 * N,
        "flash2-backward": storage * (caller + gradients) + statistic * 2 * N,  # LSE and D
    }
    found = footprint.training(problem.algorithm, n=N, n_keys=M, d=d, **problem.options())
    assert found
    assert found.total == expected[problem.algorithm]


@given(problems(largest=40))
def test_it_holds_the_inputs_and_does_not_depend_on_blocks_or_masks(problem):
    found = of(problem)
    assert {"Q", "K", "V"} <= set(found.by_tensor)
    if problem.algorithm not in (*DECODE, SPARSE[1]):  # as many pieces, pages or entries of a list as blocks make
        sizes = {"n": problem.n, "n_keys": problem.n_keys, "d": problem.d, "dtype": problem.dtype}
        tiles = {"block_mask": "butterfly"} if problem.algorithm in SPARSE else {}
        assert found == footprint.footprint(problem.algorithm, **sizes, **tiles)


def test_what_is_freed_is_not_counted():
    """With d above N, P with O is more than S with P: S is gone when O is made."""
    assert set(footprint.footprint("standard-forward", n=8, d=16).by_tensor) == {"Q", "K", "V", "P", "O"}
    assert set(footprint.footprint("standard-forward", n=16, d=8).by_tensor) == {"Q", "K", "V", "S", "P"}


@pytest.mark.parametrize("d", [64, 128])
def test_standard_attention_takes_memory_in_n_squared_and_flash_in_n(d):
    small, large = 1 << 16, 1 << 20
    standard, flash = (
        [footprint.footprint(name, n=n, d=d).total for n in (small, large)]
        for name in ("standard-forward", "flash2-forward")
    )
    assert standard[1] / standard[0] == pytest.approx(16 * 16, rel=0.01)
    assert flash[1] == 16 * flash[0]
    assert flash[1] < standard[1] / 1000


def test_a_million_keys_take_no_memory_to_tell():
    footprint.footprint("standard-forward", n=4, d=2)
    tracemalloc.start()
    for name in FORWARD:
        footprint.footprint(name, n=1 << 20, d=128)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_training_is_known_where_there_are_both_passes():
    paired = [name for name in ALL if footprint.training(name, n=2, d=1)]
    assert set(paired) == {f"{family}-{way}" for family in FAMILIES for way in ("forward", "backward")}


def test_training_takes_at_least_what_either_pass_takes():
    for family in FAMILIES:
        forward, backward = f"{family}-forward", f"{family}-backward"
        both = footprint.training(forward, n=64, d=8)
        assert both
        assert both == footprint.training(backward, n=64, d=8)
        assert all(both.total >= footprint.footprint(name, n=64, d=8).total for name in (forward, backward))


def test_training_keeps_p_but_not_s_or_what_flash_attention_makes_again():
    standard, flash2 = (footprint.training(name, n=256, d=8) for name in ("standard-forward", "flash2-forward"))
    assert standard
    assert flash2
    assert {"P", "dP", "dS"} < set(standard.by_tensor)
    assert "S" not in standard.by_tensor
    assert set(flash2.by_tensor) == {"Q", "K", "V", "O", "LSE", "dO", "D", "dQ", "dK", "dV"}


@pytest.mark.parametrize("options", [{"n": 0}, {"dtype": "float8"}, {"mask": "casual"}])
def test_what_makes_no_sense_is_refused_as_a_count_refuses_it(options):
    with pytest.raises(ValueError, match=r".") as counted:
        fs.count("flash2-forward", **{"n": 8, "d": 4} | options)
    with pytest.raises(ValueError, match=r".") as found:
        footprint.footprint("flash2-forward", **{"n": 8, "d": 4} | options)
    assert str(found.value) == str(counted.value)
