"""To add a film is to add a file: the one that CONTRIBUTING.md shows, in a copy of the package, by its commands."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flashsteps as fs
from flashsteps.filmkit import films
from flashsteps.units import size_of
from tests.contributing import commands, copy_of_the_package, example, flashsteps, section
from tests.scenes import test_golden


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_of_the_package(tmp_path_factory.mktemp("added"))
    (folder / "flashsteps" / "scenes" / "first_tile.py").write_text(example("Add a film"), encoding="utf-8")
    for command in commands("Add a film"):
        done = flashsteps(folder, *command.removeprefix("flashsteps ").split())
        assert done.returncode == 0, done.stderr
    return folder


def test_it_is_listed(added):
    assert "first-tile" in flashsteps(added, "list", "films").stdout


def test_its_golden_frame_is_asked_for_by_its_name(added):
    (name,) = re.findall(r"add `-k ([^`]+)`", section("Golden frames"))
    assert name in flashsteps(added, "list", "films").stdout
    (mark,) = test_golden.test_a_film_is_drawn_as_it_was.pytestmark
    assert mark.args == ("name", films.names())  # what -k looks at


def test_it_is_a_film_and_a_picture(added):
    assert (added / "first-tile.gif").read_bytes()[:6] == b"GIF89a"
    with Image.open(added / "still.png") as still:
        assert still.size == (1080, 1080)
        assert len(np.unique(np.asarray(still.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_it_says_what_the_run_moved(added):
    flashsteps(added, "render", "first-tile", "-o", "told.gif", "--captions")
    qkv = fs.load_qkv("sample")
    total = fs.record("flash2-forward", *qkv, block_q=4, block_k=4).io().total
    assert size_of(total) in (added / "told.vtt").read_text(encoding="utf-8")


def test_an_option_that_it_has_no_use_for_is_refused(added):
    done = flashsteps(added, "render", "first-tile", "-o", "x.gif", "--code")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "code" in done.stderr
