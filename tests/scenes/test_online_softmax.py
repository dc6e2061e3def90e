"""Online softmax: what is shown at each moment is what a second reckoning gives."""

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.number import Number
from flashsteps.filmkit.actors.row import Row
from flashsteps.filmkit.actors.table import Table
from tests.scenes.seen import actor, actors, said


@pytest.fixture(scope="module")
def script():
    return fs.film("online-softmax").script()


@pytest.fixture(scope="module")
def row():
    """The row of "cross", in float64: scores and V as they are stored."""
    q, k, v = (x.astype(np.float16).astype(np.float64) for x in fs.load_qkv("sample"))
    return q[6] @ k.T / np.sqrt(32), v


def softmax(S, V):
    P = np.exp(S - S.max())
    return S.max(), P.sum(), P @ V


def test_the_whole_row_first(script, row):
    scores, exps = actors(script, "All at once", Row)
    m, total, _ = softmax(*row)
    assert scores.values == pytest.approx(row[0], abs=1e-3)
    assert exps.values == pytest.approx(np.exp(row[0] - m), abs=1e-3)
    assert actor(script, "All at once", Bars).bars[0].value == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize(("when", "keys"), [("Tile by tile", 8), ("Then the tile is added", 12)])
def test_sums_are_those_of_what_was_seen(script, row, when, keys):
    m, total, acc = softmax(row[0][:keys], row[1][:keys])
    largest = {number.name: number.value for number in actors(script, when, Number)}["m"]
    _, O = actors(script, when, Row)
    assert largest == pytest.approx(m, abs=1e-3)
    assert actor(script, when, Bars).bars[0].value == pytest.approx(total, abs=1e-3)
    assert O.values == pytest.approx(acc, abs=2e-3)


def test_the_old_sums_shrink_by_alpha_and_nothing_else_does(script, row):
    t = script.steps["shrunk"]
    before, (m, _, _) = softmax(row[0][:8], row[1][:8]), softmax(row[0][:12], row[1][:12])
    alpha = np.exp(before[0] - m)
    numbers = {number.name: number for number in actors(script, t, Number)}
    assert numbers["α"].value == pytest.approx(alpha, abs=1e-3)
    assert numbers["α"].how == "exp(3.459 − 4.468)"
    (bar,) = actor(script, t, Bars).bars
    scores, O = actors(script, t, Row)
    assert bar.value == pytest.approx(alpha * before[1], abs=1e-3)
    assert bar.whole == pytest.approx(before[1], abs=1e-3)  # the outline of what it was
    assert O.values == pytest.approx(alpha * before[2], abs=1e-3)
    assert O.was == pytest.approx(before[2], abs=1e-3)
    assert scores.levels[1].value == pytest.approx(m, abs=1e-3)


def test_numbers_agree_with_bars_at_every_frame(script):
    """The length is the number; what was summed is never longer than the bar."""
    for t in np.arange(8.5, script.time("Divide once"), 0.25):
        for bars in actors(script, t, Bars):
            for bar in bars.bars:
                assert sum(piece.amount for piece in bar.pieces) >= bar.value - 1e-6
                assert bar.pieces[0].amount <= bar.value + 1e-6 or bar.value == 0


def test_in_the_end_it_is_the_output(script, row):
    _, total, acc = softmax(*row)
    _, O = actors(script, "Divide once", Row)
    assert O.values == pytest.approx(acc / total, abs=2e-3)
    digits = actor(script, "In any order", Table)
    assert len({row[1:] for row in digits.rows}) == 1


def test_words_are_the_run_s():
    words = said(fs.film("online-softmax").script())
    for part in ("“street” beats the old max", "0.365 of themselves", "0.62 + 1.04 = 1.66", "divide by ℓ = 1.68"):
        assert part in words
    rng = np.random.default_rng(0)
    other = tuple(rng.normal(size=(n, 8)).astype(np.float32) for n in (3, 9, 9))
    assert "street" not in said(fs.film("online-softmax", input=other).script())


def test_words_come_with_what_they_tell_and_not_before(script):
    """In the first frame of a caption what it says is there, or moves already."""
    frame, start = 1 / 25, {caption.name: caption.start for caption in script.captions}

    def begins(words):
        (found,) = (t for name, t in start.items() if words in name)
        return found

    def row(t):
        return actors(script, t, Row)[0]

    def length(t):
        return actor(script, t, Bars).bars[0].value

    beaten = begins("beats the old max")
    assert row(beaten + frame).seen == 12  # the key that beats it, and the line on its way up
    assert row(beaten + frame).levels[1].value > row(beaten - frame).levels[1].value
    for words in ("both shrink", "the tile is added"):
        t = begins(words)
        assert length(t - frame) == length(t) != length(t + 2 * frame), words
    alpha = begins("α = 1")
    assert row(alpha + frame).seen == 16
    assert {number.name: number.value for number in actors(script, alpha, Number)}["α"] == 1
    divided = begins("divide by ℓ")
    assert actors(script, divided, Row)[1].values != actors(script, divided + 2 * frame, Row)[1].values
    assert f"{length(divided):.2f}" == "1.68"
    assert actor(script, begins("either order"), Table).seen >= 2


def test_a_row_whose_max_never_moves_is_told_otherwise():
    flat = tuple(np.zeros((8, 4), np.float32) for _ in range(3))
    film = fs.film("online-softmax", input=flat)
    assert "The max moves" not in [chapter.name for chapter in film.chapters]
    assert "α = 1" in said(film.script())
    assert fs.film("online-softmax", input=flat, cut="short").duration <= 14


@pytest.mark.parametrize("options", [{"block_k": 16}, {"mask": "causal"}, {"block_q": 2}])
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match="two: choose a smaller block_k|doesn't take"):
        fs.film("online-softmax", **options)
