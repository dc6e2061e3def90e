"""A run on the stage: what it shows at each moment is what the trace holds, however its steps are told together."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.filmkit.board import Board
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.run_stage import Kind, RunStage, news
from flashsteps.story.maxima import max_that_moves, slow_rounds
from tests.problems import ALL, PLAIN, Problem, problems

FILMED = ("standard-forward", "flash-forward", "flash2-forward")
LANES = st.integers(1, 4)
FEW = settings(max_examples=25)


def same(a, b):
    return np.array_equal(a, b, equal_nan=True)


def told(problem, lanes=1, rounds=(0,)):
    trace = problem.record()
    return Run(trace, slowly=rounds, lanes=lanes if problem.algorithm == "flash2-forward" else 1)


@FEW
@given(problems(ALL, largest=10), LANES, st.sets(st.integers(0, 9)))
def test_each_step_is_in_one_moment_and_each_program_keeps_its_order(problem, lanes, slow):
    run = told(problem, lanes, slow)
    steps = [event.step for moment in run.moments for event in moment]
    assert sorted(steps) == list(range(len(run.trace)))
    for _, events in groupby(sorted(run.trace, key=lambda e: e.program), key=lambda e: e.program):
        own = [event.step for event in events]
        assert [step for step in steps if step in set(own)] == own


@FEW
@given(problems(ALL, largest=10), LANES, st.sets(st.integers(0, 9)))
def test_bytes_grow_with_time_and_come_to_what_the_run_moved(problem, lanes, slow):
    run = told(problem, lanes, slow)
    sums = [sum(map(sum, run.moved(now).values())) for now in np.linspace(0, len(run), 4 * len(run) + 1)]
    assert all(b - a >= -1e-9 for a, b in zip(sums, sums[1:], strict=False))
    assert {name: both for name, both in run.moved(len(run)).items() if any(both)} == run.trace.io().by_tensor


@FEW
@given(problems(ALL, largest=10), LANES)
def test_hbm_holds_in_the_end_what_the_run_gave(problem, lanes):
    run = told(problem, lanes)
    last = run.trace.at(len(run.trace) - 1).hbm
    assert all(same(data, last[name]) for name, data in run.hbm(len(run)).items())


@FEW
@given(problems(FILMED, largest=10), st.sets(st.integers(0, 9)), st.data())
def test_between_two_moments_all_is_as_the_trace_has_it(problem, slow, data):
    run = told(problem, rounds=slow)
    now = data.draw(st.integers(1, len(run)))
    event = run.moments[now - 1][-1]
    state = run.trace.at(event.step)
    assert all(same(array, state.hbm[name]) for name, array in run.hbm(now).items())
    for slot, array in state.sram.items():
        shown = run.shown(now, event.program, (slot,))
        if shown:  # it is empty where it is of a tile before
            assert same(run.value(shown.step), array)
            assert shown.part == 1
        else:
            made = max(e.step for e in run.trace[: event.step + 1] if e.slot == slot and e.op != "store")
            assert run.round_of[made] != run.round_of[event.step]


@FEW
@given(problems(("flash-forward", "flash2-forward"), largest=10), st.sets(st.integers(0, 9)))
def test_no_old_scores_stand_under_a_new_index(problem, slow):
    run = told(problem, rounds=slow)
    for before, after in zip(run.rounds, run.rounds[1:], strict=False):
        event = run.moments[after.start][0]
        if before.tiles and event.op == "load":
            assert (
                run.shown(after.start, event.program, ("P", "S")) or event.program != run.near(after.start)[0].program
            )
            assert run.shown(after.start + 0.5, event.program, ("P", "S")) is None


@FEW
@given(problems(ALL, largest=8), LANES, st.floats(0.05, 0.99), st.data())
def test_tiles_cross_one_after_another_and_all_have_arrived_in_time(problem, lanes, u, data):
    run = told(problem, lanes)
    number = data.draw(st.integers(0, len(run) - 1))
    ways = [share for _, share in run.transfers(number + u)]
    assert ways == sorted(ways, reverse=True)
    assert len(ways) == sum(event.nbytes > 0 for event in run.moments[number])
    assert all(share == 0 for at in (0, 0.02) for _, share in run.transfers(number + at))
    if ways:
        assert ways[0] > 0
        assert ways[-1] < 1
    assert run.landed(number + u) == {event.step for event, share in run.transfers(number + u) if share == 1}


@FEW
@given(problems(PLAIN, largest=12), LANES)
def test_each_tile_is_made_or_hidden_once(problem, lanes):
    assume(problem.algorithm in ("flash-forward", "flash2-forward"))
    run = told(problem, lanes)
    made = [tile for r in run.rounds for tile in r.tiles]
    hidden = [tile for r in run.rounds for tile in r.hidden]
    wanted = [(rows.start // problem.block_q, keys.start // problem.block_k) for rows, keys in problem.tiles()]
    assert sorted(made) == sorted(wanted)
    assert not set(made) & set(hidden)
    count, on = run.done(len(run))
    assert (count, on) == (len(run.rounds), None)
    assert run.done(0)[0] == 0


@FEW
@given(problems(("flash-forward", "flash2-forward"), largest=14))
def test_the_max_that_moves_is_one_of_the_scores_and_none_moves_more(problem):
    trace = problem.record()
    moves = max_that_moves(trace)
    alphas = [v for e, v in zip(trace, trace.values, strict=True) if e.slot == "alpha"]
    inside = [float(x) for alpha in alphas for x in alpha if 0.005 < x < 1]
    if not inside:
        assert moves is None
        return
    assert moves
    assert moves.alpha == min(inside)
    q, k, _ = (x.astype(np.float64) for x in problem.inputs())
    scores = np.where(problem.kept(), q @ k.T * problem.d**-0.5, -np.inf)[moves.query]
    block = problem.block_k
    first = moves.key // block * block
    assert moves.m[0] == pytest.approx(scores[:first].max(), rel=1e-3)
    assert moves.m[1] == pytest.approx(scores[: first + block].max(), rel=1e-3)
    assert moves.m[1] == pytest.approx(scores[moves.key], rel=1e-3)
    for l, m, stop in ((moves.l[0], moves.m[0], first), (moves.l[1], moves.m[1], first + block)):
        assert l == pytest.approx(np.exp(scores[:stop] - m).sum(), rel=1e-3)


def test_tokens_that_come_again_are_numbered():
    tokens = ["the", "cat", "the", "_{", "cat", "the"]
    q = np.ones((6, 2), np.float16)
    names = Run(fs.record("flash-forward", q, q, q, tokens=tokens)).names
    assert names["keys"][:3] == ("the_{1}", "cat_{1}", "the_{2}")
    assert names["queries"] == names["keys"]
    assert names["keys"][3] != "_{"  # a token's own marks are themselves
    last = Run(fs.record("flash-forward", q[:2], q, q, tokens=tokens)).names
    assert last["queries"] == names["keys"][-2:]  # fewer queries are the last tokens


@FEW
@given(problems(FILMED, largest=10), st.sampled_from(["wide", "square", "tall"]), st.floats(0.1, 9))
def test_a_run_is_played_to_its_end_in_the_time_it_is_given(problem, shape, seconds):
    trace = problem.record()
    lanes = 2 if problem.algorithm == "flash2-forward" and problem.n > problem.block_q else 1
    kind: Kind = "lanes" if lanes > 1 else "kernels" if problem.algorithm == "standard-forward" else "tile"
    board, run = Board(shape, "A run"), Run(trace, slowly=slow_rounds(trace), lanes=lanes)
    with board.chapter("All"):
        stage = RunStage(board, run, kind=kind)
        start = board.now
        stage.play(len(run), seconds)
        assert board.now - start == pytest.approx(seconds)
    assert stage.at == len(run)
    assert set(board.steps) == set(range(len(trace)))
    assert list(map(board.steps.get, sorted(board.steps))) == sorted(board.steps.values()) or lanes > 1


def test_what_is_new_is_told_once():
    problem = Problem("flash-forward", 10, 10, 2, 4, 4, mask="causal")
    run = told(problem)
    words = list(news(run).values())
    assert len(words) == 3
    assert any("skipped" in said for said in words)
    assert any("block of queries is short: 2, not 4" in said for said in words)
    assert any("block of keys is short: 2, not 4" in said for said in words)
    board = Board("wide", "A run")
    with board.chapter("All"):
        stage = RunStage(board, run)
        stage.tell(len(run), 3.0)
    assert sorted(span.name for span in board.captions) == sorted(words)
    assert stage.at == len(run)
