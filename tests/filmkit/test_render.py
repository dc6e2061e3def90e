"""From film to file: the frames that were drawn, the captions that were said, and manim as people use it."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from flashsteps.filmkit import coda, films, render
from flashsteps.filmkit.film import film as build
from flashsteps.filmkit.timeline import HOLD
from flashsteps.inputs.qkv import check_qkv, load_qkv
from tests.filmkit.pictures import README, Shot, made, shots, there

FILMS = pytest.mark.parametrize("name", films.names())
SHORT = Shot("flash2-forward", 6, 6, 4, 2, 3, duration=8, size=README)


# Captions

CUE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d):([0-5]\d):([0-5]\d)\.(\d{3})\n(.+)")


def cues(written: str) -> list[tuple[float, float, str]]:
    """Start, end and text of each cue of a WebVTT file, whose form is checked."""
    assert written.startswith("WEBVTT\n\n")
    assert written.endswith("\n")
    found = []
    for block in written.removeprefix("WEBVTT\n\n").rstrip("\n").split("\n\n"):
        match = CUE.fullmatch(block)
        assert match, block
        start, stop = (
            h * 3600 + m * 60 + s + ms / 1000
            for h, m, s, ms in (map(int, match.groups()[:4]), map(int, match.groups()[4:8]))
        )
        assert "-->" not in match[9]
        assert not re.search(r"<|&(?!amp;|lt;|gt;)", match[9])
        found.append((start, stop, match[9].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")))
    return found


@given(shots(sizes=(README,), largest=24, tiles=4, words=True), st.sampled_from([8.0, 24.0, 599.5]))
@settings(max_examples=20)
def test_captions_say_what_is_said_when_it_is_said(shot, duration):
    film = made(Shot(**{**shot.__dict__, "duration": duration}))
    found = cues(render.captions(film))
    assert found[0][0] == 0
    assert found[-1][1] == pytest.approx(duration, abs=0.001)
    assert all(stop == following[0] for (_, stop, _), following in pairwise(found))
    assert all(start < stop for start, stop, _ in found)
    assert all(words != following for (_, _, words), (_, _, following) in pairwise(found))
    run = film.timeline.beats
    for start, stop, words in found:
        at = (start + stop) / 2
        if at < film.timeline.coda:
            assert run[film.timeline.at(at)].caption == words
    said = {words for _, _, words in found}
    assert said == {beat.caption for beat in run} | {
        coda.caption(film.trace, film.coda, n) for n in range(len(film.coda))
    }


def test_captions_are_safe_to_read_whatever_the_tokens_are():
    sampled = load_qkv("sample")
    tokens = [{"street": "<b>&amp;-->", "cross": "a & b"}.get(token, token) for token in there(sampled.tokens)]
    film = build("flash-forward", check_qkv(sampled.q, sampled.k, sampled.v, tokens), width=README[0], height=README[1])
    assert "“&lt;b&gt;&amp;amp;--&gt;” beats the old max of “a &amp; b”" in render.captions(film)
    assert any(
        words.startswith("“<b>&amp;-->” beats the old max of “a & b”") for _, _, words in cues(render.captions(film))
    )


# Frames


@pytest.mark.parametrize(
    ("path", "preset"),
    [
        ("a.gif", "readme"),
        ("A.GIF", "readme"),
        ("b.webp", "readme"),
        ("c.mp4", "slides"),
        ("d.webm", "slides"),
        ("gif.png", "slides"),
    ],
)
def test_the_ending_chooses_the_preset(path, preset):
    assert render.preset_for(path) == preset
    assert render.preset_for(Path("some") / path) == preset


def test_presets_are_those_that_are_promised():
    assert {name: tuple(preset) for name, preset in render.PRESETS.items()} == {
        "readme": (800, 450, 12), "slides": (1920, 1080, 60), "4k": (3840, 2160, 60)
    }  # fmt: skip


@pytest.mark.parametrize(("duration", "fps", "total"), [(8, 12, 96), (24, 60, 1440), (9.04, 12, 108), (9.05, 12, 109)])
def test_a_film_has_as_many_frames_as_its_time_and_rate_make(duration, fps, total):
    assert render.total(made(Shot("standard", 2, 2, 2, duration=duration)), fps) == total


def test_there_are_so_many_frames_the_first_is_one_and_what_is_none_is_the_hold():
    film = SHORT.film()
    frames = [frame is None for frame in render.frames(film, 5)]
    assert len(frames) == render.total(film, 5) == 40
    assert not frames[0]
    assert frames[-int(HOLD * 5) + 1 :] == [True] * (int(HOLD * 5) - 1)
    assert sum(frames) < 20


# Files


def decoded(path: Path) -> list[tuple[float, np.ndarray]]:
    """When each frame is shown, and its RGB."""
    with av.open(str(path)) as file:
        return [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]


def near(pixels: np.ndarray, expected: np.ndarray) -> bool:
    """Nearer than any two frames of the film that are half a second apart while something happens."""
    return bool(np.abs(pixels[..., :3].astype(int) - expected[..., :3]).mean() < 3)


@pytest.mark.parametrize("ending", [".mp4", ".gif"])
def test_a_file_shows_the_film(ending, tmp_path):
    film, fps, told = SHORT.film(), 4, []
    path = tmp_path / f"film{ending}"
    assert render.render(film, path, fps=fps, progress=lambda done, total: told.append((done, total))) == 32
    assert told == [(k + 1, 32) for k in range(32)]
    shown = decoded(path)
    for t in (0.0, 2.5, 4.25, 7.75):
        pixels = [pixels for start, pixels in shown if start <= t + 0.01][-1]
        assert pixels.shape == (450, 800, 3)
        assert near(pixels, render.picture(film, t)), t
        assert not near(pixels[..., ::-1], render.picture(film, t))  # and red is not blue
    with av.open(str(path)) as file:
        if ending == ".mp4":
            assert len(shown) == 32
            assert float(there(file.duration) / av.time_base) == pytest.approx(8)
    if ending == ".gif":
        with Image.open(path) as gif:
            lengths = [picture.info["duration"] for picture in ImageSequence.Iterator(gif)]
        assert sum(lengths) == 8000
        assert lengths[-1] >= 1000 * HOLD


def test_a_still_is_the_frame_of_its_moment(tmp_path):
    render.still(SHORT.film(), tmp_path / "a.png", 3.0)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), render.picture(SHORT.film(), 3.0)[..., :3])


def test_the_same_film_makes_the_same_file(tmp_path):
    for name in ("a.gif", "b.gif"):
        render.render(made.__wrapped__(SHORT), tmp_path / name, fps=2)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


# Manim


def test_a_film_plays_in_a_scene_of_manims_own(tmp_path):
    from manim import Circle, Scene, tempconfig

    from flashsteps.filmkit.stage.picture import Play, Stage, StageCamera

    film = SHORT.film()

    class Talk(Scene):
        def __init__(self) -> None:
            super().__init__(camera_class=StageCamera)

        def construct(self) -> None:
            self.play(Play(Stage(film)))
            self.add(Circle(radius=1, color="#ff0000", fill_opacity=1))
            self.wait(1)

    options = {
        "pixel_width": 800, "pixel_height": 450, "frame_rate": 4, "media_dir": str(tmp_path), "disable_caching": True,
        "verbosity": "ERROR", "progress_bar": "none",
    }  # fmt: skip
    with tempconfig(options):
        talk = Talk()
        talk.render()
        path = Path(talk.renderer.file_writer.movie_file_path)
    shown = [pixels for _, pixels in decoded(path)]
    assert len(shown) == 36
    assert near(shown[0], render.picture(film, 0))
    assert near(shown[8], render.picture(film, 2.0))
    assert near(shown[31], render.picture(film, 7.99))
    assert shown[-1][225, 400, 0] > 200  # other mobjects lie on top of it
    assert near(shown[-1][:100], render.picture(film, 7.99)[:100])


def test_without_manim_drawing_says_what_to_install():
    code = """
import sys
sys.modules["manim"] = None
from flashsteps import load_qkv, render
from flashsteps.film import film
made = film("standard", load_qkv("sample"), width=800, height=450)
assert render.captions(made) and render.total(made, 12) == 288
still = lambda film, t: render.still(film, "still.png", t)
for draw in (render.picture, lambda film, fps: next(render.frames(film, fps)), still):
    try:
        draw(made, 1)
    except ValueError as error:
        print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == 3
    assert len(set(lines)) == 1
    assert "drawing needs manim" in lines[0]
    assert "pip install 'flashsteps[render]'" in lines[0]
