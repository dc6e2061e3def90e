"""Online softmax: one row of scores, tile by tile; when the largest score moves, all that was summed shrinks by α."""

from typing import Any

from flashsteps.filmkit import Board, Film, Made, linear
from flashsteps.filmkit.actors.bars import Bar, Bars, Piece
from flashsteps.filmkit.actors.row import Level, Row
from flashsteps.filmkit.board import LONGEST_CAPTION
from flashsteps.filmkit.pictures.either_order import EitherOrder
from flashsteps.filmkit.pictures.tiled_row import MARGIN, RowTiles, TiledRow, of_run
from flashsteps.filmkit.run import Run
from flashsteps.story.written import Term
from flashsteps.theme import HEAD


class OnlineSoftmax(Film):
    title = "Online softmax"

    def storyboard(self, board: Board) -> None:
        data = of_run(Run(board.record("flash2-forward", mask=None, block_q=None, sram=None)))
        tiles = RowTiles(board, data)
        if board.short:
            with board.chapter("In short"):
                short(board, tiles)
            return
        with board.chapter("All at once"):
            all_at_once(board, data)
        with board.chapter("Tile by tile"):
            first(board, tiles)
        if data.moves:
            with board.chapter("The max moves"):
                shrink(board, tiles)
            with board.chapter("Then the tile is added"):
                grow(board, tiles)
        with board.chapter("Divide once"):
            divide(board, tiles)
        with board.chapter("In any order"):
            in_any_order(board, data)


def all_at_once(board: Board, data: TiledRow) -> None:
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
    board.set(name.to(data.written().fill("m = #", Term("m", largest))))
    board.wait(0.4)
    title, note = "exp(score − m)", "laid end to end: ℓ"
    board.put(Row(data.P, "P", 0, 1.02, seen=summed, figures=False, title=title, note=note, margin=MARGIN), exps)
    length: Any = Made(laid, summed)
    pieces = tuple(Piece(p, "S") for p in data.P)
    board.put(
        Bars((Bar("ℓ", length, "stat", pieces),), data.longest, f"{{:.{data.written()['ℓ']}f}}", size=HEAD), total
    )
    board.move(summed.to(float(count)), seconds=2.4, ease=linear)


def first(board: Board, row: RowTiles) -> None:
    """The tiles before the one that moves the max, or the first."""
    board.clear()
    row.set_up()
    board.say("Keep the largest so far, m, and what was summed against it: ℓ and O.")
    for j in range(row.data.moving):
        row.take(j)


def shrink(board: Board, row: RowTiles) -> None:
    """The one moment that the film is about: only then does anything get smaller. Words come with what they tell."""
    factor = shrinks_to(row)
    beaten = f"{row.data.who} beats the old max."
    row.come(row.data.moving, seconds=0.9)
    board.say(beaten if len(beaten) <= LONGEST_CAPTION else "A larger score: the old max is beaten.", lead=0.0)
    row.max_moves()
    board.say(f"So ℓ and O, summed so far, both shrink to {factor} of themselves.", lead=0.0)
    row.old_shrinks()


def grow(board: Board, row: RowTiles) -> None:
    """Then comes what the tile itself has."""
    board.say("Then the tile is added.", lead=0.0)
    row.add(row.data.moving, seconds=1.6)
    board.say(row.data.written().fill("Now ℓ = # + # = #.", *row.data.sum))


def divide(board: Board, row: RowTiles) -> None:
    """The tiles that are left; then O is divided."""
    tiles = row.data.tiles
    left = range(row.data.moving + row.data.moves, len(tiles))
    words = "The last tile doesn’t beat it: α = 1." if len(left) == 1 else "The other tiles don’t beat it: α = 1."
    for j in left:
        row.come(j, seconds=0.7)
        row.measure(j)
        if j == left.start:
            unbeaten = all(tile.alpha == 1 for tile in tiles[j:])
            board.say(words if unbeaten else "So on, tile by tile.", lead=0.0)
        row.add(j, seconds=0.7)
    board.say(row.data.written().fill("At the end divide by ℓ = #, once.", Term("ℓ", tiles[-1].l)), lead=0.0)
    row.finish()


def shrinks_to(row: RowTiles) -> str:
    """α of the tile that moves the max, as it is written."""
    return row.data.written().fill("#", row.data.terms(row.data.moving)[2])


def short(board: Board, row: RowTiles) -> None:
    """The essential motion, in three captions."""
    tiles, j = row.data.tiles, row.data.moving
    row.set_up()
    board.say("Keep the max so far, and sums against it.")
    for n in range(j):
        row.take(n, seconds=0.35)
    row.come(j, seconds=0.5)
    if row.data.moves:
        words = f"{row.data.who} beats the old max: both sums shrink to {shrinks_to(row)}."
        board.say(words if len(words) <= 60 else f"The max moves: both sums shrink to {shrinks_to(row)}.", lead=0.0)
        row.max_moves(pace=0.6)
        row.old_shrinks(pace=0.6)
    else:
        row.measure(j)
    board.say("Then the tile is added. No score is kept.", lead=0.0)
    row.add(j, seconds=0.6)
    for n in range(j + 1, len(tiles)):
        row.take(n, seconds=0.3)
    row.finish(seconds=0.8)


def in_any_order(board: Board, data: TiledRow) -> None:
    """The row cut in two, and merged in one order and in the other: only then is that said."""
    parts = EitherOrder(board, data)
    board.clear()
    parts.put_parts()
    board.say("Cut the row in two: each part has its own m, ℓ and O.")
    board.wait(1.0)
    parts.put_arrows()
    board.wait(0.5)
    parts.merge()
    board.say("Merged in either order, they are the whole row: cut it anywhere.", parts.same)
