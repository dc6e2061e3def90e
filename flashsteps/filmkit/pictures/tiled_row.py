"""A row of scores, tile by tile: the scores above, m and α beside ℓ and O below, and all that changes of them."""

from __future__ import annotations

from math import exp
from operator import add, mul
from typing import Any, NamedTuple

import numpy as np

from ...story.row import Held, Sum, held, moving_most
from ...story.written import Equals, Places, Term, places
from ...theme import HEAD
from ..actors.bars import Bar, Bars, Piece
from ..actors.number import Number
from ..actors.row import Level, Row
from ..board import Board
from ..run import Run

MARGIN = 215  # units at the right of the scores, for the name of the max
NOT_YET, DONE = "summed so far, not divided yet", "divided by ℓ, once"


class TiledRow(NamedTuple):
    """A query's row: the tiles as recorded, its scores and V, and the sums over the whole row, seen at once."""

    run: Run
    query: int
    tiles: list[Held]
    S: np.ndarray
    V: np.ndarray
    whole: Sum
    P: tuple[float, ...]
    out: tuple[float, ...]

    @property
    def moving(self) -> int:
        """The tile that moves the max most."""
        return min(range(1, len(self.tiles)), key=lambda j: self.tiles[j].alpha)

    @property
    def moves(self) -> bool:
        return self.tiles[self.moving].alpha < 1

    @property
    def old(self) -> float:
        """What the tile that moves the max leaves of ℓ."""
        return self.tiles[self.moving].alpha * self.tiles[self.moving - 1].l

    @property
    def longest(self) -> float:
        """Of all ℓ that are shown."""
        return 1.02 * max([float(self.whole.l), *(tile.l for tile in self.tiles)])

    @property
    def most(self) -> float:
        return max(abs(x) for tile in self.tiles for x in tile.acc)

    @property
    def who(self) -> str:
        """The key that beats the old max."""
        tile = self.tiles[self.moving]
        words = self.run.quoted("keys", tile.start + int(np.argmax(tile.S)))
        return words[0].upper() + words[1:] if words.startswith("key") else words

    def terms(self, j: int) -> tuple[Term, Term, Term]:
        """As figures: the max before a tile, the max after it, and α."""
        before, tile = self.tiles[j - 1], self.tiles[j]
        return Term("m", before.m), Term("m", tile.m), Term("α", tile.alpha)

    @property
    def sum(self) -> tuple[Term, Term, Term]:
        """As figures: what is left of ℓ, what the tile that moves the max adds, and what that makes."""
        tile = self.tiles[self.moving]
        return Term("part", self.old), Term("part", sum(tile.P)), Term("sum", tile.l)

    def written(self) -> Places:
        """With how many places m, α, ℓ and its parts stand: the same in all chapters that tell of them."""
        equations = [
            Equals(alpha, against, (was, now)) for was, now, alpha in map(self.terms, range(1, len(self.tiles)))
        ]
        was, now, alpha = self.terms(self.moving)
        *parts, whole = self.sum
        if self.moves:
            before = Term("ℓ", self.tiles[self.moving - 1].l)
            equations += [Equals(parts[0], mul, (alpha, before)), Equals(whole, add, tuple(parts))]
        return places(equations, [(was, now), (alpha, Term("α", 1.0))])

    def row(self, **how: Any) -> Row:
        low, high = min(0.0, *self.S.tolist()), max(0.0, *self.S.tolist())
        high = max(high, 0.1 * (high - low)) or 0.5
        title = (
            f"scores of {'the query ' * bool(self.run.trace.meta['tokens'])}{self.run.quoted('queries', self.query)}"
        )
        return Row(
            tuple(self.S.tolist()), "S", 1.02 * low, 1.05 * high, labels=self.run.names["keys"], title=title, **how
        )


def of_run(run: Run) -> TiledRow:
    """The row of a run whose max moves most. Raises ValueError for a run of a kernel, and for one of a single tile."""
    meta = run.trace.meta
    if "kernel" in meta:
        raise ValueError("this film tells the reference's steps, and a kernel takes its exponentials to base 2")
    if meta.get("sinks"):
        raise ValueError("this film tells a softmax without sinks, and this run has one: choose flash2-forward")
    if meta["keys"] == 1:
        raise ValueError("this run has 1 key, and this film tells of two tiles of keys: give an input of more")
    if meta["keys"] <= meta["block_k"]:
        raise ValueError(f"one tile holds all {meta['keys']} keys, and this film needs two: choose a smaller block_k")
    query = moving_most(run.trace)
    tiles = held(run.trace, query)
    S = np.array([s for tile in tiles for s in tile.S], np.float32)
    V = run.trace.initial["V"].astype(np.float32)
    whole = Sum.of(S, V)
    out = tuple(run.trace.outputs["O"][query].tolist())
    return TiledRow(run, query, tiles, S, V, whole, tuple(np.exp(S - whole.m).tolist()), out)


class RowTiles:
    """The row above, m and α beside ℓ and O below, and all that changes of them."""

    def __init__(self, board: Board, data: TiledRow) -> None:
        self.board, self.data, value = board, data, board.value
        self.seen, self.now, self.old, self.old_stop = value(0.0), value((0, 0)), value(None), value(0)
        self.level, self.name, self.start, self.stop = value(None), value(""), value(0), value(0)
        self.m, self.m_how, self.alpha, self.alpha_how, self.lit = (value(x) for x in (-np.inf, "", None, "", ""))
        self.l, self.l_was, self.pieces = value(0.0), value(None), value(_pieces(0.0, 0.0))
        self.O, self.O_was, self.note = value((0.0,) * len(data.out)), value(()), value(NOT_YET)

    def set_up(self) -> None:
        board, data = self.board, self.data
        upper, lower = board.main.rows(*board.pick(wide=(25, 26), square=(30, 29), tall=(25, 22)), gap=36)
        left, right = board.pick(wide=lower.columns(9, 22, gap=48), square=lower.rows(5, 10, gap=28))
        m_box, alpha_box = board.pick(wide=left.rows(2), square=left.columns(2))
        l_box, O_box = right.rows(4, 9, gap=16)
        before = Level(self.old, "", "dim", 9, 0, self.old_stop)
        levels = before, Level(self.level, self.name, "stat", 0, self.start, self.stop)
        tile = data.run.trace.meta["block_k"]
        board.put(data.row(seen=self.seen, now=self.now, tile=tile, levels=levels, margin=MARGIN), upper)
        of, many = data.written(), ("largest score so far", "old sums are multiplied by")
        board.put(Number("m", self.m, self.m_how, many[0], places=of["m"], lit=self.lit), m_box)
        board.put(Number("α", self.alpha, self.alpha_how, many[1], places=of["α"], lit=self.lit), alpha_box)
        bar = Bar("ℓ", self.l, "stat", self.pieces, whole=self.l_was)
        board.put(Bars((bar,), data.longest, f"{{:.{of['ℓ']}f}}", size=HEAD), l_box)
        board.put(Row(self.O, "O", -data.most, data.most, was=self.O_was, title="O", note=self.note), O_box)

    def take(self, j: int, seconds: float = 0.8) -> None:
        self.come(j, seconds)
        self.measure(j)
        self.add(j, seconds)

    def come(self, j: int, seconds: float = 0.8) -> None:
        """The tile's scores appear; what was lit, and left dashed, goes."""
        board, tile = self.board, self.data.tiles[j]
        board.set(self.now.to((tile.start, tile.stop)), self.lit.to(""), self.alpha.to(None), self.alpha_how.to(""))
        board.set(self.l_was.to(None), self.O_was.to(()), self.old.to(None), self.start.to(0), self.m_how.to(""))
        board.set(self.pieces.to(_pieces(self.l.at(board.now), 0.0)), self.stop.to(tile.stop if j else 0))
        board.move(self.seen.to(float(tile.stop)), seconds=seconds)

    def measure(self, j: int) -> None:
        """m and α are written down; a line that has to go up goes first."""
        board, tile, of = self.board, self.data.tiles[j], self.data.written()
        if j == 0:
            board.set(self.level.to(0.0), self.stop.to(tile.stop))
        if self.level.at(board.now) != tile.m:
            board.move(self.level.to(tile.m), seconds=0.5)
        board.set(self.m.to(tile.m), self.name.to(of.fill("m = #", Term("m", tile.m))))
        if j:
            was, now, _ = self.data.terms(j)
            board.set(self.alpha.to(tile.alpha), self.alpha_how.to(of.fill("exp(# − #)", was, now)))
            if was.value < now.value:
                board.set(self.m_how.to(of.fill("# → #", was, now)), self.lit.to("α"))

    def max_moves(self, pace: float = 1.0) -> None:
        """The tile has come: the line goes up to its largest score, and α is written down."""
        board, j = self.board, self.data.moving
        before, tile = self.data.tiles[j - 1], self.data.tiles[j]
        board.set(self.old.to(before.m), self.old_stop.to(tile.start), self.start.to(tile.start), self.name.to(""))
        board.set(self.lit.to("m"))
        board.move(self.level.to(tile.m), seconds=0.9 * pace)
        self.measure(j)

    def old_shrinks(self, pace: float = 1.0) -> None:
        """Nothing else moves: the outlines of what was stay, dashed."""
        board, j = self.board, self.data.moving
        before, tile = self.data.tiles[j - 1], self.data.tiles[j]
        old = tile.alpha * before.l
        board.set(self.l_was.to(before.l), self.O_was.to(before.acc))
        shrink = self.l.to(old), self.O.to(tuple(tile.alpha * x for x in before.acc))
        board.move(*shrink, self.pieces.to(_pieces(old, 0.0)), seconds=1.8 * pace, step="shrunk")

    def add(self, j: int, seconds: float) -> None:
        """The tile's exponentials go to the end of ℓ, and its share on top of O."""
        board, tile = self.board, self.data.tiles[j]
        old = tile.alpha * self.data.tiles[j - 1].l if j else 0.0
        board.set(self.pieces.to(_pieces(old, tile.l - old)), self.l.to(old))
        board.move(self.l.to(tile.l), self.O.to(tile.acc), seconds=seconds, step=("tile", j))

    def finish(self, seconds: float = 1.4) -> None:
        """O becomes what it is: the mean of the values, by weight."""
        board, last = self.board, self.data.tiles[-1]
        board.set(self.now.to((0, 0)), self.O_was.to(last.acc), self.old.to(None), self.start.to(0), self.lit.to(""))
        board.set(self.pieces.to(_pieces(last.l, 0.0)), self.l_was.to(None), self.note.to(DONE))
        board.move(self.O.to(self.data.out), seconds=seconds, step="done")


def against(was: float, now: float) -> float:
    """What is left of a sum when the max moves."""
    return exp(was - now)


def _pieces(old: float, new: float) -> tuple[Piece, Piece]:
    """ℓ: what was summed, and what the tile adds, in the hue of its exponentials."""
    return Piece(old, "stat"), Piece(new, "S")
