"""What must hold of every film, in every shape, both themes, small and large: a new one gets these tests by itself."""

import re
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit import films
from flashsteps.filmkit.board import FADE, HOLD, LONGEST_CAPTION, reading_time
from flashsteps.filmkit.painter import Painter
from flashsteps.filmkit.reel import Reel
from flashsteps.filmkit.script import Shown
from flashsteps.theme import SMALLEST
from tests.scenes.looking import Looker, alone, moments

CUTS = ("full", "short")
SIZES = {"wide": ((800, 450), (1920, 1080)), "square": ((600, 600), (1080, 1080)), "tall": ((608, 1080), (1080, 1920))}
READABLE = 4.5  # contrast, of text: WCAG 2, AA

SHAPES = pytest.mark.parametrize("shape", SIZES)


@pytest.fixture(scope="module", params=films.names())
def name(request: pytest.FixtureRequest) -> str:
    """A film: all tests of one come before those of the next, for the process that has told it."""
    return str(request.param)


@cache
def reel(name: str) -> Reel:
    return fs.film(name)


@cache
def cut(name: str, which: str) -> Reel | None:
    """A cut of a film, or None where there is no such cut of it."""
    try:
        return reel(name) if which == "full" else fs.film(name, cut=which)
    except ValueError as error:
        if "doesn't take cut='short'" in str(error):
            return None
        raise


# ---- as it is told


@pytest.mark.parametrize("which", CUTS)
@SHAPES
def test_it_is_told_so_that_it_can_be_followed(name, which, shape):
    film = cut(name, which)
    if film is None:
        return
    script = film.script(shape)
    assert script.duration <= (60 if which == "full" else 14)  # as it is when nothing is asked for
    assert script.chapters[0].start == 0
    assert script.chapters[-1].stop == script.duration
    assert all(one.stop == following.start for one, following in pairwise(script.chapters))
    assert all(chapter.stop == round(chapter.stop) for chapter in script.chapters)  # so it fits any frame rate
    assert len({chapter.name for chapter in script.chapters}) == len(script.chapters)
    assert script.captions
    for words, start, stop in script.captions:
        assert 0 < len(words) <= LONGEST_CAPTION
        assert stop - start >= reading_time(words) - 1e-9, words
        within = next(chapter for chapter in script.chapters if chapter.start <= start < chapter.stop)
        assert stop <= within.stop + FADE + 1e-9, words  # it goes with its picture
        assert not any(sign in words for sign in "\n\t\u0000"), words
    assert script.at(script.duration - HOLD) == script.at(script.duration)  # the last state holds


def test_its_first_words_come_at_once_and_all_its_chapters_speak(name):
    script = reel(name).script()
    assert script.captions[0].start <= 1.0
    for chapter in script.chapters:
        assert any(c.start < chapter.stop and chapter.start <= c.start for c in script.captions), chapter.name


def test_it_is_told_the_same_twice(name):
    """In one shape, another for the next film: what would differ, an order or a number at random, would in any."""
    shape = list(SIZES)[films.names().index(name) % len(SIZES)]
    script, again = reel(name).script(shape), fs.film(name).script(shape)
    assert (script.duration, script.chapters, script.captions) == (again.duration, again.chapters, again.captions)
    assert [script.looks(n) for n in range(len(script.chapters))] == [
        again.looks(n) for n in range(len(again.chapters))
    ]


# ---- as it is drawn


def test_no_number_of_a_chart_is_on_its_way(name):
    """While a bar grows or a roof lifts there is no number that is right. What counts, counts: it is no chart."""
    script, charts = reel(name).script(), {"Areas", "Bars", "Columns", "Curve"}
    looker, frame = Looker(script, SIZES["wide"][0], "dark"), 1 / 25

    def drawn(t: float) -> list[Shown]:
        return [shown for shown in script.at(t) if type(shown.actor).__name__ in charts]

    def numbers(t: float) -> set[str]:
        looker.look(t)
        return {one.words for one in looker.written if one.who in charts and any(map(str.isdigit, one.words))}

    for t in np.arange(0.13, script.duration - HOLD, 0.5).tolist():
        if drawn(t) != drawn(t + frame):
            before, now, after = (numbers(t + k * frame) for k in (-1, 0, 1))
            assert now <= before | after, f"{t:.2f} s"


def test_no_figure_is_said_before_its_picture_has_it(name):
    """What a caption says of a bar, and the bar shows in the end, it shows as long as the caption stands."""
    script, told = reel(name).script(), {"Caption", "Title", "Text"}
    looker = Looker(script, (960, 540), "dark")

    def figures(words: str) -> set[str]:
        return set(re.findall(r"\d[\d,]*(?:\.\d+)?", words))

    def drawn(t: float) -> set[str]:
        looker.look(t)
        return {found for one in looker.written if one.who not in told for found in figures(one.words)}

    for caption in script.captions:
        if said := figures(caption.name):
            late = said & drawn(caption.stop - 0.05)
            for t in (caption.start + FADE + 0.05, (caption.start + caption.stop) / 2) if late else ():
                assert late <= drawn(t), f"{caption.name!r} at {t:.2f} s"


@pytest.mark.parametrize(("shape", "theme"), [("wide", "dark"), ("square", "light"), ("tall", "dark")])
def test_a_frame_alone_is_the_frame_in_sequence(name, shape, theme):
    """Drawn one after another only what changed is drawn; and that must not show."""
    script = reel(name).script(shape)
    for size, count in zip(SIZES[shape], (6, 1), strict=True):
        painter = Painter(script, *size, theme)
        for t in moments(script, count, seed=1):
            for before in (2, 1):  # two frames on the way there
                painter.paint(max(0.0, t - before / 12))
            painter.paint(t)
            assert np.array_equal(painter.pixels[..., :3], alone(script, size, theme, t)), f"{size} at {t:.3f} s"


@pytest.mark.parametrize("which", CUTS)
def test_a_film_in_sequence_is_its_frames_alone(name, which):
    """All of it, so that what was not drawn anew when it should have been is seen however long it stays."""
    film = cut(name, which)
    if film is None:
        return
    script, size, fps = film.script(), SIZES["wide"][0], 3
    painter, last = Painter(script, *size, "dark"), round(script.duration * fps) - 1
    picked = {round(n * last / 14) for n in range(15)}
    for k in range(last + 1):
        painter.paint(k / fps)
        if k in picked:
            assert np.array_equal(painter.pixels[..., :3], alone(script, size, "dark", k / fps)), f"{k / fps:.3f} s"


@SHAPES
def test_nothing_leaves_its_box(name, shape):
    script, found = reel(name).script(shape), {}
    for size, count in zip(SIZES[shape], (8, 3), strict=True):
        looker, before = Looker(script, size, "dark"), dict[int, Shown]()
        for t in moments(script, count, seed=2):
            for shown in script.at(t):
                if before.get(shown.part) != shown and (pixels := looker.leaves(shown)):
                    found[type(shown.actor).__name__, size] = f"{pixels} px at {t:.2f} s"
                before[shown.part] = shown
                box, (width, height) = looker.px(shown.box), size
                assert box.x >= 0, shown
                assert box.y >= 0, shown
                assert box.right <= width, shown
                assert box.bottom <= height, shown
    assert not found


@SHAPES
def test_no_card_loses_a_line(name, shape):
    """Each word of its title, sentence and figures stands on it, in the smallest picture as in a large one."""
    script = reel(name).script(shape)
    cards = [shown for c in script.captions for shown in script.at(c.stop - 0.05) if is_card(shown)]
    for size in SIZES[shape]:
        looker = Looker(script, size, "dark")
        for shown in cards:
            card, stands = shown.actor, [one.words for one in looker.read(shown)]
            figures = [words for name, value in card.figures for words in (value, name)]
            assert " ".join(stands) == " ".join(filter(None, (card.title, card.words, *figures))), size


def is_card(shown: Shown) -> bool:
    return type(shown.actor).__name__ == "Card"


@SHAPES
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_all_that_is_written_can_be_read(name, shape, theme):
    """No text lies on another, none is cut off, and each stands out from its ground.

    Where a text stands is the same in both themes: large light pictures are looked at in their last state alone.
    """
    script, faults = reel(name).script(shape), set()
    for size, count in zip(SIZES[shape], (8, 3) if theme == "dark" else (8, 0), strict=True):
        looker = Looker(script, size, theme)
        for t in moments(script, count, seed=3):
            looker.look(t)
            for one in looker.written:
                if one.size < SMALLEST:
                    faults.add(f"{size} {one.who}: {one.words!r} is only {one.size:.1f} px")
                if one.contrast < READABLE:
                    faults.add(f"{size} {one.who}: {one.words!r} has a contrast of {one.contrast:.1f} at {t:.2f} s")
            for one, other in combinations(looker.written, 2):
                if one.lies_on(other):
                    faults.add(f"{size} {one.who}: {one.words!r} lies on {other.who}'s {other.words!r} at {t:.2f} s")
        faults |= {f"{size} elided: {words!r} to {short!r}" for words, short in looker.elided}
    assert not faults, "\n".join(sorted(faults))
