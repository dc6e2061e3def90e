"""The debugger over a trace, and the run that pauses: both show what a replay shows, and change nothing."""

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.machine.events import Tile
from flashsteps.runs.live import Stepping
from flashsteps.runs.stepper import Step, Stepper, first_of_tiles, lines
from flashsteps.trace import replay
from flashsteps.trace.sram import on_chip
from flashsteps.trace.trace import State, Trace
from tests.problems import ALL, Problem, problems

TOY = Problem("flash2-forward", 8, 8, 4, 4, 4)
TRACE = TOY.record()


def same(a: State, b: State) -> None:
    """Two states hold the same arrays, in the same order."""
    assert a.step == b.step
    for ours, theirs in ((a.hbm, b.hbm), (a.sram, b.sram)):
        assert list(ours) == list(theirs)
        for name in ours:
            assert np.array_equal(ours[name], theirs[name], equal_nan=True)
            assert ours[name].dtype == theirs[name].dtype


def first_where(trace: Trace, fits, after: int = -1) -> int:
    return next(event.step for event in trace if event.step > after and fits(event))


# ---- states


@given(problems(more=True), st.data())
@settings(max_examples=60)
def test_any_order_of_steps_shows_what_a_replay_shows(problem, data):
    trace = problem.record()
    states = list(trace.states())
    stepper = Stepper(trace)
    for step in data.draw(st.lists(st.integers(-1, len(trace) - 1), min_size=1, max_size=12)):
        stepper.seek(step)
        same(stepper.state, states[step + 1])


@pytest.mark.parametrize("algorithm", ALL)
def test_what_is_on_chip_adds_up_to_the_peak_of_the_run(algorithm):
    trace = Problem(algorithm, 9, 7, 4, 4, 3).record()
    taken = on_chip(trace)
    assert tuple(map(max, zip(*taken, strict=True))) == trace.peak
    stepper = Stepper(trace)
    stepper.seek(len(trace) - 1)
    assert stepper.io() == trace.io()


def test_states_cannot_be_written_to_and_nothing_reaches_the_trace():
    stepper = Stepper(TRACE)
    for step in (-1, 5, len(TRACE) - 1):
        stepper.seek(step)
        for array in (*stepper.hbm.values(), *stepper.sram.values()):
            assert not array.flags.writeable
    assert TOY.record() == TRACE


def test_back_and_seek_copy_little_in_a_long_run(monkeypatch):
    """Not a time: how many events are gone through again."""
    trace = Problem("flash-forward", 48, 48, 2, 2, 2).record()
    assert len(trace) > 5000
    done: list[int] = []

    def counted(event, *rest) -> None:
        done.append(event.step)
        once(event, *rest)

    once: Any = vars(replay)["replay"]
    monkeypatch.setattr(replay, "replay", counted)
    stepper = Stepper(trace)
    stepper.seek(len(trace) - 1)
    assert stepper.state
    assert len(done) == len(trace)
    done.clear()
    for _ in range(50):
        stepper.back()
        assert stepper.state
    assert len(done) <= 50 * len(trace) / replay.KEPT * 1.1


def test_a_run_without_values_can_be_walked_but_not_looked_into():
    trace = Trace(TRACE.meta, TRACE.events, TRACE.initial, (), TRACE.outputs, TRACE.peak)
    stepper = Stepper(trace)
    assert stepper.until(op="store", tensor="O") == TRACE[stepper.step]
    with pytest.raises(ValueError, match="holds no values"):
        _ = stepper.state


# ---- moves


def test_next_and_back_go_through_all_steps_and_end_there():
    stepper = Stepper(TRACE)
    assert (stepper.step, stepper.event, stepper.here, stepper.line, stepper.code) == (-1, None, None, None, "")
    assert stepper.caption == "One attention head: 8 tokens, d = 4."
    assert [stepper.next() for _ in TRACE] == list(TRACE)
    assert stepper.next() is None
    assert stepper.step == len(TRACE) - 1
    assert [stepper.back() for _ in TRACE[1:]] == list(reversed(TRACE[:-1]))
    assert stepper.back() is None
    assert stepper.back() is None
    assert stepper.step == -1


@pytest.mark.parametrize("step", [-2, len(TRACE), 1.5, True, "3"])
def test_a_step_outside_of_the_run_is_refused(step):
    with pytest.raises(ValueError, match=rf"^step {step} is outside this run: give one from 0 to {len(TRACE) - 1}, or"):
        Stepper(TRACE).seek(step)


@given(problems(more=True), st.data())
@settings(max_examples=40)
def test_until_stops_at_the_first_step_that_fits(problem, data):
    trace = problem.record()
    stepper = Stepper(trace)
    start = stepper.seek(data.draw(st.integers(-1, len(trace) - 1)))
    target = data.draw(st.sampled_from(trace.events))
    wanted = {"op": target.op, "program": target.program, "line": target.line, **target.loop}
    wanted |= {"slot": target.slot} if target.slot else {}
    wanted |= (
        {"tensor": target.tile.tensor, "tile": data.draw(st.sampled_from([target.tile, str(target.tile)]))}
        if (target.tile)
        else {}
    )

    def numbers(tile) -> set:
        """The rows of a tile, or its places: the bias is the only one that comes in by both."""
        columns = range(*(tile.columns or (0, problem.n_keys if tile.tensor == "bias" else 1)))
        return {(row, column) for row in range(tile.start, tile.stop) for column in columns}

    def fits(event) -> bool:
        loops = all(event.loop.get(name) == index for name, index in target.loop.items())
        tiles = not target.tile or (
            event.tile is not None
            and event.tile.tensor == target.tile.tensor
            and numbers(event.tile) & numbers(target.tile)
        )
        plain = (event.op, event.program, event.line) == (target.op, target.program, target.line)
        return plain and loops and bool(tiles) and (not target.slot or event.slot == target.slot)

    here = start.step if start else -1
    found = [event for event in trace if event.step > here and fits(event)]
    assert stepper.until(**wanted) == (found[0] if found else None)
    assert stepper.step == (found[0].step if found else here)
    stepper.seek(here)
    found = [event for event in trace if event.step < here and fits(event)]
    assert stepper.until(**wanted, reverse=True) == (found[-1] if found else None)


def test_until_takes_a_predicate_of_the_step():
    stepper = Stepper(TRACE)
    event = stepper.until(lambda step: "alpha" in step.sram and step.sram["alpha"].min() > 0, op="compute")
    assert event is not None
    assert stepper.sram["alpha"].min() > 0
    assert event.step == first_where(
        TRACE, lambda e: e.op == "compute" and "alpha" in (s := TRACE.at(e.step).sram) and s["alpha"].min() > 0
    )


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "say where to stop: "),
        ({"op": "lod"}, "unknown op 'lod': did you mean 'load'? known are load, store, compute, skip"),
        ({"tensor": "X"}, "unknown tensor 'X': known are Q, K, V, O, LSE"),
        ({"slot": "accc"}, "unknown slot 'accc': did you mean 'acc'? known are q, m_i"),
        ({"tile": "K[0:99]"}, "tile is K[0:99], but K has 8 rows: give some of these"),
        ({"tile": "X[0:2]"}, "unknown tensor 'X'"),
        ({"tile": "K"}, "tile is 'K': give it as it is printed, such as 'K[4:8]'"),
        ({"h": 1}, "unknown condition 'h': known are op, tensor, slot, tile, program, line, i, j"),
        ({"j": "1"}, "j is '1': give a whole number"),
        ({"predicate": 3}, "3 is no predicate: give a function of a step"),
    ],
)
@pytest.mark.parametrize("method", ["until", "breakpoint"])
def test_what_no_step_could_be_is_refused_in_one_line(method, wanted, said):
    with pytest.raises(ValueError, match=".") as error:
        getattr(Stepper(TRACE), method)(**wanted)
    assert str(error.value).startswith(said)
    assert str(error.value).isprintable()


def test_programs_tiles_and_touches():
    stepper = Stepper(TRACE)
    starts = [first_where(TRACE, lambda e, p=p: e.program == p) for p in (0, 1)]
    assert [stepper.program(), stepper.program(), stepper.program()] == [TRACE[starts[0]], TRACE[starts[1]], None]
    assert stepper.program(reverse=True) == TRACE[starts[0]]
    load = stepper.until(op="load", tile="K[4:8]")
    assert load is not None
    again = stepper.touched()
    assert again is not None
    assert again.tile == load.tile == Tile("K", 4, 8)
    assert stepper.touched(reverse=True) == load
    assert stepper.tile(1, 1) == TRACE[first_where(TRACE, lambda e: e.loop == {"i": 1, "j": 1})]
    with pytest.raises(ValueError, match=r"^no step of this run is at i=2, j=0: "):
        stepper.tile(2, 0)


def test_a_tile_that_is_passed_over_is_one_to_jump_to():
    trace = Problem("flash2-forward", 8, 8, 4, 4, 4, mask="causal").record()
    found = first_of_tiles(trace)
    assert list(found) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert trace[found[0, 1]].op == "skip"


# ---- breakpoints and watches


def test_run_stops_at_breakpoints_and_then_at_the_end():
    stepper = Stepper(TRACE)
    stores = [event for event in TRACE if event.op == "store" and event.tile and event.tile.tensor == "O"]
    number = stepper.breakpoint(op="store", tensor="O")
    for store in stores:
        assert stepper.run() == store
        assert stepper.stopped == (number,)
    assert stepper.run() == TRACE[-1]
    assert stepper.stopped == ()
    assert stepper.run() is None
    assert [stepper.run(reverse=True) for _ in stores] == stores[::-1]
    assert stepper.run(reverse=True) is None
    assert stepper.step == -1
    stepper.clear(number)
    assert stepper.run() == TRACE[-1]


@given(
    problems(names=("flash2-forward", "flash-forward", "split-kv-decode")), st.sampled_from(["m_i", "acc", "O", "S"])
)
@settings(max_examples=30)
def test_a_watch_stops_where_the_value_changes_and_nowhere_else(problem, name):
    trace = problem.record()
    stepper = Stepper(trace)
    known = {event.slot for event in trace} | set(trace.initial)
    if name not in known:
        with pytest.raises(ValueError, match=f"^unknown slot or tensor '{name}'"):
            stepper.watch(name)
        return
    number = stepper.watch(name)
    stops = []
    while (event := stepper.run()) and stepper.stopped:
        stops.append(event.step)
    changed, states = [], list(trace.states())
    for event in trace:
        before, after = states[event.step], states[event.step + 1]
        writes = (
            event.slot == name and event.op != "store"
            if name not in trace.initial
            else (event.op == "store" and event.tile is not None and event.tile.tensor == name)
        )
        fresh = event.step == 0 or trace[event.step - 1].program != event.program
        was = (before.hbm if name in trace.initial else {} if fresh else before.sram).get(name)
        now = (after.hbm if name in trace.initial else after.sram).get(name)
        if writes and (was is None or not np.array_equal(was, now, equal_nan=True)):
            changed.append(event.step)
    assert stops == changed
    assert stepper.stops == {number: f"watch: {name}"}


def test_breakpoints_are_numbered_and_cleared():
    stepper = Stepper(TRACE)

    def big(step: Step) -> bool:
        return step.event.nbytes > 60

    assert [stepper.breakpoint(big), stepper.breakpoint(j=1, op="skip"), stepper.watch("m_i")] == [1, 2, 3]
    assert stepper.stops == {1: "breakpoint: big", 2: "breakpoint: j=1, op=skip", 3: "watch: m_i"}
    with pytest.raises(ValueError, match=r"^there is no breakpoint 7: there are \[1, 2, 3\]$"):
        stepper.clear(7)
    stepper.clear()
    assert stepper.stops == {}


# ---- what is said


def test_captions_and_code_are_those_of_the_source():
    stepper = Stepper(TRACE)
    stepper.until(slot="S")
    assert stepper.code == 's = sram["S"] = q @ k.T * scale'
    assert stepper.caption == "One tile of scores, made on chip. It never goes to HBM."
    assert stepper.trace.meta["code"].split("\n")[(stepper.line or 0) - 1].strip().startswith(stepper.code)
    stepper.until(op="load", tensor="V", reverse=True)
    assert stepper.caption == "Keys and values stream past, block by block."  # of the line before


def test_a_strangers_code_has_no_captions_but_is_shown():
    for code in ("((( \n" * 200, "def attend():\n    x = " + "-" * 60_000 + "1" + "\n" * 99, "x" * 10 + "\n" * 200):
        stepper = Stepper(Trace(TRACE.meta | {"code": code}, *list(vars(TRACE).values())[1:]))
        stepper.seek(3)
        assert stepper.code == code.split("\n")[TRACE[3].line - 1].strip()
        assert stepper.caption == ""


def test_they_print_as_something_to_read():
    stepper = Stepper(TRACE)
    assert repr(stepper) == f"<Stepper before the first step; of 0 to {len(TRACE) - 1}>"
    stepper.next()
    stepper.watch("m_i")
    assert repr(stepper).startswith("<Stepper at 0  i=0  load  Q[0:4] → q   32 B   HBM→SRAM; of 0 to ")
    assert f"line {TRACE[0].line}: q = sram.load(Q[i])" in str(stepper)
    assert repr(stepper.here) == "<Step 0  i=0  load  Q[0:4] → q   32 B   HBM→SRAM>"
    for thing in (TRACE, TRACE[0], TRACE.at(-1), TRACE.at(8)):
        assert repr(thing).isprintable()
        assert len(repr(thing)) < 400


def test_steps_as_lines_say_each_caption_once_in_a_row():
    said = list(lines(TRACE))
    assert len(said) == len(TRACE)
    assert all(line.startswith(str(event)) for line, event in zip(said, TRACE, strict=True))
    assert said[4].endswith("   Keys and values stream past, block by block.")
    assert said[5] == str(TRACE[5])


# ---- live


def started() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("flashsteps")]


def gone() -> bool:
    """Whether no run is left, a moment after all were let go."""
    gc.collect()
    end = time.monotonic() + 5
    while started() and time.monotonic() < end:
        time.sleep(0.005)
    return not started()


@given(problems(more=True))
@settings(max_examples=30)
def test_a_live_run_shows_what_its_trace_shows(problem):
    trace = problem.record()
    q, k, v = problem.inputs()
    live = fs.stepping(problem.algorithm, q, k, v, **problem.options() | gradient(problem))
    seen = []
    for step, state in zip(live, list(trace.states())[1:], strict=True):
        seen.append(step.event)
        same(step.state, state)
    assert tuple(seen) == trace.events
    assert live.trace == trace
    assert repr(live) == f"<Stepping {problem.algorithm}: through>"
    assert next(live, None) is None


def gradient(problem: Problem) -> Any:
    return {"do": problem.gradient()} if problem.algorithm.endswith("backward") else {}


def stepping() -> Stepping:
    q, k, v = TOY.inputs()
    return fs.stepping(TOY.algorithm, q, k, v, **TOY.options())


def test_the_run_stands_still_between_steps_and_captions_go_along():
    live = stepping()
    first = next(live)
    time.sleep(0.05)
    assert (first.step, first.line, first.code) == (0, TRACE[0].line, "q = sram.load(Q[i])")
    assert first.caption == "Each program keeps its own block of queries."
    assert np.isnan(first.hbm["O"]).all()
    assert [step.step for step in live] == list(range(1, len(TRACE)))
    stepper = Stepper(TRACE)
    stepper.seek(5)
    assert list(stepping())[5].caption == stepper.caption


def test_nothing_that_is_done_to_what_is_shown_reaches_the_run():
    live = stepping()
    for step in live:
        for array in (*step.hbm.values(), *step.sram.values()):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
            array.setflags(write=True)  # by force
            before = array.copy()
            array[...] = 7
            array[...] = before
            array.setflags(write=False)
        vars(step.state)["hbm"].clear()
        vars(step.state)["sram"].clear()
    assert live.trace == TRACE
    step = next(stepping())
    step.hbm["Q"].setflags(write=True)
    step.hbm["Q"][...] = 7
    assert stepping_after_vandalism() == TRACE.outputs["O"].tolist()


def stepping_after_vandalism() -> Any:
    """O of a run whose every shown array is overwritten."""
    live = stepping()
    for step in live:
        for array in (*step.hbm.values(), *step.sram.values()):
            array.setflags(write=True)
            array[...] = 7
    return live.trace.outputs["O"].tolist()


@pytest.mark.parametrize("leave", ["close", "with", "forget", "break", "at once"])
def test_leaving_early_leaves_no_thread_behind(leave):
    assert gone()
    if leave == "with":
        with stepping() as live:
            next(live)
    elif leave == "break":
        for step in stepping():
            if step.step == 3:
                break
    else:
        live = stepping()
        if leave != "at once":
            next(live)
        if leave == "close":
            live.close()
            live.close()
            assert repr(live) == "<Stepping flash2-forward: closed>"
            assert next(live, None) is None
            with pytest.raises(ValueError, match=r"^this run is not through"):
                _ = live.trace
        del live
    assert gone()


def test_a_run_that_is_part_of_a_cycle_is_let_go_too():
    class Holder:
        me: Any
        live: Any

    holder = Holder()
    holder.me, holder.live = holder, stepping()
    next(holder.live)
    del holder
    assert gone()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mask": "casual"}, "unknown mask 'casual': did you mean 'causal'"),
        ({"sram": 10}, "this toy SRAM holds 10 bytes but this step needs"),
        ({"head": 0}, "has one head only: leave head out"),
    ],
)
def test_wrong_arguments_are_told_at_once(change, said):
    with pytest.raises(ValueError, match=".") as error:
        fs.stepping(TOY.algorithm, *TOY.inputs(), **TOY.options() | change)
    assert said in str(error.value)
    assert gone()


def test_what_goes_wrong_later_comes_at_its_step_and_ends_the_run():
    q, k, v = TOY.inputs()
    k[4:] = 3e4
    q[:] = 3e4
    live = fs.stepping("flash2-forward", q, k, v, block_q=4, block_k=4, dtype="float16", scale=1e30)
    seen: list[Step] = []
    with pytest.raises(ValueError, match="grew past the largest"):
        seen.extend(live)
    assert next(live, None) is None
    assert gone()


def test_two_threads_cannot_step_one_run():
    live = stepping()
    assert live._turn.acquire(blocking=False)  # as the other one does while it steps
    with pytest.raises(ValueError, match=r"^this run is being stepped in another thread"):
        next(live)
    live._turn.release()
    assert next(live).step == 0
    live.close()


def test_it_ends_with_the_interpreter(tmp_path):
    from tests.test_api import python

    code = "import flashsteps as fs; run = fs.stepping('flash-forward', *fs.load_qkv('sample')); print(next(run).step)"
    assert python(code, tmp_path) == "0\n"


def test_numpys_settings_hold_in_the_run_as_they_would_outside():
    with np.errstate(under="raise"):
        assert next(stepping()).step == 0
