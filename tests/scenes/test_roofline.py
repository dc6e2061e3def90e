"""The film "roofline" says what closed forms and the presets say."""

from __future__ import annotations

import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.columns import Stack
from flashsteps.filmkit.actors.curve import Curve
from flashsteps.machine.devices import DEVICES
from flashsteps.traffic import intensity, report
from tests.scenes.seen import actor, actors, said

N, D = 8192, 64


@pytest.fixture(scope="module")
def script():
    return fs.film("roofline").script()


def test_intensities_of_the_three_steps_are_those_of_closed_forms(script):
    """Products are 2N²d; softmax has none, and takes five FLOPs a score: max, subtract, exp, sum, divide."""
    product = 2 * N * N * D / (2 * (2 * N * D + N * N))
    curve, softmax = actor(script, "Standard attention", Curve), 5 * N * N / (2 * 2 * N * N)
    dots = {dot.name: dot.x for dot in curve.dots}
    assert dots[f"P = softmax(S): {softmax:.2f}"] == pytest.approx(softmax, rel=1e-3)
    assert dots[f"QK^{{T}} and PV: {product:.0f} each"] == pytest.approx(product)
    assert intensity.programs("standard-forward", n=N, d=D, block_q=128, block_k=128)[1].intensity == 0


def test_intensities_are_those_that_io_tells_and_that_follow_from_count(script):
    """One definition: FLOPs of matrix products a byte, said below the chart."""
    dots = {dot.name: dot.x for dot in actor(script, "Fused", Curve).dots}
    for name, (q, k) in (("flash-forward", (128, 128)), ("flash2-forward", (128, 64)), ("flash2-forward", (256, 64))):
        (row,) = report.rows([name], [N], d=D, block_q=q, block_k=k)
        io = fs.count(name, n=N, d=D, block_q=q, block_k=k)
        assert dots[f"{row.intensity:.0f}"] == pytest.approx(row.intensity) == pytest.approx(io.work.matmul / io.total)
        assert io.work.matmul == 4 * N * N * D
    assert any("FLOPs of products" in str(text.words) for text in actors(script, "Fused", Text))


@pytest.mark.parametrize("device", DEVICES)
def test_dots_lie_on_the_roof(device):
    gpu, script = DEVICES[device], fs.film("roofline", device=device).script()
    for name in ("Standard attention", "Fused"):
        curve = actor(script, name, Curve)
        assert curve.title == gpu.model
        assert [rule.at for rule in curve.rules] == pytest.approx([gpu.tflops / gpu.bandwidth])
        for dot in curve.dots:
            if not dot.bare:
                assert dot.y == pytest.approx(min(gpu.tflops, gpu.bandwidth * dot.x)), dot
    assert f"ridge is at {gpu.tflops / gpu.bandwidth:.0f} FLOPs a byte" in said(script)


@pytest.mark.parametrize("device", DEVICES)
def test_a_tile_is_said_to_be_past_the_ridge_where_one_is(device):
    gpu, script = DEVICES[device], fs.film("roofline", device=device).script()
    furthest = max(dot.x for dot in actor(script, "Fused", Curve).dots if dot.hue == "accent")
    assert ("tall tiles past the ridge" in said(script)) == (furthest > gpu.tflops / gpu.bandwidth)


def test_fused_moves_what_the_closed_forms_say(script):
    """FA1 2Nd + Tc(3Nd + 4N) + Nd + 2N, FA2 2Nd + 2·Tr·Nd + N, in fp16 and fp32."""
    standard = 2 * (4 * N * D + 4 * N * N)
    fa1 = 2 * (3 * N * D + N // 128 * 3 * N * D) + 4 * (N // 128 * 4 * N + 2 * N)
    fa2 = [2 * (2 * N * D + 2 * (N // tile) * N * D) + 4 * N for tile in (128, 256)]
    bars = actor(script, "Fused", Bars).bars
    assert [bar.value for bar in bars] == [standard, fa1, *fa2]
    for bar in bars:
        assert sum(piece.amount for piece in bar.pieces) == bar.value
    dots = {dot.name: dot.x for dot in actor(script, "Fused", Curve).dots if dot.hue == "accent"}
    assert len(dots) == 3
    for x, moved in zip(dots.values(), [fa1, *fa2], strict=True):
        assert x == pytest.approx(4 * N * N * D / moved)


def test_softmax_does_little_and_moves_much(script):
    arithmetic, moved = actors(script, "Standard attention", Stack)
    for stack in (arithmetic, moved):
        assert sum(piece.amount for piece in stack.pieces) == stack.most
    share = arithmetic.pieces[1].amount / arithmetic.most, moved.pieces[1].amount / moved.most
    assert share[1] == pytest.approx(2 * N * N / (4 * N * N + 4 * N * D))
    assert f"Softmax does {share[0]:.0%} of the arithmetic and moves {share[1]:.0%}" in said(script)


def test_the_other_chip(script):
    h100 = DEVICES["h100"]
    curve = actor(script, "Another chip", Curve)
    assert curve.title == h100.model
    assert [rule.words for rule in curve.rules] == [f"{h100.tflops / h100.bandwidth:.0f}"]
    assert "more FLOP/s a TB/s want taller tiles" in said(script)
    assert "more FLOP/s a TB/s want taller tiles" in said(fs.film("roofline", device="h100").script())
