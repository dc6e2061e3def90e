"""The board: what a storyboard does on it, and the script that is left of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.words import Caption, Title
from flashsteps.filmkit.board import HOLD, Board, reading_time
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.places import turn
from flashsteps.filmkit.script import FASTEST, LONGEST, Part, Rests, Shown
from flashsteps.filmkit.values import Made, Value, at, linear

SECONDS = st.floats(0, 20, allow_nan=False).map(lambda x: round(x, 2))
WORDS = st.text("abc d", min_size=1, max_size=90)


@given(st.lists(st.tuples(SECONDS, SECONDS, st.integers(-9, 9)), min_size=1, max_size=8), SECONDS)
def test_a_value_goes_from_where_it_is_to_its_goal_and_stays(legs, t):
    value, now = Value(0), 0.0
    for wait, lasts, goal in legs:
        now += wait
        value.move(goal, now, now + lasts, linear)
        assert value.at(now + lasts) == goal
        now += lasts
    assert value.at(now + 100) == legs[-1][2]
    assert -9 <= value.at(t) <= 9
    assert Made(lambda x: 2 * x, value).at(t) == 2 * value.at(t)
    assert at((value, ("word", value)), t) == (value.at(t), ("word", value.at(t)))


def test_what_is_no_number_jumps_and_a_value_is_never_moved_in_the_past():
    value = Value(float("-inf"))
    value.move(3.0, 1.0, 2.0)
    assert [value.at(t) for t in (0.9, 1.1, 2.0)] == [float("-inf"), 3.0, 3.0]
    with pytest.raises(ValueError, match="moves at 1 s cannot be moved at 0.5 s"):
        value.move(0.0, 0.5, 2.0)


@given(st.lists(st.lists(st.one_of(SECONDS, WORDS), max_size=5), min_size=1, max_size=4))
def test_words_stand_as_long_as_they_take_and_chapters_last_whole_seconds(chapters):
    board = Board("wide", "Title")
    for n, things in enumerate(chapters):
        with board.chapter(f"chapter {n}"):
            for thing in things:
                board.say(thing) if isinstance(thing, str) else board.wait(thing)
    script = board.script()
    assert [caption.name for caption in script.captions] == [x for c in chapters for x in c if isinstance(x, str)]
    assert all(c.stop - c.start >= reading_time(c.name) - 1e-9 for c in script.captions)
    assert [c.start for c in script.chapters] == [0.0, *(c.stop for c in script.chapters[:-1])]
    assert all(chapter.stop % 1 == 0 for chapter in script.chapters)
    assert script.duration == script.chapters[-1].stop
    assert script.at(script.duration - HOLD) == script.at(script.duration)


def test_a_chart_grows_alone_and_then_its_words_come():
    """What was said before is gone, though read; in a short cut the chart stands from the start."""
    for cut in ("full", "short"):
        board = Board("wide", "Title", options={"cut": cut})
        grown = board.value(0.0)
        with board.chapter("One"):
            board.say("Words of the picture before.")
        with board.chapter("Two"):
            turn(board, "It is 1.", (Text(grown), board.main), grows=(grown.to(1.0),), seconds=2.0)
        script = board.script()
        before, words = script.captions
        assert before.stop - before.start >= reading_time(before.name)
        assert grown.at(words.start) == 1.0 or cut == "short"
        assert grown.at(words.start + 1.2) == 1.0  # in a short cut words come before their picture
        (caption,) = (one for one in script.parts if isinstance(one.actor, Caption))
        said = [caption.actor.at(t).words for t in (before.stop - 0.01, words.start - 0.01, words.start + 0.01)]
        assert said == ([before.name, "", words.name] if cut == "full" else [before.name, before.name, words.name])
        assert words.start - before.stop == pytest.approx(2.0 if cut == "full" else 0.0)


def test_words_of_a_chapter_are_over_when_something_happens_in_the_next():
    """They stand while nothing moves, and early words of the next one stay."""
    board = Board("wide", "Title")
    moved = board.value(0.0)
    with board.chapter("One"):
        board.say("Words of what is seen in the first chapter, and of nothing else.")
    with board.chapter("Two"):
        board.move(moved.to(1.0), seconds=3.0)
        board.say("Words of the second.")
    with board.chapter("Three"):
        board.say("Early words.", early=True)
        board.move(moved.to(2.0), seconds=3.0)
    one, two, three = (script := board.script()).captions
    first, second, _ = script.chapters
    assert (one.stop, two.start) == (first.stop, first.stop + 3.0)
    assert two.stop == three.start == second.stop
    assert three.stop == script.duration


def test_what_a_board_refuses():
    board = Board("wide", "Title")
    with pytest.raises(ValueError, match="no chapter"):
        board.script()
    with pytest.raises(ValueError, match="it is not true that 'All is well.', as the film says: choose another input"):
        board.say("All is well.", given=1 > 2)
    with pytest.raises(ValueError, match="91 characters are more than a caption's 90"):
        board.say("x" * 91)
    with pytest.raises(ValueError, match="'B' begins in another one"), board.chapter("A"), board.chapter("B"):
        pass


@given(st.floats(1, 1000, allow_nan=False))
def test_a_film_is_faster_or_slower_as_a_whole_or_refused(duration):
    board = Board("wide", "Title")
    value = board.value(0.0)
    with board.chapter("One"):
        board.say("Some words.")
        board.put(value, Box(0, 0, 1, 1))
        board.move(value.to(1.0), seconds=3.0, step="there", ease=linear)
    script = board.script()
    if not script.duration / FASTEST <= duration <= LONGEST:
        with pytest.raises(ValueError, match="can't be followed"):
            script.lasting(duration)
        return
    other = script.lasting(duration)
    share = duration / script.duration
    assert other.duration == duration
    assert other.steps["there"] == pytest.approx(script.steps["there"] * share)
    for t in (0.0, 1.7, 2.5, script.duration):
        early, late = script.at(t)[-1].actor, other.at(t * share)[-1].actor
        assert early == late or early == pytest.approx(late, abs=1e-9)


def test_captions_are_web_vtt():
    board = Board("wide", "Title")
    with board.chapter("One"):
        board.say("e^{s − m} < 1 & more")
    assert board.script().vtt() == "WEBVTT\n\n00:00:00.000 --> 00:00:05.000\ne^(s − m) &lt; 1 &amp; more\n"


def test_a_chapters_name_comes_once_what_stood_before_is_gone():
    board = Board(title="T")
    with board.chapter("One"):
        old = board.put(Text("old"), board.main)
        board.say("What is old.")
    with board.chapter("Two"):
        board.clear()
        board.say("What is new.")
    script, start = board.script(), board.chapters[1].start
    for t in (start, start + 0.1, start + 0.39):
        (head,) = (shown.actor for shown in script.at(t) if isinstance(shown.actor, Title))
        assert head.chapter == 0
        assert any(shown.actor == old.actor for shown in script.at(t))
    (head,) = (shown.actor for shown in script.at(start + 0.41) if isinstance(shown.actor, Title))
    assert head.chapter == 1


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(-3, 3), st.sampled_from("xyo")), max_size=8),
    st.lists(st.integers(0, 90), min_size=1, max_size=12),
)
def test_what_is_looked_up_where_a_part_is_at_rest_is_what_it_is_then(legs, moments):
    """However the moments follow each other, and also at those where something begins, ends or jumps."""
    x, y, opacity = Value(0.0), Value("a"), Value(1.0)
    ends = dict.fromkeys("xyo", 0.0)
    for pause, length, goal, which in legs:
        value = {"x": x, "y": y, "o": opacity}[which]
        begin = ends[which] + pause / 4
        ends[which] = begin + length / 4
        value.move(str(goal) if which == "y" else abs(goal) / 3 if which == "o" else goal, begin, ends[which])
    made = Made(lambda a, b: (a, b), x, y)
    text: Any = (("", made),)
    part = Part(Text(text), Value(Box(0.0, 0.0, 1.0, 1.0)), opacity)
    rests = Rests(0, part)
    for moment in moments:
        t = moment / 8
        seen = round(opacity.at(t), 3)
        plain = Shown(0, at(part.actor, t), Box(0.0, 0.0, 1.0, 1.0), seen) if seen > 0 else None
        assert rests.shown(t) == plain
