"""The film "problem" says what float64 and the published figures say."""

from __future__ import annotations

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.areas import Areas
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.matrix import Matrix
from flashsteps.inputs.qkv import QKV
from flashsteps.machine.devices import DEVICES
from tests.scenes.seen import actor, said


@pytest.fixture(scope="module")
def script():
    return fs.film("problem").script()


@pytest.fixture(scope="module")
def exact():
    """Scores and weights of the sample in float64."""
    q, k, _ = (np.asarray(x, np.float64) for x in fs.load_qkv("sample"))
    scores = q @ k.T / np.sqrt(q.shape[1])
    weights = np.exp(scores)
    return scores, weights / weights.sum(axis=1, keepdims=True)


def test_the_grid_holds_the_scores(script, exact):
    matrix = actor(script, "Each against each", Matrix)
    assert np.allclose(np.array(matrix.values), exact[0], atol=5e-3)  # fp16
    assert matrix.seen == len(exact[0])
    assert f"16 tokens: {exact[0].size} scores" in said(script)


def test_softmax_of_the_row_that_it_names(script, exact):
    tokens = fs.load_qkv("sample").tokens or ()
    row, key = tokens.index("it"), tokens.index("animal")
    assert f"“it” gives {exact[1][row, key]:.2f} of its weight to “animal”" in said(script)
    bars = actor(script, "Scores become weights", Bars).bars
    assert np.allclose([bar.value for bar in bars], exact[1][row], atol=1e-3)
    assert [bar.name for bar in bars if bar.hue == "accent"] == ["animal"]


def test_twice_the_tokens_is_twice_q_and_four_times_s(script):
    start, stop = next((c.start, c.stop) for c in script.chapters if c.name == "Twice the tokens")
    seen = {}
    for t in np.arange(start + 1, stop, 0.05):
        q, _, _, s = (bar.value for bar in actor(script, t, Bars).bars)
        seen[q] = s
    sizes = [n * 64 * 2 for n in (64, 128, 256, 512, 1024)]
    assert [seen[size] for size in sizes] == [2 * n * n for n in (64, 128, 256, 512, 1024)]
    _, square, *strips = (area for area in actor(script, stop - 0.1, Areas).areas if not area.open)
    assert {area.w * area.h for area in strips} == {1024 * 64}


@pytest.mark.parametrize("device", DEVICES)
def test_memory_of_s_and_p(device):
    script = fs.film("problem", device=device).script()
    for bar, n in zip(
        actor(script, "Four times the tokens", Bars).bars, (1 << 10, 1 << 12, 1 << 14, 1 << 16), strict=True
    ):
        assert bar.value == 2 * 2 * n * n
        assert bar.whole == DEVICES[device].memory * 1e9
    one = 4 * 65536**2 / 1e9
    assert f"16 heads at 64K tokens: {16 * one:.0f} GB" in said(script)
    assert f"The card has {DEVICES[device].memory}." in said(script)
    areas = actor(script, "Sixteen heads", Areas).areas
    inside = sum(area.w for area in areas if area.hue == "S" and not area.open)
    a_head = next(area.w for area in areas if area.open)
    assert inside / a_head == pytest.approx(DEVICES[device].memory / one, rel=1e-6)


def test_the_time_of_a_step_is_that_of_its_bytes(script):
    bars = actor(script, "Where the time goes", Bars).bars
    products = 6 * 2 * 1024 * 1024 * 64 * 16 * 64  # two of a forward pass, four of a backward pass that has P
    assert [bar.value for bar in bars] == pytest.approx([41.7, 40.3 / 1.555, products / 312e12 * 1e3])
    assert sum(piece.amount for piece in bars[1].pieces) == pytest.approx(bars[1].value)
    assert f"1/{41.7 / (products / 312e12 * 1e3):.0f} of the 41.7 ms" in said(script)
    sources = [text.words for text in [actor(script, "Where the time goes", Text)]]
    begun = script.time("Sixteen heads") + 3
    assert "FA1, Figure 2, A100" in (first := str(actor(script, begun, Text).words))
    assert "our fit" in first
    assert "6 products of 2N²d" in sources[0]  # at last, where the work is from, which the figure prints otherwise
    assert f"{products / 1e9:.0f} GFLOP" in sources[0]
    assert "the figure prints 66.6" in sources[0]


def test_of_many_keys_the_heaviest_are_shown():
    script = fs.film("problem", input="random:64,8").script()
    weights = np.array([bar.value for bar in actor(script, "Scores become weights", Bars).bars])
    assert len(weights) == 16
    assert "the 16 heaviest" in actor(script, "Scores become weights", Bars).title
    q, k, _ = (np.asarray(x, np.float64) for x in fs.load_qkv("random:64,8"))
    exact = np.exp(q @ k.T / np.sqrt(8))
    exact /= exact.sum(axis=1, keepdims=True)
    heaviest = np.sort(exact, axis=1)[:, -16:]
    assert np.abs(np.sort(weights) - heaviest).max(axis=1).min() < 2e-3  # those of one of the rows


def test_tokens_of_any_length_and_a_single_one_can_be_told():
    q = np.ones((3, 4), np.float32)
    for tokens in (("a", "b" * 60, "c" * 60), ("Donaudampfschifffahrtsgesellschaft",) * 3):
        assert fs.film("problem", input=QKV(q, q, q, tokens, {"kind": "arrays"})).duration > 30
    one = np.ones((1, 4), np.float32)
    assert "1 token: 1 score." in said(fs.film("problem", input=(one, one, one)).script())
