"""What is drawn: a picture of its moment and of nothing else; every value is true, every word can be read."""

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from flashsteps import theme, units
from flashsteps.filmkit import films, render
from flashsteps.filmkit import pen as paint
from flashsteps.filmkit.layout import Box
from flashsteps.filmkit.pen import binned, contrast, ink_on, mix, number, rgb, shades
from flashsteps.filmkit.stage import coda as closing
from flashsteps.filmkit.stage.moment import LANDED, moment
from flashsteps.filmkit.stage.picture import Stage, camera
from flashsteps.filmkit.timeline import HOLD
from tests.filmkit.pictures import HD, README, SMALL, Shot, coda_of, inside, made, run_of, sample, shots, there

FILMS = pytest.mark.parametrize("name", films.names())
THEMES = pytest.mark.parametrize("colours", theme.THEMES)
RAGGED = [Shot(name, 14, 11, 6, 4, 3, "causal", words=True, code=True, theme="light") for name in films.names()]
LOUD = [Shot(name, 16, 16, 32, gain=50) for name in films.names()]
SMALLEST = [Shot(name, 1, 1, 1) for name in films.names()]

times = st.floats(0, 23.99)


def few(*extra):
    """A property of small films of all kinds."""

    def given_shots(test):
        for shot in (*RAGGED, *LOUD, *SMALLEST):
            test = example(shot, *extra)(test)
        return settings(max_examples=12)(given(shots(sizes=SMALL, largest=24, tiles=4), *(times for _ in extra))(test))

    return given_shots


def beat_of(film, slot: str, nth: int = 0):
    """The n-th beat in which a slot is made."""
    return [b for b in film.timeline.beats if any(e.op == "compute" and e.slot == slot for e in b.events)][nth]


# A function of time


@given(shots(sizes=SMALL, largest=24, tiles=4), st.lists(times, min_size=2, max_size=7), st.booleans())
@example(RAGGED[0], [12.0, 0.5, 3.0, 3.1, 23.9, 15.6, 15.7], False)
@example(RAGGED[1], [12.0, 0.5, 3.0, 3.1, 23.9, 15.6, 15.7], False)
@settings(max_examples=20)
def test_a_frame_depends_on_its_time_alone(shot, when, forward):
    """Whatever was drawn before: so frames can be stepped through, drawn alone, and in any order."""
    film = shot.film()
    stage, shown = Stage(film), camera(film)
    before: np.ndarray = np.empty(0)
    for t in sorted(when) if forward else when:
        shown.capture_mobjects([stage.seek(t)])
        assert np.array_equal(shown.pixel_array, render.picture(film, t))
        if not shown.changed:
            assert np.array_equal(shown.pixel_array, before)
        before = shown.pixel_array.copy()


@FILMS
def test_frame_by_frame_is_what_each_frame_is_alone(name):
    film = made(Shot(name, 6, 5, 4, 2, 2, "causal", duration=8))
    buffer = np.empty(0, np.uint8)
    for k, frame in enumerate(render.frames(film, 4)):
        buffer = buffer if frame is None else frame.copy()
        assert np.array_equal(buffer, render.picture(film, k / 4))


@FILMS
def test_the_same_input_gives_the_same_picture(name):
    shot = RAGGED[films.names().index(name)]
    assert np.array_equal(render.picture(shot.film(), 9.0), render.picture(made.__wrapped__(shot), 9.0))


@few()
def test_the_last_picture_holds(shot):
    film = shot.film()
    end = film.timeline.duration
    held = render.picture(film, end - HOLD + 0.001)
    stage, shown = Stage(film), camera(film)
    for t in (end - 3 * HOLD, end - HOLD / 2, end - 0.001):
        shown.capture_mobjects([stage.seek(t)])
    assert np.array_equal(shown.pixel_array, held)
    assert not np.array_equal(held, render.picture(film, 1.0))


@FILMS
def test_red_is_red(name):
    """Manim's camera and cairo name the bytes of a pixel in other orders."""
    pixels = render.picture(sample(name), 5.0)
    assert tuple(pixels[0, 0]) == (0x0D, 0x11, 0x17, 255)
    assert tuple(int(x) for x in pixels[..., :3].reshape(-1, 3)[0]) == tuple(round(255 * c) for c in rgb("#0d1117"))


# Nothing is cut off, nothing covers anything


@few(5.0)
@example(Shot("standard", 16, 16, 8, mask="causal", size=(800, 800)), 23.0)
@example(Shot("flash-forward", 9, 12, 8, size=(540, 960), code=True), 8.0)
@example(Shot("flash2-forward", 9, 12, 8, size=(540, 960)), 8.0)
def test_nothing_is_cut_off(shot, t):
    film = shot.film()
    scene = coda_of(film) if t >= film.timeline.coda else run_of(film)
    free, cut = scene.at(t).pixels, scene.at(t, cut=True).pixels
    if not np.array_equal(free, cut):
        rows, columns = np.nonzero((free != cut).any(axis=2))
        lost = Box(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
        raise AssertionError(
            f"{lost} is cut off, near {[p.draw.__qualname__ for p in scene.parts if p.box.overlaps(lost.grown(1))]}"
        )


@few(5.0)
@example(Shot("standard", 16, 16, 8, mask="causal", size=(800, 800)), 23.0)
@example(Shot("flash-forward", 16, 16, 8, words=True, size=(540, 960)), 20.0)
@example(Shot("flash2-forward", 64, 64, 8, 8, 8, words=True), 9.0)
def test_no_text_touches_another_and_none_is_too_small(shot, t):
    film = shot.film()
    scene = coda_of(film) if t >= film.timeline.coda else run_of(film)
    written = scene.at(t).pen.written
    assert len(written) > 5
    for text, other in combinations(written, 2):
        assert not text.touches(other), (text.words, other.words)
    width, height = shot.size
    for text in written:
        left, top, right, bottom = text.box
        assert text.size >= theme.SMALLEST
        assert min(left, top) >= 0, text.words
        assert right <= width, text.words
        assert bottom + 0.2 * text.size <= height, text.words


@few(5.0)
def test_no_text_crosses_the_edge_of_a_panel(shot, t):
    film = shot.film()
    place = film.layout
    panels = [place.hbm, *(lane.panel for lane in place.lanes), *([place.code] if place.code else [])]
    if t < film.timeline.coda:
        for text in run_of(film).at(t).pen.written:
            left, top, right, bottom = text.box
            box = Box(round(left), round(top), round(right - left), max(1, round(bottom - top)))
            for panel in panels:
                assert inside(box, panel) or not box.overlaps(panel), text.words


@FILMS
@THEMES
@pytest.mark.parametrize("size", [HD, (800, 800)], ids=["wide", "square"])
def test_text_stands_out_from_what_it_is_written_on(name, colours, size):
    film = sample(name, size, theme_name=colours, mask="causal")
    for t in (1.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.2, film.timeline.coda + 0.1, 23.0):
        scene = coda_of(film) if t >= film.timeline.coda else run_of(film)
        for text in scene.at(t).pen.written:
            for under in text.over if text.alpha == 1 else ():
                assert contrast(text.color, under) >= 4.5, (t, text)


@THEMES
def test_digits_stand_out_from_every_shade(colours):
    them = theme.theme(colours)
    for hue in (them.Q, them.K, them.V, them.O, them.S, them.stat):
        for base in (them.panel, them.sram):
            for share in np.linspace(0, 1, 33):
                shade = mix(base, hue, float(share))
                assert contrast(ink_on(shade), shade) >= 4.5


@THEMES
def test_hues_differ(colours):
    them = theme.theme(colours)
    hues = [them.Q, them.K, them.V, them.O, them.S, them.stat, them.accent]
    for one, other in combinations(hues, 2):
        assert np.abs(np.subtract(rgb(one), rgb(other))).max() > 0.1


# Every pixel is true


def cells(pixels: np.ndarray, grid, rows: int, columns: int) -> np.ndarray:
    """The colours in the middle of a grid's cells, (rows, columns, 3)."""
    w, h = grid.cell
    ys = grid.box.y + h * np.arange(rows) + h // 2
    xs = grid.box.x + w * np.arange(columns) + w // 2
    return pixels[np.ix_(ys, xs)][..., :3]


@THEMES
@pytest.mark.parametrize("d", [4, 33])
def test_a_tile_in_use_has_the_colours_of_its_values_in_hbm_and_on_chip(colours, d):
    film = made(Shot("flash-forward", 8, 8, d, 4, 4, theme=colours, size=HD))
    beat = beat_of(film, "P")  # K is not read any more, but V is
    pixels, data = render.picture(film, beat.stop - 1e-3), film.trace.initial["V"].astype(float)
    them, column, slot = film.theme, film.layout.columns["V"], film.layout.lanes[0].slots["v"]
    for grid, base in ((column, them.panel), (slot, them.sram)):
        expected = shades(binned(data[:4], *grid.bins), data.min(), data.max(), base, them.V)
        assert np.array_equal(cells(pixels, grid, *expected.shape[:2]), expected)
    if d == 4:  # where nothing is binned, the largest of all values is the full hue
        top = shades(data, data.min(), data.max(), them.panel, them.V)
        assert "#" + bytes(top[np.unravel_index(data.argmax(), data.shape)]).hex() == them.V


@FILMS
def test_each_tensor_is_seen_in_its_hue(name):
    film = made(Shot(name, 8, 8, 4, 4, 4, size=HD))
    pixels = run_of(film).at(film.timeline.duration).pixels  # all is done, nothing is in use
    for tensor, grid in film.layout.columns.items():
        data = film.timeline.pictures[-1].hbm[tensor].astype(float).reshape(8, -1)
        seen = cells(pixels, grid, *data.shape).astype(float)
        panel, hue = (255 * np.array(rgb(c)) for c in (film.theme.panel, getattr(film.theme, theme.hue(tensor))))
        share = ((seen - panel) @ (hue - panel)) / ((hue - panel) @ (hue - panel))
        assert np.abs(seen - panel - share[..., None] * (hue - panel)).max() <= 2  # on the way from panel to hue
        assert np.corrcoef(share.ravel(), data.ravel())[0, 1] > 0.99  # and further for more


def _numbers(film, t: float, grid) -> dict[tuple[int, int], str]:
    """What is written in the middle of each cell of a grid."""
    found = {}
    for text in run_of(film).at(t).pen.written:
        left, top, right, bottom = text.box
        x, y = (left + right) / 2 - grid.box.x, (top + bottom) / 2 - grid.box.y
        if 0 <= x < grid.box.w and 0 <= y < grid.box.h:
            found[int(y // grid.cell[1]), int(x // grid.cell[0])] = text.words
    return found


@pytest.mark.parametrize(("slot", "places"), [("S", 1), ("P", 2)])
def test_the_score_tile_shows_its_numbers(slot, places):
    film = sample("flash-forward", HD)
    beat = beat_of(film, slot)
    event = next(e for e in beat.events if e.slot == slot)
    values = film.trace.values[event.step]
    assert _numbers(film, beat.stop - 1e-3, there(film.layout.lanes[0].scores)) == {
        at: number(float(x), places, 4) for at, x in np.ndenumerate(values)
    }


def test_the_statistics_show_their_numbers():
    film = sample("flash2-forward", (1920, 1080))
    beat = beat_of(film, "alpha")
    for event in beat.events:
        grid = film.layout.lanes[event.program].stats["α"]
        values = film.trace.values[event.step]
        shown = _numbers(film, beat.stop - 1e-3, grid)
        assert shown == {(r, 0): number(float(x), 2, 4) for r, x in enumerate(values)}


@pytest.mark.parametrize("gain", [1.0, 50.0, 2000.0])
def test_a_number_stays_in_its_cell(gain):
    film = made(Shot("flash-forward", 16, 16, 32, gain=gain, size=HD))
    lane = film.layout.lanes[0]
    for slot, grids in (("S", [there(lane.scores)]), ("l_new", list(lane.stats.values()))):
        beat = beat_of(film, slot)
        written = run_of(film).at(beat.stop - 1e-3).pen.written
        for grid in grids:
            for text in written:
                left, top, right, bottom = text.box
                middle = (left + right) / 2 - grid.box.x
                if 0 <= middle < grid.box.w and grid.box.y <= top < grid.box.bottom:
                    start = grid.box.x + middle // grid.cell[0] * grid.cell[0]
                    assert start <= left, text.words
                    assert right <= start + grid.cell[0], text.words


@FILMS
@pytest.mark.parametrize("size", [HD, (800, 800), (540, 960)], ids=["wide", "square", "tall"])
def test_the_code_pane_lights_the_line_that_runs(name, size):
    film = sample(name, size, code=True)
    lines = film.trace.meta["code"].splitlines()
    pane = there(film.layout.code)
    told = [beat for beat in film.timeline.beats if beat.told and len({event.line for event in beat.events}) == 1]
    for beat in told[::3]:
        written = run_of(film).at((beat.start + beat.stop) / 2).pen.written
        lit = [
            t for t in written if t.color == film.theme.ink and t.box[0] >= pane.x and pane.y <= t.box[1] <= pane.bottom
        ]
        shown = "".join(text.words for text in lit).replace(" ", "")
        assert shown == lines[beat.events[0].line - 1].partition("  # ")[0].replace(" ", "")


def test_the_header_names_the_running_loops():
    film = sample("flash-forward")
    for beat in film.timeline.beats[1::7]:
        words = {text.words for text in run_of(film).at((beat.start + beat.stop) / 2).pen.written}
        if loop := beat.events[-1].loop:
            assert "  ".join(f"{name} = {index}" for name, index in loop.items()) in words


def _on_chip(trace, last: int) -> int:
    """Bytes on chip after a step of a trace with one program, by the events alone."""
    held: dict[str, int] = {}
    for event in trace[: last + 1]:
        if event.op == "load":
            held[event.slot] = event.nbytes
        elif event.op == "compute":
            held[event.slot] = int(np.prod(event.shape)) * np.dtype(trace.meta["computing"]).itemsize
    return sum(held.values())


def test_the_gauge_is_as_full_as_sram():
    film = sample("flash-forward", (1920, 1080))
    gauge, bare = there(film.layout.lanes[0].gauge), [int(film.theme.bg[i : i + 2], 16) for i in (1, 3, 5)]
    assert film.sram == 2048 >= film.trace.peak.total > 1024
    for beat in film.timeline.beats[2::9]:
        pixels = run_of(film).at(beat.stop - 1e-3).pixels
        column = pixels[gauge.y + 2 : gauge.bottom - 2, gauge.x + gauge.w // 2]
        filled = (column != bare).any(axis=1).sum() / len(column)
        assert filled == pytest.approx(_on_chip(film.trace, beat.events[-1].step) / 2048, abs=0.02)


def test_masked_scores_are_hatched_and_others_are_not():
    film = sample("flash-forward", HD, mask="causal")
    beat = next(b for b in film.timeline.beats if b.events and b.events[0].slot == "S" and "may not see" in b.caption)
    values = film.trace.values[beat.events[0].step]
    grid = there(film.layout.lanes[0].scores)
    pixels = render.picture(film, beat.stop - 1e-3)
    for (r, c), x in np.ndenumerate(values):
        left, top = grid.box.x + c * grid.cell[0], grid.box.y + r * grid.cell[1]
        strip = pixels[top + 2 : top + 6, left + 6 : left + grid.cell[0] - 10]  # above the digits
        assert (len(np.unique(strip.reshape(-1, 4), axis=0)) > 1) == np.isneginf(x)


@pytest.mark.parametrize("name", ["flash-forward", "flash2-forward"])
def test_the_traffic_is_as_long_as_its_bytes(name):
    film = sample(name, (1920, 1080))
    scene = run_of(film)
    before = film.timeline.coda - 1e-3
    sheet, meter = scene.at(before), film.layout.meter
    bare = np.array([int(film.theme.bg[i : i + 2], 16) for i in (1, 3, 5)])
    area = (sheet.pixels[meter.y : meter.bottom, meter.x + 250 : meter.right] != bare).any(axis=2)
    bar = np.flatnonzero(area[1])  # above the figures
    below = next(row for row in range(40, len(area)) if area[row].any())
    ghost = np.flatnonzero(area[below + 1])  # its corners are round
    total = film.trace.io().total
    assert np.ptp(bar) / np.ptp(ghost) == pytest.approx(total / film.standard.total, rel=0.01)
    words = {text.words for text in sheet.pen.written}
    assert {units.size_of(total), units.size_of(film.standard.total)} <= words


@FILMS
def test_the_coda_ends_with_what_was_counted(name):
    film = sample(name, (1920, 1080))
    last = film.coda[-1]
    words = {text.words for text in coda_of(film).at(film.timeline.duration - 0.1).pen.written}
    assert {units.size_of(last.own), units.size_of(last.standard), units.short(last.n), str(last.d)} <= words


@FILMS
@pytest.mark.parametrize("size", [README, (800, 800)], ids=["wide", "square"])
def test_bars_of_the_coda_are_never_in_the_wrong_order(name, size):
    """The longer bar is the one with more bytes, in every frame."""
    film = sample(name, size)
    scene, theirs = coda_of(film), film.theme.dim
    ours = film.theme.S if film.spec.kind == "kernels" else film.theme.accent
    main = film.layout.main
    for t in np.arange(film.timeline.coda + 0.05, film.timeline.duration - HOLD, 0.2):
        area = scene.at(t).pixels[main.y + main.h // 3 : main.bottom, main.x : main.right]
        colours = ([int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (ours, theirs))
        own, other = ((area == colour).all(axis=2).sum(axis=1).max() for colour in colours)
        step = film.coda[closing.where(moment(film, t))]
        if abs(step.ratio - 1) > 0.1:
            assert (own > other) == (step.own > step.standard), t


# On the way


def _on_the_way(film, t: float) -> Box:
    """Where something is drawn over the stage."""
    pixels, still = render.picture(film, t)[..., :3], run_of(film).at(t, cut=True).pixels
    rows, columns = np.nonzero((pixels != still).any(axis=2))
    return Box(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)


@pytest.mark.parametrize("name", ["flash-forward", "standard"])
@pytest.mark.parametrize("size", [README, (540, 960)], ids=["wide", "tall"])
def test_a_tile_goes_from_its_place_over_the_bus_to_the_other(name, size):
    film = sample(name, size)
    moves = [b for b in film.timeline.beats if b.told and len(b.events) == 1 and b.events[0].tile and b.events[0].slot]
    for op in ("load", "store"):
        beat = next(b for b in moves if b.events[0].op == op)
        event = beat.events[0]
        tile = there(event.tile)
        home = film.layout.columns[tile.tensor].rows(tile.start, tile.stop)
        lane = film.layout.lanes[0]
        grid = lane.slots[f"{event.program}.{event.slot}" if film.spec.kind == "kernels" else event.slot]
        here = grid.rows(event.row, event.row + event.shape[0])
        long = beat.stop - beat.start
        ends = (home, here) if op == "load" else (here, home)
        for u, place in ((0.001, ends[0]), (LANDED - 0.001, ends[1])):
            assert inside(_on_the_way(film, beat.start + u * long), place.grown(4))
        half = _on_the_way(film, beat.start + LANDED / 2 * long)
        assert half.overlaps(film.layout.bus)
        assert inside(half, film.layout.main)
        assert moment(film, beat.start + (LANDED + 0.01) * long).landed
        assert np.array_equal(
            render.picture(film, beat.stop - 1e-3)[..., :3], run_of(film).at(beat.stop - 1e-3, cut=True).pixels
        )


# Numbers and shades


@given(st.floats(-1e9, 1e9), st.integers(0, 3), st.integers(4, 6))
@example(-1646.2, 1, 4)
@example(9999.6, 2, 4)
def test_a_number_is_near_its_value_in_as_few_places_as_fit(x, places, room):
    shown = number(x, places, room)
    assert "-" not in shown
    assert len(shown) <= room
    value = float(shown.replace("−", "-"))
    if "e" in shown:  # no place for all digits: the first one, and how many follow
        assert len(f"{x:.0f}") > room
        assert abs(value - x) <= 0.51 * 10.0 ** np.floor(np.log10(abs(x)))
        return
    digits = len(shown.partition(".")[2])
    assert abs(value - x) <= 0.5001 * 10.0**-digits
    assert not re.fullmatch(r"−[0.]+", shown)
    if digits < places:  # one more would have been too long
        longer = f"{abs(x):.{digits + 1}f}"
        assert len(longer) + (x < 0 and float(longer) > 0) > room


@pytest.mark.parametrize(
    ("x", "places", "room", "shown"),
    [
        (-0.001, 1, 4, "0.0"), (-0.06, 1, 4, "−0.1"), (0.0, 2, 4, "0.00"), (3.46, 2, 4, "3.46"), (-1.34, 2, 4, "−1.3"),
        (12.34, 2, 4, "12.3"), (-99.96, 1, 4, "−100"), (-1646.0, 1, 4, "−2e3"),
        (float("-inf"), 1, 4, "−∞"), (float("inf"), 1, 4, "∞"), (float("nan"), 1, 4, ""),
    ],
)  # fmt: skip
def test_numbers_as_cells_show_them(x, places, room, shown):
    assert number(x, places, room) == shown


@given(st.floats(1, 1e15))
def test_a_size_is_right_to_its_last_digit(nbytes):
    shown = units.size_of(nbytes)
    assert re.fullmatch(r"\d{1,3}(,\d{3})*(\.\d)? (B|KB|MB|GB|TB)", shown)
    value, unit = shown.replace(",", "").split()
    last = (0.1 if "." in value else 1) * 1000 ** ("B", "KB", "MB", "GB", "TB").index(unit)
    assert float(value) * 1000 ** ("B", "KB", "MB", "GB", "TB").index(unit) == pytest.approx(nbytes, abs=0.501 * last)
    assert unit != "B" or nbytes < 10_000


@pytest.mark.parametrize(
    ("nbytes", "shown"),
    [
        (0, "0 B"),
        (6144, "6,144 B"),
        (9999, "9,999 B"),
        (16512, "16.5 KB"),
        (34.36e9, "34.4 GB"),
        (999_960, "1.0 MB"),
        (524288, "524 KB"),
    ],
)
def test_sizes_as_the_films_show_them(nbytes, shown):
    assert units.size_of(nbytes) == shown


@given(st.integers(0, 30), st.integers(1, 999))
def test_a_number_of_tokens_is_exact(power, odd):
    shown = units.short(odd << power)
    factor = {"K": 1 << 10, "M": 1 << 20}.get(shown[-1], 1)
    assert int(shown.rstrip("KM")) * factor == odd << power


matrices = st.integers(0, 999).map(
    lambda seed: np.random.default_rng(seed).standard_normal((1 + seed % 7, 1 + seed % 11))
)
hexes = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


@given(matrices, hexes, hexes)
def test_shades_go_from_near_the_base_to_the_hue_with_the_value(values, base, hue):
    low, high = values.min() - 0.1, values.max()
    colours = shades(values, low, high, base, hue)
    assert colours.shape == (*values.shape, 3)
    assert bytes(colours[np.unravel_index(values.argmax(), values.shape)]).hex() == hue[1:]
    way = np.sign(np.subtract(rgb(hue), rgb(base)))
    ordered = colours.reshape(-1, 3)[np.argsort(values, axis=None)].astype(int)
    assert (np.diff(ordered, axis=0) * way >= 0).all()
    ends = np.sort(np.stack([255 * np.array(rgb(base)), 255 * np.array(rgb(hue))]), axis=0)
    assert (colours >= ends[0] - 1).all()
    assert (colours <= ends[1] + 1).all()


def test_what_is_not_there_yet_is_the_base_and_one_value_everywhere_is_a_colour():
    assert bytes(shades(np.array([[np.nan]]), 0, 1, "#102030", "#ffffff")[0, 0]).hex() == "102030"
    assert shades(np.zeros((2, 2)), 0, 0, "#102030", "#ffffff").shape == (2, 2, 3)


@given(matrices, st.integers(1, 5), st.integers(1, 5))
def test_a_bin_is_the_mean_of_its_cells(values, rows, columns):
    small = binned(values, rows, columns)
    assert small.shape == (-(-values.shape[0] // rows), -(-values.shape[1] // columns))
    for (r, c), mean in np.ndenumerate(small):
        assert mean == pytest.approx(values[r * rows : (r + 1) * rows, c * columns : (c + 1) * columns].mean())


@given(hexes, hexes)
def test_contrast_is_that_of_wcag(one, other):
    assert 1 <= contrast(one, other) == contrast(other, one) <= 21.001
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert ink_on(one) == max("#000000", "#ffffff", key=lambda ink: contrast(ink, one))


@given(st.floats(0, 1), st.floats(0, 1))
def test_motion_starts_and_ends_slowly_and_never_goes_back(u, v):
    assert paint.ease(0) == 0
    assert paint.ease(1) == 1
    if u < v:
        assert 0 <= paint.ease(u) <= paint.ease(v) <= 1
    assert paint.ease(0.01) < 0.001
    assert paint.ease(0.99) > 0.999


# Golden frames, one a film


def _telling(film):
    """A moment to look at: a max that moves; programs side by side; P on its way out."""
    match film.name:
        case "flash-forward":
            beat = next(
                b for b in film.timeline.beats if "street" in b.caption and any(e.slot == "o" for e in b.events)
            )
        case "flash2-forward":
            beat = next(
                b for b in film.timeline.beats if "street" in b.caption and any(e.slot == "P" for e in b.events)
            )
        case _:
            beat = next(b for b in film.timeline.beats if any(e.op == "store" and e.slot == "P" for e in b.events))
    return beat.start + 0.45 * (beat.stop - beat.start)


@FILMS
def test_golden_frame(name, golden):
    film = sample(name)
    pixels = render.picture(film, _telling(film))[..., :3]
    path, anew = golden(name)
    if anew:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, optimize=True)
    expected = np.asarray(Image.open(path).convert("RGB"), int)
    difference = np.abs(pixels - expected)
    assert difference.mean() < 1
    assert (difference.max(axis=2) > 16).mean() < 0.005
