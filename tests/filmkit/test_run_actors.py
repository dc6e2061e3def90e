"""The actors of a run: what is equal looks the same, nothing leaves its box, and they say what the run holds."""

import cairo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.filmkit.actors import cells, meter, scores, tile_map
from flashsteps.filmkit.actors.bus import Bus
from flashsteps.filmkit.actors.code import Code
from flashsteps.filmkit.actors.fit import Fit
from flashsteps.filmkit.actors.hbm import Hbm, blank_rows
from flashsteps.filmkit.actors.hbm import places as columns_of
from flashsteps.filmkit.actors.kernel import Kernel
from flashsteps.filmkit.actors.loops import Loop, Loops, RunLoops, Turned
from flashsteps.filmkit.actors.meter import Meter
from flashsteps.filmkit.actors.program import Program, ProgramHeads
from flashsteps.filmkit.actors.rescale import Rescale
from flashsteps.filmkit.actors.sram import Sram, fill_of
from flashsteps.filmkit.actors.tile_map import TileMap
from flashsteps.filmkit.boxes import CANVASES, Box
from flashsteps.filmkit.painter import Painter
from flashsteps.filmkit.pen import Pen
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.run_stage import places
from flashsteps.theme import THEMES, rgb
from flashsteps.units import size_of
from tests.problems import Problem, problems

FIELD = 1000
FILMED = ("standard-forward", "flash-forward", "flash2-forward")
UNITS = st.sampled_from([0.42, 0.67, 1.0])
FEW = settings(max_examples=30)


@st.composite
def boxes(draw):
    w, h = draw(st.integers(60, 750)), draw(st.integers(60, 700))
    return Box(draw(st.integers(40, 200)), draw(st.integers(40, 200)), w, h)


@st.composite
def runs(draw, names=FILMED):
    problem = draw(problems(names, largest=12, more=True))
    lanes = draw(st.integers(1, 3)) if problem.algorithm == "flash2-forward" else 1
    return Run(problem.record(), slowly=draw(st.sets(st.integers(0, 5))), lanes=lanes)


@st.composite
def actors(draw, now=None):
    """Any actor of a run, at a moment between two, or at one."""
    run = draw(runs())
    now = draw(moments(run)) if now is None else now
    kinds = [
        lambda: Hbm(run, now), lambda: Bus(run, now, run.lanes), lambda: TileMap(run, now), lambda: Code(run, now),
        lambda: TileMap(run, now, numbered=True, marked=((0, 0),)),
        lambda: Meter(run, now, standard=draw(st.booleans())), lambda: Program(run, now, draw(st.integers(0, 2))),
        lambda: ProgramHeads(run, now), lambda: Sram(run, now, draw(st.none() | st.integers(0, 3)), alpha=True),
        lambda: Sram(run, now),
        lambda: RunLoops(run, now, (Loop("for j", 3), Loop("for i", 40)), ("j", "i")),
    ]  # fmt: skip
    if run.trace.meta["algorithm"] == "standard-forward":
        kinds = [lambda: Kernel(run, now), lambda: Hbm(run, now), lambda: RunLoops(run, now, (Loop("1", 3),) * 3)]
    return draw(st.sampled_from(kinds))().at(0.0)


def moments(run):
    return st.one_of(st.integers(0, len(run)).map(float), st.floats(0, len(run)))


def painted(actor, box, unit=0.67, theme="dark", pen_type=Pen, field=FIELD):
    pixels = np.empty((field, field, 4), np.uint8)
    surface = cairo.ImageSurface.create_for_data(memoryview(pixels), cairo.FORMAT_RGB24, field, field)  # type: ignore[arg-type]
    pen = pen_type(cairo.Context(surface), THEMES[theme], unit)
    pen.fill(Box(0, 0, field, field), "bg")
    actor.draw(pen, box)
    surface.flush()
    return pixels[..., :3]


@FEW
@given(actors(), boxes(), UNITS, st.sampled_from([*THEMES]))
def test_whatever_the_run_an_actor_can_be_drawn_anywhere(actor, box, unit, theme):
    """In a box that is too small for it, too: the painter cuts off what leaves it."""
    assert (painted(actor, box, unit, theme) == painted(actor, box, unit, theme)).all()


KINDS = {
    "flash-forward": (
        Hbm,
        Bus,
        TileMap,
        Code,
        Meter,
        Sram,
        lambda run, now: RunLoops(run, now, (Loop("", 2),) * 2, ("j", "i")),
    ),
    "flash2-forward": (
        Hbm,
        lambda run, now: Bus(run, now, 2),
        TileMap,
        lambda run, now: Program(run, now, 1),
        ProgramHeads,
    ),
    "standard-forward": (Hbm, Bus, Kernel, Meter, lambda run, now: RunLoops(run, now, (Loop("", 2),) * 3)),
}


@pytest.mark.parametrize(
    ("algorithm", "number"), [(name, n) for name, kinds in KINDS.items() for n in range(len(kinds))]
)
@pytest.mark.parametrize("slowly", [(0,), ()])
def test_two_that_are_equal_look_the_same(algorithm, number, slowly):
    """`look` is all that an actor shows: from frame to frame, where it is the same, so is the picture."""
    trace = Problem(algorithm, 6, 6, 4, 3, 3, mask="causal").record()
    run = Run(trace, slowly=slowly, lanes=2 if algorithm == "flash2-forward" else 1)
    box, before, picture = Box(4, 4, 360, 260), None, None
    for now in np.arange(0, len(run) + 0.2, 0.23):
        actor = KINDS[algorithm][number](run, float(now)).at(0.0)
        if actor == before:
            picture = painted(before, box, 0.42, field=370) if picture is None else picture
            assert (painted(actor, box, 0.42, field=370) == picture).all(), now
        else:
            before, picture = actor, None


@pytest.mark.parametrize("shape", ["wide", "tall"])
@pytest.mark.parametrize(
    ("film", "size", "mask"),
    [("standard", "7,5", None), ("flash-forward", "11,8", "window:4,1"), ("flash2-forward", "13,6", "causal")],
)
def test_what_is_drawn_anew_where_it_differs_is_what_is_drawn_alone(film, size, mask, shape):
    """Of a run with ragged tiles, whatever was seen before: a moment ago, or long ago, before it or after."""
    script = fs.film(film, cut="short", input=f"random:{size}", block_q=3, block_k=5, mask=mask).script(shape)
    random, (width, height, *_) = np.random.default_rng(5), CANVASES[shape]
    painter, t = Painter(script, round(width / 2), round(height / 2)), 0.0
    for leap in random.choice([0.03, 0.03, 0.1, 3.0], 60):
        t = (t + leap) % script.duration
        painter.paint(t)
        alone = Painter(script, round(width / 2), round(height / 2))
        alone.paint(t)
        assert np.array_equal(painter.pixels[..., :3], alone.pixels[..., :3]), f"{t:.3f} s"


def _context():
    return cairo.Context(cairo.ImageSurface(cairo.FORMAT_RGB24, 9, 9))


class Listening(Pen):
    """A pen that writes down what it writes, and how far what it fills reaches to the right."""

    last: "Listening"
    said: list[str]

    def fill(self, box, *args, **options):
        self.right = max(self.__dict__.get("right", 0), box.right)
        return super().fill(box, *args, **options)

    def text(self, x, y, words, size, color="ink", **options):
        self.__dict__.setdefault("said", []).append(words)
        type(self).last = self
        return super().text(x, y, words, size, color, **options)


@FEW
@given(st.data())
def test_the_meter_says_what_its_bar_is_long(data):
    run = data.draw(runs())
    now = data.draw(moments(run))
    painted(Meter(run, now), Box(0, 0, 900, 100), 0.67, pen_type=Listening)
    said, moved = Listening.last.said, run.moved(now)
    read, written = (sum(pair[side] for pair in moved.values()) for side in (0, 1))
    for nbytes in (read, written, read + written, run.standard.total):
        assert size_of(round(nbytes)) in said
    for side, nbytes in enumerate((read, written)):
        pieces = [piece for _, piece in meter._pieces(moved, side, 7, 0.25, 0, 5)]
        assert sum(piece.w for piece in pieces) == round(7 + 0.25 * nbytes) - 7
        assert all(one.right == other.x for one, other in zip(pieces, pieces[1:], strict=False))


def test_each_way_has_a_bar_of_its_own_from_the_same_edge():
    run = Run(fs.record("flash-forward", *fs.load_qkv("sample"), block_q=4, block_k=4))
    ends = []
    for now in (run.after(op="load", first=True) - 1, len(run)):
        picture = painted(Meter(run, float(now), standard=False), Box(10, 10, 900, 150), 1.0).astype(int)
        hue = 255 * np.array(rgb(THEMES["dark"].O))
        rows = [np.flatnonzero((abs(picture[y] - hue) <= 1).all(axis=1)) for y in (10 + 12, 10 + 50 + 12)]
        ends.append([(row.min(), row.max()) if row.size else None for row in rows])
    (before, after), (read, written) = ends
    assert before is None  # O is written first, as zeros: nothing was read, and the row of what is read is empty
    assert after
    assert read
    assert written
    assert after[0] == written[0] < read[0]  # what is read of other tensors moves nothing in the row below


@FEW
@given(runs(), boxes(), UNITS)
def test_hbms_columns_keep_apart_and_a_tile_is_where_its_rows_are(run, box, unit):
    pen = Pen(cairo.Context(cairo.ImageSurface(cairo.FORMAT_RGB24, 9, 9)), THEMES["dark"], unit)
    box = Box(box.x, box.y, max(box.w, round(560 * unit)), max(box.h, round(300 * unit)))
    columns, labels = columns_of(pen, box, run)
    assert set(columns) == set(run.trace.initial)
    placed = [grid.box for grid in (*columns.values(), *labels.values())]
    for n, one in enumerate(placed):
        assert not any(one.overlaps(other) for other in placed[n + 1 :])
        assert one.bottom <= box.bottom
        assert one.right <= box.right
    for event in run.trace:
        if event.tile:
            rows = columns[event.tile.tensor].rows(event.tile.start, event.tile.stop)
            column = columns[event.tile.tensor].box
            assert column.y <= rows.y < rows.bottom <= column.bottom


@FEW
@given(runs(("flash-forward", "flash2-forward")), boxes(), UNITS)
def test_the_maps_tiles_fill_it_and_keep_apart(run, box, unit):
    pen = Pen(cairo.Context(cairo.ImageSurface(cairo.FORMAT_RGB24, 9, 9)), THEMES["dark"], unit)
    grid = tile_map.place(pen, box, run)
    if grid.bins != (1, 1):
        return
    meta = run.trace.meta
    rows, columns = -(-meta["queries"] // meta["block_q"]), -(-meta["keys"] // meta["block_k"])
    tiles = [tile_map.tile_box(grid, meta, i, j) for i in range(rows) for j in range(columns)]
    assert sum(tile.w * tile.h for tile in tiles) == grid.box.w * grid.box.h
    assert not any(one.overlaps(other) for n, one in enumerate(tiles) for other in tiles[n + 1 :])


@FEW
@given(st.data())
def test_what_the_map_counts_is_what_it_fills_and_no_tile_that_is_in_the_making(data):
    mask = data.draw(st.sampled_from([None, "causal"]))
    algorithm, lanes = data.draw(st.sampled_from([("flash-forward", 1), ("flash2-forward", 1), ("flash2-forward", 4)]))
    run, box = Run(Problem(algorithm, 8, 8, 4, 2, 2, mask=mask).record(), lanes=lanes), Box(4, 4, 360, 360)
    now, pen = data.draw(moments(run)), Pen(_context(), THEMES["dark"], 0.67)
    grid = tile_map.place(pen, box, run)
    picture = painted(TileMap(run, now), box, 0.67, field=370, pen_type=Listening).astype(int)
    white = (abs(picture - 255 * np.array(rgb(THEMES["dark"].ink))) < 2).all(axis=2)
    tint = picture[..., 2] - picture[..., 1]  # of the hue of S
    filled, framed, cursor = set(), set(), run.indices(now)
    for tile in np.ndindex(4, 4):
        at = tile_map.tile_box(grid, run.trace.meta, *tile)
        rows, columns = slice(int(at.y), int(at.bottom)), slice(int(at.x), int(at.right))
        if tint[int(at.y + at.h / 2), int(at.x + at.w / 4)] > 40:
            filled.add(tile)
        if white[rows, columns].any():
            framed.add(tile)
    whole = sum(len(r.tiles) for r in run.rounds)
    assert f"{len(filled)} of {whole}" in " ".join(Listening.last.said)
    assert not filled & framed
    assert len(filled) < whole or now == len(run) or len(cursor) < 2
    if framed:  # where the cursors of the loops are
        assert {tile["ij".index(name)] for tile in framed for name in cursor if lanes == 1 or name == "j"} <= {
            *cursor.values()
        }
        assert len(cursor) == 2


def test_a_tile_that_is_skipped_never_looks_like_one_that_is_on():
    run, box = Run(Problem("flash2-forward", 8, 8, 4, 2, 2, mask="causal").record(), lanes=4), Box(4, 4, 360, 360)
    grid, white, seen = (
        tile_map.place(Pen(_context(), THEMES["dark"], 0.67), box, run),
        255 * np.array(rgb(THEMES["dark"].ink)),
        set(),
    )
    ever_after = painted(TileMap(run, float(len(run))), box, field=370)
    for now in range(len(run)):
        _, on = run.done(float(now))
        picture = painted(TileMap(run, float(now)), box, field=370)
        framed = (abs(picture - white) < 2).all(axis=2)
        if on is None or not run.at_tile(float(now)):
            continue
        for tile in (*on.tiles, *on.hidden):
            at = tile_map.tile_box(grid, run.trace.meta, *tile)
            inside = slice(int(at.y) + 1, int(at.bottom) - 3), slice(int(at.x) + 1, int(at.right) - 3)
            is_framed = framed[int(at.y) : int(at.bottom), int(at.x) : int(at.right)].any()
            if tile in on.hidden:  # stepped over, though others of its round are on
                assert (picture[inside] == ever_after[inside]).all()
            seen.add((tile in on.hidden, bool(is_framed)))
    assert seen == {(True, False), (False, True)}


def test_what_each_tile_will_be_is_seen_before_the_first_of_them_comes():
    """Those that are cut have their frame, those that will be skipped their cross, and both are there to the end."""
    run, box = Run(Problem("flash2-forward", 8, 8, 4, 2, 2, mask="causal").record(), lanes=4), Box(4, 4, 360, 360)
    pen = Pen(cairo.Context(cairo.ImageSurface(cairo.FORMAT_RGB24, 9, 9)), THEMES["dark"], 0.67)
    grid, orange = tile_map.place(pen, box, run), np.array([255 * c for c in rgb(THEMES["dark"].accent)])
    cut = tuple((n, n) for n in range(4))
    pictures = [painted(TileMap(run, float(now), marked=cut), box, field=370) for now in range(len(run) + 1)]
    for i, j in np.ndindex(4, 4):
        at = tile_map.tile_box(grid, run.trace.meta, i, j)
        tiles = [picture[int(at.y) : int(at.bottom), int(at.x) : int(at.right)] for picture in pictures]
        assert {bool((abs(tile - orange) < 2).all(axis=2).any()) for tile in tiles} == {i == j}
        assert all((tile == tiles[0]).all() for tile in tiles) == (j > i)
        middle = tiles[0][tuple(slice(n // 2 - 5, n // 2 + 5) for n in tiles[0].shape[:2])]
        assert (np.ptp(middle) > 40) == (j > i)  # a cross


def test_rows_that_nothing_was_written_to_are_blank():
    data = np.array([[1.0, 0.0], [0.0, 0.0], [np.nan, np.nan], [-np.inf, -np.inf], [2.0, -np.inf]])
    assert blank_rows(data).tolist() == [False, True, True, True, False]
    assert blank_rows(np.array([0.0, 3.0, -np.inf])).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("held", "room", "words"),
    [(1808, 2048, "1.8 of 2 KiB"), (0, 2048, "0.0 of 2 KiB"), (300, 512, "300 of 512 B"), (1, 2560, "0.0 of 2.5 KiB")],
)  # fmt: skip
def test_the_gauge_says_how_full_it_is_in_binary_units(held, room, words):
    assert fill_of(held, room) == words


@given(st.integers(1, 70), st.integers(1, 70), st.integers(20, 900), st.integers(20, 700), st.booleans())
def test_a_grid_fits_its_box_and_covers_all_rows(rows, columns, w, h, square):
    made = cells.grid(Box(3, 5, w, h), rows, columns, square=square)
    assert made.rows(0, rows) == made.box
    assert made.at(rows - 1, columns - 1).right == made.box.right
    assert made.at(rows - 1, columns - 1).bottom == made.box.bottom
    assert made.box.x >= 3
    assert made.box.right <= max(3 + w, 3 + made.cell[0])
    assert made.box.bottom <= max(5 + h, 5 + made.cell[1])


@pytest.mark.parametrize("shape", CANVASES)
@pytest.mark.parametrize("kind", ["tile", "lanes", "kernels"])
@pytest.mark.parametrize("code", [False, True])
def test_a_runs_places_keep_apart_and_stay_on_the_board(shape, kind, code):
    main = CANVASES[shape].main
    found = [box for box in places(shape, main, kind, code) if box]
    for n, box in enumerate(found):
        assert not any(box.inset(0.01).overlaps(other) for other in found[n + 1 :])
        assert box.x >= main.x
        assert box.y >= main.y
        assert box.right <= main.right + 1e-6
        assert box.bottom <= main.bottom + 1e-6


OTHERS = [
    Rescale("“cross”", (3.46, 4.47, 4.47), (0.36, 1.0), (1.69, 1.04, 1.66), 0.5),
    Rescale("“the_{2}”", (-13.69, -11.31, -11.31), (0.09, 1.0), (11.2, 11.29, 11.32), 2),
    Rescale("“the_{2}”", (-113.6934, -112.3127, -112.3127), (0.25141, 1.0), (11.2071, 11.2907, 14.1083), 2),
    Rescale("“a”", (0.00112, 0.00233, 0.00233), (0.99879, 1.0), (3.99712, 3.99813, 7.99041), 2),
    Fit((("4×4", 1536), ("8×8", 3328)), 2048, note="loaded tiles float16, all else float32"),
    Loops((Loop("for j", 4), Loop("for i", 300)), (2, -1)),
    Turned(Loop("for j", 4), Loop("for i", 3), 0.4),
]


@pytest.mark.parametrize("actor", OTHERS, ids=lambda actor: type(actor).__name__)
@pytest.mark.parametrize("size", [(1230, 150), (1000, 100), (1000, 420)])
def test_nothing_leaves_its_box(actor, size):
    box, unit = Box(100, 100, *(round(side * 0.67) for side in size)), 0.67
    ground, picture = painted(Loops((), ()), box, unit), painted(actor, box, unit)
    outside = np.ones((FIELD, FIELD), bool)
    outside[box.y - 1 : box.bottom + 1, box.x - 1 : box.right + 1] = False
    assert not ((picture != ground).any(axis=2) & outside).any()


def _rescale(step):
    """α = 0.25 of 4, and β = 0.5 of 6."""
    return Rescale("a", (1.0, 1.5, 2.0), (0.25, 0.5), (4.0, 6.0, 4.0), step)


@pytest.mark.parametrize(("step", "figure"), [(0, "6.00"), (1, "0.50 × 6.00"), (2, "4.00"), (0.5, ""), (1.5, "")])
def test_sums_that_shrink_say_how_long_they_are_once_they_were_that_long(step, figure):
    painted(_rescale(step), Box(50, 100, 900, 150), 1.0, pen_type=Listening)
    assert {"= 0.25", "= 0.50"} < set(Listening.last.said)
    assert Listening.last.said[-1] == (figure or "= 0.50")


@pytest.mark.parametrize(("step", "old", "tile"), [(0, 4, 6), (0.5, 2.5, 4.5), (1, 1, 3), (2, 1, 3)])
def test_what_counts_of_a_sum_has_the_hue_of_its_factor_and_is_as_long(step, old, tile):
    picture = painted(_rescale(step), Box(50, 100, 900, 150), 1.0)
    row = picture[100 + 2 * 50 + 3].astype(int)  # along the upper edge of the bar, above its words
    wide = {
        name: (np.abs(row - np.round(255 * np.array(rgb(getattr(THEMES["dark"], name))))) <= 1).all(axis=1).sum()
        for name in ("stat", "S", "accent")
    }
    assert wide["S"] / wide["stat"] == pytest.approx(tile / old, rel=0.06)
    assert wide["accent"] == 0


def test_a_sum_of_before_is_pale_while_its_new_max_is_there():
    run = Run(fs.record("flash2-forward", *fs.load_qkv("sample"), block_q=4, block_k=4), slowly=range(16))
    second = run.visited[1]
    new_max, new_sum = (run.after(second, slot=slot, op="compute") for slot in ("m_i", "l_i"))
    assert new_max < new_sum
    for now, expected in ((new_max - 1, False), (new_max, True), (new_sum - 1, True), (new_sum, False)):
        assert scores.behind(run, now, 0, "ℓ") == expected, now
        assert not scores.behind(run, now, 0, "m")
