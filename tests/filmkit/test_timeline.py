"""What happens when: every step in its place, told once, and true."""

import re
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flashsteps.filmkit import films
from flashsteps.filmkit.film import LANES, Film
from flashsteps.filmkit.timeline import HOLD, LONGEST, SHORTEST, Timeline, timeline
from flashsteps.story import narration
from flashsteps.story.labels import key_label, query_label
from flashsteps.trace.trace import Moved, Trace
from tests.filmkit.pictures import Shot, sample, shots, there

FILMS = pytest.mark.parametrize("name", films.names())
MASKS = pytest.mark.parametrize("mask", [None, "causal"])
RAGGED = Shot("flash2-forward", 33, 33, 7, 5, 9, "causal")
FEW = Shot("flash-forward", 5, 16, 4, 2, 4, "causal")
MOVED = re.compile(r"(?P<key>.*) beats the old max of (?P<query>.*): its old sum .* α = (?P<alpha>\d\.\d\d)\.")


def any_shots(**options):
    """All that can be filmed, in sizes that show more programs or fewer side by side."""
    return shots(sizes=((800, 450), (800, 800), (1024, 768)), **options)


def stretches(line: Timeline) -> list[tuple[str, list]]:
    """Beats that share a caption, in order."""
    return [(caption, list(beats)) for caption, beats in groupby(line.beats, key=lambda beat: beat.caption)]


# When


@given(any_shots(), st.floats(SHORTEST, LONGEST))
@example(RAGGED, SHORTEST)
@example(Shot("standard", 1, 1, 1), LONGEST)
@settings(max_examples=25)
def test_beats_follow_each_other_from_the_start_to_the_coda(shot, duration):
    trace = shot.film().trace
    for lanes in (1, 4) if shot.name == "flash2-forward" else (1,):
        line = timeline(trace, duration=duration, lanes=lanes, opening="Once.")
        assert line.beats[0].start == 0
        assert all(beat.start < beat.stop for beat in line.beats)
        assert all(beat.stop == following.start for beat, following in pairwise(line.beats))
        assert line.beats[-1].stop == pytest.approx(line.coda)
        assert line.duration == duration
        assert 0.4 * duration < line.coda < duration - HOLD
        assert len(line.pictures) == len(line.beats) + 1
        for n, beat in enumerate(line.beats):
            middle = (beat.start + beat.stop) / 2
            assert line.at(middle) == n
            assert beat.progress(middle) == pytest.approx(0.5)
        assert line.at(line.coda) == line.at(duration) == len(line.beats)


@pytest.mark.parametrize("duration", [0, -1, 7.99, 601, float("nan"), float("inf")])
def test_a_duration_that_cannot_be_followed_is_refused(duration):
    with pytest.raises(
        ValueError, match=re.escape(f"{duration:g} s can't be followed: choose --duration from 8 to 600")
    ):
        timeline(sample("standard").trace, duration=duration)


def _same_steps(beats) -> list[tuple]:
    return [(event.op, event.line, event.shape) for beat in beats for event in beat.events]


@given(any_shots(tiles=8))
@settings(max_examples=15)
def test_repeats_are_told_faster_and_faster(shot):
    """Rounds that are not told, and in which the same is done, never take longer than those before."""
    rounds = [
        list(beats) for told, beats in groupby(shot.film().timeline.beats, key=lambda beat: beat.told or beat.ticks)
    ]
    paces: dict[str, float] = {}
    for beats in rounds:
        if not beats[0].told:
            took, steps = beats[-1].stop - beats[0].start, str(_same_steps(beats))
            assert took <= paces.get(steps, np.inf) * 1.001
            paces[steps] = took


@FILMS
@MASKS
def test_no_caption_is_gone_before_it_was_seen(name, mask):
    for caption, beats in stretches(sample(name, mask=mask).timeline):
        assert beats[-1].stop - beats[0].start >= 0.5, caption


# What


@given(any_shots())
@example(RAGGED)
@settings(max_examples=25)
def test_each_step_happens_once_and_in_its_programs_order(shot):
    film = shot.film()
    steps = [event for beat in film.timeline.beats for event in beat.events]
    if film.lanes == 1:
        assert steps == list(film.trace)
    for program in range(film.trace[-1].program + 1):
        assert [e for e in steps if e.program == program] == [e for e in film.trace if e.program == program]
    assert len(steps) == len(film.trace)


@given(any_shots(names=("flash2-forward",), code=False))
@example(RAGGED)
@settings(max_examples=25)
def test_side_by_side_each_program_does_one_thing_at_a_time(shot):
    film = shot.film()
    bq, _ = shot.blocks
    assert film.lanes == min(LANES[film.layout.canvas], -(-shot.n // bq))
    for beat in film.timeline.beats:
        assert len({event.program // film.lanes for event in beat.events}) <= 1
        assert len({event.op for event in beat.events}) <= 1
        if film.lanes > 1 and len({event.line for event in beat.events}) == 1:
            assert len({event.program for event in beat.events}) == len(beat.events)


def _moved(events) -> dict[str, Moved]:
    total: dict[str, Moved] = {}
    for event in events:
        if event.nbytes:
            was = total.get(event.tile.tensor, Moved())
            read, written = (event.nbytes, 0) if event.op == "load" else (0, event.nbytes)
            total[event.tile.tensor] = Moved(was.read + read, was.written + written)
    return total


def _equal(a, b) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


@given(any_shots(largest=24, deepest=8, tiles=4))
@example(Shot("standard", 9, 5, 3, 4, 2, "causal"))
@example(Shot("flash2-forward", 19, 8, 3, 2, 3, "causal"))
@settings(max_examples=25)
def test_each_picture_is_what_the_replay_says(shot):
    film = shot.film()
    states = list(film.trace.states())[1:]
    done: list = []
    for n, picture in enumerate(film.timeline.pictures):
        done += film.timeline.beats[n - 1].events if n else ()
        assert picture.moved == _moved(done)
        for program in {event.program for event in done}:
            last = max(event.step for event in done if event.program == program)
            held = {slot: held.value for slot, held in picture.sram.get(program, {}).items()}
            assert _equal(held, states[last].sram)
            assert picture.clock[program] == last + 1
        if film.lanes == 1 and done:
            assert _equal(picture.hbm, states[done[-1].step].hbm)


@given(any_shots())
@example(RAGGED)
@settings(max_examples=25)
def test_the_last_picture_is_the_end_of_the_run(shot):
    film = shot.film()
    last, outputs = film.timeline.pictures[-1], film.trace.outputs
    assert np.array_equal(last.hbm["O"], outputs["O"])
    if "LSE" in last.hbm:
        assert np.array_equal(last.hbm["LSE"], outputs["LSE"])
    if "l" in last.hbm:
        with np.errstate(divide="ignore"):
            assert np.array_equal(last.hbm["m"] + np.log(last.hbm["l"]), outputs["LSE"])
    assert last.moved == film.trace.io().by_tensor


def _reads(trace: Trace) -> set[tuple[int, str]]:
    """Which step reads which slot, by the lines of the source."""
    lines = narration.read(trace.meta["code"])
    read = {(e.step, slot) for e in trace if e.op == "compute" for slot in lines[e.line].reads}
    return read | {(e.step, e.slot) for e in trace if e.op == "store"}


@given(any_shots(largest=12, deepest=4, tiles=3))
@settings(max_examples=15)
def test_a_value_is_of_use_until_it_was_last_read(shot):
    film = shot.film()
    reads = _reads(film.trace)
    held = {
        (program, slot, held.step, held.last_read)
        for picture in film.timeline.pictures
        for program, slots in picture.sram.items()
        for slot, held in slots.items()
    }
    for program, slot, made, last_read in held:
        later = [event for event in film.trace[made + 1 :] if event.program == program]
        again = next((e.step for e in later if e.op in ("load", "compute") and e.slot == slot), len(film.trace))
        readers = [e.step for e in later if (e.step, slot) in reads and e.step <= again]
        assert last_read == max(readers, default=made)


# Tiles


@given(any_shots())
@example(RAGGED)
@example(FEW)
@settings(max_examples=25)
def test_the_map_shows_the_tiles_that_the_mask_leaves(shot):
    film = shot.film()
    if film.spec.kind == "kernels":
        return
    line = film.timeline
    assert {where: kind for where, (_, kind) in line.tiles.items()} == {
        where: "visited" if seen else "skipped" for where, seen in shot.tiles().items()
    }
    assert line.ticks == len(shot.tiles())
    for (i, j), (number, kind) in line.tiles.items():
        events = [e for e in line.beats[number].events if (e.loop.get("i"), e.loop.get("j")) == (i, j)]
        assert any(e.op == "skip" if kind == "skipped" else e.slot == "S" for e in events)


@given(any_shots())
@example(RAGGED)
@settings(max_examples=25)
def test_the_rail_never_goes_back_and_has_no_gap(shot):
    line = shot.film().timeline
    now = [beat.ticks for beat in line.beats if beat.events]
    assert all(now)
    assert [min(ticks) for ticks in now] == sorted(min(ticks) for ticks in now)
    assert {tick for ticks in now for tick in ticks} == set(range(line.ticks))


# What is said


@given(any_shots())
@example(RAGGED)
@example(FEW)
@settings(max_examples=25)
def test_captions_are_short(shot):
    for beat in shot.film().timeline.beats:
        assert 0 < len(beat.caption) <= 90
        assert "\n" not in beat.caption


@given(any_shots())
@example(RAGGED)
@example(FEW)
@settings(max_examples=25)
def test_each_line_is_told_with_its_caption_when_it_first_runs(shot):
    film = shot.film()
    lines = narration.read(film.trace.meta["code"])
    seen: set[int] = set()
    for beat in film.timeline.beats:
        for event in beat.events:
            if event.line not in seen and event.op != "skip":
                own = [lines[n].caption for n in range(min(lines), event.line + 1) if lines[n].caption]
                assert beat.told
                assert beat.caption == own[-1]
            seen.add(event.line)


@pytest.mark.parametrize(
    ("name", "options"), [("flash-forward", {}), ("flash2-forward", {}), ("flash2-forward", {"code": True})]
)
def test_the_sample_tells_how_street_beats_cross(name, options):
    told = [c for c, beats in stretches(sample(name, **options).timeline) if beats[0].told and "street" in c]
    assert told == ["“street” beats the old max of “cross”: its old sum and output shrink by α = 0.36."]


def _alphas(film: Film, beats) -> set[tuple[str, str, str]]:
    """Of each maximum that moves in some beats, by the scores alone: which key's, which query's, and α."""
    bq, bk = film.trace.meta["block_q"], film.trace.meta["block_k"]
    scores = {(e.loop["i"], e.loop["j"]): there(film.trace.values[e.step]) for e in film.trace if e.slot == "S"}
    found = set()
    for i, j in {(e.loop["i"], e.loop["j"]) for beat in beats for e in beat.events if e.slot == "alpha"}:
        for r, row in enumerate(scores[i, j]):
            old = max(
                (float(tile[r].max()) for at, tile in scores.items() if at[0] == i and at[1] < j), default=-np.inf
            )
            if -np.inf < old < row.max():
                key, query = key_label(film.trace, j * bk + int(row.argmax())), query_label(film.trace, i * bq + r)
                found.add((key.lower(), query, f"{np.exp(old - float(row.max())):.2f}"))
    return found


def _moves(film: Film) -> list[tuple[re.Match, list]]:
    """What is said of maxima that move, and the beats in which it is."""
    said = {beat.caption for beat in film.timeline.beats}
    matches = [match for caption in said if (match := MOVED.fullmatch(caption))]
    return [(match, [beat for beat in film.timeline.beats if beat.caption == match.string]) for match in matches]


@given(any_shots(names=("flash-forward", "flash2-forward"), largest=24))
@example(Shot("flash2-forward", 16, 16, 8, 3, 4, words=True))
@settings(max_examples=25)
def test_a_max_that_is_said_to_move_does(shot):
    film = shot.film()
    for match, beats in _moves(film):
        assert (match["key"].lower(), match["query"], match["alpha"]) in _alphas(film, beats)


@FILMS
@MASKS
@pytest.mark.parametrize("size", [(800, 450), (800, 800)])
@pytest.mark.parametrize("block_k", [4, 5])
def test_what_is_said_of_one_tile_is_said_once_and_no_longer_than_it_is_worked_on(name, mask, size, block_k):
    said = []
    for caption, beats in stretches(sample(name, size, mask=mask, block_k=block_k).timeline):
        if "is skipped" in caption:
            assert {event.op for beat in beats for event in beat.events} == {"skip"}
        if MOVED.fullmatch(caption) or "is short" in caption:
            assert len({beat.ticks for beat in beats}) == 1, caption
            said.append(caption)
    assert len(said) == len(set(said))


@given(any_shots(names=("flash2-forward",), code=False))
@example(Shot("flash2-forward", 16, 16, 8, 4, 4, "causal"))
@settings(max_examples=15)
def test_programs_are_not_said_to_be_done_before_they_are(shot):
    film = shot.film()
    if film.lanes > 1:
        for beat in film.timeline.beats:
            if beat.caption == film.spec.repeats["i"]:
                assert all(event.program >= film.lanes for event in beat.events)


@given(any_shots(mask="causal", names=("flash-forward", "flash2-forward")))
@example(RAGGED)
@settings(max_examples=15)
def test_a_skipped_tile_is_told(shot):
    beats = shot.film().timeline.beats
    told = {beat.caption for beat in beats if beat.told and any(event.op == "skip" for event in beat.events)}
    assert any("the tile is skipped" in caption for caption in told) == (False in shot.tiles().values())


@given(any_shots())
@example(RAGGED)
@example(Shot("flash2-forward", 14, 14, 4, 4, 4))
@settings(max_examples=25)
def test_a_ragged_tail_is_told(shot):
    said = {beat.caption for beat in shot.film().timeline.beats}
    kept = [block for block, seen in shot.tiles().items() if seen or shot.name == "standard"]
    for axis, (what, rows, size) in enumerate(
        zip(("queries", "keys"), (shot.n, shot.n_keys), shot.blocks, strict=True)
    ):
        short = rows % size
        loaded = rows // size in {block[axis] for block in kept}
        expected = f"The last block of {what} is short: {short}, not {size}. Nothing is padded."
        assert (expected in said) == bool(short and loaded)
