"""The cast: whatever its fields, an actor stays in its box, looks the same when it is the same, and can be read."""

import cairo
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flashsteps.filmkit.actors import timeline as work
from flashsteps.filmkit.actors.areas import Area, Areas, Crowd
from flashsteps.filmkit.actors.bars import Bar, Bars, Legend, Mark, Piece
from flashsteps.filmkit.actors.cards import Card, Chips, Panel, Text
from flashsteps.filmkit.actors.columns import Columns, Group, Stack
from flashsteps.filmkit.actors.curve import Area as Under
from flashsteps.filmkit.actors.curve import Axis, Curve, Dot, Line, Rule
from flashsteps.filmkit.actors.formula import Formula, Fraction, Root, Script, Term
from flashsteps.filmkit.actors.matrix import Matrix, Region, grid
from flashsteps.filmkit.actors.number import Number
from flashsteps.filmkit.actors.row import Level, Row
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.tape import Lane, Lanes, transfers
from flashsteps.filmkit.actors.wires import Arrow, Bracket, Wire
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.pen import Pen
from flashsteps.theme import SMALLEST, THEMES

HUES = st.sampled_from(["Q", "K", "V", "O", "S", "stat", "accent", "dim"])
WORDS = st.sampled_from(
    ["", "ℓ", "K", "cross", "the_{2}", "standard", "FlashAttention-2", "exp(3.46 − 4.47) = 0.36", "no room " * 9]
)
NUMBERS = st.floats(-5, 5, width=32)
AMOUNTS = st.floats(0, 1e9, width=32)
SHARES = st.floats(0, 1, width=32)
PIECES = st.builds(Piece, AMOUNTS, HUES, st.booleans(), WORDS)


def tuples(of, least=0, most=6):
    return st.lists(of, min_size=least, max_size=most).map(tuple)


@st.composite
def rows(draw):
    values = draw(tuples(NUMBERS, 1, 20))
    some = st.floats(0, len(values))
    levels = st.builds(Level, NUMBERS, WORDS, HUES, st.sampled_from([0, 9]), some, some)
    return Row(
        values, draw(HUES), draw(st.floats(-6, 0)), draw(st.floats(1, 6)),
        labels=draw(tuples(WORDS, 0, len(values))), seen=draw(some), now=(draw(some), draw(some)),
        tile=draw(st.integers(0, 4)), was=draw(tuples(NUMBERS, 0, len(values))), levels=draw(tuples(levels, 0, 3)),
        title=draw(WORDS), note=draw(WORDS), margin=draw(st.sampled_from([0, 40])),
    )  # fmt: skip


@st.composite
def matrices(draw):
    tall, wide = draw(st.integers(1, 64)), draw(st.integers(1, 64))
    values = np.random.default_rng(draw(st.integers(0, 9))).normal(size=(tall, wide))
    values[draw(st.integers(0, tall - 1)), draw(st.integers(0, wide - 1))] = draw(st.sampled_from([0.0, -np.inf]))
    ends = st.builds(
        lambda a, b, c, d: Region(min(a, b), max(a, b) + 1, min(c, d), max(c, d) + 1),
        *[st.integers(0, tall - 1) | st.just(tall - 1)] * 2,
        *[st.integers(0, wide - 1) | st.just(wide - 1)] * 2,
    )
    return Matrix(
        grid(values), draw(HUES), -2, 2, title=draw(WORDS), note=draw(WORDS), rows=draw(tuples(WORDS, 0, tall)),
        columns=draw(tuples(WORDS, 0, wide)), names=(draw(WORDS), draw(WORDS)), seen=draw(st.floats(0, tall)),
        tile=draw(st.sampled_from([(0, 0), (4, 4), (3, 5)])), gap=draw(st.floats(0, 12)), lit=draw(tuples(ends, 0, 2)),
        skipped=draw(tuples(ends, 0, 2)), frames=draw(tuples(ends, 0, 2)), square=draw(st.booleans()),
    )  # fmt: skip


BARS = st.builds(
    Bars,
    tuples(st.builds(Bar, WORDS, AMOUNTS, HUES, tuples(PIECES), WORDS, WORDS, WORDS, st.none() | AMOUNTS), 0, 4),
    st.just(1e9),
    marks=tuples(st.builds(Mark, AMOUNTS, WORDS, HUES), 0, 2),
    ticks=tuples(st.tuples(AMOUNTS, WORDS), 0, 5),
    title=WORDS,
)
LANES = st.builds(
    Lanes,
    tuples(st.builds(Lane, WORDS, tuples(PIECES, 1, 20).map(transfers), WORDS, WORDS), 0, 3),
    st.floats(0, 1e9),
    st.just(3e9),
)
WORKERS = st.builds(
    work.Timeline,
    st.integers(1, 140),
    tuples(
        st.builds(
            work.Work, st.just(0), tuples(st.floats(0, 90), 1, 9).map(lambda t: tuple(sorted(t))), st.just(95.0), SHARES
        )
    ),
    st.just(100.0),
    st.floats(0, 110),
    tuples(st.tuples(st.floats(0, 100), WORDS), 0, 4),
)
AXES = st.builds(
    Axis, st.floats(0.5, 1), st.floats(50, 100), tuples(st.tuples(st.floats(1, 50), WORDS)), WORDS, st.booleans()
)
POINTS = tuples(st.tuples(st.floats(1, 50), st.floats(1, 50)), 2, 8).map(lambda points: tuple(sorted(points)))
CURVES = st.builds(
    Curve,
    AXES,
    AXES,
    tuples(st.builds(Line, WORDS, POINTS, HUES, st.sampled_from([0, 9])), 0, 3),
    tuples(
        st.builds(
            Dot,
            st.floats(1, 50),
            st.floats(1, 50),
            WORDS,
            HUES,
            st.sampled_from(["right", "left", "above", "below left"]),
            st.booleans(),
            WORDS,
        )
    ),
    tuples(st.builds(Under, POINTS, st.just("panel"), WORDS), 0, 1),
    tuples(st.builds(Rule, st.floats(1, 50), WORDS, st.booleans(), HUES), 0, 2),
    st.floats(1, 60),
    st.booleans(),
    WORDS,
)
SPOTS = st.tuples(SHARES, SHARES)
NODES = st.recursive(
    WORDS | st.builds(Term, WORDS, HUES, WORDS),
    lambda node: (
        st.builds(Fraction, node, node)
        | st.builds(Root, node)
        | st.builds(Script, node, node, st.booleans())
        | st.tuples(node, node)
    ),
    max_leaves=6,
)
EDGES = st.sampled_from(["", "bg"])
AREAS = st.builds(Area, *[SHARES] * 4, HUES, WORDS, WORDS, SHARES, *[st.booleans()] * 3, EDGES, SHARES)
GROUPS = st.builds(Group, WORDS, tuples(st.none() | SHARES, 0, 3))
CAST = {
    "row": rows(),
    "matrix": matrices(),
    "number": st.builds(Number, WORDS, st.none() | NUMBERS | st.just(-np.inf), WORDS, WORDS, HUES, bare=st.booleans()),
    "bars": BARS,
    "legend": st.builds(Legend, tuples(PIECES)),
    "timeline": LANES,
    "workers": WORKERS,
    "curve": CURVES,
    "areas": st.builds(Areas, tuples(AREAS), st.just(2), st.just(2), st.booleans(), st.sampled_from([0, 200])),
    "crowd": st.builds(Crowd, st.integers(0, 200), st.integers(1, 200), HUES, st.sampled_from([0, 12]), st.booleans()),
    "table": st.builds(
        Table, tuples(tuples(WORDS, 1, 3), 1, 4), tuples(WORDS, 0, 3), st.none() | st.integers(0, 3), st.floats(0, 5)
    ),
    "formula": st.builds(Formula, NODES, center=st.booleans()),
    "columns": st.builds(Columns, tuples(GROUPS), tuples(st.tuples(WORDS, HUES), 0, 3), st.just(1.0)),
    "stack": st.builds(Stack, tuples(PIECES), st.just(6e9), WORDS, WORDS),
    "chips": st.builds(Chips, tuples(st.tuples(WORDS, WORDS), 0, 4), WORDS),
    "panel": st.builds(Panel, WORDS, WORDS, st.booleans(), st.booleans()),
    "card": st.builds(Card, WORDS, WORDS, tuples(st.tuples(WORDS, WORDS)), HUES, st.booleans()),
    "text": st.builds(Text, WORDS, middle=st.booleans(), align=st.sampled_from(["left", "right", "center"])),
    "arrow": st.builds(Arrow, st.sampled_from(["right", "left", "up", "down"]), WORDS, HUES, SHARES),
    "wire": st.builds(Wire, SPOTS, SPOTS, HUES, upright=st.booleans()),
    "bracket": st.builds(Bracket, st.sampled_from(["right", "left", "up", "down"]), WORDS, HUES),
}  # fmt: skip

FIELD = 500  # px: what actors are drawn on, with a box somewhere in it
UNITS = st.sampled_from([0.42, 0.6, 1.0])


@st.composite
def boxes(draw):
    """From a thumbnail to nearly the whole field, with room around."""
    w, h = draw(st.integers(120, FIELD - 120)), draw(st.integers(100, FIELD - 120))
    return Box(draw(st.integers(60, FIELD - 60 - w)), draw(st.integers(60, FIELD - 60 - h)), w, h)


def drawn(actor, box, unit, theme="dark", pen_type=Pen):
    """What it looks like, unclipped, on a plain field: RGB."""
    pixels = np.empty((FIELD, FIELD, 4), np.uint8)
    surface = cairo.ImageSurface.create_for_data(memoryview(pixels), cairo.FORMAT_RGB24, FIELD, FIELD)  # type: ignore[arg-type]
    pen = pen_type(cairo.Context(surface), THEMES[theme], unit)
    pen.fill(Box(0, 0, FIELD, FIELD), "bg")
    actor.draw(pen, box)
    surface.flush()
    return pixels[..., :3]


class Strict(Pen):
    """A pen that looks over each text: large enough, and told from what is behind it."""

    def text(self, x, y, words, size, color="ink", **options):
        wide = super().text(x, y, words, size, color, **options)
        if wide:
            assert size * self.unit >= SMALLEST, words
        return wide


def check(actor, box, unit, theme):
    picture = drawn(actor, box, unit, theme)
    ground = drawn(Text(""), box, unit, theme)
    outside = np.ones((FIELD, FIELD), bool)
    outside[box.y - 1 : box.bottom + 1, box.x - 1 : box.right + 1] = False  # a glyph may reach over by a px
    stray = np.argwhere((picture != ground).any(axis=2) & outside)
    assert not len(stray), f"{len(stray)} px outside {box}, such as {stray[:3].tolist()} (row, column)"
    assert (drawn(actor, box, unit, theme, Strict) == picture).all()  # the same again


@pytest.mark.parametrize("name", CAST)
def test_an_actor_stays_in_its_box_whatever_its_fields(name):
    @settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(CAST[name], boxes(), UNITS, st.sampled_from([*THEMES]))
    def holds(actor, box, unit, theme):
        check(actor, box, unit, theme)

    holds()
