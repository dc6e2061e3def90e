"""A film in manim: the same pixels as without it, and a picture that does what any mobject does."""

import numpy as np
import pytest

from flashsteps.filmkit import Play, smooth
from flashsteps.filmkit.boxes import shape_of
from flashsteps.filmkit.rendering import Look, frames
from tests.filmkit import talks
from tests.filmkit.manim_player import drawn, played
from tests.filmkit.toy import Toy

SIZE, FPS = (854, 480), 10
HALF = (427, 240)
RED = (255, 0, 0)


@pytest.fixture
def play(tmp_path):
    return lambda scene, **options: played(scene, tmp_path, **{"size": SIZE, "fps": FPS, **options})


def at(t: float, size=SIZE, **options) -> np.ndarray:
    """The toy at t, as `flashsteps` draws it."""
    return drawn(talks.film().script(), t, size, **options)


def red(frame: np.ndarray) -> int:
    """How many px are red."""
    return int((np.abs(frame.astype(int) - RED).max(axis=2) < 40).sum())


def rows(frame: np.ndarray) -> np.ndarray:
    """Those in which there is something."""
    return np.nonzero(frame.any(axis=(1, 2)))[0]


def like(frame: np.ndarray, other: np.ndarray) -> bool:
    """Do they look alike, but for a px here or there where edges fall between px?"""
    return bool(np.abs(frame.astype(int) - other).mean() < 4)


# ---- the same pixels


@pytest.mark.parametrize(
    ("size", "fps", "options"),
    [
        ((854, 480), 10, {}),
        ((1280, 720), 5, {"cut": "short", "theme": "light"}),
        ((1366, 768), 5, {"cut": "short"}),
        ((1080, 1080), 4, {"cut": "short"}),
        ((1080, 1920), 3, {"cut": "short", "theme": "light"}),
    ],
)
def test_manim_makes_the_frames_that_flashsteps_makes(play, size, fps, options):
    told = talks.film(**options)
    look = Look(lambda: told.script(shape_of(*size)), size, fps, told.theme)
    got, last = play(Toy, size=size, fps=fps, **options), np.empty(0, np.uint8)
    for k, (frame, wanted) in enumerate(zip(got, frames(look), strict=True)):
        last = last if wanted is None else wanted.pixels[..., :3].copy()
        assert np.array_equal(frame, last), f"frame {k}"


def test_a_film_faster_than_it_is_has_the_same_frames_too(play):
    class Faster(Toy):
        def script(self, shape="wide"):
            return super().script(shape).lasting(7.3)

    script, got = talks.film().script().lasting(7.3), play(Faster, fps=12)
    assert len(got) == round(7.3 * 12)
    for k in range(0, len(got), 5):
        assert np.array_equal(got[k], drawn(script, k / 12, SIZE)), k


# ---- a mobject like any other


def test_a_picture_plays_in_an_ordinary_scene(play):
    got = play(talks.Ordinary)
    assert len(got) == 10 * FPS + 5
    for k in (0, 7, 31, 99):
        assert np.array_equal(got[k], at(k / FPS)), k
    assert np.array_equal(got[-1], at(10))


def test_it_is_placed_scaled_faded_played_and_moved(play):
    got, early, late = play(talks.Placed), at(0.8, HALF, all_text=True), at(1.5, HALF, all_text=True)
    assert not like(early, late)
    assert not got[0].any()  # manim's own ground is black
    assert like(got[FPS][:240, :427], early)
    assert not got[FPS][240:].any()
    assert like(got[2 * FPS][:240, :427], late)
    right = round(3 * SIZE[1] / 8)
    assert like(got[3 * FPS][:240, right : 427 + right], late)
    assert not got[-1].any()


def test_what_is_added_later_lies_over_it(play):
    got = play(talks.Over)
    assert red(got[0]) < red(got[FPS - 1])
    assert tuple(got[-1][240, 427]) == RED
    assert np.array_equal(got[-1][:100], at(3.0 - 1 / FPS)[:100])


def test_other_things_happen_while_it_plays(play):
    got = play(talks.During)
    assert red(got[25]) > 10_000
    assert red(got[-1]) == 0
    assert np.array_equal(got[25][:100], at(2.5)[:100])


def test_it_is_one_of_a_group(play):
    got = play(talks.Grouped)
    assert np.ptp(rows(got[FPS])) == pytest.approx(240, abs=2)
    assert rows(got[FPS]).min() - rows(got[2 * FPS]).min() == pytest.approx(SIZE[1] / 8, abs=2)  # it went up
    assert got[-1].max() < got[2 * FPS].max() / 2  # nearly gone


def test_it_stands_behind_or_in_front_and_is_gone_when_removed(play):
    got = play(talks.Behind)
    assert red(got[0]) == 0
    assert np.array_equal(got[0], at(2.0))
    assert red(got[6]) > 10_000
    assert np.array_equal(got[6][:100], at(2.0)[:100])
    assert red(got[11]) > 10_000
    assert not got[11][:100].any()


def test_it_plays_to_a_chapter_a_step_or_back_as_fast_as_it_is_told(play):
    got, script = play(talks.Parts), talks.film().script()
    chapter, step = script.chapters[0].stop, script.steps[1]
    assert len(got) == 4 * FPS
    assert np.array_equal(got[5], at(chapter * 0.5))
    assert np.array_equal(got[FPS], at(chapter))
    assert np.array_equal(got[FPS + 5], at(chapter + (step - chapter) * smooth(0.25)))
    assert np.array_equal(got[3 * FPS], at(step))
    assert np.array_equal(got[3 * FPS + 5], at(step / 2))


def test_a_tracker_turns_it(play):
    got = play(talks.Tracked)
    assert np.array_equal(got[5], at(1.5))
    assert np.array_equal(got[12], at(3.0))
    assert np.array_equal(got[20], at(4.5))


def test_a_moving_camera_sees_it(play):
    got = play(talks.Zoomed)
    wide, near = at(3.0), got[-1]
    middle = wide[120:360, 213:640].repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(near[20:100, 100:700].astype(int) - middle[20:100, 100:700]).mean() < 12


def test_a_film_of_another_shape_stands_in_the_middle_whole(play):
    got = play(talks.Shaped)
    script = talks.film().script("square")
    left = (854 - 480) // 2
    assert like(got[5][:, left : left + 480], drawn(script, 0.5, (480, 480)))
    assert not got[5][:, : left - 1].any()


def test_two_at_once(play):
    got = play(talks.Two)
    light, dark = got[5][240, 30], got[5][240, -30]
    assert light.min() > 240
    assert dark.max() < 60


@pytest.mark.parametrize("scene", [talks.Changed, talks.Turned])
def test_transforms_and_other_cameras_show_it(play, scene):
    got = play(scene)
    assert all(frame.any() for frame in got)
    assert len({frame.tobytes() for frame in got}) > len(got) // 3


def test_a_plain_scene_is_what_it_was(play):
    from manim import Create, Scene, Square

    class Plain(Scene):
        def construct(self):
            self.play(Create(Square()))

    assert play(Plain)[-1].any()


# ---- what is refused


def test_what_a_film_does_not_have_is_refused_in_one_line():
    picture = talks.film().picture()
    with pytest.raises(ValueError, match="no chapter 'Growth': give one of It grows, Another comes"):
        Play(picture, "Growth")
    with pytest.raises(ValueError, match="no step 7: give one of 0, 1"):
        Play(picture, step=7)


def test_opengl_is_refused_in_one_line():
    from manim import tempconfig

    with tempconfig({"renderer": "opengl"}), pytest.raises(SystemExit, match="leave --renderer=opengl out"):
        Toy()
