"""Block-sparse (FA1, Algorithm 5): where the mask of blocks is 0 nothing comes but K and V; traffic falls with it."""

from math import ceil
from typing import Any

import numpy as np

from flashsteps.filmkit import Board, Film, telling
from flashsteps.filmkit.actors.kinds import Kind, Kinds
from flashsteps.filmkit.actors.loops import Loop
from flashsteps.filmkit.actors.matrix import Matrix
from flashsteps.filmkit.pictures.by_share import TILE, D, N, charts_by_share, counted
from flashsteps.filmkit.pictures.left_out import strongest_left_out
from flashsteps.filmkit.places import Stage, aside, note, stage, turn
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.run_stage import RunStage
from flashsteps.filmkit.tiles import regions, scores
from flashsteps.machine import block_masks, masks
from flashsteps.machine.devices import MODEL
from flashsteps.runs.record import count
from flashsteps.traffic.published import BLOCK_SPARSE_TIMES
from flashsteps.units import short, size_of

BLOCKS, PATTERN = 8, "butterfly"  # so many blocks a side, and which of them are kept


class BlockSparse(Film):
    title = "Block-sparse"

    def storyboard(self, board: Board) -> None:
        rows, keys = len(board.input.q), len(board.input.k)
        block_q = board.option("block_q") or ceil(rows / BLOCKS)
        block_k = board.option("block_k") or ceil(keys / BLOCKS)
        how: dict[str, Any] = {"mask": None, "block_q": block_q, "block_k": block_k}
        run = Run(board.record("block-sparse-forward", block_mask=PATTERN, **how))
        free = Run(board.record("standard-forward", mask=None, dtype="float32", sram=None, block_q=None, block_k=None))
        kept = block_masks.parse(PATTERN, masks.parse(None, rows, keys), block_q, block_k).visited
        place, S = stage(board, *board.pick(wide=(10, 9), square=(11, 6), tall=(11, 8))), free.hbm(len(free))["S"]
        columns = tuple(r for j in range(kept.shape[1]) for r in run.rounds if (*r.tiles, *r.hidden)[0] == (0, j))

        with board.chapter("A mask of blocks"):
            masked(board, place, run, S, kept)
        with board.chapter("Column by column"):
            board.clear()
            loops = Loop("for j: K, V", kept.shape[1]), Loop("for i if M: Q, O, ℓ, m", kept.shape[0])
            shown = RunStage(
                board, run, loops=loops, names=("j", "i"), device=board.option("device", ""), numbered=True
            )
            middle = len(columns) // 2 - 1
            if not board.short:
                board.say("K and V come in for every column, as in FlashAttention.")
                shown.play(columns[middle].start, seconds=4.0)
            visited = listed(np.flatnonzero(kept[:, middle]).tolist())
            words = f"Column {middle} keeps rows {visited}: only for these come Q, O, ℓ and m."
            if not board.short:
                board.read()
                shown.begin()
            board.say("Where it is 0, only K and V come." if board.short else words)
            shown.play(columns[middle + 1].start, seconds=1.6 if board.short else 6.0)
            if not board.short:
                board.say("So on: each tile of S is made, used and gone. All of it would grow with N².")
                shown.play(len(run), seconds=3.0)
        with board.chapter("What it saves"):
            board.clear()
            saved(board, run, kept)
        if not board.short:
            with board.chapter("By the share kept"):
                shares(board, place)
            with board.chapter("Another function"):
                lost(board, place, run, S, kept)


def listed(numbers: list[int]) -> str:
    """`1, 2, 3 and 7`."""
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def tiled(run: Run, S: np.ndarray, **how: Any) -> Matrix:
    """All scores in tiles."""
    meta = run.trace.meta
    return scores(run, S, tile=(meta["block_q"], meta["block_k"]), gap=6.0, **how)


def masked(board: Board, place: Stage, run: Run, S: np.ndarray, kept: np.ndarray) -> None:
    """All tiles, then those that are kept."""
    skipped = board.value(())
    there, out = board.value(1.0), kept.size - int(kept.sum())
    kinds = (
        Kind("full", f"{kept.sum()} tiles kept", "as in FlashAttention"),
        Kind("skipped", f"{out} tiles left out", "mask 0: no scores, no weights"),
    )
    board.put(tiled(run, S, skipped=skipped), place.sides[0])
    board.put(Kinds(kinds, there), aside(board, place))
    which = f"A mask of blocks says which tiles count: here {kept.sum()} of {kept.size}."
    board.say(f"A mask keeps {kept.sum()} of {kept.size} tiles." if board.short else which)
    note(board, place, f"a {PATTERN} of blocks over the scores of this head; crossed out: left out")
    board.wait(0.3)
    board.set(skipped.to(regions(run, ~kept)), there.to(2.0))


def saved(board: Board, run: Run, kept: np.ndarray) -> None:
    """Bytes of this run, with all tiles and with those kept."""
    meta = run.trace.meta
    sizes = {"n": meta["queries"], "n_keys": meta["keys"], "d": meta["d"], "dtype": meta["dtype"]}
    dense = count("flash-forward", block_q=meta["block_q"], block_k=meta["block_k"], **sizes)
    some, all_ = run.total.total, dense.total
    totals = {f"all {kept.size} tiles": dense, f"{kept.sum()} tiles": run.total}
    telling.put_totals(board, totals | ({} if board.short else {"standard": run.standard}))
    words = f"{size_of(some)} instead of {size_of(all_)}"
    half = kept.mean() == 0.5
    before = f"{'Half' if half else f'{kept.mean():.0%} of'} the tiles, {some / all_:.0%} of the bytes"
    board.say(f"{before}{'' if board.short else f': {words}'}.", given=some < all_)
    if board.short:
        return
    always = "K and V, and the first O, ℓ and m, move whatever the mask"
    board.say(f"More than {'half' if half else 'that'}: {always}.", given=some / all_ > kept.mean())
    if some > run.standard.total:
        size = f"{meta['block_q']}×{meta['block_k']}"
        each = f"Tiles of {size} fetch Q and O again for every {meta['block_k']} keys"
        board.say(f"{each}; standard, Q once, moves {size_of(run.standard.total)}.")


def shares(board: Board, place: Stage) -> None:
    """Bytes that were counted, and times that were published."""
    upto, source = board.value(0.0), BLOCK_SPARSE_TIMES[0][1]
    words = "Traffic falls with the share of tiles kept; the paper’s measured times fall with it."
    turn(board, words, *charts_by_share(board, upto))
    first, second = board.pick(wide=("left", "right"), square=("above", "below"))
    note(board, place, f"N = {short(N)}; {first}: random masks, {MODEL}; {second}: {source.source}, read off its plot")
    board.move(upto.to(1.0), seconds=3.0)
    whole, standard = (
        counted()[-1][1].total,
        count("standard-forward", n=N, d=D, block_q=TILE[0], block_k=TILE[1]).total,
    )
    real = f"With {short(N)} tokens and tiles of {TILE[0]}×{TILE[1]}"
    board.say(f"{real} all tiles move {size_of(whole)}, standard {size_of(standard)}.", given=whole < standard)


def lost(board: Board, place: Stage, run: Run, S: np.ndarray, kept: np.ndarray) -> None:
    """The strongest score that the mask leaves out."""
    skipped, frames = regions(run, ~kept), board.value(())
    cell, card = strongest_left_out(run, S, skipped)
    words = "It is no longer the same function: what the mask leaves out is never seen."
    turn(board, words, (tiled(run, S, skipped=skipped, frames=frames), place.sides[0]))
    board.put(card, aside(board, place))
    for _ in range(3):
        board.set(frames.to((cell,)))
        board.wait(0.6)
        board.set(frames.to(()))
        board.wait(0.3)
    board.set(frames.to((cell,)))
