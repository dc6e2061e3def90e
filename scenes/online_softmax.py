"""Online softmax: one row of scores, tile by tile; when the largest score moves, all that was summed shrinks by α."""

from typing import Any, NamedTuple

import numpy as np

from flashsteps.filmkit import Board, Box, Film, Made, linear
from flashsteps.filmkit.actors.bars import Bar, Bars, Piece
from flashsteps.filmkit.actors.cards import Panel
from flashsteps.filmkit.actors.number import Number, fill
from flashsteps.filmkit.actors.row import Level, Row
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.wires import Arrow
from flashsteps.filmkit.board import LONGEST_CAPTION
from flashsteps.filmkit.run import Run
from flashsteps.story.row import Held, Sum, held, moving_most
from flashsteps.theme import HEAD

MARGIN = 215  # units at the right of the scores, for the name of the max
NOT_YET, DONE = "summed so far, not divided yet", "divided by ℓ, once"


class OnlineSoftmax(Film):
    title = "Online softmax"

    def storyboard(self, board: Board) -> None:
        data = of_run(Run(board.record("flash2-forward", mask=None, block_q=None, sram=None)))
        if board.short:
            with board.chapter("In short"):
                Tiles(board, data).short()
            return
        with board.chapter("All at once"):
            all_at_once(board, data)
        tiles = Tiles(board, data)
        with board.chapter("Tile by tile"):
            tiles.first()
        if data.moves:
            with board.chapter("The max moves"):
                tiles.shrink()
            with board.chapter("Then the tile is added"):
                tiles.grow()
        with board.chapter("Divide once"):
            tiles.divide()
        with board.chapter("In any order"):
            in_any_order(board, data)


class Data(NamedTuple):
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
    def longest(self) -> float:
        """Of all ℓ that are shown."""
        return 1.02 * max([float(self.whole.l), *(tile.l for tile in self.tiles)])

    @property
    def most(self) -> float:
        return max(abs(x) for tile in self.tiles for x in tile.acc)

    def row(self, **how: Any) -> Row:
        low, high = min(0.0, *self.S.tolist()) * 1.02, max(0.5, *self.S.tolist()) * 1.05
        title = (
            f"scores of {'the query ' * bool(self.run.trace.meta['tokens'])}{self.run.quoted('queries', self.query)}"
        )
        return Row(tuple(self.S.tolist()), "S", low, high, labels=self.run.names["keys"], title=title, **how)


def of_run(run: Run) -> Data:
    meta = run.trace.meta
    if "kernel" in meta:
        raise ValueError("this film tells the reference's steps, and a kernel takes its exponentials to base 2")
    if meta["keys"] <= meta["block_k"]:
        raise ValueError(f"one tile holds all {meta['keys']} keys, and this film needs two: choose a smaller block_k")
    query = moving_most(run.trace)
    tiles = held(run.trace, query)
    S = np.array([s for tile in tiles for s in tile.S], np.float32)
    V = run.trace.initial["V"].astype(np.float32)
    whole = Sum.of(S, V)
    out = tuple(run.trace.outputs["O"][query].tolist())
    return Data(run, query, tiles, S, V, whole, tuple(np.exp(S - whole.m).tolist()), out)


def all_at_once(board: Board, data: Data) -> None:
    """What softmax is without tiles: the largest, the exponentials against it, and their sum, laid end to end."""
    count, largest = len(data.S), data.whole.m
    seen, level, name, summed = board.value(0.0), board.value(None), board.value(""), board.value(0.0)

    def laid(n: float) -> float:
        """The sum of so many exponentials, the last one in part."""
        return sum(data.P[: int(n)]) + (n - int(n)) * sum(data.P[int(n) : int(n) + 1])

    scores, exps, total = board.main.rows(*board.pick(wide=(36, 24, 14), square=(44, 20, 14)), gap=28)
    board.put(data.row(seen=seen, levels=(Level(level, name, dash=9),), margin=MARGIN), scores)
    board.say("Softmax needs the largest score of the row and the sum: so it seems to need all of it.")
    board.move(seen.to(float(count)), seconds=1.8)
    board.set(level.to(0.0))
    board.move(level.to(largest), seconds=0.8)
    board.set(name.to(fill("m = #", largest)))
    board.wait(0.4)
    title, note = "exp(score − m)", "laid end to end: ℓ"
    board.put(Row(data.P, "P", 0, 1.02, seen=summed, places=2, title=title, note=note, margin=MARGIN), exps)
    length: Any = Made(laid, summed)
    pieces = tuple(Piece(p, "S") for p in data.P)
    board.put(Bars((Bar("ℓ", length, "stat", pieces),), data.longest, "{:.2f}", size=HEAD), total)
    board.move(summed.to(float(count)), seconds=2.4, ease=linear)


class Tiles:
    """The row above, m and α beside ℓ and O below, and all that changes of them."""

    def __init__(self, board: Board, data: Data) -> None:
        self.board, self.data, value = board, data, board.value
        self.seen, self.now, self.old, self.old_stop = value(0.0), value((0, 0)), value(None), value(0)
        self.level, self.name, self.start, self.stop = value(None), value(""), value(0), value(0)
        self.m, self.m_how, self.alpha, self.alpha_how, self.lit = (value(x) for x in (-np.inf, "", None, "", ""))
        self.l, self.l_was, self.pieces = value(0.0), value(None), value(_pieces(0.0, 0.0))
        self.O, self.O_was, self.note = value((0.0,) * len(data.out)), value(()), value(NOT_YET)

    # ---- the shots

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
        board.put(Number("m", self.m, self.m_how, "largest score so far", lit=self.lit), m_box)
        board.put(Number("α", self.alpha, self.alpha_how, "old sums are multiplied by", lit=self.lit), alpha_box)
        bar = Bar("ℓ", self.l, "stat", self.pieces, whole=self.l_was)
        board.put(Bars((bar,), data.longest, "{:.2f}", size=HEAD), l_box)
        board.put(Row(self.O, "O", -data.most, data.most, was=self.O_was, title="O", note=self.note), O_box)

    def first(self) -> None:
        """The tiles before the one that moves the max, or all but the last."""
        self.board.clear()
        self.set_up()
        self.board.say("Keep the largest so far, m, and what was summed against it: ℓ and O.")
        for j in range(self.data.moving if self.data.moves else 1):
            self.take(j)

    def shrink(self) -> None:
        """The one moment that the film is about: only then does anything get smaller."""
        factor = f"{self.data.tiles[self.data.moving].alpha:.2f}"
        beaten = f"{self.who} beats the old max."
        self.board.say(beaten if len(beaten) <= LONGEST_CAPTION else "A larger score: the old max is beaten.")
        self.max_moves()
        self.board.say(f"So ℓ and O, summed so far, both shrink to {factor} of themselves.")
        self.old_shrinks()

    def grow(self) -> None:
        j = self.data.moving
        before, tile = self.data.tiles[j - 1], self.data.tiles[j]
        self.board.say("Then the tile is added.")
        self.add(j, seconds=1.6)
        self.board.say(fill("Now ℓ = # + # = #.", tile.alpha * before.l, sum(tile.P), tile.l))

    def divide(self) -> None:
        board, tiles = self.board, self.data.tiles
        after = self.data.moving + 1 if self.data.moves else 1
        what = "The last tile doesn’t" if len(tiles) == after + 1 else "The other tiles don’t"
        unbeaten = len(tiles) > after and all(tile.alpha == 1 for tile in tiles[after:])
        if after < len(tiles):
            board.say(f"{what} beat it: α = 1." if unbeaten else "So on, tile by tile.")
        for j in range(after, len(tiles)):
            self.take(j, seconds=0.7)
        board.say(f"At the end divide by ℓ = {tiles[-1].l:.3f}, once.")
        self.finish()

    def short(self) -> None:
        """The essential motion, in three captions."""
        board, tiles, j = self.board, self.data.tiles, self.data.moving
        self.set_up()
        board.say("Keep the max so far, and sums against it.")
        for n in range(j if self.data.moves else 1):
            self.take(n, seconds=0.35)
        if self.data.moves:
            words = f"{self.who} beats the old max: both sums shrink to {tiles[j].alpha:.2f}."
            board.say(words if len(words) <= 60 else f"The max moves: both sums shrink to {tiles[j].alpha:.2f}.")
            self.max_moves(pace=0.6)
            self.old_shrinks(pace=0.6)
        board.say("Then the tile is added. No score is kept.")
        self.add(j, seconds=0.6)
        for n in range(j + 1, len(tiles)):
            self.take(n, seconds=0.3)
        self.finish(seconds=0.8)

    @property
    def who(self) -> str:
        """The key that beats the old max."""
        tile = self.data.tiles[self.data.moving]
        words = self.data.run.quoted("keys", tile.start + int(np.argmax(tile.S)))
        return words[0].upper() + words[1:] if words.startswith("key") else words

    # ---- what happens in them

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
        board, tile = self.board, self.data.tiles[j]
        if j == 0:
            board.set(self.level.to(0.0), self.stop.to(tile.stop))
        if self.level.at(board.now) != tile.m:
            board.move(self.level.to(tile.m), seconds=0.5)
        board.set(self.m.to(tile.m), self.name.to(fill("m = #", tile.m)))
        if j:
            before = self.data.tiles[j - 1].m
            board.set(self.alpha.to(tile.alpha), self.alpha_how.to(fill("exp(# − #)", before, tile.m)))
            if before < tile.m:
                board.set(self.m_how.to(fill("# → #", before, tile.m)), self.lit.to("α"))

    def max_moves(self, pace: float = 1.0) -> None:
        """The tile comes, the line goes up to its largest score, and α is written down."""
        board, j = self.board, self.data.moving
        before, tile = self.data.tiles[j - 1], self.data.tiles[j]
        self.come(j, seconds=0.9 * pace)
        board.set(self.old.to(before.m), self.old_stop.to(tile.start), self.start.to(tile.start), self.name.to(""))
        board.set(self.lit.to("m"))
        board.move(self.level.to(tile.m), seconds=0.9 * pace)
        self.measure(j)

    def old_shrinks(self, pace: float = 1.0) -> None:
        """Nothing else moves: the outlines of what was stay, dashed."""
        board, j = self.board, self.data.moving
        before, tile = self.data.tiles[j - 1], self.data.tiles[j]
        board.wait(0.3 * pace)
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


def _pieces(old: float, new: float) -> tuple[Piece, Piece]:
    """ℓ: what was summed, and what the tile adds, in the hue of its exponentials."""
    return Piece(old, "stat"), Piece(new, "S")


def in_any_order(board: Board, data: Data) -> None:
    """The row cut in two, and merged in one order and in the other."""
    cut = data.tiles[len(data.tiles) // 2].start
    keys = {"one": slice(0, cut), "two": slice(cut, len(data.S))}
    parts = {name: Sum.of(data.S[some], data.V[some]) for name, some in keys.items()}
    one, two = parts.values()
    merged = {"one, then two": one.merged(two), "two, then one": two.merged(one), "all at once": data.whole}
    same = all(np.allclose([x.l, *x.acc], [data.whole.l, *data.whole.acc], atol=1e-4) for x in merged.values())
    m, most = data.whole.m, 1.02 * max(float(abs(x.acc).max()) for x in (one, two, data.whole))

    def card(title: str, part: Sum, box: Box, sram: bool, now: tuple[Any, Any, Any] | None = None) -> None:
        """A panel with ℓ as a length and O as bars."""
        length, pieces, O = now or (float(part.l), (), tuple(part.acc.tolist()))
        board.put(Panel(title, fill("m = #", part.m), sram=sram), box)
        above, below = Panel.inside(box).rows(2, 3, gap=10)
        ground = "sram" if sram else "panel"
        board.put(Bars((Bar("ℓ", length, "stat", pieces),), data.longest, "{:.3f}", ground=ground), above)
        board.put(Row(O, "O", -most, most, title="O", ground=ground), below)

    board.clear()
    halves, arrows, result, digits = places(board)
    for (name, some), box in zip(keys.items(), halves, strict=True):
        labels = data.run.names["keys"][some]
        card(f"{name}: {labels[0]} … {labels[-1]}", parts[name], box, True)
    board.say("Two parts, merged in either order, are the whole row: so a row may be cut anywhere.", given=same)
    board.wait(1.2)
    for part, box in zip(parts.values(), arrows, strict=True):
        board.put(Arrow(board.pick(wide="right", square="down"), fill("× #", float(part.shrunk(m)))), box)
    board.wait(1.0)
    length, pieces, O, seen = board.value(0.0), board.value(()), board.value(()), board.value(0)
    card("merged", data.whole, result, False, (length, pieces, O))
    rows = tuple((name, f"{x.l:.4f}", f"{x.acc[0]:.3f}") for name, x in merged.items())
    board.put(Table(rows, ("", "ℓ", "first of O"), seen=seen), digits)
    for n, order in enumerate((("one", "two"), ("two", "one"))):
        kept = {name: parts[name].shrunk(m) for name in order}
        first, both = kept[order[0]] * parts[order[0]].acc, merged[f"{order[0]}, then {order[1]}"]
        board.set(length.to(0.0), O.to((0.0,) * len(first)))
        board.set(pieces.to(tuple(Piece(float(kept[x] * parts[x].l), "stat", name=x) for x in order)))
        board.move(length.to(float(kept[order[0]] * parts[order[0]].l)), O.to(tuple(first.tolist())), seconds=0.8)
        board.move(length.to(float(both.l)), O.to(tuple(both.acc.tolist())), seconds=0.8, step=order)
        board.set(seen.to(n + 1))
        board.wait(0.8)
    board.set(seen.to(3))
    board.wait(1.0)


def places(board: Board) -> tuple[list[Box], list[Box], Box, Box]:
    """Where two halves, arrows, what they make, and its digits stand."""
    if board.shape == "wide":
        left, between, middle, right = board.main.columns(51, 14, 52, 54, gap=26)
        halves = left.rows(2, gap=28)
        rows = zip(halves, (0.7, 0.3), strict=True)
        arrows = [Box(between.x, half.y + half.h * at - 60, between.w, 120) for half, at in rows]
        return halves, arrows, middle.rows(1, 3, 1)[1], right.rows(1, 3, 1)[1]
    upper, between, lower, digits = board.main.rows(
        *board.pick(wide=(), square=(27, 8, 27, 16), tall=(27, 8, 27, 14)), gap=14
    )
    return upper.columns(2), between.columns(2), lower, digits
