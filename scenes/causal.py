"""Causal: tiles that are skipped, tiles that the diagonal cuts, what both save; and where the diagonal ends."""

import numpy as np

from flashsteps.filmkit import Board, Film, linear
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.actors.matrix import Region
from flashsteps.filmkit.actors.tile_map import TileMap
from flashsteps.filmkit.pictures.aligned import FEW, MANY, Unseeing, both_corners, seen_of
from flashsteps.filmkit.pictures.keys_read import share
from flashsteps.filmkit.pictures.masked import REAL, TILE, N, moved, tiles_done, with_and_without
from flashsteps.filmkit.pictures.three_kinds import ThreeKinds
from flashsteps.filmkit.places import Stage, aside, below, note, stage, turn
from flashsteps.filmkit.run import ABOUT, Run
from flashsteps.filmkit.tiles import scores
from flashsteps.machine import masks
from flashsteps.machine.devices import MODEL
from flashsteps.units import short, size_of


class Causal(Film):
    title = "Causal"

    def storyboard(self, board: Board) -> None:
        trace = board.record("flash2-forward", mask="causal")
        run = Run(trace, lanes=-(-trace.meta["queries"] // trace.meta["block_q"]))
        free = Run(board.record("standard-forward", mask=None, dtype="float32", sram=None))
        S = free.hbm(len(free))["S"]
        place = stage(board, *board.pick(wide=(10, 9), square=(11, 9), tall=(11, 9)))
        if not board.short:
            with board.chapter("No looking ahead"):
                ahead(board, place, run, S)
        with board.chapter("Three kinds of tiles"):
            kinds(board, place, run, S)
        if not board.short:
            with board.chapter("Program by program"):
                programs(board, place, run)
            with board.chapter("What standard saves"):
                saved(board, place)
        if not board.short and min(S.shape) >= MANY:
            with board.chapter("Where the diagonal ends"):
                ends(board, place, run, S)
            with board.chapter("More queries than keys"):
                nothing(board, place, run, S)


def ahead(board: Board, place: Stage, run: Run, S: np.ndarray) -> None:
    """All scores are there; then those above the diagonal are not."""
    seen, row, (left, _) = seen_of(S.shape), len(S) * 3 // 8, place.sides
    before, lit = int(seen[row].sum()), board.value(())
    free = board.put(scores(run, S, lit=lit), left)
    board.say("In a model that writes, a token sees only itself and what came before.")
    if (run.trace.meta["input"] or {}).get("kind") == "sample":
        note(board, place, "the scores are those of the bundled head, whose model reads both ways")
    board.wait(0.8)
    one = Region(row, row + 1, 0, S.shape[1])
    board.set(lit.to((one,)))
    figures = ("keys up to itself", str(before)), ("keys that come after it", str(S.shape[1] - before))
    words = "Without a mask its row has a score for each key, those of the future too."
    beside = aside(board, place)
    card = board.put(Card(run.quoted("queries", row), words, figures), beside)
    board.read()
    board.remove(card)
    board.swap(free, scores(run, np.where(seen, S, -np.inf), S, lit=lit))
    words = "With the mask only keys up to itself count. What comes after it is dark: −∞."
    board.put(Card(run.quoted("queries", row), words, (figures[0], ("weights of the others", "0"))), beside)
    board.say("Above the diagonal scores count as −∞: their weights are 0.")
    board.wait(1.8)
    board.set(lit.to(()))


def kinds(board: Board, place: Stage, run: Run, S: np.ndarray) -> None:
    """Tiles part: full ones, cut ones, skipped ones; and what comes in of K and V."""
    tiles = ThreeKinds(board, place, run, S)
    words = "Tiles above the diagonal are skipped: no loads, no work."
    if board.short:
        words = f"{len(tiles.skipped)} of {tiles.many} tiles are skipped: no loads."
    turn(board, words, *tiles.pictures, given=bool(tiles.skipped))
    note(board, place, f"FlashAttention-2; {MODEL}")
    board.move(tiles.gap.to(10.0), seconds=0.5 if board.short else 0.8)
    framed = tuple(r._replace(hue="accent") for r in tiles.cut)
    for n, moves in enumerate(([], [tiles.frames.to(framed)], [])):
        board.set(tiles.there.to(n + 1.0), *moves)
        board.wait(0.2 if board.short else 0.7)
    if board.short:
        board.say(f"{len(tiles.cut)} are cut: masked on chip.")
    board.move(tiles.grown.to(1.0), seconds=1.0 if board.short else 1.2)
    less = "nearly half is saved" if board.short else "nearly half of the loads of K and V are spared"
    board.say(f"At N = {short(N)} {less}.", given=0.5 < share(REAL, run.trace.meta["dtype"]) < 0.55)


def programs(board: Board, place: Stage, run: Run) -> None:
    """Side by side, so that the first ones have nothing left to do while the last one still works."""
    (left, right), now, meta = place.sides, board.value(0.0), run.trace.meta
    if board.shape == "square":
        left, right = place.whole.columns(1, 1, gap=40)
    chart, tiles = tiles_done(run, now)
    cut = np.argwhere(masks.parse("causal", meta["queries"], meta["keys"]).grid(meta["block_q"], meta["block_k"]) == 1)
    words = f"A program works on one block of queries: the first sees {blocks(tiles[0])} of keys."
    turn(board, words, (TileMap(run, now, tuple((int(i), int(j)) for i, j in cut)), left), (chart, right))
    note(
        board,
        place,
        "orange: cut by the diagonal; crossed out: skipped; side by side is a model: a GPU goes on with other programs",
    )
    ends = [r.stop for r in run.visited]
    board.move(now.to(ends[len(ends) // 2 - 1] + ABOUT / 2), seconds=2.5, ease=linear)  # these tiles are left
    board.say(f"The last one sees {blocks(tiles[-1])}, and works on when the first are done.")
    board.move(now.to(float(len(run))), seconds=2.5, ease=linear)


def saved(board: Board, place: Stage) -> None:
    """Bytes at a real size, with the mask and without."""
    grown, most = board.value(0.0), moved("standard-forward", None)
    words = f"The mask saves standard attention no byte: {size_of(most)} at N = {short(N)}, as without."
    source = below(place, f"standard attention writes all of S, hidden or not; tiles {TILE}×{TILE}, fp16; {MODEL}")
    pictures, same = (
        ((with_and_without(board, grown), place.whole), source),
        most == moved("standard-forward", "causal"),
    )
    turn(board, words, *pictures, given=same, grows=(grown.to(1.0),), seconds=1.5)


def blocks(many: int) -> str:
    return "one block" if many == 1 else f"all {many}" if many < 10 else f"{many} blocks"


def ends(board: Board, place: Stage, run: Run, S: np.ndarray) -> None:
    """Where the diagonal ends."""
    words = "New tokens see all before them only if the mask ends at the bottom right."
    turn(board, words, *both_corners(board, run, S))
    note(
        board,
        place,
        f"{FEW} new queries, {MANY} keys; at the bottom right each new token sees its own key last",
    )


def nothing(board: Board, place: Stage, run: Run, whole: np.ndarray) -> None:
    """Rows that see nothing."""
    (left, right), toy = place.sides, Unseeing(board, run, whole)
    words = f"{MANY} queries, {FEW} keys: the first {len(toy.blind)} see nothing. Their O is 0, their LSE −∞."
    told = not np.abs(toy.O[toy.blind]).any() and bool(np.isneginf(toy.LSE[toy.blind]).all())
    turn(board, words, (toy.matrix, left), (toy.table, right), given=told)
    note(
        board,
        place,
        "aligned at the bottom right; LSE: the log of a row’s sum of e^{S}; log 0 = −∞; no NaN, their gradients are 0",
    )
