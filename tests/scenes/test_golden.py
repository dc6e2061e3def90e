"""Golden frames: one picture of each film, pixel for pixel, so that a change of what is drawn is seen at once.

They are made with --regenerate, and looked at, all of them, whenever that was on purpose.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flashsteps as fs
from flashsteps.filmkit import films
from flashsteps.filmkit.reel import Reel

GOLDEN = Path(__file__).parent / "golden"
WIDTH, HEIGHT = 800, 450


def moment(film: Reel) -> float:
    """Just before a chapter in the middle is over, when all of it stands."""
    return film.chapters[len(film.chapters) // 2].stop - 0.1


@pytest.mark.parametrize("name", films.names())
def test_a_film_is_drawn_as_it_was(name, request):
    film = fs.film(name)
    drawn = film.frame(moment(film), width=WIDTH, height=HEIGHT)[..., :3]
    path = GOLDEN / f"{name}.png"
    if request.config.getoption("--regenerate"):
        GOLDEN.mkdir(exist_ok=True)
        film.still(path, moment(film), width=WIDTH, height=HEIGHT)
    assert path.exists(), f"make it with --regenerate: {path.name}"
    with Image.open(path) as kept:
        np.testing.assert_array_equal(drawn, np.asarray(kept.convert("RGB")))


def test_none_is_left_of_a_film_that_is_gone():
    assert {path.stem for path in GOLDEN.glob("*.png")} == set(films.names())
