"""What the film decode claims: against attention in float64, the closed forms, and sums by hand."""

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.areas import Areas, Crowd
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.number import Number
from flashsteps.filmkit.actors.pages import Pages
from flashsteps.filmkit.actors.row import Row
from flashsteps.filmkit.actors.table import Table
from flashsteps.machine.devices import DEVICES
from flashsteps.traffic import formulas
from tests.scenes.seen import actor, actors, said

FILM = fs.film("decode")
SCRIPT = FILM.script()
ROW = 10  # "it"


@pytest.fixture(scope="module")
def exact():
    """Scores, values and the output of that query, in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in fs.load_qkv("sample"))
    S = q[ROW] @ k.T / np.sqrt(q.shape[1])
    return S, v, np.exp(S) @ v / np.exp(S).sum()


def part(exact, keys: slice) -> tuple[float, np.ndarray]:
    """Attention over some keys alone: its LSE, and its output."""
    S, v, _ = exact
    weights = np.exp(S[keys])
    return float(np.log(weights.sum())), weights @ v[keys] / weights.sum()


def test_one_query_has_a_score_for_each_key(exact):
    assert np.allclose(actor(SCRIPT, "One query", Row).values, exact[0], atol=1e-5)
    assert len(exact[0]) == 16


def test_what_comes_in_for_it_and_what_is_done():
    form = formulas.split_kv_decode(1, 65536, 128, 1, 64, 1)
    cache = 2 * 65536 * 128 * 2
    bars = {bar.name: bar.value for bar in actor(SCRIPT, "A long cache", Bars).bars}
    assert bars == {"K": cache / 2, "V": cache / 2, "q": 128 * 2}
    assert "33.6 MB" in said(SCRIPT)
    assert cache == 33_554_432
    done, ridge = (number.value for number in actors(SCRIPT, "A long cache", Number))
    assert float(done) == pytest.approx(formulas.forward_flops(1, 65536, 128) / form.nbytes(), abs=0.06)
    assert float(ridge) == round(312 / 2.039)


@pytest.mark.parametrize("device", DEVICES)
def test_sms_that_stand_idle(device):
    sms, script = DEVICES[device].multiprocessors, fs.film("decode", device=device).script()
    pieces = formulas.pieces(65536, 64, sms)
    one, many = actors(script, "Idle SMs", Crowd)
    assert (one.of, one.count, many.of, many.count) == (sms, 1, sms, pieces)
    assert f"{sms - 1} SMs are idle" in said(script)
    each = 64 * -(-1024 // sms)
    assert f"in {pieces} pieces all 65,536 are read in the time of {each}" in said(script)
    words = [text.words for text in actors(script, "Idle SMs", Text)]
    assert f"1,024 blocks of 64 / {sms} SMs = {1024 / sms:.1f}: {each // 64} each, {pieces} pieces" in words
    if sms == 108:
        assert pieces == 103
        assert -(-1024 // 103) == 10
        assert {"640 of 65,536 keys read", "65,536 of 65,536 keys read"} <= set(words)


def test_at_each_moment_every_sm_has_read_as_much():
    """How much of K is left is what is left of each piece after as many keys, where the last piece has fewer."""
    start, stop = next((c.start, c.stop) for c in SCRIPT.chapters if c.name == "Idle SMs")
    sizes, ends = [640] * 102 + [256], set()
    assert sum(sizes) == 65536
    for t in np.arange(start + 1, stop, 0.1):
        for chart in actors(SCRIPT, t, Areas):
            left = [area for area in chart.areas if area.hue == "K" and area.strength == 1]
            high = max(area.h for area in chart.areas)
            gone = [1 - area.h / high for area in left]
            if len(gone) == 103:
                keys = 640 * gone[0]
                assert np.allclose(gone, [min(1.0, keys / size) for size in sizes], atol=1e-6)
            ends.add((len(gone), round(gone[0], 6)))
    assert max(u for n, u in ends if n == 1) == pytest.approx(640 / 65536, abs=1e-4)
    assert max(u for n, u in ends if n == 103) == 1


def test_a_piece_gives_attention_over_its_own_keys(exact):
    LSE, O = part(exact, slice(0, 4))
    shown = {number.name: number.value for number in actors(SCRIPT, "One piece", Number)}
    assert shown["LSE"] == pytest.approx(LSE, abs=1e-5)
    assert shown["m"] + np.log(shown["ℓ"]) == pytest.approx(LSE, abs=1e-5)
    first = next(caption for caption in SCRIPT.captions if "LSE" in caption.name)  # it says there what that is
    assert "the log of the sum of its scores’ exponentials" in first.name
    scores = next(row for row in actors(SCRIPT, "One piece", Row) if "scores" in row.title)
    assert shown["LSE"] == pytest.approx(np.log(np.exp(scores.values).sum()), abs=1e-5)
    for chapter in ("One piece", "The merge"):
        assert any("LSE = m + ln ℓ = ln Σ e^{s}" in str(text.words) for text in actors(SCRIPT, chapter, Text))
    given = next(row for row in actors(SCRIPT, "One piece", Row) if "O of" in row.title)
    assert np.allclose(given.values, O, atol=1e-5)


def test_what_it_costs():
    whole, split = (formulas.split_kv_decode(1, 65536, 128, 1, 64, s) for s in (1, 108))
    cache, extra = (bar.value for bar in actor(SCRIPT, "What it costs", Bars).bars)
    assert extra == 103 * 129 * 4 * 2
    assert cache + extra + 103 * 256 + 256 + 4 == split.nbytes()  # and q for each piece, O and LSE, once
    assert split.nbytes() - whole.nbytes() == 102 * (129 * 4 * 2 + 256)
    assert f"add {extra / 1e3:.0f} KB: {extra / cache:.1%} of the cache" in said(SCRIPT)


def test_weights_merge_to_the_whole(exact):
    S, _, O = exact
    LSE = float(np.log(np.exp(S).sum()))
    words = [str(text.words) for text in actors(SCRIPT, "The merge", Text)]
    weights = []
    for n in range(4):
        one, _ = part(exact, slice(4 * n, 4 * n + 4))
        weights.append(np.exp(one - LSE))
        assert any(text.endswith(f"= {weights[-1]:.2f}") for text in words), n
    assert sum(weights) == pytest.approx(1)
    assert any(f"LSE of all: {LSE:.2f}" in text for text in words)
    (bar,) = actors(SCRIPT, "The merge", Areas)
    assert np.allclose([area.w / bar.w for area in bar.areas], weights, atol=0.003)
    assert np.allclose([area.x / bar.w for area in bar.areas], np.cumsum([0, *weights[:-1]]), atol=1e-4)
    merged = next(row for row in actors(SCRIPT, "The merge", Row) if "weighted" in row.title)
    assert np.allclose(merged.values, O, atol=1e-5)
    assert any("“animal” lies in piece 0" in text for text in words)


def test_pages_hold_what_the_sequence_does():
    pages, (_, k, v) = actor(SCRIPT, "Pages", Pages), fs.load_qkv("sample")
    for pool, rows in ((pages.K, k), (pages.V, v)):
        found = np.concatenate([np.array(pool)[p * 4 : p * 4 + 4] for p in pages.table])
        assert np.allclose(found, rows, atol=1e-6)
    assert len(set(pages.table)) == 4
    assert f"keys 12 to 15 come from page {pages.table[3]} of the pool" in said(SCRIPT)


def test_all_ways_give_the_same(exact):
    rows = actor(SCRIPT, "The same answer", Table).rows
    assert len(rows) == 3
    for _, *digits in rows:
        assert np.allclose([float(x.replace("−", "-")) for x in digits], exact[2][: len(digits)], atol=1e-4)


def test_keys_that_are_too_many_to_name_are_told_by_the_first_and_the_last():
    script = fs.film("decode", input="random:40,16").script()
    assert actor(script, "Pages", Pages).names == ("0 … 9", "10 … 19", "20 … 29", "30 … 39")
    assert actor(SCRIPT, "Pages", Pages).names[0] == "[CLS]  the_{1}  animal  didn"


def test_any_input_may_be_told():
    for of in ("random:12,8", "random:40,16", "random:5,4", "random:2,3"):
        assert fs.film("decode", input=of).frame(30, width=800, height=450).any()
    assert fs.film("decode", cut="short").duration <= 14
