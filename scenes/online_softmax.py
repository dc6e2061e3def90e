"""Online softmax: one row of scores, tile by tile; when the largest score moves, all that was summed shrinks by α."""

from typing import Any, NamedTuple

import numpy as np

from flashsteps.filmkit import Board, Film, Made, linear
from flashsteps.filmkit.actors.bars import Bar, Bars, Piece
from flashsteps.filmkit.actors.cards import Panel
from flashsteps.filmkit.actors.number import Number, fill
from flashsteps.filmkit.actors.row import Level, Row
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.wires import Arrow
from flashsteps.filmkit.actors.writing import numbered
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.input import check_room
from flashsteps.inputs.qkv import QKV
from flashsteps.runs.arguments import small_block
from flashsteps.runs.record import record
from flashsteps.theme import HEAD

MARGIN = 215  # units at the right of the scores, for the name of the max
NOT_YET, DONE = "summed so far, not divided yet", "divided by ℓ, once"


class OnlineSoftmax(Film):
    title = "Online softmax"

    def storyboard(self, board: Board) -> None:
        data = chosen(board.input, board.option("block_k"))
        if not board.short:
            with board.chapter("All at once"):
                all_at_once(board, data)
        row = Playing(board, data)
        if board.short:
            with board.chapter("In short"):
                row.short()
            return
        with board.chapter("Tile by tile"):
            row.first_tiles()
        with board.chapter("The max moves" if data.moves else "The other tiles"):
            row.shrink() if data.moves else row.others()
        if data.moves:
            with board.chapter("Then the tile is added"):
                row.grow()
        with board.chapter("Divide once"):
            row.divide()
        with board.chapter("In any order"):
            in_any_order(board, data)


# ---- what is shown


class Tile(NamedTuple):
    """What one query's program holds after a tile of keys: its keys, their S and P; m, α, ℓ and acc."""

    start: int
    stop: int
    S: tuple[float, ...]
    m: float
    alpha: float
    P: tuple[float, ...]
    l: float
    acc: tuple[float, ...]


class Data(NamedTuple):
    """One query's row: the tiles as FlashAttention-2 sees them, and the whole row seen at once."""

    qkv: QKV
    query: int
    block_k: int
    tiles: list[Tile]
    whole: Tile
    out: tuple[float, ...]
    labels: tuple[str, ...]
    words: list[str]

    @property
    def moving(self) -> int:
        """The tile that moves the max most."""
        return min(range(1, len(self.tiles)), key=lambda j: self.tiles[j].alpha)

    @property
    def moves(self) -> bool:
        return self.tiles[self.moving].alpha < 1

    @property
    def longest(self) -> float:
        return max(tile.l for tile in [*self.tiles, self.whole]) * 1.02

    @property
    def most(self) -> float:
        return max(abs(x) for tile in [*self.tiles, self.whole] for x in tile.acc)

    def row(self, **how: Any) -> Row:
        """All scores of the query."""
        scores = self.whole.S
        title = f"scores of the query {self.words[-1]}"
        low, high = min(0.0, *scores) * 1.02, max(0.5, *scores) * 1.05
        return Row(scores, "S", low, high, labels=self.labels, title=title, **how)


def chosen(qkv: QKV, block_k: int | None) -> Data:
    """The row of the query whose max moves most after its first tile: there is most to see."""
    (N, d), M = qkv.q.shape, len(qkv.k)
    check_room(N, M, d)
    block_k = block_k or small_block(M)
    if block_k >= M:
        raise ValueError(f"block_k={block_k} makes one tile of {M} keys, and this film needs two or more: choose less")
    starts, scores = range(0, M, block_k), qkv.q @ qkv.k.T / np.sqrt(d)
    running = np.maximum.accumulate(np.maximum.reduceat(scores, starts, axis=1), axis=1)
    query = int(np.diff(running, axis=1).max(axis=1).argmax())
    (whole,), out = row_of(qkv, query, M)
    tokens = qkv.tokens or ()
    keys, asked = tokens[max(0, N - M) :][:M], tokens[max(0, M - N) :][query : query + 1]
    labels = numbered(keys) if keys else tuple(map(str, range(M)))
    words = [_quoted(token) for token in keys] if keys else [f"key {k}" for k in range(M)]
    words.append(_quoted(asked[0]) if asked else str(query))
    return Data(qkv, query, block_k, row_of(qkv, query, block_k)[0], whole, out, labels, words)


def row_of(qkv: QKV, query: int, block_k: int, keys: slice = slice(None)) -> tuple[list[Tile], tuple[float, ...]]:
    """A run of one query over its keys, or some of them: its tiles, and its output."""
    run = record("flash2-forward", qkv.q[query : query + 1], qkv.k[keys], qkv.v[keys], block_q=1, block_k=block_k)
    held: dict[int, dict[str, Any]] = {}
    for event in run:
        if event.op == "compute" and "j" in event.loop:
            value = run.values[event.step][0]
            held.setdefault(event.loop["j"], {})[str(event.slot)] = (
                tuple(value.tolist()) if value.ndim else float(value)
            )
    tiles, at = [], 0
    for _, x in sorted(held.items()):
        tiles.append(Tile(at, at + len(x["S"]), x["S"], x["m_i"], x["alpha"], x["P"], x["l_i"], x["acc"]))
        at = tiles[-1].stop
    return tiles, tuple(run.outputs["O"][0].tolist())


def _quoted(token: str) -> str:
    return f"“{token if len(token) <= 10 else token[:9] + '…'}”"


# ---- the whole row


def all_at_once(board: Board, data: Data) -> None:
    whole, margin = data.whole, MARGIN
    seen, level, name, summed = board.value(0.0), board.value(None), board.value(""), board.value(0.0)

    def laid(count: float) -> float:
        """The sum of so many exponentials, the last one in part."""
        full = int(count)
        return sum(whole.P[:full]) + (count - full) * sum(whole.P[full : full + 1])

    scores, exps, total = board.main.rows(*board.pick(wide=(36, 24, 14), square=(44, 20, 14)), gap=28)
    board.put(data.row(seen=seen, levels=(Level(level, name, dash=9),), margin=margin), scores)
    board.say("Softmax needs the largest score of the row and the sum: so it seems to need all of it.")
    board.move(seen.to(float(len(whole.S))), seconds=1.8)
    board.set(level.to(0.0))
    board.move(level.to(whole.m), seconds=0.8)
    board.set(name.to(fill("m = #", whole.m)))
    board.wait(0.4)
    title, note = "exp(score − m)", "laid end to end: ℓ"
    board.put(Row(whole.P, "P", 0, 1.02, seen=summed, places=2, title=title, note=note, margin=margin), exps)
    bar: Any = Bar("ℓ", Made(laid, summed), "stat", tuple(Piece(p, "S") for p in whole.P))
    board.put(Bars((bar,), data.longest, "{:.2f}", size=HEAD), total)
    board.move(summed.to(float(len(whole.P))), seconds=2.4, ease=linear)
    board.read()


# ---- tile by tile


class Playing:
    """The row above, m and α beside ℓ and O below, and all that changes of them."""

    def __init__(self, board: Board, data: Data) -> None:
        self.board, self.data = board, data
        value, nothing = board.value, (0.0,) * len(data.out)
        self.seen, self.now, self.old, self.old_stop = value(0.0), value((0, 0)), value(None), value(0)
        self.level, self.name, self.start, self.stop = value(None), value(""), value(0), value(0)
        self.m, self.m_how, self.alpha, self.alpha_how, self.lit = (value(x) for x in (-np.inf, "", None, "", ""))
        self.l, self.l_was, self.pieces = value(0.0), value(None), value((Piece(0.0, "stat"), Piece(0.0, "S")))
        self.O, self.O_was, self.note = value(nothing), value(()), value(NOT_YET)

    def set_up(self) -> None:
        board, data = self.board, self.data
        upper, lower = board.main.rows(*board.pick(wide=(25, 26), square=(30, 29), tall=(25, 22)), gap=36)
        left, right = board.pick(wide=lower.columns(9, 22, gap=48), square=lower.rows(5, 10, gap=28))
        m_box, alpha_box = board.pick(wide=left.rows(2), square=left.columns(2))
        l_box, O_box = right.rows(4, 9, gap=16)
        levels = (
            Level(self.old, "", "dim", 9, 0, self.old_stop),
            Level(self.level, self.name, "stat", 0, self.start, self.stop),
        )
        board.put(data.row(seen=self.seen, now=self.now, tile=data.block_k, levels=levels, margin=MARGIN), upper)
        board.put(Number("m", self.m, self.m_how, "largest score so far", lit=self.lit), m_box)
        board.put(Number("α", self.alpha, self.alpha_how, "old sums are multiplied by", lit=self.lit), alpha_box)
        bar = Bar("ℓ", self.l, "stat", self.pieces, whole=self.l_was)
        board.put(Bars((bar,), data.longest, "{:.2f}", size=HEAD), l_box)
        board.put(Row(self.O, "O", -data.most, data.most, was=self.O_was, title="O", note=self.note), O_box)

    def first_tiles(self) -> None:
        self.board.clear()
        self.set_up()
        self.board.say("Keep the largest so far, m, and what was summed against it: ℓ and O.")
        for j in range(self.data.moving if self.data.moves else 1):
            self.come(j)
            self.measure(j)
            self.add(j)

    def short(self) -> None:
        """The essential motion, in three captions."""
        board, data = self.board, self.data
        self.set_up()
        board.say("Keep the largest score so far, m, and the sums against it.")
        for j in range(data.moving if data.moves else 1):
            self.come(j, seconds=0.5)
            self.measure(j)
            self.add(j, seconds=0.6)
        if data.moves:
            tile = data.tiles[data.moving]
            board.say(f"{self.who} beats the old max: both sums shrink to {tile.alpha:.2f}.")
            self.old_shrinks(0.8)
            board.say("Then the tile is added. No score is kept.")
            self.add(data.moving)
        self.rest(data.moving + 1 if data.moves else 1, seconds=0.4)
        self.finish(1.0)

    @property
    def who(self) -> str:
        """The key that beats the old max."""
        tile = self.data.tiles[self.data.moving]
        who = self.data.words[tile.start + tile.S.index(max(tile.S))]
        return who if who[0] == "“" else who.capitalize()

    def shrink(self) -> None:
        """The one moment that the film is about: only then does anything get smaller."""
        tile = self.data.tiles[self.data.moving]
        shrink = f"ℓ and O, summed so far, both shrink to {tile.alpha:.2f} of themselves"
        self.board.say(f"{self.who} beats the old max: {shrink}.")
        self.old_shrinks(1.0)

    def old_shrinks(self, pace: float) -> None:
        board, j = self.board, self.data.moving
        before, tile = self.data.tiles[j - 1], self.data.tiles[j]
        self.come(j, seconds=0.9 * pace)
        board.set(self.old.to(before.m), self.old_stop.to(tile.start), self.start.to(tile.start), self.name.to(""))
        board.set(self.lit.to("m"))
        board.move(self.level.to(tile.m), seconds=0.9 * pace)
        self.measure(j)
        board.wait(1.0 * pace)
        shrunk, pieces = tile.alpha * before.l, self.pieces
        board.set(self.l_was.to(before.l), self.O_was.to(before.acc))
        shrink = self.l.to(shrunk), self.O.to(tuple(tile.alpha * x for x in before.acc))
        board.move(*shrink, pieces.to((Piece(shrunk, "stat"), Piece(0.0, "S"))), seconds=1.8 * pace, step="shrunk")

    def grow(self) -> None:
        board, j = self.board, self.data.moving
        tile = self.data.tiles[j]
        before, added = tile.alpha * self.data.tiles[j - 1].l, sum(tile.P)
        board.say(fill("Then the tile is added: ℓ = # + # = #.", before, added, tile.l))
        board.wait(0.6)
        self.add(j, seconds=1.6)

    def divide(self) -> None:
        board, tiles = self.board, self.data.tiles
        after = self.data.moving + 1
        words = "At the end"
        if after < len(tiles):
            beaten = any(tile.alpha < 1 for tile in tiles[after:])
            last = "The last tile doesn’t" if len(tiles) == after + 1 else "The other tiles don’t"
            words = "The other tiles come. At the end" if beaten else f"{last} beat it: α = 1. At the end"
        board.say(f"{words} divide by ℓ = {tiles[-1].l:.3f}, once.")
        self.rest(after)
        board.wait(0.5)
        self.finish()

    def others(self) -> None:
        self.board.say("No later tile beats the first one’s max: α = 1, and nothing shrinks.")
        self.rest(1)

    def rest(self, start: int, seconds: float = 0.7) -> None:
        for j in range(start, len(self.data.tiles)):
            self.come(j, seconds)
            self.measure(j)
            self.add(j, seconds)

    # ---- what each tile does

    def come(self, j: int, seconds: float = 0.8) -> None:
        """Its scores appear; what was lit and left dashed goes."""
        tile, board = self.data.tiles[j], self.board
        board.set(self.now.to((tile.start, tile.stop)), self.lit.to(""), self.alpha.to(None), self.alpha_how.to(""))
        board.set(self.l_was.to(None), self.O_was.to(()), self.old.to(None), self.start.to(0), self.m_how.to(""))
        board.set(self.pieces.to((Piece(self.l.at(board.now), "stat"), Piece(0.0, "S"))))
        if j:
            board.set(self.stop.to(tile.stop))
        board.move(self.seen.to(float(tile.stop)), seconds=seconds)

    def measure(self, j: int) -> None:
        """m and α are written down."""
        tile, board = self.data.tiles[j], self.board
        if j == 0:
            board.set(self.level.to(0.0), self.stop.to(tile.stop))
            board.move(self.level.to(tile.m), seconds=0.6)
        elif self.level.at(board.now) != tile.m:
            board.move(self.level.to(tile.m), seconds=0.6)
        board.set(self.m.to(tile.m), self.name.to(fill("m = #", tile.m)))
        if j:
            before = self.data.tiles[j - 1].m
            board.set(self.alpha.to(tile.alpha), self.alpha_how.to(fill("exp(# − #)", before, tile.m)))
            if before < tile.m:
                board.set(self.m_how.to(fill("# → #", before, tile.m)), self.lit.to("α"))

    def add(self, j: int, seconds: float = 0.9) -> None:
        """The tile's exponentials at the end of ℓ, its share on top of O."""
        tile, board = self.data.tiles[j], self.board
        old = tile.l - sum(tile.P)
        board.set(self.pieces.to((Piece(old, "stat"), Piece(sum(tile.P), "S"))))
        if self.data.tiles[max(0, j - 1)].m < tile.m:
            board.set(self.l.to(old))
        board.move(self.l.to(tile.l), self.O.to(tile.acc), seconds=seconds, step=("tile", j))

    def finish(self, seconds: float = 1.4) -> None:
        """O becomes what it is: the weighted mean of the values."""
        board, last = self.board, self.data.tiles[-1]
        board.set(self.now.to((0, 0)), self.O_was.to(last.acc), self.old.to(None), self.start.to(0))
        board.set(self.pieces.to((Piece(last.l, "stat"), Piece(0.0, "S"))), self.note.to(DONE))
        board.move(self.O.to(self.data.out), seconds=seconds, step="done")


# ---- two halves


class Sum(NamedTuple):
    """m, ℓ and acc of some keys; two of them make one, each shrunk to the larger max."""

    m: float
    l: np.float32
    acc: np.ndarray

    def __add__(self, other: tuple[Any, ...]) -> "Sum":
        m = max(self.m, other[0])
        a, b = (np.exp(np.float32(x - m)) for x in (self.m, other[0]))
        return Sum(m, a * self.l + b * other[1], a * self.acc + b * other[2])


def in_any_order(board: Board, data: Data) -> None:
    """The row cut in two, and merged in one order and in the other."""
    M, d = len(data.whole.S), len(data.out)
    cut = data.block_k * (len(data.tiles) // 2)
    ends = {"one": slice(0, cut), "two": slice(cut, M)}
    parts = {}
    for name, keys in ends.items():
        last = row_of(data.qkv, data.query, data.block_k, keys)[0][-1]
        parts[name] = Sum(last.m, np.float32(last.l), np.array(last.acc, np.float32))
    one, two = parts.values()
    whole = Sum(data.whole.m, np.float32(data.whole.l), np.array(data.whole.acc, np.float32))
    merged = {"one, then two": one + two, "two, then one": two + one, "all at once": whole}
    near = all(
        np.allclose(x.acc, whole.acc, atol=1e-4) and np.isclose(x.l, whole.l, atol=1e-4) for x in merged.values()
    )
    m = merged["one, then two"].m
    shares = {name: float(np.exp(x.m - m)) for name, x in parts.items()}
    kept = {name: shares[name] * float(x.l) for name, x in parts.items()}
    longest, most = data.longest, max(float(np.abs(x.acc).max()) for x in (one, two, whole)) * 1.02
    rows = tuple((name, f"{x.l:.4f}", f"{x.acc[0]:.3f}") for name, x in merged.items())

    board.clear()
    halves, arrows, result, digits = places(board)
    for (name, keys), box in zip(ends.items(), halves, strict=True):
        labels = data.labels[keys]
        title = f"{name}: {labels[0]} … {labels[-1]}"
        card(board, Panel(title, fill("m = #", parts[name].m), sram=True), box, parts[name], longest, most)
    board.say("Two parts, merged in either order, are the whole row: so a row may be cut anywhere.", given=near)
    board.wait(1.2)
    for name, box in zip(ends, arrows, strict=True):
        down = board.pick(wide="right", square="down")
        board.put(Arrow(down, fill("× #", shares[name])), box)
    board.wait(1.0)
    length, order = board.value(0.0), board.value(("one", "two"))
    pieces = board.value(tuple(Piece(kept[name], "stat", name=name) for name in ("one", "two")))
    O = board.value((0.0,) * d)
    seen = board.value(0)
    card(board, Panel("merged", fill("m = #", m)), result, merged["one, then two"], longest, most, (length, pieces, O))
    board.put(Table(rows, ("", "ℓ", "O"), seen=seen), digits)
    for n, (name, x) in enumerate(list(merged.items())[:2]):
        both = ("one", "two") if n == 0 else ("two", "one")
        board.set(order.to(both), length.to(0.0), O.to((0.0,) * d))
        board.set(pieces.to(tuple(Piece(kept[part], "stat", name=part) for part in both)))
        first = shares[both[0]] * parts[both[0]].acc
        board.move(length.to(kept[both[0]]), O.to(tuple(first.tolist())), seconds=0.8)
        board.move(length.to(float(x.l)), O.to(tuple(x.acc.tolist())), seconds=0.8, step=name)
        board.set(seen.to(n + 1))
        board.wait(0.8)
    board.set(seen.to(3))
    board.wait(1.0)


def places(board: Board) -> tuple[list[Box], list[Box], Box, Box]:
    """Where two halves, arrows, what they make and its digits stand."""
    if board.shape == "wide":
        left, between, middle, right = board.main.columns(51, 14, 52, 54, gap=26)
        halves = left.rows(2, gap=28)
        arrows = [
            Box(between.x, box.y + box.h * at - 60, between.w, 120)
            for box, at in zip(halves, (0.75, 0.25), strict=True)
        ]
        return halves, arrows, middle.rows(1, 3, 1)[1], right.rows(1, 3, 1)[1]
    upper, between, lower, digits = board.main.rows(
        *board.pick(square=(27, 8, 27, 15), wide=(1,), tall=(27, 8, 27, 14)), gap=14
    )
    return upper.columns(2), between.columns(2), lower, digits


def card(board: Board, panel: Panel, box: Box, part: Sum, longest: float, most: float, changing: Any = None) -> None:
    """A panel with ℓ as a length and O as bars."""
    length, pieces, O = changing or (float(part.l), (), tuple(part.acc.tolist()))
    board.put(panel, box)
    above, below = Panel.inside(box).rows(2, 3, gap=10)
    board.put(
        Bars((Bar("ℓ", length, "stat", pieces),), longest, "{:.3f}", ground="sram" if panel.sram else "panel"), above
    )
    board.put(Row(O, "O", -most, most, title="O"), below)
