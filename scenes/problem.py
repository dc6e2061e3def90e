"""S is N×N: memory and traffic grow with N²; and the time of a step is the time of its bytes, not of its products."""

from functools import cache

import numpy as np

import flashsteps as fs
from flashsteps.filmkit import Board, Film, Made, Value, shapes
from flashsteps.filmkit.actors.areas import Areas
from flashsteps.filmkit.actors.bars import Bar, Bars, Mark, Piece
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.matrix import Matrix, Region, grid
from flashsteps.filmkit.board import LONGEST_CAPTION
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.script import Part
from flashsteps.machine.devices import Device, device
from flashsteps.story.labels import a
from flashsteps.story.telling import strongest
from flashsteps.traffic import formulas, published
from flashsteps.units import number, short, size_of

D, HEADS, BATCH, SIZE = 64, 16, 64, 1024  # of GPT-2 medium, whose times were published
DOUBLED, FOURFOLD = (64, 128, 256, 512, 1024), (1 << 10, 1 << 12, 1 << 14, 1 << 16)
MOST, HEAVIEST = FOURFOLD[-1], 16


class Problem(Film):
    title = "The problem"

    def storyboard(self, board: Board) -> None:
        run = Run(board.record("standard-forward", mask=None, dtype="float16", sram=None, block_q=None, block_k=None))
        gpu, place = device(board.option("device", "a100-40gb")), stage(board, *board.pick(wide=(1, 1), square=(3, 2)))
        with board.chapter("Each against each"):
            matrix = scores(board, place, run)
        if not board.short:
            with board.chapter("Scores become weights"):
                weights(board, place, run, *matrix)
            with board.chapter("Twice the tokens"):
                doubling(board, place)
        with board.chapter("Four times the tokens"):
            memory(board, place, gpu)
        if not board.short:
            with board.chapter("Sixteen heads"):
                heads(board, place, gpu)
        with board.chapter("Where the time goes"):
            time(board, place)


def scores(board: Board, place: Stage, run: Run) -> tuple[Part, Value, Part]:
    """The scores of the run, row by row."""
    S, names, seen, lit = in_hbm(run, "S"), run.names, board.value(0.0), board.value(())
    rows, columns = S.shape
    many, tall = Made(lambda n: some(round(n * columns), "score"), seen), board.shape == "tall"
    matrix = Matrix(
        grid(S), "S", float(S.min()), float(S.max()), "S", many, names["queries"], names["keys"],
        seen=seen, lit=lit, outlined=True, square=tall,
    )  # fmt: skip
    part = board.put(matrix, place.whole.rows(3, 2)[0] if tall else place.whole)
    alike = rows == columns
    who = "Each token is scored against each" if alike else "Each query is scored against each key"
    size = some(rows, "token") if alike else f"{rows} by {columns}"
    words = f"{size}: {some(S.size, 'score')}."
    board.say(words if board.short else f"{who}.")
    said = note(board, place, "S = QK^{T} / √d: a row for each query, a column for each key")
    board.move(seen.to(1.0), seconds=0.5 if board.short else 0.8)
    board.move(seen.to(float(rows)), seconds=1.2 if board.short else 1.6)
    if not board.short:
        board.say(words)
    return part, lit, said


def weights(board: Board, place: Stage, run: Run, matrix: Part, lit: Value, said: Part) -> None:
    """One row, and what softmax makes of it."""
    S, P, keys = in_hbm(run, "S"), in_hbm(run, "P"), run.names["keys"]
    row, key = strongest(P)
    asks, answers, weight = run.quoted("queries", row), run.quoted("keys", key), f"{P[row, key]:.2f}"
    board.say("Softmax makes weights of the scores of a row.")
    board.set(lit.to((Region(row, row + 1, 0, len(keys)),)))
    board.swap(said, Text("P = softmax(S): the weights of a row add up to 1"))
    if board.shape == "square":
        board.remove(matrix)
    else:
        board.move(matrix.to(place.sides[0] if board.shape == "wide" else place.whole.rows(2)[0]), seconds=0.8)
    right = board.pick(wide=place.sides[1], square=place.whole, tall=place.whole.rows(2)[1])
    shown = sorted(np.argsort(-P[row], kind="stable")[:HEAVIEST].tolist())
    grown, title = board.value(0.0), f"weights of {cut(asks)}: e^{{score}} over their sum"
    if len(shown) < len(keys):
        title = f"the {HEAVIEST} heaviest {title}"
    bars = tuple(
        Bar(cut(keys[n]), Made(lambda u, p=float(P[row, n]): p * u, grown), "accent" if n == key else "S",
            note=f"score {number(float(S[row, n]), 1)}")
        for n in shown
    )  # fmt: skip
    board.put(Bars(bars, 1.0, "{:.2f}", title=title), right)
    board.move(grown.to(1.0), seconds=1.2)
    words = f"{asks[0].upper()}{asks[1:]} gives {weight} of its weight to {answers}."
    board.say(words if len(words) <= LONGEST_CAPTION else f"It gives {weight} of its weight to one key.")


def doubling(board: Board, place: Stage) -> None:
    """N doubles, four times, all at one scale."""
    (left, right), middle, room = place.sides, board.shape != "wide", DOUBLED[-1] + shapes.BESIDE * D
    n, before, named = board.value(float(DOUBLED[0])), board.value(0.0), board.value(DOUBLED[0])
    areas = Areas(Made(shapes.scores, n, D, before), room, room, middle)
    each = {"Q": "×2 each time", "K": "×2 each time", "V": "×2 each time", "S": "×4 each time"}
    there = Made(float.is_integer, n)  # an N on its way has no number
    bars = tuple(
        Bar(name, Made(lambda n, of=name: held(n, of), n), name, under=each[name], stands=there) for name in each
    )
    title = Made(lambda n: f"one head, d = {D}: N = {short(n)} tokens", named)
    chart = Bars(bars, held(DOUBLED[-1], "S"), title=title)
    turn(board, "Twice the tokens: Q and K double, S grows fourfold.", (areas, left), (chart, right))
    note(board, place, "Q and K stand at the sides of S, all to scale; 2 B a number")
    for was, now in zip(DOUBLED, DOUBLED[1:], strict=False):
        board.set(before.to(float(was)), named.to(now))
        board.move(n.to(float(now)), seconds=0.8)
        board.wait(0.5)


def memory(board: Board, place: Stage, gpu: Device) -> None:
    """Four times as many tokens, again and again, beside what a GPU has."""
    (left, right), middle, room = place.sides, board.shape != "wide", gpu.memory * 1e9
    n, amounts = board.value(float(FOURFOLD[0])), [board.value(0.0) for _ in FOURFOLD]
    side = FOURFOLD[2] + shapes.BESIDE * D
    areas = Areas(Made(shapes.nested, n, D, FOURFOLD), side, side, middle)
    bars = tuple(Bar(short(N), amount, "S", whole=room) for N, amount in zip(FOURFOLD, amounts, strict=True))
    title = f"S and P of one head; dashed: all that {a(gpu.model)} holds"
    chart = Bars(bars, max(room, held(MOST, "SP")), title=title)
    words = "Four times the tokens: sixteen times the scores. Q, K and V only grow fourfold."
    if board.short:
        words = f"At {short(MOST)} tokens, S and P take {size_of(held(MOST, 'SP'))} a head."
    turn(board, words, (areas, left), (chart, right))
    others = f"Q, K, V and O take {size_of(held(MOST, 'QKVO'))} at {short(MOST)} tokens"
    note(board, place, f"S is drawn up to {short(FOURFOLD[2])}, with Q and K, {D} wide, to scale; {others}")
    for N, amount in zip(FOURFOLD, amounts, strict=True):
        both = amount.to(float(held(N, "SP"))), n.to(float(min(N, FOURFOLD[2])))
        board.move(*both, seconds=0.6 if board.short else 1.0)
        board.wait(0.1 if board.short else 0.4)


def heads(board: Board, place: Stage, gpu: Device) -> None:
    """All heads of a layer, beside what the GPU has."""
    (left, right), middle, room = place.sides, board.shape != "wide", gpu.memory * 1e9
    there, one = board.value(0.0), held(MOST, "SP")
    areas = Areas(Made(shapes.packed, there, room / one, gpu.model), 4, 4.45, middle)
    bars = Bar("S and P", Made(lambda n: n * one, there), "S"), Bar(gpu.model, room, "dim")
    title = Made(lambda n: f"{n:.0f} of {HEADS} heads", there)
    chart = Bars(bars, HEADS * one, marks=(Mark(room),), title=title)
    turn(board, "Each head of a layer has an S and a P of its own.", (areas, left), (chart, right))
    note(board, place, f"a square is S and P of one head, {size_of(one)}; dashed: no room for it")
    for n in range(HEADS):
        board.move(there.to(n + 1.0), seconds=0.4 if n < 4 else 0.1)
    need = f"{HEADS} heads at {short(MOST)} tokens: {size_of(HEADS * one)} for S and P"
    board.say(f"{need}. The card has {gpu.memory}.", given=HEADS * one > room)


def time(board: Board, place: Stage) -> None:
    """The published time of a step, and what its bytes and its products would take at the A100's full speed."""
    took, moved = (published.figure(f"gpt2-medium-standard-{what}") for what in ("time", "traffic"))
    gpu, ways = device("a100-40gb"), ("forward", "backward")
    passes = [fs.count(f"standard-{way}", n=SIZE, d=D, block_q=D, block_k=D).work.matmul for way in ways]
    products = sum(passes) * HEADS * BATCH
    ms = took.value, moved.value / gpu.bandwidth, products / gpu.tflops / 1e9
    matrices = ms[1] * formulas.FIGURE_2_LEFT_PASSES * SIZE * SIZE / formulas.figure_2_left_standard(SIZE, D).total
    pieces = Piece(matrices, "S", name="N×N matrices: S, P, masks, gradients"), Piece(ms[1] - matrices, "dim")
    names = (
        "measured: attention of GPT-2 medium, forward and backward",
        f"to move its {moved.value:g} GB, at {a(gpu.model)}’s full {gpu.bandwidth:g} TB/s",
        f"to multiply: {products / 1e9:.0f} GFLOP, at its full {gpu.tflops} TFLOP/s",
    )
    grown = [board.value(0.0) for _ in ms]
    bars = tuple(
        Bar(name, now, hue, pieces=parts)
        for name, now, hue, parts in zip(names, grown, ("dim", "S", "ink"), ((), pieces, ()), strict=True)
    )
    words = "Most of the time is moving bytes."
    turn(board, words, (Bars(bars, took.value, "{:.1f} ms"), place.whole), given=ms[1] > took.value / 2)
    size = f"N = {short(SIZE)}, d = {D}, {HEADS} heads, batch {BATCH}; the N×N share is our fit"
    note(board, place, f"{took.value:g} ms, {moved.value:g} GB: {took.source}, {took.hardware}; {size}")
    for now, value in zip(grown, ms, strict=True):
        board.move(now.to(value), seconds=(0.5 + value / 42) / (2 if board.short else 1))
        board.wait(0.0 if board.short else 0.3)
    if not board.short:
        board.say(f"To multiply would take 1/{took.value / ms[2]:.0f} of it.")


def some(count: int, what: str) -> str:
    """`1 token`, `4,096 scores`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def cut(name: str) -> str:
    """A token as a label has room for it."""
    return name if len(name) <= 14 else f"{name[:13]}…"


def in_hbm(run: Run, name: str) -> np.ndarray:
    return run.hbm(len(run))[name]


@cache
def held(n: float, tensors: str) -> int:
    """Bytes of these tensors, one head, fp16: each is written or read once, and S and P both."""
    moved = fs.count("standard-forward", n=round(n), d=D, block_q=D, block_k=D).by_tensor
    return sum(max(moved[name]) for name in tensors)
