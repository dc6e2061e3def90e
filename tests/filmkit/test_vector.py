"""A picture as SVG or PDF: the same as in pixels, but of outlines alone, and the same bytes each time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import cairo
import numpy as np
import pytest

from flashsteps.filmkit import vector
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.painter import Painter
from flashsteps.filmkit.pen import Pen
from flashsteps.filmkit.reel import Reel
from flashsteps.theme import theme
from tests.filmkit.toy import Toy

SVG = "{http://www.w3.org/2000/svg}"
SIZE = {"width": 960, "height": 540}


@pytest.fixture(scope="module")
def film() -> Reel:
    return Reel("toy", Toy())


def pdf_streams(data: bytes) -> bytes:
    """All that a PDF draws."""
    parts = re.findall(rb"stream\n(.*?)\nendstream", data, re.DOTALL)
    return b"".join(zlib.decompress(part) if part[:1] == b"x" else part for part in parts)


def test_an_svg_is_of_outlines_in_pixels(film, tmp_path):
    film.still(tmp_path / "a.svg", 3, **SIZE)
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("960px", "540px", "0 0 960 540")
    drawn = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert "path" in drawn
    assert not drawn & {"image", "text", "use", "symbol", "font", "style", "script"}
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    text = (tmp_path / "a.svg").read_text()
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"#([\w-]+)\)", text)) <= set(ids)


def test_a_pdf_is_one_page_of_outlines_with_the_films_title(film, tmp_path):
    film.still(tmp_path / "a.pdf", 3, **SIZE)
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF-1.4")
    assert b"/MediaBox [ 0 0 960 540 ]" in data
    assert b"/Title (A toy)" in data
    assert data.count(b"/Type /Page ") == 1
    for word in (b"/Subtype /Image", b"/Font", b"cairo", b"CreationDate", b"/ModDate"):
        assert word not in data
    assert pdf_streams(data).count(b" c ") > 100  # curves of letters


def test_a_pdf_knows_where_all_things_are(film, tmp_path):
    film.still(tmp_path / "a.pdf", 3, **SIZE)
    data = (tmp_path / "a.pdf").read_bytes()
    table = data[int(data.rpartition(b"startxref\n")[2].split()[0]) :]
    places = re.findall(rb"(\d{10}) \d{5} n", table)
    assert len(places) > 4
    for number, place in enumerate(places, 1):
        assert data[int(place) :].startswith(b"%d 0 obj" % number)


@pytest.mark.parametrize("ending", [".svg", ".pdf"])
def test_the_same_picture_gives_the_same_bytes_here_and_elsewhere(film, tmp_path, ending):
    for n in range(2):
        film.still(tmp_path / f"{n}{ending}", 3, **SIZE)
    code = f"""
from flashsteps.filmkit.reel import Reel
from tests.filmkit.toy import Toy
Reel("toy", Toy()).still({str(tmp_path / f"2{ending}")!r}, 3, width=960, height=540)
"""
    env = os.environ | {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "SOURCE_DATE_EPOCH": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], env=env)
    assert len({(tmp_path / f"{n}{ending}").read_bytes() for n in range(3)}) == 1


@pytest.mark.parametrize("t", [1.0, 9.5])
@pytest.mark.parametrize("look", ["dark", "light"])
def test_outlines_look_as_pixels_do(film, t, look):
    """Drawn by way of outlines into pixels of cairo's, in its order of colours: within what edges may differ."""
    script = film.script("wide")
    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, 960, 540)
    Painter(script, 960, 540, look, surface=surface).paint(t)
    surface.flush()
    outlined = np.ndarray((540, 960, 4), np.uint8, bytes(surface.get_data()))
    painter = Painter(script, 960, 540, look)
    painter.paint(t)
    assert np.abs(outlined[..., 2::-1].astype(int) - painter.pixels[..., :3]).max() <= 3


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_each_cell_of_a_texture_is_a_shape_with_its_colour(alpha):
    colors = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    colors[1, 2:5] = colors[1, 2]
    drawn = []
    for outlines in (False, True):
        surface = cairo.ImageSurface(cairo.FORMAT_RGB24, 80, 60)
        pen = Pen(cairo.Context(surface), theme("light"), 1, outlines=outlines)
        pen.fill(Box(0, 0, 80, 60), "#ffffff")
        pen.texture(Box(10, 10, 60, 40), colors, alpha=alpha)
        surface.flush()
        pixels = np.ndarray((60, 80, 4), np.uint8, bytes(surface.get_data()))
        drawn.append(pixels[..., 2::-1].astype(int) if outlines else pixels[..., :3].astype(int))
    assert np.abs(drawn[0] - drawn[1]).max() <= 1


@pytest.mark.parametrize("ending", [".svg", ".pdf"])
def test_a_transparent_one_has_no_ground(film, tmp_path, ending):
    ground = {".svg": b'width="960" height="540"', ".pdf": b"0 0 960 540 re"}[ending]
    for transparent in (False, True):
        path = tmp_path / f"{transparent}{ending}"
        film.still(path, 3, transparent=transparent, **SIZE)
        data = path.read_bytes()
        assert (ground in (data if ending == ".svg" else pdf_streams(data))) is not transparent


def test_a_size_that_will_not_do(film, tmp_path):
    with pytest.raises(ValueError, match="each side of a .pdf is 1 to 14400"):
        vector.write(tmp_path / "a.pdf", film.script(), 1, (14401, 8000), "dark")
    with pytest.raises(ValueError, match="can't be drawn"):
        film.still(tmp_path / "a.pdf", 1, width=100, height=50)
    assert not list(tmp_path.iterdir())
