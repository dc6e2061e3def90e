"""A trace replays its run: what is on chip and in HBM after each step, from what the trace holds alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashsteps.machine.memory import ADDRESSES
from flashsteps.runs import record as run
from tests.problems import ALL, BACKWARD, Problem, problems

SMALL = Problem("flash2-forward", 6, 5, 4, 4, 2)


@given(problems(more=True))
@settings(deadline=None)
def test_each_step_does_one_thing_and_does_it_right(problem):
    trace = problem.record()
    computing = np.dtype(trace.meta["computing"])
    states = list(trace.states())
    assert [state.step for state in states] == [-1, *range(len(trace))]
    for event, before, after in zip(trace, states, states[1:], strict=False):
        new_program = event.step > 0 and event.program != trace[event.step - 1].program
        sram, hbm = {} if new_program else dict(before.sram), dict(before.hbm)
        if event.op == "load":
            left, right = event.tile.columns or (0, None)
            rows = before.hbm[event.tile.tensor][event.tile.start : event.tile.stop]
            rows = rows[:, left:right] if event.tile.columns else rows
            held = sram[event.slot][: event.row] if event.row else rows[:0]
            sram[event.slot] = np.concatenate([held, rows]).astype(computing)
            assert after.sram[event.slot].dtype == computing
        if event.op == "store":
            kept = hbm[event.tile.tensor].dtype
            stored = after.hbm[event.tile.tensor][event.tile.start : event.tile.stop]
            hbm[event.tile.tensor] = hbm[event.tile.tensor].copy()
            if event.slot:
                np.testing.assert_array_equal(stored, sram[event.slot].astype(kept))
            hbm[event.tile.tensor][event.tile.start : event.tile.stop] = stored
        if event.op == "compute":
            sram[event.slot] = after.sram[event.slot]
            assert (after.sram[event.slot].shape, after.sram[event.slot].dtype) == (event.shape, computing)
        for found, expected in ((after.sram, sram), (after.hbm, hbm)):
            assert found.keys() == expected.keys()
            for name in found:
                assert np.array_equal(found[name], expected[name], equal_nan=True)


@given(problems(more=True))
@settings(deadline=None)
def test_the_last_state_is_what_the_run_gave_and_nothing_was_left_unwritten(problem):
    trace = problem.record()
    hbm = trace.at(len(trace) - 1).hbm
    for name in trace.outputs:
        if name in hbm:
            np.testing.assert_array_equal(hbm[name], trace.outputs[name])
        else:
            assert name == "LSE"  # ℓ and m are there instead
    assert not any(np.isnan(data).any() for data in hbm.values())


@given(problems([name for name in ALL if name.startswith("flash")]))
@settings(deadline=None)
def test_scores_are_made_of_the_q_and_k_that_are_on_chip(problem):
    trace = problem.record()
    for state, event in zip(trace.states(), (None, *trace), strict=True):
        if event is not None and event.slot == "S" and event.work.matmul:
            made = state.sram["q"] @ state.sram["k"].T * trace.meta["scale"]
            np.testing.assert_allclose(state.sram["S"], made, rtol=1e-5, atol=1e-5)


@given(problems(more=True), st.data())
@settings(deadline=None)
def test_any_step_can_be_looked_at_alone(problem, data):
    trace = problem.record()
    step = data.draw(st.integers(-1, len(trace) - 1))
    there, alone = next(state for state in trace.states() if state.step == step), trace.at(step)
    for found, expected in ((alone.hbm, there.hbm), (alone.sram, there.sram)):
        assert found.keys() == expected.keys()
        for name in found:
            assert np.array_equal(found[name], expected[name], equal_nan=True)


def test_states_that_were_given_out_do_not_change():
    early = SMALL.record().states()
    first = next(early)
    O = first.hbm["O"].copy()
    for _ in early:
        pass
    np.testing.assert_array_equal(first.hbm["O"], O)


@pytest.mark.parametrize("algorithm", ALL)
def test_before_the_first_step_inputs_are_there_and_nothing_else(algorithm):
    problem = Problem(algorithm, 6, 5, 4, 4, 2)
    state = problem.record().at(-1)
    assert state.sram == {}
    for name, data in state.hbm.items():
        if name in ("K", "V") and algorithm == "paged-decode":  # in pages, anywhere in the pool
            assert sorted(data[data.any(axis=1)].tolist()) == sorted(problem.inputs()["QKV".index(name)].tolist())
        elif name in ("Q", "K", "V"):
            np.testing.assert_array_equal(data, problem.inputs()["QKV".index(name)])
        elif name in ADDRESSES or (algorithm in BACKWARD and name in ("O", "LSE", "l", "m", "P", "dO")):  # saved
            assert np.isfinite(data).all()
        else:
            assert np.isnan(data).all()  # so that a forgotten store shows


@pytest.mark.parametrize("step", [-2, 10_000, 0.5])
def test_a_step_outside_the_run_is_refused(step):
    trace = SMALL.record()
    last = len(trace) - 1
    with pytest.raises(
        ValueError, match=rf"^step {step} is outside this run: give one from 0 to {last}, or -1 for its"
    ):
        trace.at(step)


def test_a_run_too_large_to_keep_its_values_still_says_what_moved(monkeypatch):
    whole = SMALL.record()
    monkeypatch.setattr(run, "VALUES_LIMIT", 100)
    trace = SMALL.record()
    assert trace.values == ()
    assert trace != whole
    assert (trace.events, trace.io()) == (whole.events, whole.io())
    np.testing.assert_array_equal(trace.outputs["O"], whole.outputs["O"])
    with pytest.raises(ValueError, match=r"^this trace holds no values, its run was too large or they were left out "):
        trace.at(3)


@pytest.mark.parametrize("algorithm", ALL)
def test_recorded_values_stay_as_they_were(algorithm):
    trace = Problem(algorithm, 6, 5, 4, 4, 2).record()
    for event, value in zip(trace, trace.values, strict=True):
        assert (value is not None) == (event.op in ("compute", "store"))
        if value is not None:
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 0


def test_two_runs_of_the_same_are_equal_and_of_another_are_not():
    assert SMALL.record() == SMALL.record()
    assert SMALL.record() != Problem(**vars(SMALL) | {"seed": 1}).record()
    assert SMALL.record() != "a trace"
    assert SMALL.record(tokens=list("abcdef")) != SMALL.record()
