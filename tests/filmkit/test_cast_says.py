"""What an actor says is what its fields are: lengths, heights and places in px, numbers and names in words."""

import cairo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashsteps.filmkit.actors import timeline as work
from flashsteps.filmkit.actors.areas import Area, Areas, Crowd
from flashsteps.filmkit.actors.bars import Bar, Bars, Mark, Piece
from flashsteps.filmkit.actors.cards import Card, Text
from flashsteps.filmkit.actors.columns import Columns, Group, Stack
from flashsteps.filmkit.actors.curve import Axis, Curve, Dot, Line
from flashsteps.filmkit.actors.formula import Formula, Fraction, Term
from flashsteps.filmkit.actors.matrix import Matrix, Region, grid
from flashsteps.filmkit.actors.number import Number
from flashsteps.filmkit.actors.row import Level, Row
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.tape import Lane, Lanes, averaged, transfers
from flashsteps.filmkit.actors.writing import spread
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.pen import Pen
from flashsteps.filmkit.values import Value
from flashsteps.theme import THEMES, ink_on, mix, rgb
from flashsteps.units import size_of

DARK = THEMES["dark"]
WIDE, HIGH = 720, 400
BOX = Box(20, 20, WIDE - 40, HIGH - 40)


class Noting(Pen):
    """A pen that keeps what it writes: words and colour, at which x."""

    def __init__(self, *args):
        super().__init__(*args)
        self.words = {}

    def text(self, x, y, words, size, color="ink", **options):
        wide = super().text(x, y, words, size, color, **options)
        if wide:
            self.words[words] = (x, color)
        return wide


def look(actor, box=BOX, unit=0.6):
    """The picture as RGB (rows, columns, 3), and what is written in it."""
    pixels = np.zeros((HIGH, WIDE, 4), np.uint8)
    surface = cairo.ImageSurface.create_for_data(memoryview(pixels), cairo.FORMAT_RGB24, WIDE, HIGH)  # type: ignore[arg-type]
    pen = Noting(cairo.Context(surface), DARK, unit)
    pen.fill(Box(0, 0, WIDE, HIGH), "bg")
    actor.draw(pen, box)
    surface.flush()
    return pixels[..., :3], pen.words


def of(picture, color):
    """Where it has just this colour: (rows, columns)."""
    wanted = np.array([round(255 * c) for c in rgb(getattr(DARK, color, color))])
    return (np.abs(picture.astype(int) - wanted) <= 1).all(axis=2)


def extent(mask):
    """Left, top, width and height of what is set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1


@settings(max_examples=8, deadline=None)
@given(st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_a_bar_is_as_long_as_its_number_says_and_standard_s_does_not_move(one, other):
    def bars(value):
        return Bars((Bar("own", value), Bar("standard", 0.3, "Q")), 1.0, "{:.3f}")

    for value in (one, other):
        picture, words = look(bars(value))
        assert f"{value:.3f}" in words
        (_, _, own, _), (left, _, standard, _) = extent(of(picture, "accent")), extent(of(picture, "Q"))
        assert own == pytest.approx(value / 0.3 * standard, abs=0.02 * own + 2)
        assert (left, standard) == extent(of(look(bars(0.5))[0], "Q"))[0:3:2]


def test_pieces_show_as_far_as_the_value_goes():
    pieces = Piece(4, "Q"), Piece(4, "V")
    for value, shown in ((2, {"Q"}), (6, {"Q", "V"})):
        picture, _ = look(Bars((Bar("", value, pieces=pieces),), 10, "{:.0f}"))
        assert {hue for hue in ("Q", "V") if of(picture, hue).any()} == shown
    picture, _ = look(Bars((Bar("", 8, pieces=pieces),), 10, "{:.0f}"))
    assert extent(of(picture, "Q"))[2] == pytest.approx(extent(of(picture, "V"))[2], abs=2)


@pytest.mark.parametrize("hue", ["ink", "dim", "Q"])
def test_how_far_off_a_bar_may_be_is_seen_on_the_bar_and_beyond(hue):
    """As far to either side, and never in the colour of what it lies on."""
    own, off = (look(Bars((Bar("", 5.0, hue, error=error, figure=False),), 10.0))[0] for error in (0.0, 2.0))
    left, top, width, high = extent(of(own, hue))
    seen = np.argwhere(np.abs(own.astype(int) - off).max(axis=2) > 100)[:, 1]
    assert extent(of(own, hue)) == extent(of(off, hue))
    assert (left + width - seen.min(), seen.max() + 1 - left - width) == pytest.approx([0.4 * width] * 2, abs=3)


def test_room_for_numbers_does_not_depend_on_the_numbers_of_now():
    """Else the axis would move with them."""
    ends = [extent(of(look(Bars((Bar("x", v, whole=1e6),), 1e6))[0], "dim"))[2] for v in (0, 999, 12_345, 1e6)]
    assert max(ends) - min(ends) <= 1


def test_a_bar_has_its_number_only_while_it_stands():
    grows = Value(0.0)
    grows.move(6144.0, 1.0, 2.0)
    counts = Value(0)
    counts.move(2, 1.5, 1.5)
    bars = Bars((Bar("x", grows, note="in all"), Bar("y", counts, note="of 4")), 6144.0)
    there = [set(look(bars.at(t))[1]) for t in (0.5, 1.0, 1.4, 1.6, 2.0)]
    assert there == [{"x", "y"}] * 3 + [{"x", "y", "2 B", "of 4"}, {"x", "y", "2 B", "of 4", "6,144 B", "in all"}]


def test_columns_have_their_numbers_when_they_stand():
    columns = [Columns((Group("1K", (10.0,)),), (("a", "Q"),), 40, grown=part) for part in (0.5, 1.0)]
    (half, words), (whole, then) = map(look, columns)
    assert ("10" in words, "10" in then) == (False, True)
    assert extent(of(half, "Q"))[3] == pytest.approx(extent(of(whole, "Q"))[3] / 2, abs=2)


def test_a_mark_stands_at_its_value_and_gives_way_to_numbers():
    picture, words = look(Bars((Bar("own", 4.0), Bar("", 0.0, figure=False)), 8.0, "{:.0f}", (Mark(4.0, "half", "V"),)))
    left, _, wide, _ = extent(of(picture, "accent"))
    assert extent(of(picture, "V"))[0] == pytest.approx(left + wide, abs=60)  # its name is wider than it
    assert words["half"][1] == "V"


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 0.1), min_size=2, max_size=8))
def test_a_row_s_bars_are_as_high_as_its_numbers_up_or_down(values):
    picture, _ = look(Row(tuple(values), "Q", -1, 1, now=(0, len(values))))
    mask = of(picture, "Q")
    pitch = BOX.w / len(values)
    unit = [mask[:, round(BOX.x + (k + 0.5) * pitch)].sum() / abs(v) for k, v in enumerate(values)]
    assert max(unit) == pytest.approx(min(unit), rel=0.12)
    tops = [extent(mask[:, round(BOX.x + k * pitch) : round(BOX.x + (k + 1) * pitch)])[1] for k in range(len(values))]
    up = [top for top, v in zip(tops, values, strict=True) if v > 0]
    down = [top for top, v in zip(tops, values, strict=True) if v < 0]
    assert not up or not down or max(up) < min(down)


def test_a_row_tells_what_is_there_what_is_now_and_what_was():
    row = Row((2.0, 1.0, 3.0, 1.5), "S", 0, 4, ("a", "b", "c", "d"), seen=3.0, now=(2, 3), tile=1, was=(0, 0, 4.0))
    picture, words = look(row)
    assert {"2.0", "1.0", "3.0", "a", "b", "c", "d"} <= words.keys()
    assert "1.5" not in words  # it is to come
    assert words["c"][1] == words["3.0"][1] == "ink"
    assert words["a"][1] == "dim"
    assert of(picture, "S").any()
    assert of(picture, mix(DARK.bg, DARK.S, 0.5)).any()
    assert of(picture, "sram").any()


def test_a_level_stands_at_its_value_and_says_its_name_where_it_ends():
    row = Row((2.0, 1.0), "Q", 0, 4, levels=(Level(2.0, "m = 2.00"),), margin=300, now=(0, 2))
    picture, words = look(row)
    _, top, _, _ = extent(of(picture, "Q"))
    assert words["m = 2.00"][1] == "stat"
    line = of(picture, "stat")[:, : BOX.x + 100]
    assert extent(line)[1] == pytest.approx(top, abs=3)
    assert "m = 2.00" not in look(Row((2.0, 1.0), "Q", 0, 4, levels=(Level(None, "m = 2.00"),), margin=300))[1]


def test_labels_that_would_touch_stand_in_two_lines_then_turned():
    for count, turned in ((4, False), (20, True)):
        labels = tuple(f"because_{n}" for n in range(count))
        _, words = look(Row((1.0,) * count, "Q", 0, 1, labels=labels), Box(20, 20, 860, 180))
        assert len(words.keys() & set(labels)) >= (count - 3 if turned else count)


def test_a_number_says_what_it_is_and_keeps_its_place_whatever_stands_around_it():
    _, words = look(Number("α", 0.365, "exp(3.46 − 4.47)", "old sums are multiplied by"))
    assert {"α = ", "0.36", "exp(3.46 − 4.47)", "old sums are multiplied by"} <= words.keys()
    _, without = look(Number("α", 0.365, "", "old sums are multiplied by"))
    assert words["0.36"] == without["0.36"]
    assert "0.36" not in look(Number("α", None))[1]


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_a_matrix_shows_each_value_as_its_shade_and_its_number(rows, columns, seed):
    values = np.random.default_rng(seed).uniform(0, 1, (rows, columns)).round(2)
    picture, words = look(Matrix(grid(values), "Q", 0, 1, places=2))
    assert {f"{x:.2f}" for x in values.flat} <= words.keys()
    codes = np.unique(picture.astype(int) @ (65536, 256, 1))
    shown = [(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()]
    for x in values.flat:
        shade = [round(255 * c) for c in rgb(mix(DARK.panel, DARK.Q, 0.1 + 0.9 * float(x)))]
        assert any(max(abs(a - b) for a, b in zip(shade, color, strict=True)) <= 1 for color in shown)


def test_a_matrix_dims_crosses_out_and_labels_what_it_is_told_to():
    values = np.full((4, 4), 1.0)
    actor = Matrix(
        grid(values), "S", 0, 1, "S", rows=tuple("abcd"), columns=tuple("wxyz"), lit=(Region(1, 2, 0, 4),),
        skipped=(Region(3, 4, 3, 4),), frames=(Region(0, 1, 0, 1, "accent"),),
    )  # fmt: skip
    picture, words = look(actor)
    assert set("abcdwxyzS") <= words.keys()
    assert words["b"][1] == "ink"
    assert words["a"][1] == "dim"
    assert of(picture, "S").any()
    assert of(picture, mix(DARK.panel, DARK.S, 0.3)).any()
    assert of(picture, "accent").any()
    assert sum(word == "1.0" for word in words) == 1  # the same number in all cells but the one that is skipped


def test_cells_too_small_to_tell_apart_are_put_together_and_the_note_says_so():
    _, words = look(Matrix(grid(np.zeros((8, 512))), "Q", 0, 1, "Q"))
    assert "4 to a cell" in words


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.floats(0, 1))
def test_tapes_are_as_wide_as_their_bytes_and_full_as_far_as_has_moved(amounts, share):
    lane = Lane("x", transfers(Piece(a * 100, "Q") for a in amounts), status="so far")
    picture, words = look(Lanes((lane,), share * lane.total, lane.total))
    assert size_of(lane.total) in words
    assert "so far" in words
    full, pale = of(picture, "Q").any(axis=0).sum(), of(picture, mix(DARK.bg, DARK.Q, 0.22)).any(axis=0).sum()
    assert full / (full + pale) == pytest.approx(share, abs=0.05)


def test_rounds_are_averaged_without_losing_a_byte():
    rounds = [[Piece(3, "K"), Piece(1, "O", True)], [Piece(3, "K"), Piece(1, "O", True)], [Piece(2, "K")]]
    alike, last = averaged(rounds)
    assert (alike.amount, last.amount) == (8, 2)
    assert alike.pieces == (Piece(6, "K"), Piece(2, "O", True))


def test_a_curve_is_drawn_as_far_as_it_is_told_and_dots_lie_on_it():
    points = tuple((float(x), float(x)) for x in (1, 10, 100))
    x, y = Axis(1, 100, ((1, "1"), (100, "100")), "N", True), Axis(1, 100, ((10, "ten"),), "bytes", True)

    def curve(upto, name=""):
        return Curve(x, y, (Line("", points, "Q"),), (Dot(10, 10, name, "V"),), upto=upto)

    half, _ = look(curve(10.0))
    whole, _ = look(curve(100.0))
    (left, _, some, _), (_, top, all_, high) = extent(of(half, "Q")), extent(of(whole, "Q"))
    assert some == pytest.approx(all_ / 2, abs=8)
    dot = extent(of(whole, "V"))
    assert dot[0] + dot[2] / 2 == pytest.approx(left + all_ / 2, abs=6)
    assert dot[1] + dot[3] / 2 == pytest.approx(top + high / 2, abs=6)
    assert {"1", "100", "N", "ten", "bytes", "here"} <= look(curve(100.0, "here"))[1].keys()
    assert "here" not in look(curve(5.0, "here"))[1]


def test_areas_are_to_scale():
    picture, words = look(
        Areas((Area(0, 0, 40, 20, "Q", "Q"), Area(50, 0, 10, 20, "V"), Area(0, 0, 5, 5, "K")), 60, 20)
    )
    q, v = extent(of(picture, "Q")), extent(of(picture, "V"))
    assert q[2] / v[2] == pytest.approx(4, abs=0.1)
    assert q[2] / q[3] == pytest.approx(2, abs=0.05)
    assert words["Q"][1] == ink_on(DARK.Q)


@pytest.mark.parametrize(("count", "whole"), [(1, 108), (103, 108), (7, 7)])
def test_a_crowd_has_as_many_squares_as_it_says(count, whole):
    picture, _ = look(Crowd(count, whole, "Q", columns=12))
    pitch = min(int(BOX.w / 12), int(BOX.h / -(-whole // 12)), round(64 * 0.6))
    lit = of(picture, "Q")
    middles = [(BOX.y + n // 12 * pitch + pitch // 2, BOX.x + n % 12 * pitch + pitch // 2) for n in range(whole)]
    assert sum(lit[middle] for middle in middles) == count


def test_columns_and_stacks_are_as_high_as_their_values():
    picture, words = look(Columns((Group("1K", (10.0, 40.0)),), (("a", "Q"), ("b", "V")), 40))
    assert {"10", "40", "1K", "a", "b"} <= words.keys()
    assert of(picture, "V").sum(axis=0).max() / of(picture, "Q").sum(axis=0).max() == pytest.approx(4, rel=0.1)
    picture, words = look(Stack((Piece(1, "Q", name="one"), Piece(3, "V", name="two")), 4))
    assert {"25%", "75%", "one", "two"} <= words.keys()
    assert extent(of(picture, "V"))[3] / extent(of(picture, "Q"))[3] == pytest.approx(3, abs=0.15)


def test_a_table_shows_the_rows_that_are_there():
    rows = (("one", "1.67"), ("two", "1.68"))
    assert {"one", "1.67", "ℓ"} <= look(Table(rows, ("", "ℓ"), seen=1))[1].keys()
    assert "two" not in look(Table(rows, ("", "ℓ"), seen=1))[1]
    assert of(look(Table(rows, lit=1))[0], "accent").any()


def test_a_formula_dims_what_is_not_lit_and_drops_what_does_not_fit():
    node = (Term("α", "stat", "a"), Fraction(Term("S", "S"), Term("K", "K")))
    assert of(look(Formula(node))[0], "S").any()
    picture = look(Formula(node, lit=("a",)))[0]
    assert of(picture, "stat").any()
    assert not of(picture, "S").any()
    assert not of(look(Formula(node), Box(20, 20, 10, 10))[0], "S").any()


def test_no_word_is_left_out_where_lines_have_no_room():
    """The last line is too wide then, and a pen ends it in "…"."""
    words, lines = "one two three four five six seven eight nine ten eleven twelve", []
    for high in (300, 50):
        written = look(Text(words), Box(20, 20, 150, high))[1]
        assert " ".join(written) == words
        lines.append(len(written))
    assert lines[0] > lines[1]


def test_a_card_says_where_it_has_no_room_for_all():
    """Its sentence makes room for the figures, and the figures for a sign that some are left out."""
    words, figures = "one two three four five six seven eight nine ten", tuple((f"f{n}", f"{n}") for n in range(4))
    card = Card("title", words, figures)

    def says(high):
        return [*look(card, Box(20, 20, 260, high))[1]]

    told = [word for line in says(330)[1:] for word in line.split()]
    assert told == words.split() + [word for name, value in figures for word in (value, name)]
    short = says(186)
    assert [word for line in short[1:2] for word in line.split()] == words.split()  # on one line, where it is cut
    assert short[2:] == [word for name, value in figures for word in (value, name)]
    assert says(150)[-1] == "…"
    assert "f3" not in says(150)


def test_a_sharp_corner_of_a_line_stays_at_its_point():
    """A mitre would go on for some px: below an axis, where there is nothing."""

    def lowest(turn):
        x, y = Axis(0, 100), Axis(-10, 10)
        line = Line("", ((0, 8), (50, 8), (54, turn), (58, 8), (100, 8)), "Q")
        _, top, _, high = extent(of(look(Curve(x, y, (line,)))[0], "Q"))
        return top + high

    flat, sharp = lowest(8), lowest(0)
    plot = (lowest(-9.9) - flat) / 17.9
    assert sharp - flat == pytest.approx(8 * plot, abs=2)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_names_are_spread_until_they_keep_clear(wanted):
    placed = spread(wanted, 10, 0, 100)
    inner = sorted(placed)
    assert all(b - a >= 10 - 1e-9 for a, b in zip(inner, inner[1:], strict=False))
    assert inner[0] >= -1e-9
    assert inner[-1] <= 100 + 1e-9


@pytest.mark.parametrize(("now", "lit"), [(5, False), (25, True), (50, True), (70, True), (90, False)])
def test_a_worker_s_lane_is_as_long_as_it_has_worked_and_the_tile_at_work_is_lit(now, lit):
    one = work.Work(1, (10.0, 40.0, 60.0), 80.0)
    picture, words = look(work.Timeline(3, (one,), 100.0, now, ((0, "0 µs"),)))
    assert of(picture, "accent").any() == lit
    assert {"SM 0", "SM 2", "0 µs"} <= set(words)
    drawn = sum(of(picture, mix(DARK.panel, DARK.S, share)).any(axis=0).sum() for share in (1.0, 0.8))
    left, _, wide, _ = extent(of(picture, DARK.panel))
    before = [begun for begun in (10, 40, 60) if begun <= now]
    done = 0 if not before else before[-1] - 10 if lit else 70
    assert drawn == pytest.approx(done / 100 * wide, abs=5)


@pytest.mark.parametrize("value", [0.2, 0.45, 0.55, 0.6])
def test_a_number_does_not_stand_on_the_edge_of_what_is_the_whole(value):
    picture, words = look(Bars((Bar("own", value, whole=0.6),), 1.0, "{:.2f} MB"))
    x, _ = words[f"{value:.2f} MB"]
    edge = extent(of(picture, "dim"))
    wide = 7 * 0.6 * 32 * 0.6
    assert not x - 2 < edge[0] + edge[2] < x + wide


class Layering(Pen):
    """A pen that keeps in which order lines, grounds and words are drawn, and from where to where across."""

    def __init__(self, *args):
        super().__init__(*args)
        self.drawn = []

    def line(self, points, color, **options):
        self.drawn.append(("line", points[0][0], points[-1][0]))
        return super().line(points, color, **options)

    def fill(self, box, color, **options):
        self.drawn.append(("fill", box.x, box.right))
        return super().fill(box, color, **options)

    def text(self, x, y, words, size, color="ink", **options):
        wide = super().text(x, y, words, size, color, **options)
        left = x - wide * {"left": 0, "center": 0.5, "right": 1}[options.get("align", "left")]
        self.drawn.append(("text", left, left + wide))
        return wide


@settings(max_examples=60)
@given(st.floats(0, 10), st.lists(st.floats(0.5, 10), min_size=1, max_size=3), st.booleans(), st.booleans())
def test_no_line_runs_through_words_of_a_bar(value, marks, hatched, stacked):
    """Words move, or have a ground of their own: no line is drawn over them, and one that was there is covered."""
    pieces = (Piece(4, "S", hatched, "first"), Piece(6, "Q", False, "second")) if stacked else ()
    bar = Bar("", value, "S", pieces, inside="" if stacked else "what is inside")
    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, WIDE, HIGH)
    pen = Layering(cairo.Context(surface), DARK, 0.6)
    Bars((bar,), 10.0, "{:.2f} MB", tuple(Mark(at, "", "V") for at in marks)).draw(pen, BOX)
    drawn = [(kind, left, right, n) for n, (kind, left, right) in enumerate(pen.drawn)]
    lines, words = ([one for one in drawn if one[0] == kind] for kind in ("line", "text"))
    assert len(lines) == len(marks)
    for _, left, right, at in words:
        for _, x, _, since in lines:
            if left - 3 < x < right + 3 and left < right:
                assert any(a <= x <= b and since < n < at for kind, a, b, n in drawn if kind == "fill")
