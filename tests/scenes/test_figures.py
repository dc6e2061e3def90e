"""Figures on screen: each equation holds for who recomputes it from what is written, at any size of score."""

import re
from math import exp, log

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Panel, Text
from flashsteps.filmkit.actors.equation import Equation
from flashsteps.filmkit.actors.number import Number
from flashsteps.filmkit.actors.rescale import Rescale
from flashsteps.filmkit.actors.row import Row
from flashsteps.filmkit.actors.wires import Arrow
from flashsteps.filmkit.boxes import Box
from flashsteps.units import fixed, places
from tests.filmkit.test_run_actors import Listening, painted
from tests.scenes.seen import actors

FIGURE = r"−?\d+(?:\.\d+)?"


def read(words):
    """The figures in words, and half a unit of the last one's last digit."""
    found = re.findall(FIGURE, words)
    last = found[-1].partition(".")[2]
    return [float(one.replace("−", "-")) for one in found], 0.5 * 10 ** -len(last) + 1e-9


def holds(again, told):
    (value,), half = read(told)
    assert abs(again - value) <= half, (again, told)


def said(actor, box):
    painted(actor, box, 1.0, pen_type=Listening, field=1300)
    return Listening.last.said


def head(seed, scale, n=12, d=4):
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((n, d)).astype(np.float32) for _ in range(3))
    return q * np.float32(scale), k, v


HEADS = st.builds(head, st.integers(0, 10**6), st.floats(-3, 2).map(lambda power: 10.0**power))


def film(name, data):
    return fs.film(name, input=data, dtype="float32").script()


def at_all_times(script, kind):
    times = np.arange(0.05, script.duration, 0.2)
    return [one.actor for t in times for one in script.at(t) if isinstance(one.actor, kind) and one.opacity == 1]


@settings(max_examples=10, deadline=None)
@given(HEADS)
def test_online_softmax(data):
    script = film("online-softmax", data)
    for number in at_all_times(script, Number):
        if number.name == "α" and number.how:
            (was, now), _ = read(number.how)
            holds(exp(was - now), fixed(number.value, number.places, 2))
    for caption in script.captions:
        if "Now ℓ" in caption.name:
            (old, tile, _), _ = read(caption.name)
            holds(old + tile, caption.name.split("=")[-1])
            (bars,) = actors(script, "Tile by tile", Bars)
            (before,), _ = read(bars.says.format(bars.bars[0].value))
            (alpha,) = (read(one.name)[0][0] for one in script.captions if "of themselves" in one.name)
            assert alpha < 1  # it does shrink, as it is written
            holds(before * alpha, caption.name.split("=")[1].split("+")[0])
    (one, two, both), arrows = actors(script, "In any order", Panel), actors(script, "In any order", Arrow)
    ls = [bars.says.format(bars.bars[0].value) for bars in actors(script, "In any order", Bars)]
    m = read(both.note)[0][0]
    factors = [read(arrow.words)[0][0] for arrow in arrows]
    for panel, arrow in zip((one, two), arrows, strict=True):
        holds(exp(read(panel.note)[0][0] - m), arrow.words)
    holds(sum(f * float(l) for f, l in zip(factors, ls, strict=False)), ls[2])


@settings(max_examples=10, deadline=None)
@given(HEADS)
def test_factors_of_flash_forward(data):
    script = film("flash-forward", data)
    for card in {one for one in at_all_times(script, Rescale) if one.step == 2}:
        for shape in (Box(10, 10, 1200, 150), Box(10, 10, 900, 150)):
            words = said(card, shape)
            ends = words[words.index("+") - 1 :]
            m = [read(one)[0][0] for one in words if re.fullmatch(FIGURE, one)][:3]
            equals = [one for one in words if re.fullmatch(rf"([αβ] )?= {FIGURE}", one)]
            assert m[2] == max(m)
            for of, factor in zip(m, equals, strict=False):
                holds(exp(of - m[2]), factor)
            (alpha, old), (beta, tile) = (read(one)[0] for one in ends[:3:2])
            assert [alpha, beta] == [read(one)[0][0] for one in equals]
            holds(alpha * old + beta * tile, ends[-1])


@settings(max_examples=10, deadline=None)
@given(HEADS)
def test_decode(data):
    script = fs.film("decode", input=data).script()
    numbers = {one.name: fixed(one.value, one.places, 2) for one in actors(script, "One piece", Number)}
    m, l = (read(numbers[name])[0][0] for name in ("m", "ℓ"))
    holds(m + log(l), numbers["LSE"])
    _, acc, O = actors(script, "One piece", Row)
    for summed, divided in zip(acc.values, O.values, strict=True):
        holds(read(fixed(summed, acc.digits))[0][0] / l, fixed(divided, O.digits))
    texts = [str(text.words) for text in actors(script, "The merge", Text)]
    weights = [words for words in texts if re.search(r"e\^{\S+ − \S+} = ", words)]
    assert len(weights) > 1
    for words in weights:
        (LSE, whole, _), _ = read(words)
        holds(exp(LSE - whole), words.split("=")[-1])


@settings(max_examples=10, deadline=None)
@given(HEADS)
def test_backward(data):
    script = film("backward", data)
    (one,), (two,) = (actors(script, chapter, Equation) for chapter in ("P, made again", "From P to dS"))
    S, LSE, P = ([[fixed(x, tile.places) for x in row] for row in tile.values] for tile in one.tiles)
    for row, (lse,), made in zip(S, LSE, P, strict=True):
        for s, p in zip(row, made, strict=True):
            holds(exp(read(s)[0][0] - read(lse)[0][0]), p)
    P, dP, D, dS = ([[fixed(x, tile.places) for x in row] for row in tile.values] for tile in two.tiles)
    for ps, dps, (d,), made in zip(P, dP, D, dS, strict=True):
        for p, dp, ds in zip(ps, dps, made, strict=True):
            holds(read(p)[0][0] * (read(dp)[0][0] - read(d)[0][0]), ds)
    (words,) = (text.words for text in actors(script, "P, made again", Text) if "e^{" in str(text.words))
    (s, lse, _), _ = read(words)
    holds(exp(s - lse), words.split("=")[-1])


@settings(max_examples=10, deadline=None)
@given(HEADS)
def test_weights_of_the_problem(data):
    script = fs.film("problem", input=data).script()
    (bars,) = actors(script, "Scores become weights", Bars)
    scores = [read(bar.note)[0][0] for bar in bars.bars]
    for bar, score in zip(bars.bars, scores, strict=True):
        holds(1 / sum(exp(x - score) for x in scores), bars.says.format(bar.value))


@given(st.floats(1e-5, 1e4))
@example(0.0312)
def test_the_largest_of_a_row_is_never_written_as_nothing(most):
    assert float(fixed(most, places(most))) >= most * 0.89
    assert places(most) == 1 or most < 0.5


def test_a_head_with_small_scores_has_figures_that_tell_them_apart():
    """Its scores are 0.03 at most: not a row of 0.0."""
    q, k, v = fs.load_qkv("random:16,8")
    script = fs.film("online-softmax", input=(q * np.float32(0.01), k, v)).script()
    scores = actors(script, "All at once", Row)[0]
    assert len({fixed(x, scores.digits) for x in scores.values}) > 8
    assert scores.high < 2 * max(scores.values)


@pytest.mark.parametrize("x", [0.0, -0.0, 0.004, -12.345, 1.0, float("inf")])
def test_a_figure_has_no_digits_that_say_nothing(x):
    assert fixed(x, 4, 2) in ("0.00", "0.0040", "−12.3450", "1.00", "∞")
