"""Where things stand: all of it on the picture, each thing in its place, nothing on top of anything else."""

import re
from itertools import combinations, pairwise
from math import ceil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flashsteps import theme
from flashsteps.filmkit import coda, films, text
from flashsteps.filmkit.layout import CELL, Box, Grid, Lane, layout
from tests.filmkit.pictures import HD, README, SIZES, Shot, coda_of, inside, run_of, sample, shots

FILMS = pytest.mark.parametrize("name", films.names())
EVERY_SIZE = pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))

# Hypothesis is not likely to come to these by itself: one cell, as many as can be, and lines of them.
ONE = [Shot(name, 1, 1, 1) for name in films.names()]
MOST = [Shot(name, 64, 64, 64, 64, 64) for name in films.names()]
FLAT = [Shot(name, 3, 64, 64, 3, 64, words=True) for name in films.names()]
THIN = [Shot(name, 64, 3, 2, 64, 3, words=True) for name in films.names()]
CRAMPED = [Shot(name, 64, 64, 64, 16, 16, words=True, code=True, size=(900, 700)) for name in films.names()]
TWICE_LABELLED = [Shot(name, 6, 49, 10, 2, 9, words=True, code=True) for name in films.names()]


def many(test):
    """A property of all films, in all sizes."""
    for shot in (*ONE, *MOST, *FLAT, *THIN, *CRAMPED, *TWICE_LABELLED):
        test = example(shot)(test)
    return settings(max_examples=40)(given(shots())(test))


def grids(lane: Lane) -> dict[str, Grid]:
    return {**lane.slots, **lane.stats, **({"S": lane.scores} if lane.scores else {})}


# On the picture


@many
def test_everything_is_on_the_picture(shot):
    film = shot.film()
    place = film.layout
    assert (place.width, place.height) == shot.size
    picture = Box(0, 0, *shot.size)
    for part in (*run_of(film).parts, *coda_of(film).parts):
        assert part.box.w > 0
        assert part.box.h > 0
        assert inside(part.box, picture)
    panels = [place.hbm, *(lane.panel for lane in place.lanes), *([place.code] if place.code else [])]
    for box in (*panels, place.bus):
        assert inside(box, place.main.grown(1))


@many
def test_no_part_lies_on_another(shot):
    film = shot.film()
    for parts in (run_of(film).parts, coda_of(film).parts):
        for part, other in combinations(parts, 2):
            assert not part.box.overlaps(other.box), (
                part.draw.__qualname__,
                part.box,
                other.draw.__qualname__,
                other.box,
            )


@many
def test_no_panel_lies_on_another(shot):
    place = shot.film().layout
    panels = [place.hbm, place.bus, *(lane.panel for lane in place.lanes), *([place.code] if place.code else [])]
    strips = [place.title, place.rail, place.main, place.caption, place.meter, place.aside]
    for boxes in (panels, strips):
        for box, other in combinations(boxes, 2):
            assert not box.grown(-1).overlaps(other)  # edges may share a pixel: each is rounded by itself


@many
def test_tensors_and_their_labels_stand_in_hbm_in_the_order_of_all_films(shot):
    film = shot.film()
    place = film.layout
    assert set(place.columns) == set(film.trace.initial)
    columns = sorted(place.columns.values(), key=lambda grid: grid.box.x)
    order = ["Q", "K", "V", "S", "P", "O", "l", "m", "LSE"]
    assert [grid.name for grid in columns] == [name for name in order if name in place.columns]
    assert set(place.labels) == ({"queries"} if shot.n == shot.n_keys else {"queries", "keys"})
    row = sorted([*place.labels.values(), *columns], key=lambda grid: grid.box.x)
    assert row[0].name == "queries"
    assert all(grid.box.right <= following.box.x for grid, following in pairwise(row))
    for grid in row:
        assert inside(grid.box, place.hbm)


@many
def test_slots_stand_in_their_sram_and_not_on_each_other(shot):
    film = shot.film()
    for lane in film.layout.lanes:
        found = grids(lane)
        for grid in found.values():
            assert inside(grid.box, lane.panel)
            assert not (lane.gauge and grid.box.overlaps(lane.gauge))
        kernels = {name.split(".")[0] for name in found} if film.spec.kind == "kernels" else {""}
        for kernel in kernels:
            together = [grid for name, grid in found.items() if name.startswith(kernel)]
            for grid, other in combinations(together, 2):
                assert not grid.box.overlaps(other.box)


@many
def test_each_slot_has_a_place_that_fits_what_it_holds(shot):
    film = shot.film()
    columns = {"m_new": "m", "m_i": "m", "m_ij": "m", "alpha": "α", "beta": "α", "l_new": "ℓ", "l_i": "ℓ", "l_ij": "ℓ"}
    lane = film.layout.lanes[0]
    for event in film.trace:
        if event.op in ("load", "compute") and event.slot != "LSE":  # which goes out at once
            slot = {"P": "S", **columns}.get(event.slot, event.slot)
            grid = grids(lane)[f"{event.program}.{event.slot}" if film.spec.kind == "kernels" else slot]
            rows = event.row + event.shape[0]
            assert ceil(rows / grid.bins[0]) * grid.cell[1] <= grid.box.h
            assert inside(grid.rows(0, rows), grid.box)
            if len(event.shape) == 2:
                assert ceil(event.shape[1] / grid.bins[1]) * grid.cell[0] <= grid.box.w


@many
def test_a_row_label_stands_beside_its_row(shot):
    place = shot.film().layout
    for axis, tensor, rows in (("queries", "Q", shot.n), ("keys", "K", shot.n_keys)):
        if axis in place.labels:
            labels, column = place.labels[axis], place.columns[tensor]
            for row in {0, rows // 2, rows - 1}:
                label, cells = labels.rows(row, row + 1), column.rows(row, row + 1)
                assert abs(label.y + label.h / 2 - cells.y - cells.h / 2) <= column.cell[1]


# Cells


def shapes(shot: Shot) -> list[tuple[Grid, tuple[int, ...]]]:
    """Each grid of HBM with the shape of its tensor."""
    film = shot.film()
    return [(grid, film.trace.initial[name].shape) for name, grid in film.layout.columns.items()]


@many
def test_a_column_shows_all_of_its_tensor_in_cells_of_whole_pixels(shot):
    for grid, shape in shapes(shot):
        columns = shape[1] if len(shape) == 2 else 1
        assert grid.box.w == grid.cell[0] * ceil(columns / grid.bins[1])
        assert grid.box.h == grid.cell[1] * ceil(shape[0] / grid.bins[0])
    assert len({grid.cell[1] for grid, _ in shapes(shot)}) == 1  # one row height, across all of HBM


@many
def test_cells_are_large_enough_to_survive_a_video(shot):
    film = shot.film()
    for grid, shape in shapes(shot):
        assert grid.cell[1] >= 2
        assert grid.cell[0] >= CELL or len(shape) == 1
    for lane in film.layout.lanes:
        for name, grid in grids(lane).items():
            assert min(grid.cell) >= 2, name
            assert grid.cell[0] >= CELL, name


@many
def test_columns_are_binned_only_where_they_must_be_and_that_is_said(shot):
    film = shot.film()
    for grid, shape in shapes(shot):
        rows, columns = grid.bins
        if rows > 1:
            assert max(shot.n, shot.n_keys) // (rows // 2) * 2 > film.layout.hbm.h - film.layout.px(80)
        if columns > 1:
            assert ceil(shape[1] / (columns // 2)) * CELL > grid.box.w
    shown = {name: grid.bins[1] for name, grid in film.layout.columns.items() if grid.bins[1] > 1}
    notes = [f"{axis}{shown[name]} to a cell" for name, axis in (("Q", f"d {shot.d}, "), ("S", "S ")) if name in shown]
    rows = film.layout.columns["Q"].bins[0]
    if rows > 1:
        notes.insert("Q" in shown, f"{rows} rows to a cell")
    assert film.layout.binned == ", ".join(notes)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_rows_of_a_grid(count, rows, bins, cell, top):
    grid = Grid("K", Box(3, top, 8, ceil(count / bins) * cell), (8, cell), (bins, 1))
    assert grid.rows(0, count) == grid.box
    for start in range(0, count, rows * bins):  # blocks that are whole cells lie edge to edge
        stop = min(start + rows * bins, count)
        box = grid.rows(start, stop)
        assert inside(box, grid.box)
        assert box.h == ceil((stop - start) / bins) * cell
        if stop < count:
            assert grid.rows(stop, count).y == box.bottom


@given(*(st.integers(-9, 9) for _ in range(4)), *(st.integers(1, 9) for _ in range(4)))
def test_boxes_overlap_where_they_share_a_pixel(x, y, u, v, w, h, a, b):
    box, other = Box(x, y, w, h), Box(u, v, a, b)
    shared = {(c, r) for c in range(x, x + w) for r in range(y, y + h)} & {
        (c, r) for c in range(u, u + a) for r in range(v, v + b)
    }
    assert box.overlaps(other) == other.overlaps(box) == bool(shared)
    assert inside(box, box.grown(2))
    assert not inside(box.grown(1), box)


# Sizes


REFUSED = [(787, 443), (799, 300), (100, 100), (440, 440), (7800, 4400), (4400, 4400), (1, 1)]


@pytest.mark.parametrize("size", REFUSED, ids=lambda size: "{}x{}".format(*size))
def test_a_size_that_nothing_can_be_read_at_is_refused_and_the_range_is_one_that_can(size):
    trace = sample("standard").trace
    width, height = size
    with pytest.raises(
        ValueError, match=rf"^size {width}x{height} can't be drawn: .*choose one from \S+ to \S+$"
    ) as refused:
        layout(trace, width=width, height=height)
    for named in re.findall(r"(\d+)x(\d+)", str(refused.value))[1:]:
        place = layout(trace, width=int(named[0]), height=int(named[1]))
        assert (place.width, place.height) == (int(named[0]), int(named[1]))


@EVERY_SIZE
def test_a_size_gets_the_canvas_of_its_shape(size):
    place = sample("flash-forward", size).layout
    share = size[0] / size[1]
    assert place.canvas == ("wide" if share > 1.4 else "tall" if share < 0.7 else "square")
    assert place.sideways == (place.canvas == "wide")
    if place.sideways:
        assert place.hbm.right <= place.lanes[0].panel.x
    else:
        assert place.hbm.bottom <= place.lanes[0].panel.y


# Text


def style(film, size: float, weight: int = 400, mono: bool = False) -> text.Style:
    return text.Style("mono" if mono else "sans", weight, size * film.layout.unit)


@FILMS
@EVERY_SIZE
@pytest.mark.parametrize("mask", [None, "causal"])
def test_every_caption_has_the_lines_it_needs(name, size, mask):
    film = sample(name, size, mask=mask)
    place = film.layout
    closing = [coda.caption(film.trace, film.coda, n) for n in range(len(film.coda))]
    for words in {
        *(beat.caption for beat in film.timeline.beats),
        *film.spec.repeats.values(),
        *film.spec.alone.values(),
        *closing,
    }:
        lines = text.wrap(text.literal(words), style(film, theme.BODY, 500), place.caption.w)
        assert len(lines) <= place.caption_lines, (words, lines)
        assert " ".join(lines) == text.literal(words)


@EVERY_SIZE
def test_ninety_characters_have_room(size):
    film = sample("flash-forward", size)
    words = "These sentences are as long as a caption may be: up to ninety letters, signs and spaces."
    assert 85 <= len(words) <= 90
    assert len(text.wrap(words, style(film, theme.BODY, 500), film.layout.caption.w)) <= film.layout.caption_lines


@FILMS
@pytest.mark.parametrize("size", [README, HD, (800, 800), (540, 960)], ids=lambda size: "{}x{}".format(*size))
def test_the_title_fits(name, size):
    film = sample(name, size)
    place = film.layout
    width = text.width(film.spec.title, style(film, theme.TITLE, 600))
    if place.canvas == "wide":
        width += 32 * place.unit + text.width(film.spec.loops, style(film, theme.LABEL, mono=True))
    assert width < place.title.w
