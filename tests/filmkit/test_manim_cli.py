"""`manim render` and `manim-slides` as people run them, on a film's own file."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.filmkit import talks
from tests.filmkit.manim_player import drawn

TOY = Path(__file__).with_name("toy.py").read_text()


def run(program: str, *arguments: str, folder: Path, toy: str = TOY, code: int = 0, seed: str = "1") -> str:
    """What it prints, run on toy.py in a folder; the exit code is as it should be."""
    (folder / "toy.py").write_text(toy)
    env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def only(folder: Path, pattern: str) -> Path:
    found = [path for path in folder.rglob(pattern) if "partial_movie_files" not in path.parts]
    assert len(found) == 1, found
    return found[0]


def test_manim_plays_a_film_with_a_section_a_chapter_and_what_is_said(tmp_path):
    run("manim", "render", "-ql", "--fps", "10", "--save_sections", "toy.py", "Toy", folder=tmp_path)
    script = talks.film().script()
    with av.open(str(only(tmp_path / "media" / "videos" / "toy" / "480p10", "Toy.mp4"))) as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(shown) == 10 * script.duration
    assert np.abs(shown[13].astype(int) - drawn(script, 1.3, (854, 480))).mean() < 3
    sections = json.loads(only(tmp_path, "Toy.json").read_text())
    assert [section["name"] for section in sections] == [chapter.name for chapter in script.chapters]
    assert [float(section["duration"]) for section in sections] == [c.stop - c.start for c in script.chapters]
    said = only(tmp_path, "Toy.srt").read_text()
    assert [caption.name in said for caption in script.captions] == [True, True]
    assert "00:00:04,000 --> 00:00:10,000" in said


def test_what_did_not_change_is_taken_from_manims_cache_in_another_process(tmp_path):
    def cached(toy: str, seed: str) -> list[str]:
        printed = run("manim", "render", "-ql", "--fps", "5", "toy.py", "Toy", folder=tmp_path, toy=toy, seed=seed)
        return re.findall(r"Animation (\d) : Using cached", printed)

    assert cached(TOY, "1") == []
    assert cached(TOY.replace("moves, and goes", "moves, and is gone"), "2") == ["0"]
    assert cached(TOY.replace("A bar, and", "One bar, and"), "3") == ["1"]


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["-ql", "--fps", "5", "--format", "gif"], "Toy*.gif"),
        (["-r", "800,450", "--fps", "5", "--format", "webm", "-n", "1"], "Toy*.webm"),
    ],
)
def test_manims_ordinary_flags_do_what_they_say(tmp_path, flags, pattern):
    run("manim", "render", *flags, "toy.py", "Toy", folder=tmp_path)
    with av.open(str(only(tmp_path, pattern))) as film:
        first = next(film.decode(video=0)).to_ndarray(format="rgb24")
    script = talks.film().script()
    start = script.chapters[1].start if "-n" in flags else 0.0
    off = np.abs(first.astype(int) - drawn(script, start, first.shape[1::-1])).mean()
    assert off < (30 if "gif" in flags else 3)  # manim's own GIF has 256 colours, whatever there is to see


def test_manim_saves_the_last_frame_and_options_come_by_a_subclass(tmp_path):
    mine = 'class Mine(Toy):\n    theme, block_q, cut = "light", 2, "short"\n'
    run("manim", "render", "-ql", "-s", "toy.py", "Mine", folder=tmp_path, toy=f"{TOY}\n\n{mine}")
    script = talks.film(block_q=2, cut="short").script()
    shown = np.asarray(Image.open(only(tmp_path, "Mine*.png")).convert("RGB"))
    assert np.array_equal(shown, drawn(script, script.duration, (854, 480), "light"))


def test_opengl_gets_one_line(tmp_path):
    printed = run("manim", "render", "-ql", "--renderer=opengl", "toy.py", "Toy", folder=tmp_path, code=1)
    assert printed.splitlines()[-1] == "flashsteps draws with cairo: leave --renderer=opengl out"
    assert "Traceback" not in printed


def test_a_film_is_a_talk_with_a_click_between_chapters(tmp_path):
    talk = "from manim_slides import Slide\n\n\nclass Talk(Toy, Slide):\n    skip_reversing = True\n"
    run("manim_slides", "render", "-ql", "--fps", "5", "toy.py", "Talk", folder=tmp_path, toy=f"{TOY}\n\n{talk}")
    script, slides = talks.film().script(), json.loads((tmp_path / "slides" / "Talk.json").read_text())["slides"]
    assert [slide["notes"] for slide in slides] == [caption.name for caption in script.captions]
    for slide, chapter in zip(slides, script.chapters, strict=True):
        with av.open(str(tmp_path / slide["file"])) as film:
            first = next(film.decode(video=0)).to_ndarray(format="rgb24")
            assert film.streams.video[0].frames == 5 * (chapter.stop - chapter.start)
        assert np.abs(first.astype(int) - drawn(script, chapter.start, (854, 480))).mean() < 3
    run("manim_slides", "convert", "Talk", "talk.html", folder=tmp_path)
    page = (tmp_path / "talk.html").read_text()
    assert len(re.findall(r"<section\b", page)) == 2
