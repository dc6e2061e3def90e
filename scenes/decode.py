"""Decode: one query, a long cache: keys shared out to programs, results merged; and keys that lie in pages."""

from functools import cache
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from flashsteps.filmkit import Board, Box, Film, Made, linear, shapes
from flashsteps.filmkit.actors.areas import Areas, Crowd
from flashsteps.filmkit.actors.bars import Bar, Bars, Piece
from flashsteps.filmkit.actors.cards import Panel, Text
from flashsteps.filmkit.actors.number import Number
from flashsteps.filmkit.actors.pages import Pages
from flashsteps.filmkit.actors.row import Row
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.wires import Arrow, Wire
from flashsteps.filmkit.input import check_room
from flashsteps.filmkit.places import Stage, below, note, stage, turn
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.tiles import held, made
from flashsteps.machine.devices import MODEL, Device, device
from flashsteps.machine.events import IO
from flashsteps.runs.record import count, record
from flashsteps.story.labels import a
from flashsteps.story.telling import strongest
from flashsteps.theme import BODY, HEAD, LABEL
from flashsteps.units import at_most, number, short, size_of

N, D, BLOCK = 65536, 128, 64  # a long cache, of one head
PIECES = 4  # of the toy
FEW, LINE = 6, 30  # keys, and letters, that are named in a line


class Decode(Film):
    title = "Decode"

    def storyboard(self, board: Board) -> None:
        gpu, place, toy = device(board.option("device", "a100-80gb")), stage(board), toy_of(board)
        if not board.short:
            with board.chapter("One query"):
                asks(board, place, toy)
            with board.chapter("A long cache"):
                cache_of(board, place, gpu)
        with board.chapter("Idle SMs"):
            idle(board, place, gpu)
        if not board.short:
            with board.chapter("One piece"):
                piece(board, place, toy)
            with board.chapter("What it costs"):
                costs(board, place, gpu)
        with board.chapter("The merge"):
            merge(board, place, toy)
        if not board.short:
            with board.chapter("Pages"):
                pages(board, place, toy)
            with board.chapter("The same answer"):
                same(board, place, toy)


class Toy(NamedTuple):
    """The query that looks hardest at a key: over all keys at once, in pieces, and in pages; what they are called."""

    whole: Run
    split: Run
    paged: Run
    keys: tuple[str, ...]
    key: int
    asks: str
    answers: str

    @property
    def block(self) -> int:
        """Keys of a block; a page is two of them."""
        return int(self.split.trace.meta["block_k"])

    @property
    def step(self) -> int:
        """Keys of a piece: whole blocks."""
        return ceil(ceil(len(self.keys) / self.block) / PIECES) * self.block

    @property
    def pieces(self) -> list[range]:
        """The keys of each piece."""
        return [range(k, min(k + self.step, len(self.keys))) for k in range(0, len(self.keys), self.step)]

    def span(self, start: int, stop: int) -> str:
        """These keys by name, or where those are too many for a line, the first and the last."""
        words = "  ".join(self.keys[start:stop])
        return words if stop - start <= FEW and len(words) <= LINE else f"{self.keys[start]} … {self.keys[stop - 1]}"

    @property
    def piece(self) -> int:
        """The piece that holds the key."""
        return self.key // self.step


def toy_of(board: Board) -> Toy:
    """In float32: what differs is what order makes of it."""
    qkv = board.input
    check_room(len(qkv.q), len(qkv.k), qkv.q.shape[1])
    how: dict[str, Any] = {"dtype": "float32", "tokens": qkv.tokens, "source": qkv.source}
    run = Run(record("standard-forward", *qkv, **how))
    row, key = strongest(held(run, "P"))
    one, how = (qkv.q[row : row + 1], qkv.k, qkv.v), {**how, "block_q": 1}
    block = ceil(len(qkv.k) / PIECES / 2)
    whole = record("flash2-forward", *one, block_k=len(qkv.k), **how)
    split = record("split-kv-decode", *one, block_k=block, splits=PIECES, **how)
    paged = record("paged-decode", *one, block_k=2 * block, **how)
    names = run.names["keys"], key, run.quoted("queries", row), run.quoted("keys", key)
    return Toy(Run(whole), Run(split), Run(paged), *names)


@cache
def counted(splits: int) -> IO:
    return count("split-kv-decode", n=1, n_keys=N, d=D, block_q=1, block_k=BLOCK, splits=splits)


def shared(gpu: Device) -> tuple[int, int]:
    """Into how many pieces the keys are cut for this GPU, and how many keys each has."""
    blocks = N // BLOCK
    each = ceil(blocks / gpu.multiprocessors)
    return ceil(blocks / each), each * BLOCK


# ---- shots


def asks(board: Board, place: Stage, toy: Toy) -> None:
    """One row of scores: a query looks back along all keys."""
    S, seen = made(toy.whole, "S")[0][0], board.value(0.0)
    low, high = min(0.0, float(S.min())), float(S.max()) * 1.1
    title = f"the scores of {toy.asks}, one for each key"
    board.put(Row(tuple(S.tolist()), "S", low, high, toy.keys, seen, title=title), place.whole)
    board.say("Writing a token asks one query of all keys so far.")
    note(board, place, f"{toy.asks} stands for the newest token here, and asks all keys of this toy: {len(S)}")
    board.move(seen.to(float(len(S))), seconds=2.4)


def cache_of(board: Board, place: Stage, gpu: Device) -> None:
    """K and V, as long as the cache; and how little is done with each byte."""
    io, grown = counted(1), board.value(0.0)
    K, V, Q = (io.by_tensor[name].read for name in ("K", "V", "Q"))
    bars = tuple(
        Bar(name, Made(lambda u, of=of: of * u, grown), hue, under=under)
        for name, of, hue, under in (
            ("K", K, "K", f"{short(N)} keys"), ("V", V, "V", f"{short(N)} values"), ("q", Q, "Q", "one query")
        )
    )  # fmt: skip
    did = io.work.total / io.total
    upper, lower = place.whole.rows(*board.pick(wide=(5, 2), square=(5, 3), tall=(5, 2)))
    ridge = gpu.tflops / gpu.bandwidth
    words = f"{size_of(K + V)} come in for it, and about one FLOP is done for each byte."
    chart = Bars(bars, float(K), title=f"a cache of {short(N)} keys, one head, d = {D}, fp16: bytes that come in")
    said = below(place, f"{MODEL}; the ridge is where {a(gpu.model)} would no longer wait for its memory")
    turn(board, words, (chart, upper), said, given=0.8 < did < 1.5, grows=(grown.to(1.0),), seconds=1.5)
    for box, (name, value) in zip(lower.columns(2), (("done", did), ("the ridge", ridge)), strict=True):
        board.put(Number("", f"{value:.1f}" if value < 10 else f"{value:.0f}", "FLOPs a byte", name), box)


def idle(board: Board, place: Stage, gpu: Device) -> None:
    """One program for the one query; then one for each piece of its keys: in the same time, as fast each."""
    pieces, each = shared(gpu)
    busy, read, sms = [board.value(0.0) for _ in "ab"], [board.value(0.0) for _ in "ab"], gpu.multiprocessors
    K, V = (counted(1).by_tensor[name].read for name in "KV")
    cut = f"{N // BLOCK:,} blocks of {BLOCK} for {sms} SMs: {each // BLOCK} a piece, {pieces} pieces"
    told = (
        ("one program for the one query", f"1 of {sms} SMs reads all {size_of(K + V)}", (N,)),
        (f"the keys in {pieces} pieces", cut, (each,) * (pieces - 1) + (N - each * (pieces - 1),)),
    )
    first, second = place.whole.rows(2, gap=30)
    pictures = list[list[tuple[Any, Box]]]()
    for n, (box, (title, under, sizes)) in enumerate(zip((first, second), told, strict=True)):
        if board.shape == "wide":
            left, between, right = box.columns(820, 100, 800, gap=28)
            above, below, strips, figure = left.rows(52, 46, 154, 44, gap=8)
        else:
            above, below, strips, right = box.rows(
                *board.pick(wide=(), square=(44, 38, 120, 120), tall=(44, 38, 140, 300)), gap=8
            )
            between, (above, figure) = None, above.columns(11, 9, gap=4)
        part = Made(lambda keys, of=sizes: f"{sum(min(keys, size) for size in of):,.0f} of {N:,} keys read", read[n])
        left_of = Made(lambda keys, of=sizes, box=strips: shapes.strips(keys, of, box), read[n])
        pictures.append([
            (Text(title, HEAD if between else BODY, "ink", 600), above), (Text(under), below),
            (Areas(left_of, strips.w, strips.h), strips),
            (Text(part, BODY if between else LABEL, "ink", align="left" if between else "right"), figure),
            (Crowd(busy[n], sms), right), *([(Arrow(), between)] if between else []),
        ])  # fmt: skip
    words = f"One query is one program, and {sms - 1} SMs stand idle."
    turn(board, f"One query keeps one SM of {sms} busy." if board.short else words, *pictures[0])
    note(board, place, f"each square an SM of {a(gpu.model)}; a model: each reads as fast as any other")
    board.wait(0.3)
    board.set(busy[0].to(1.0))
    board.move(read[0].to(float(each)), seconds=1.2 if board.short else 3.0, ease=linear)
    words = "Cut the keys in pieces, and nearly all SMs read, each a piece."
    board.say(f"Cut the keys: {pieces} SMs read." if board.short else words, given=pieces > 0.8 * sms)
    for actor, box in pictures[1]:
        board.put(actor, box)
    board.wait(0.1 if board.short else 0.5)
    board.move(busy[1].to(float(pieces)), seconds=0.5 if board.short else 0.8)
    board.move(read[1].to(float(each)), seconds=1.2 if board.short else 3.0, ease=linear)
    if not board.short:
        board.say(f"In {pieces} pieces all {N:,} keys are read in the time of {each}.")


def piece(board: Board, place: Stage, toy: Toy) -> None:
    """A piece's blocks of keys stream past its program, as in FlashAttention-2; then it gives what it has."""
    s, run = toy.piece, toy.split
    keys = toy.pieces[s]
    blocks = [j for j in range(ceil(len(toy.keys) / toy.block)) if j * toy.block in keys]

    def values(slot: str) -> list[list[float]]:
        """What the slot was after each block."""
        return [np.ravel(made(run, slot, s=s, j=j)[0]).tolist() for j in blocks]

    S, sums_of, O = sum(values("S"), []), values("acc"), held(run, "O_s")[s].tolist()
    most = 1.05 * max(map(abs, (*sum(sums_of, []), *O)))
    seen, now, m, l, sums = (board.value(x) for x in (0.0, (0, 0), None, None, (0.0,) * len(O)))
    left, bus, right = (place.whole.columns if board.shape == "wide" else place.whole.rows)(
        *board.pick(wide=(1100, 100, 576), square=(9, 1, 5), tall=(9, 1, 4)), gap=10
    )
    inside, out = Panel.inside(left), Panel.inside(right)
    if board.shape == "square":
        scores, beside = inside.columns(2, gap=40)
        figures, lower = beside.rows(2, 5)
        numbers = figures.columns(2)
    else:
        upper, lower = inside.rows(6, 5)
        scores, figures = upper.columns(3, 1)
        numbers = figures.rows(2)
    row = Row(tuple(S), "S", min(0.0, *S), 1.15 * max(S), tuple(toy.keys[k] for k in keys),
              seen, now, toy.block, title="its scores", ground="sram")  # fmt: skip
    pictures = [
        (Panel(f"piece {s}", "a program of its own", sram=True), left), (row, scores),
        (Row(sums, "O", -most, most, title="acc", ground="sram"), lower),
        (Number("m", m), numbers[0]), (Number("ℓ", l), numbers[1]), (Panel("HBM", "its result"), right),
    ]  # fmt: skip
    words = "Each piece is attention over its own keys: it gives an output and an LSE."
    turn(board, words, *pictures)
    note(board, place, f"the toy again: {len(toy.keys)} keys in {len(toy.pieces)} pieces, in blocks of {toy.block}")
    for n, j in enumerate(blocks):
        start = j * toy.block - keys.start
        stop = min(start + toy.block, len(keys))
        board.set(now.to((start, stop)))
        board.move(seen.to(float(stop)), seconds=0.7)
        board.set(m.to(values("m_i")[n][0]), l.to(values("l_i")[n][0]))
        board.move(sums.to(tuple(sums_of[n])), seconds=0.7)
        board.wait(0.3)
    board.put(Arrow(board.pick(wide="right", square="down")), bus)
    above, below = (out.rows if board.shape == "wide" else out.columns)(3, 1 if board.shape == "wide" else 1.2)
    board.put(Row(tuple(O), "O", -most, most, title="O of the piece = acc / ℓ", ground="panel"), above)
    board.put(Number("LSE", float(held(run, "LSE_s")[s, 0]), "m + ln ℓ", bare=True), below)


def costs(board: Board, place: Stage, gpu: Device) -> None:
    """What splitting adds to the traffic."""
    io, grown = counted(gpu.multiprocessors), board.value(0.0)
    kv, extra = (sum(sum(io.by_tensor[name]) for name in names) for names in (("K", "V"), ("O_s", "LSE_s")))
    parts = tuple(Piece(io.by_tensor[name].read, name, name=name) for name in "KV")
    out = tuple(
        Piece(getattr(io.by_tensor[name], way), hue, way == "written")
        for way in ("written", "read") for name, hue in (("O_s", "O"), ("LSE_s", "stat"))
    )  # fmt: skip
    bars = (
        Bar("the cache", Made(lambda u: u * kv, grown), pieces=parts, under="K and V, read once"),
        Bar("partial results", Made(lambda u: u * extra, grown), pieces=out, under="written, then read"),
    )
    pieces, _ = shared(gpu)
    words = f"To store and read the partial results costs {size_of(extra)} more: {extra / kv:.1%}."
    chart = Bars(bars, float(kv), title=f"HBM traffic, {pieces} pieces, to scale")
    said = f"{pieces} outputs of {D} numbers and {pieces} LSEs, in fp32, out and back; {MODEL}"
    pictures = (chart, place.whole.rows(1, 5, 2)[1]), below(place, said)
    turn(board, words, *pictures, grows=(grown.to(1.0),), seconds=1.6)


def merge(board: Board, place: Stage, toy: Toy) -> None:
    """Each piece weighs what its LSE says; the weighted outputs add up to the whole attention."""
    Os, Ls, O = held(toy.split, "O_s"), held(toy.split, "LSE_s")[:, 0], held(toy.split, "O")[0]
    LSE, whole = float(held(toy.split, "LSE")[0, 0]), held(toy.whole, "O")[0]
    weights, most = np.exp(Ls - LSE), 1.05 * float(max(np.abs(Os).max(), np.abs(O).max()))
    grown, sums, wide = [board.value(0.0) for _ in Ls], board.value((0.0,) * len(O)), board.shape == "wide"
    upper, wires, bar, under, lower = place.whole.rows(
        *board.pick(wide=(300, 64, 60, 40, 216), square=(300, 50, 60, 44, 200), tall=(560, 120, 70, 60, 400)), gap=8
    )
    pictures = list[tuple[Any, Box]]()
    for n, (keys, box) in enumerate(
        zip(toy.pieces, upper.columns(len(Ls), gap=board.pick(wide=24, square=14)), strict=True)
    ):
        names = toy.span(keys.start, keys.stop)
        inside = Panel.inside(box)
        parts = inside.rows(*board.pick(wide=(1, 1, 3), square=(1, 2, 2), tall=(1, 2, 3)), gap=6)
        pictures += [
            (Panel(f"piece {n}", f"LSE {number(Ls[n])}" if wide else "", sram=True), box),
            (Text(names if wide else f"LSE {number(Ls[n])}", color="dim" if wide else "stat"), parts[0]),
            (
                Text(
                    f"weight e^{{{number(Ls[n])} − {number(LSE)}}} = {weights[n]:.2f}"
                    if wide
                    else f"weighs {weights[n]:.2f}",
                    color="ink",
                ),
                parts[1],
            ),
            (Row(tuple(Os[n].tolist()), "O", -most, most, ground="sram"), parts[2]),
        ]
    length = Made(lambda *shown: shapes.weights(tuple(weights.tolist()), shown, bar), *grown)
    pictures.append((Areas(length, bar.w, bar.h), bar))
    words = "Each piece says how much it weighs: its LSE. The weighted sum is the whole attention."
    apart = float(np.abs((weights[:, None] * Os).sum(axis=0) - whole).max())
    if board.short:
        words = "Each piece’s LSE says what it weighs."
    turn(board, words, *pictures, given=apart < 1e-2 and abs(float(weights.sum()) - 1) < 1e-3)
    board.put(Text(f"weight of a piece = exp(its LSE − LSE of all), together 1; LSE of all: {number(LSE)}"), under)
    lies = f"{toy.asks} asks; {toy.answers} lies in piece {toy.piece}"
    note(board, place, f"{lies}; the sum is as over all keys at once, to {at_most(apart)}")
    board.put(Row(sums, "O", -most, most, title="O, the weighted sum"), lower)
    ends, at = np.cumsum(weights), np.zeros(len(O))
    for n, weight in enumerate(weights):
        start, stop = (n + 0.5) / len(weights), float(ends[n] - weight / 2)
        board.put(Wire((start, 0.0), (min(0.998, stop), 1.0)), wires, fade=0.2)
        at = at + weight * Os[n]
        board.move(grown[n].to(1.0), seconds=0.3 if board.short else 0.7)
        board.move(sums.to(tuple(at.tolist())), seconds=0.3 if board.short else 0.7)
        board.wait(0.0 if board.short else 0.2)
    board.set(sums.to(tuple(O.tolist())))


def pages(board: Board, place: Stage, toy: Toy) -> None:
    """A table says in which page of the pool each page of the sequence lies."""
    trace, at, step = toy.paged.trace, board.value(0), board.value(0.0)
    table, page = tuple(int(n) for n in trace.initial["table"]), int(trace.meta["block_k"])
    spans = ((k, min(k + page, len(toy.keys))) for k in range(0, len(toy.keys), page))
    names = tuple(toy.span(*some) for some in spans)
    K, V = (tuple(map(tuple, np.asarray(trace.initial[name], float).tolist())) for name in "KV")
    told = len(table) - 1
    last = min((told + 1) * page, len(toy.keys)) - 1
    of = f"keys {told * page} to {last} come from page {table[told]} of the pool"
    words = f"The table says where each page lies: {of}."
    turn(board, words, (Pages(names, table, K, V, page, at, step), place.whole))
    looked = next(e.nbytes for e in trace if e.tile and e.tile.tensor == "table")
    note(board, place, f"hatched: pages of other sequences; each lookup is {looked} B of traffic")
    for n in range(len(table)):
        board.set(at.to(n), step.to(0.0))
        for goal in (1.0, 2.0):
            board.wait(0.8 if n == told else 0.45)
            board.set(step.to(goal))
        board.wait(1.0 if n == told else 0.4)


def same(board: Board, place: Stage, toy: Toy) -> None:
    """The output of all three, one below the other, and its first digits."""
    ways = {"all keys at once": toy.whole, f"in {len(toy.pieces)} pieces": toy.split, "in pages": toy.paged}
    found, seen = [held(run, "O")[0] for run in ways.values()], board.value(0)
    apart, most = (float(max(np.abs(O - of).max() for O in found)) for of in (found[0], 0.0))
    many = min(3, len(found[0]))
    left, right = place.whole.columns(5, 4, gap=72) if board.shape == "wide" else place.whole.rows(3, 2)
    rows = tuple((name, *(number(x, 4, 7) for x in O[:many])) for name, O in zip(ways, found, strict=True))
    table = Table(rows, ("", *(f"O_{{{n}}}" for n in range(many))), seen=seen)
    words = "Split or paged, the answer is the same, to rounding."
    at = right.rows(1, 3, 1)[1] if board.shape == "wide" else right
    turn(board, words, (table, at), given=apart < 1e-2)
    rest = f"digits: the first {many} of {len(found[0])} numbers of O, in fp32"
    note(board, place, f"{rest}; over all of them the three differ by {at_most(apart)} at most")
    for n, (name, O, box) in enumerate(zip(ways, found, left.rows(3, gap=30), strict=True)):
        board.put(Row(tuple(O.tolist()), "O", -most, most, title=f"O, {name}"), box)
        board.set(seen.to(n + 1))
        board.wait(0.9)
