"""What a toy's chip is, and what a device's: never the one's figure beside the other's without a word."""

import pytest

import flashsteps as fs
from flashsteps.filmkit.script import Script
from tests.scenes.looking import Looker

SIZES = {"wide": (1920, 1080), "square": (1080, 1080), "tall": (1080, 1920)}
STAGES = ("standard", "flash-forward", "flash2-forward", "block-sparse")


def beside(script: Script) -> list[str]:
    """All words of the picture when SRAM is first to be seen, from t = 2 s."""
    looker = Looker(script, SIZES[script.shape], "dark")
    for t in range(2, int(script.duration)):
        looker.look(t)
        words = [one.words for one in looker.written if one.who != "Text"]
        if any("SRAM" in one for one in words):
            return words
    raise AssertionError("no SRAM is to be seen")


@pytest.mark.parametrize("shape", ["wide", "square", "tall"])
@pytest.mark.parametrize("name", STAGES)
def test_the_toys_chip_is_named_and_no_devices_size_stands_beside_it(name, shape):
    words = beside(fs.film(name).script(shape))
    assert any(one.startswith("toy SRAM") for one in words)
    assert not any("GB" in one or "TB/s" in one for one in words)


def test_a_device_that_is_asked_for_is_shown():
    assert any("80 GB" in one for one in beside(fs.film("standard", device="h100").script()))
