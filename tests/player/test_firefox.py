"""The player in Firefox: it opens, steps, is clicked, and draws what was not written yet as hatched."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import flashsteps as fs
from flashsteps.player import page as view
from tests.player.firefox import Tab, firefox


@pytest.fixture(scope="module")
def tab():
    with firefox() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "run.html"
    qkv = fs.load_qkv("sample")
    view.write(path, fs.record("flash2-forward", *qkv, tokens=qkv.tokens, block_q=4, block_k=4, mask="causal"))
    return path.as_uri()


def step(tab: Tab) -> int:
    return int(tab.evaluate("window.flashsteps.step"))


def test_it_steps_and_a_click_leaves_it_the_arrows(tab, address):
    tab.open(f"{address}#step=40")
    tab.press("\ue014")  # →
    assert step(tab) == 41
    for place in (".map .hit", "select", ".slot .hit"):
        tab.click(place, (0.1, 0.1))
        tab.press("\ue00c")  # Escape
        was = step(tab)
        tab.press("\ue014")
        assert step(tab) == was + 1, place
    assert tab.evaluate("document.querySelector('.caption').textContent.length") > 10


def test_what_was_not_written_yet_is_hatched(tab, address):
    tab.open(address)
    box = tab.evaluate(
        "document.querySelectorAll('.tensor:has(canvas)')[3].querySelector('.matrix').getBoundingClientRect()"
    )
    picture = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("L")).astype(int)
    x, y = round(box["x"]), round(box["y"])
    part = picture[y + 8 : y + 72, x + 8 : x + 40]
    ground, lines = np.bincount(part.ravel()).argmax(), np.abs(part - np.bincount(part.ravel()).argmax()) > 12
    assert ground > 200  # the panel's own light ground, between lines
    assert 0.08 < lines.mean() < 0.5
    assert (lines.any(axis=1)).mean() > 0.9  # in every row
