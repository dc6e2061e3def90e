"""Backward: P is made again from Q, K and LSE, which costs products and saves bytes; and which program owns what."""

from typing import Any

import numpy as np

from flashsteps.filmkit import Board, Box, Film, Made, crossings, shapes
from flashsteps.filmkit.actors.areas import Area, Areas
from flashsteps.filmkit.actors.cards import Panel, Text
from flashsteps.filmkit.actors.equation import Equation, Tile
from flashsteps.filmkit.actors.formula import Formula, Term
from flashsteps.filmkit.actors.matrix import Matrix, Region, grid
from flashsteps.filmkit.actors.wires import Arrow
from flashsteps.filmkit.input import check_own_mask, check_room
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.tiles import blocks, held, made, rows, span, whole
from flashsteps.machine.devices import MODEL, device
from flashsteps.runs.arguments import small_block
from flashsteps.runs.record import count, record
from flashsteps.story.labels import a
from flashsteps.story.telling import strongest
from flashsteps.theme import BODY, HEAD, TITLE, hue
from flashsteps.units import at_most, number, short, size_of, time_of

N, D, TILE_S, TILE_F = 1024, 64, (128, 128), (128, 64)  # a real head, and tiles


class Backward(Film):
    title = "Backward"

    def storyboard(self, board: Board) -> None:
        run, place = recorded(board, "flash2-backward"), stage(board)
        if not board.short:
            with board.chapter("What it needs"):
                needed(board, place, run)
        with board.chapter("P, made again"):
            again(board, place, run)
        if not board.short:
            with board.chapter("D"):
                sums(board, place, run)
            with board.chapter("From P to dS"):
                scores(board, place, run)
            with board.chapter("Sums over tiles"):
                grow(board, place, run)
        with board.chapter("What it saves"):
            trade(board, place, recorded(board, "standard-backward"))
        if not board.short:
            with board.chapter("Who owns what"):
                owners(board, place, run)
            with board.chapter("The same gradients"):
                same(board, place, run)


def recorded(board: Board, algorithm: str, **how: Any) -> Run:
    """A backward pass on the input. What the loss sent back is known of a training step alone: else dO is at random."""
    qkv, dO = board.input, known(board)
    (N, d), M = qkv.q.shape, len(qkv.k)
    check_room(N, M, d)
    check_own_mask(qkv, {"mask": None})
    block_q, block_k = board.option("block_q", small_block(N)), board.option("block_k", small_block(M))
    dtype = board.option("dtype", qkv.own.get("dtype"))
    how = qkv.options | {"block_q": block_q, "block_k": block_k, "dtype": dtype, **how}
    dO = np.random.default_rng(0).standard_normal((N, d)).astype(qkv.q.dtype) if dO is None else dO
    return Run(record(algorithm, *qkv, do=dO, **how))


def known(board: Board) -> np.ndarray | None:
    """The gradient of O that came in a step of training, where the input is a head of one."""
    found: np.ndarray | None = getattr(board.input, "do", None)
    return found


def hardest(run: Run) -> tuple[int, int, int, int]:
    """The query that looks hardest at a key, that key, and the blocks that both are in."""
    row, key = strongest(whole(run, "P"))
    return row, key, row // run.trace.meta["block_q"], key // run.trace.meta["block_k"]


def alike(a: np.ndarray, b: np.ndarray, to: float = 1e-3) -> bool:
    """Up to a share of the largest number."""
    return bool(np.abs(a - b).max() <= to * np.abs(b).max())


def texture(values: np.ndarray, name: str, title: str = "", like: np.ndarray | None = None, **how: Any) -> Matrix:
    """A matrix without numbers, on the scale of another one that it is a part of."""
    like = values if like is None else like
    how = {"numbers": False, **how}
    return Matrix(grid(values), name, float(like.min()), float(like.max()), title or name, **how)


# ---- shots


def needed(board: Board, place: Stage, run: Run) -> None:
    """What lies in HBM after the forward pass; dO comes; and P isn't there."""
    board.put(Panel("HBM", "what the forward pass left, and dO"), place.whole)
    names, grown = ("Q", "K", "V", "O", "LSE"), board.value(0.0)
    first, *boxes, last, none = Panel.inside(place.whole).columns(*board.pick(
        wide=(18, 11, 11, 11, 6, 11, 13), square=(17, 10, 10, 10, 8, 10, 13)
    ), gap=board.pick(wide=28, square=16))  # fmt: skip
    for name, box in zip(names, (first, *boxes), strict=True):
        labels = run.names["queries"] if name == "Q" else ()
        board.put(texture(held(run, name), name, rows=labels), box)
    board.put(texture(held(run, "dO"), "dO", seen=grown), last)
    board.say("To find dQ, dK and dV the backward pass needs P, the weights, again.")
    drawn = "would change with each number of O; here it is drawn at random, seed 0"
    note(board, place, f"dO says how the loss {drawn if known(board) is None else 'changes with each number of O'}")
    board.move(grown.to(float(len(held(run, "dO")))), seconds=1.4)
    board.put(missing(none), none)


def missing(box: Box) -> Areas:
    """The outline of what isn't there."""
    return Areas((Area(0, 0, box.w, box.h, "dim", "P", "not kept", open=True),), box.w, box.h)


def again(board: Board, place: Stage, run: Run) -> None:
    """One tile of P, from one of Q, one of K, and one number a row."""
    row, key, i, j = hardest(run)
    some, of = rows(run, i), rows(run, j, "keys")
    S, P = (made(run, slot, i=i, j=j)[0] for slot in "SP")
    (r, c), lse = (row - some.start, key - of.start), held(run, "LSE")[some]
    if board.shape == "wide":
        hbm, bus, sram = place.whole.columns(764, 64, 948, gap=0)
    else:
        hbm, bus, sram = place.whole.rows(*board.pick(wide=(), square=(236, 46, 459), tall=(600, 90, 700)), gap=0)
    frames = {"Q": some, "LSE": some, "K": of}
    inside = Panel.inside(hbm).columns(346, 118, 62, 128, gap=18)
    pictures: list[tuple[Any, Box]] = [(Panel("HBM", "what the forward pass left"), hbm)]
    for name, box in zip(("Q", "K", "LSE"), inside, strict=False):
        data = held(run, name)
        region = Region(frames[name].start, frames[name].stop, 0, data.shape[1])
        labels = run.names["queries"] if name == "Q" else ()
        pictures.append((texture(data, name, rows=labels, frames=(region,), lit=(region,)), box))
    pictures += [(missing(inside[3]), inside[3]), (Panel("SRAM", "made here, used here", sram=True), sram)]
    words = "P is not fetched: exp(S − LSE) makes it again, from Q, K and one number a row."
    if board.short:
        words = "P is not fetched: it is made again, from Q, K and LSE."
    turn(board, words, *pictures)
    kept = run.quoted("keys", key), run.quoted("queries", row)
    note(board, place, f"softmax of the same scores gives the same weights, to {at_most(worst(run))}: LSE is enough")
    parts, gap = board.pick(wide=((3, 9, 2), 24), square=((0, 62, 10), 6), tall=((3, 8, 2), 24))
    slots, body, below = Panel.inside(sram).rows(*parts, gap=gap)
    there = {name: board.value(0.0) for name in ("LSE", "S", "P")}
    equation = Equation((
        Tile(grid(S), "S", *span(run, "S"), "S = QK^{T} / √d", "", run.names["keys"][of], 1, there["S"]),
        Tile(grid(lse), "LSE", *span(run, "LSE"), "LSE", "−", places=1, seen=there["LSE"]),
        Tile(grid(P), "P", 0, 1, "P = exp(S − LSE)", "→", run.names["keys"][of], seen=there["P"]),
    ), run.names["queries"][some])  # fmt: skip
    board.put(equation, body, fade=0)
    for name, slot in zip(("Q", "K", "LSE"), (*slots.columns(2, gap=60), None), strict=True):
        part = texture(held(run, name)[frames[name]], name, like=held(run, name))
        travel(board, part, bus, 0.5 if board.short else 0.7)
        if slot is None:
            board.set(there["LSE"].to(1.0))
        elif board.shape != "square":  # which has no room for them
            board.put(texture(held(run, name)[frames[name]], name, name.lower(), held(run, name), base="sram"), slot, 0)
    for name in "SP":
        board.move(there[name].to(1.0), seconds=0.8)
        board.wait(0.2)
    left, right = below.columns(5, 7) if board.shape == "wide" else below.columns(5, 8)
    how = f"e^{{{number(S[r, c])} − {number(float(lse[r, 0]))}}} = {number(P[r, c])}"
    board.put(Text(how, HEAD, "ink", 500, mono=True, middle=True), left)
    board.put(Text(f"the weight of {kept[0]} for {kept[1]}", middle=True), right)


def worst(run: Run) -> float:
    """How far P, made again, is from the softmax of the same scores."""
    S, P = whole(run, "S"), whole(run, "P")
    weights = np.exp(S - S.max(axis=1, keepdims=True))
    return float(np.abs(weights / weights.sum(axis=1, keepdims=True) - P).max())


def travel(board: Board, actor: Any, bus: Box, seconds: float) -> None:
    """A tile along the bus, from HBM to SRAM, over nothing."""
    wide, high = board.pick(wide=(56.0, 84.0), square=(180.0, bus.h - 8), tall=(180.0, 60.0))
    if board.shape == "wide":
        ends = [Box(x, bus.y + bus.h / 2 - high / 2, wide, high) for x in (bus.x + 4, bus.right - wide - 4)]
    else:
        ends = [Box(bus.x + bus.w / 2 - wide / 2, y, wide, high) for y in (bus.y + 2, bus.bottom - high - 2)]
    part = board.put(actor, ends[0], fade=0)
    board.move(part.to(ends[1]), seconds=seconds)
    board.set(part.fade(0.0))


def sums(board: Board, place: Stage, run: Run) -> None:
    """D: each row of O times dO, added up."""
    O, dO, now = held(run, "O"), held(run, "dO"), board.value(0.0)
    lit = Made(lambda n: (Region(int(n), int(n) + 1, 0, O.shape[1]),) if n < len(O) else (), now)
    first, sign, second, equals, product, adds, last = place.whole.columns(*board.pick(
        wide=(30, 3, 22, 3, 22, 6, 10), square=(38, 3, 22, 3, 22, 8, 16)
    ), gap=board.pick(wide=16, square=10))  # fmt: skip
    both = O * dO
    pictures = [
        (texture(O, "O", rows=run.names["queries"], lit=lit), first),
        (Text("∘", HEAD, "ink", 600, align="center", middle=True), sign),
        (texture(dO, "dO", lit=lit), second),
        (Text("=", HEAD, "ink", 600, align="center", middle=True), equals),
        (texture(both, "O", "O ∘ dO", seen=now, lit=lit), product),
        (Arrow(words="Σ"), adds),
        (texture(held(run, "D"), "D", seen=now, numbers=True, outlined=True), last),
    ]
    given = alike(held(run, "D")[:, 0], both.sum(axis=1))
    words = "D, the sum of O times dO in each row, is the other number that a row needs."
    turn(board, words, *pictures, given=given)
    note(board, place, "a first small kernel makes D; LSE and D are all that the next ones need beside Q, K, V and dO")
    board.wait(0.5)
    board.move(now.to(float(len(O))), seconds=4.0)


def scores(board: Board, place: Stage, run: Run) -> None:
    """dP, then dS, of the same tile."""
    _, _, i, j = hardest(run)
    some, of = rows(run, i), rows(run, j, "keys")
    P, dP, dS = (made(run, slot, i=i, j=j)[0] for slot in ("P", "dP", "dS"))
    keys, asks, there = run.names["keys"][of], run.names["queries"][some], [board.value(0.0) for _ in range(2)]
    one = Tile(grid(P), "P", 0, 1, "P", columns=keys)
    two = Tile(grid(dP), "dP", *span(run, "dP"), "dP = dO V^{T}", "∘ (", keys, 1, there[0])
    three = Tile(grid(held(run, "D")[some]), "D", *span(run, "D"), "D", "−", places=1)
    four = Tile(grid(dS), "dS", *span(run, "dS"), "dS = P ∘ (dP − D)", ") →", keys, seen=there[1])
    box = place.whole
    pictures: list[tuple[Any, Box]] = [(Panel("SRAM", "one tile, its queries and its keys", sram=True), box)]
    if board.shape == "wide":
        pictures.append((Equation((one, two, three, four), asks), Panel.inside(box).rows(1, 8, 1)[1]))
    else:
        upper, lower = Panel.inside(box).rows(2, gap=30)
        pictures.append((Equation((one, two._replace(sign=""), three), asks), upper))
        pictures.append((Equation((four._replace(sign=""),), asks), lower))
    words = "From P, dP and D comes dS: how the loss would change with each score."
    turn(board, words, *pictures, given=alike(P * (dP - held(run, "D")[some]), dS))
    note(board, place, "∘ multiplies number by number; none of the four is ever written to HBM, but for D, one a row")
    for value in there:
        board.wait(0.5)
        board.move(value.to(1.0), seconds=1.4)


def grow(board: Board, place: Stage, run: Run) -> None:
    """dV and dK of one program, dQ of another: sums that grow on chip, and go out."""
    _, _, i, j = hardest(run)
    many, gone, n = blocks(run), [board.value(0.0) for _ in range(3)], [board.value(0.0) for _ in range(2)]
    queries, keys = (board.pick(wide=f"blocks of {axis}", square="blocks") for axis in ("queries", "keys"))
    parts = (
        ("dV", "dV = Σ P^{T}dO", {"j": j}, many[0], n[0], queries, many[1], j, gone[0]),
        ("dK", "dK = Σ dS^{T}Q / √d", {"j": j}, many[0], n[0], queries, many[1], j, gone[1]),
        ("dQ", "dQ = Σ dS K / √d", {"i": i}, many[1], n[1], keys, many[0], i, gone[2]),
    )
    left, bus, right = place.whole.columns(*board.pick(wide=(1000, 120, 656), square=(560, 90, 350)), gap=0)
    pictures: list[tuple[Any, Box]] = [(Panel("SRAM", sram=True), left), (Panel("HBM"), right)]
    inside = [Panel.inside(box).rows(3, gap=30) for box in (left, bus, right)]
    for (name, title, loop, of, at, axis, others, own, out), *boxes in zip(parts, *inside, strict=True):
        values = made(run, name.lower(), **loop)[-of - 1 :]
        like, none = np.concatenate(values), np.full(values[0].shape, np.nan)
        told = Made(lambda k, of=of, axis=axis: f"{k:.0f} of {of} {axis}", at)
        shown = Made(lambda k, values=values, none=none: grid(values[int(k)] if k >= 1 else none), at)
        low, high = float(like.min()), float(like.max())
        pictures.append((Matrix(shown, name, low, high, title, told, numbers=False, base="sram"), boxes[0]))
        pictures.append((Arrow(part=Made(lambda u: min(1.0, 2 * u), out), hue="ink"), boxes[1]))
        strip = Made(lambda u, name=name, others=others, own=own: stored(name, others, own, u >= 1), out)
        pictures.append((Areas(strip, others, 1.0, middle=True), boxes[2]))
    turn(board, "dV, dK and dQ are sums over tiles: they grow on chip and go out once.", *pictures)
    note(
        board, place, "dV and dK by the program of a block of keys; dQ by that of a block of queries, in another kernel"
    )
    for value, of in zip(n, many, strict=True):
        for k in range(of):
            board.wait(0.35)
            board.set(value.to(k + 1.0))
        board.wait(0.3)
        for out in gone[:2] if value is n[0] else gone[2:]:
            board.move(out.to(1.0), seconds=0.6)


def stored(name: str, others: int, own: int, there: bool) -> tuple[Area, ...]:
    """The blocks of a gradient in HBM: this program's, once it is there, and places of the others."""
    areas = [Area(k + 0.04, 0.1, 0.92, 0.8, "line", open=True) for k in range(others)]
    if there:
        areas[own] = Area(own + 0.04, 0.1, 0.92, 0.8, hue(name), name, hatched=True)
    return tuple(areas)


def trade(board: Board, place: Stage, standard: Run) -> None:
    """What moves in both, to scale, at a real size; then the products."""
    gpu = device(board.option("device", "a100-80gb"))
    ios = [
        count(name, n=N, d=D, block_q=tile[0], block_k=tile[1])
        for name, tile in (("standard-backward", TILE_S), ("flash2-backward", TILE_F))
    ]
    crossed = crossings.passes(standard, ios[0], N, D), crossings.streams(ios[1], N, D)
    wide, theres, pictures = max(map(crossings.far, crossed)), [board.value(0.0) for _ in ios], list[tuple[Any, Box]]()
    figures = list[Box]()
    lines = place.whole.rows(*board.pick(wide=(7, 7, 1), square=(9, 9, 1), tall=(8, 8, 9)), gap=16)[:2]
    for name, color, parts, there, box in zip(
        ("standard", "FlashAttention-2"), ("dim", "accent"), crossed, theres, lines, strict=True
    ):
        head, body = box.rows(*board.pick(wide=(1, 6), square=(3, 6), tall=(2, 5)), gap=10)
        if board.shape == "wide":
            body, aside = box.columns(1400, 340, gap=36)
            head, body = body.rows(1, 6, gap=10)
            figures.append(aside.rows(1, 6, gap=10)[1])
        else:
            head, aside = head.rows(2, gap=4)
            figures.append(aside)
        pictures.append((Text(name, HEAD, color, 600, middle=True), head))
        pictures.append((Areas(Made(lambda n, parts=parts: crossings.areas(parts, n), there), wide, 1.65), body))
    products = [io.work.matmul / (2 * N * N * D) for io in ios]
    words = "Nearly twice the products, half the bytes: to make P again is cheaper than to move it."
    if board.short:
        words = "Nearly twice the products, half the bytes."
    given = ios[1].total < 0.55 * ios[0].total and 1.5 < products[1] / products[0] < 2
    turn(board, words, *pictures, given=given)
    tiles = f"N = {short(N)}, d = {D}, tiles {TILE_F[0]}×{TILE_F[1]}"
    note(board, place, f"each rectangle a matrix, each time it moves; hatched: written; {tiles}; {MODEL}")
    for io, many, there, parts, box in zip(ios, products, theres, crossed, figures, strict=True):
        of = sum(int(np.ceil(part.times)) for part in parts)
        board.move(there.to(float(of)), seconds=0.7 if board.short else 2.4)
        best = max(io.total / gpu.bandwidth / 1e12, io.work.matmul / gpu.tflops / 1e12)
        told = size_of(io.total), f"{many:.0f} matrix products", f"at best {time_of(best)}"
        if board.shape == "wide":
            for words, at, n in zip(told, box.rows(3, 2, 2, 3), range(3), strict=False):
                board.put(Text(words, (TITLE, BODY, BODY)[n], "ink", (600, 400, 400)[n], middle=True), at)
        else:
            board.put(Text(" · ".join(told), BODY, "ink", middle=True), box)
        board.wait(0.0 if board.short else 0.3)
    if board.short:
        board.say("P is cheaper made than moved.")
    else:
        board.say(f"At best: the longer of the times that its bytes and its products take {a(gpu.model)}.")


def owners(board: Board, place: Stage, run: Run) -> None:
    """A program for each block of keys, one for each block of queries; what each keeps, and makes."""
    many, at = blocks(run), [board.value(0.0), board.value(0.0)]
    lit = [board.value(("",)), board.value(("",))]
    size, pictures = shapes.owners_size(many), list[tuple[Any, Box]]()
    sides = (
        ("one program for each block of keys", "keeps K, V, dK, dV on chip", ("S", "dP", "dV", "dK")),
        ("one program for each block of queries", "keeps Q, dO, dQ on chip", ("S", "dP", "dQ")),
    )
    halves = place.whole.columns(2, gap=30) if board.shape == "square" else place.sides
    for n, (box, (title, under, makes)) in enumerate(zip(halves, sides, strict=True)):
        head, body, foot = box.rows(*board.pick(wide=(2.2, 12, 1.4), square=(4, 9, 2), tall=(2.2, 12, 1.6)), gap=14)
        above, below = head.rows(*board.pick(wide=(1, 1), square=(2, 2), tall=(1, 1)), gap=0)
        made_ = (Term("makes  ", "dim"), *(Term(f"{name}   ", hue(name), name) for name in makes))
        pictures += [
            (Text(title, BODY, "ink", 600), above),
            (Text(under), below),
            (Areas(Made(lambda k, keys=not n: shapes.owners(many, keys, k), at[n]), *size), body),
            (Formula(made_, lit[n], (HEAD, BODY)), foot),
        ]
    words = "Each gradient has one owner, so nothing is added up in HBM; S and dP are made twice."
    turn(board, words, *pictures)
    note(
        board,
        place,
        "two kernels, as Triton’s, after that of D; the paper’s Algorithm 2: one, which adds to dQ in HBM",
    )
    for n, (_, _, makes) in enumerate(sides):
        steps = many[1 - n]
        for k in range(steps):
            board.set(at[n].to(float(k)))
            for name in makes if k == 0 else ():
                board.set(lit[n].to((name,)))
                board.wait(0.4)
            board.set(lit[n].to(makes))
            board.wait(0.5)


def same(board: Board, place: Stage, run: Run) -> None:
    """Gradients of both, and what they differ by, on one scale."""
    names = "standard-backward", "flash2-backward"
    both = [recorded(board, name, dtype="float32").trace.outputs for name in names]
    lines, most, given = [list[tuple[Any, Box]]() for _ in range(3)], 0.0, True
    for name, box in zip(("dQ", "dK", "dV"), place.whole.columns(3, gap=board.pick(wide=60, square=24)), strict=True):
        values = [np.abs(outputs[name].astype(float)) for outputs in both]
        apart = np.abs(both[0][name].astype(float) - both[1][name])
        most, given = max(most, float(apart.max())), given and alike(values[1], values[0], 1e-4)
        titles = f"|{name}|, standard", f"|{name}|, FlashAttention-2", "difference, same scale"
        for line, data, title, at in zip(lines, (*values, apart), titles, box.rows(3, gap=16), strict=True):
            line.append((Matrix(grid(data), name, 0.0, float(values[0].max()), title, numbers=False), at))
    meta = run.trace.meta
    ratio = run.total.total / count("standard-backward", n=meta["queries"], n_keys=meta["keys"], d=meta["d"],
        block_q=meta["block_q"], block_k=meta["block_k"], dtype=meta["dtype"]).total  # fmt: skip
    words = f"Same gradients, to {at_most(most)}."
    turn(board, words, *lines[0], given=given)
    note(board, place, "both in fp32; in fp16 they differ by what rounding does; a row is a token, a column one of d")
    for line in lines[1:]:
        board.wait(0.8)
        for actor, at in line:
            board.put(actor, at)
    tiles = f"tiles of {meta['block_q']}" if meta["block_q"] == meta["block_k"] else "its tiles"
    why = "to gain, tiles must be tall" if ratio > 1 else "its tiles are tall enough"
    board.say(f"This toy, with {tiles}, moves {ratio:.1f}× standard’s bytes: {why}.")
