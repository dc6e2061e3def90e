"""The film "io-complexity" says what arithmetic says, written out here once more."""

from __future__ import annotations

import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.areas import Areas
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.curve import Curve
from flashsteps.filmkit.actors.formula import Formula, Term
from flashsteps.filmkit.actors.table import Table
from flashsteps.machine.devices import DEVICES
from tests.scenes.seen import actor, said

D = 64


@pytest.fixture(scope="module")
def script():
    return fs.film("io-complexity").script()


def standard(n: int) -> int:
    return 2 * (4 * n * D + 4 * n * n)


def fa1(n: int, keys: int) -> int:
    rounds = -(-n // keys)
    return 2 * (2 * n * D + rounds * 3 * n * D + n * D) + 4 * (rounds * 4 * n + 2 * n)


def fa2(n: int, queries: int) -> int:
    return 2 * (2 * n * D + 2 * -(-n // queries) * n * D) + 4 * n


def test_the_formula_counts_what_is_drawn(script):
    areas = actor(script, "Count what moves", Areas).areas
    strips, squares = (sum(a.w == side for a in areas) for side in (D, 4 * D))
    parts = actor(script, "Count what moves", Formula).node
    formula = "".join(part.words if isinstance(part, Term) else part for part in parts)
    assert formula == f"{strips}Nd + {squares}N²" == "4Nd + 4N²"
    assert [area.name for area in areas if area.hatched] == ["S", "P", "O"]  # what is written
    assert formula in said(script)


def test_curves_by_tokens(script):
    curve = actor(script, "By tokens", Curve)
    for line, form in zip(curve.lines, (standard, lambda n: fa1(n, 128), lambda n: fa2(n, 128)), strict=True):
        assert [y for _, y in line.points] == [form(n) for n, _ in line.points]
    for n, first, second in actor(script, "By tokens", Table).rows:
        n = {"1K": 1 << 10, "8K": 1 << 13, "64K": 1 << 16}[n]
        assert (first, second) == (f"{fa1(n, 128) / standard(n):.2f}×", f"{fa2(n, 128) / standard(n):.2f}×")


def test_rings_are_runs_and_lie_on_the_curves(script):
    """The heights are of runs, and those of the forms above: to the byte."""
    dots = actor(script, "Recorded runs", Curve).dots
    assert all(dot.ring for dot in dots)
    assert {(dot.x, dot.y) for dot in dots} == {
        (n, form) for n in (128, 512) for form in (standard(n), fa1(n, 128), fa2(n, 128))
    }


def test_curves_by_tile_and_their_levels(script):
    n = 8192
    before, after = actor(script, "By tile", Curve), actor(script, "Level with standard", Curve)
    for line, form in zip(before.lines, (lambda _: standard(n), lambda t: fa1(n, t), lambda t: fa2(n, t)), strict=True):
        assert [y for _, y in line.points] == [form(int(tile)) for tile, _ in line.points]
    assert [dot.y for dot in before.dots] == [fa2(n, 64), fa2(n, 128)]
    assert [rule.at for rule in after.rules] == [D / 2, 0.75 * D + 2]
    assert fa2(n, 32) == pytest.approx(standard(n), rel=0.01)
    assert fa1(n, 50) == pytest.approx(standard(n), rel=0.01)
    assert before.lines == after.lines
    assert before.y == after.y


@pytest.mark.parametrize("device", DEVICES)
def test_twice_the_sram_is_half_the_bytes(device):
    script = fs.film("io-complexity", device=device).script()
    bars = actor(script, "By SRAM", Bars).bars
    for bar, M in zip(bars, (1 << 13, 1 << 14, 1 << 15, 1 << 16), strict=True):
        assert bar.value == fa1(8192, M // (4 * D))
    for one, other in zip(bars, bars[1:], strict=False):
        assert other.value / one.value == pytest.approx(1 / 2, abs=0.02)
    (chip,) = (a for a in actor(script, "By SRAM", Areas).areas if a.edge)
    assert (chip.w - 12) * (chip.h - 12) == 1 << 16  # as large as M, inside its frame
    note = actor(script, "By SRAM", Text).words
    assert f"{DEVICES[device].shared_per_sm} KiB of shared memory" in note
