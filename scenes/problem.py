"""S is N×N: memory and traffic grow with N²; and the time of a step is the time of its bytes, not of its products."""

from flashsteps.filmkit import Board, Film, Made, Value
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.matrix import Matrix, Region, grid
from flashsteps.filmkit.board import LONGEST_CAPTION
from flashsteps.filmkit.pictures import grows
from flashsteps.filmkit.pictures.grows import DOUBLED, FOURFOLD, HEADS, MOST, D, held
from flashsteps.filmkit.pictures.heaviest import heaviest, in_hbm
from flashsteps.filmkit.pictures.time_of_step import BATCH, MOVED, PRINTED, SIZE, TOOK, TimeOfStep
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.script import Part
from flashsteps.machine.devices import Device, device
from flashsteps.story.labels import scores as formula
from flashsteps.story.telling import strongest
from flashsteps.units import short, size_of


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
    said = note(board, place, f"{formula(run.trace.meta)}: a row for each query, a column for each key")
    board.move(seen.to(1.0), seconds=0.5 if board.short else 0.8)
    board.move(seen.to(float(rows)), seconds=1.2 if board.short else 1.6)
    if not board.short:
        board.say(words)
    return part, lit, said


def weights(board: Board, place: Stage, run: Run, matrix: Part, lit: Value, said: Part) -> None:
    """One row, and what softmax makes of it."""
    P, keys, grown = in_hbm(run, "P"), run.names["keys"], board.value(0.0)
    row, key = strongest(P)
    asks, answers, weight = run.quoted("queries", row), run.quoted("keys", key), f"{P[row, key]:.2f}"
    board.say("Softmax makes weights of the scores of a row.")
    board.set(lit.to((Region(row, row + 1, 0, len(keys)),)))
    sink = ", with that of its sink," * bool(run.trace.meta.get("sinks"))
    board.swap(said, Text(f"P = softmax(S): the weights of a row{sink} add up to 1"))
    if board.shape == "square":
        board.remove(matrix)
    else:
        board.move(matrix.to(place.sides[0] if board.shape == "wide" else place.whole.rows(2)[0]), seconds=0.8)
    right = board.pick(wide=place.sides[1], square=place.whole, tall=place.whole.rows(2)[1])
    board.put(heaviest(run, row, key, grown), right)
    board.move(grown.to(1.0), seconds=1.2)
    words = f"{asks[0].upper()}{asks[1:]} gives {weight} of its weight to {answers}."
    board.say(words if len(words) <= LONGEST_CAPTION else f"It gives {weight} of its weight to one key.")


def doubling(board: Board, place: Stage) -> None:
    """N doubles, four times, all at one scale."""
    n, before, named = board.value(float(DOUBLED[0])), board.value(0.0), board.value(DOUBLED[0])
    pictures = zip(grows.doubling(n, before, named, board.shape != "wide"), place.sides, strict=True)
    turn(board, "Twice the tokens: Q and K double, S grows fourfold.", *pictures)
    note(board, place, "Q and K stand at the sides of S, all to scale; 2 B a number")
    for was, now in zip(DOUBLED, DOUBLED[1:], strict=False):
        board.set(before.to(float(was)), named.to(now))
        board.move(n.to(float(now)), seconds=0.8)
        board.wait(0.5)


def memory(board: Board, place: Stage, gpu: Device) -> None:
    """Four times as many tokens, again and again, beside what a GPU has."""
    n, amounts = board.value(float(FOURFOLD[0])), [board.value(0.0) for _ in FOURFOLD]
    words = "Four times the tokens: sixteen times the scores. Q, K and V only grow fourfold."
    if board.short:
        words = f"At {short(MOST)} tokens, S and P take {size_of(held(MOST, 'SP'))} a head."
    turn(board, words, *zip(grows.fourfold(n, amounts, gpu, board.shape != "wide"), place.sides, strict=True))
    others = f"Q, K, V and O take {size_of(held(MOST, 'QKVO'))} at {short(MOST)} tokens"
    note(board, place, f"S is drawn up to {short(FOURFOLD[2])}, with Q and K, {D} wide, to scale; {others}")
    for N, amount in zip(FOURFOLD, amounts, strict=True):
        both = amount.to(float(held(N, "SP"))), n.to(float(min(N, FOURFOLD[2])))
        board.move(*both, seconds=0.6 if board.short else 1.0)
        board.wait(0.1 if board.short else 0.4)


def heads(board: Board, place: Stage, gpu: Device) -> None:
    """All heads of a layer, beside what the GPU has."""
    there, one, room = board.value(0.0), held(MOST, "SP"), gpu.memory * 1e9
    pictures = zip(grows.packed(there, gpu, board.shape != "wide"), place.sides, strict=True)
    turn(board, "Each head of a layer has an S and a P of its own.", *pictures)
    note(board, place, f"a square is S and P of one head, {size_of(one)}; dashed: no room for it")
    for n in range(HEADS):
        board.move(there.to(n + 1.0), seconds=0.4 if n < 4 else 0.1)
    need = f"{HEADS} heads at {short(MOST)} tokens: {size_of(HEADS * one)} for S and P"
    board.say(f"{need}. The card has {gpu.memory}.", given=HEADS * one > room)


def time(board: Board, place: Stage) -> None:
    """The published time of a step, and what its bytes and its products would take at the A100's full speed."""
    step = TimeOfStep(board)
    took, to_move, to_multiply = step.ms
    words = "Its bytes alone take most of it." if board.short else "To move its bytes takes most of it, even at best."
    turn(board, words, (step.chart, place.whole), given=to_move > took / 2)
    size = f"N = {short(SIZE)}, d = {D}, {HEADS} heads, batch {BATCH}; the N×N share is our fit"
    ours = f"; GFLOP: counted, it prints {PRINTED.value:g}" * board.short
    said = note(board, place, f"{took:g} ms, {MOVED.value:g} GB: {TOOK.source}, {TOOK.hardware}; {size}{ours}")
    for now, value in zip(step.grown, step.ms, strict=True):
        board.move(now.to(value), seconds=(0.5 + value / 42) / (2 if board.short else 1))
        board.wait(0.0 if board.short else 0.3)
    if not board.short:
        prints = f"the figure prints {PRINTED.value:g}, and not how it counts"
        board.swap(said, Text(f"{step.work:.0f} GFLOP: {step.counted}, counted here; {prints}"))
        board.say(f"To multiply would take 1/{took / to_multiply:.0f} of the {took:g} ms.")


def some(count: int, what: str) -> str:
    """`1 token`, `4,096 scores`."""
    return f"{count:,} {what}{'s' * (count != 1)}"
