"""The film "memory-hierarchy" says what FA1's Figure 1, the presets and arithmetic say."""

from __future__ import annotations

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.areas import Areas, Crowd
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.ladder import Ladder
from flashsteps.machine.devices import DEVICES
from tests.scenes.seen import actor, actors, said

#: FA1, Figure 1 (bytes, bytes a second), and a tile of 128 × 64 numbers of 2 bytes
SRAM, HBM, DRAM = (20e6, 19e12), (40e9, 1.5e12), (1e12, 12.8e9)
TILE = 128 * 64 * 2


@pytest.fixture(scope="module")
def script():
    return fs.film("memory-hierarchy").script()


def test_an_sm_to_scale(script):
    shared, registers = actor(script, "One SM", Areas).areas
    assert shared.w / registers.w == pytest.approx(164 / 256, rel=0.02)
    assert (shared.h, shared.name, registers.name) == (registers.h, "164 KiB", "256 KiB")


def test_as_many_squares_as_sms(script):
    crowd = actor(script, "The chip", Crowd)
    assert crowd.count == crowd.of == DEVICES["a100-40gb"].multiprocessors
    assert pytest.approx(SRAM[0], rel=0.05) == 108 * 192e3  # what the caption says makes 20 MB


def test_squares_are_as_large_as_memories(script):
    hbm, sram, *_ = actor(script, "How much they hold", Areas).areas
    assert (hbm.w * hbm.h) / (sram.w * sram.h) == pytest.approx(HBM[0] / SRAM[0])
    assert f"{HBM[0] / SRAM[0]:,.0f} times as much" in said(script)


def test_tiles_come_at_the_published_rates(script):
    start = next(c.start for c in script.chapters if c.name == "How fast tiles come")
    for t in np.linspace(start + 1.5, start + 6, 5):
        sram, hbm, dram = (level.come for level in actor(script, t, Ladder).levels)
        assert sram / dram == pytest.approx(SRAM[1] / DRAM[1])
        assert hbm / dram == pytest.approx(HBM[1] / DRAM[1])
    end = actor(script, "How fast tiles come", Ladder)
    assert [int(level.come) for level in end.levels] == [1484, 117, 1]
    assert f"{TILE / DRAM[1] * 1e6:.2f} of" in end.clock
    assert "117 came from HBM, 1,484 from all SRAM" in said(script)


def test_one_tile(script):
    bars = actor(script, "One tile", Bars).bars
    assert [bar.value for bar in bars] == pytest.approx([TILE / level[1] for level in (SRAM, HBM, DRAM)])


@pytest.mark.parametrize("device", DEVICES)
def test_the_chosen_chip_is_lit(device):
    script = fs.film("memory-hierarchy", device=device).script()
    bars = actor(script, "Other chips", Bars).bars
    (lit,) = (bar for bar in bars if bar.hue == "accent")
    assert lit.value == DEVICES[device].bandwidth
    assert f"moves {DEVICES[device].bandwidth:g} TB/s" in said(script)
    assert [bar.value for bar in bars] == sorted(gpu.bandwidth for gpu in DEVICES.values())


def test_fetched_once_and_used_four_times(script):
    once, each = actor(script, "Use it often", Bars).bars
    assert once.value == pytest.approx(TILE / HBM[1])
    assert each.value == pytest.approx(4 * TILE / HBM[1])
    assert [crowd.count for crowd in actors(script, "Use it often", Crowd)] == [4]
