"""Block-sparse (FA1, Algorithm 5): where the mask of blocks is 0 nothing comes but K and V; traffic falls with it."""

import numpy as np

from flashsteps.filmkit import Board, Film, telling
from flashsteps.filmkit.actors.kinds import Kind, Kinds
from flashsteps.filmkit.actors.loops import Loop
from flashsteps.filmkit.pictures.block_masked import PATTERN, BlockMasked, block_masked
from flashsteps.filmkit.pictures.by_share import N, at_none, charts_by_share, of_all_tiles
from flashsteps.filmkit.pictures.left_out import strongest_left_out
from flashsteps.filmkit.places import Stage, aside, note, stage, turn
from flashsteps.filmkit.run_stage import RunStage
from flashsteps.machine.devices import MODEL
from flashsteps.traffic.published import BLOCK_SPARSE_TIMES
from flashsteps.units import short, size_of


class BlockSparse(Film):
    title = "Block-sparse"

    def storyboard(self, board: Board) -> None:
        place = stage(board, *board.pick(wide=(10, 9), square=(10, 7), tall=(11, 8)))
        toy = block_masked(board)
        with board.chapter("A mask of blocks"):
            masked(board, place, toy)
        with board.chapter("Column by column"):
            columns(board, toy)
        with board.chapter("What it saves"):
            board.clear()
            saved(board, toy)
        if not board.short:
            with board.chapter("By the share kept"):
                shares(board, place)
            with board.chapter("Another function"):
                lost(board, place, toy)


def listed(numbers: list[int]) -> str:
    """`1, 2, 3 and 7`."""
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def masked(board: Board, place: Stage, toy: BlockMasked) -> None:
    """All tiles, then those that are kept."""
    skipped, there, kept = board.value(()), board.value(1.0), toy.kept
    out = kept.size - int(kept.sum())
    kinds = (
        Kind("full", f"{kept.sum()} tiles kept", "as in FlashAttention"),
        Kind("skipped", f"{out} tiles left out", "mask 0: no scores, no weights"),
    )
    board.put(toy.tiled(skipped=skipped), place.sides[0])
    board.put(Kinds(kinds, there), aside(board, place))
    which = f"A mask of blocks says which tiles count: here {kept.sum()} of {kept.size}."
    board.say(f"A mask keeps {kept.sum()} of {kept.size} tiles." if board.short else which)
    meta = toy.run.trace.meta
    size = f"{meta['queries']} tokens, d = {meta['d']}, {meta['dtype']}"
    note(board, place, f"a {PATTERN} of blocks over the scores of this head: {size}; crossed out: left out")
    board.set(skipped.to(toy.skipped), there.to(2.0))


def columns(board: Board, toy: BlockMasked) -> None:
    """The run, column by column of blocks, and slowly through one in the middle."""
    run, kept = toy.run, toy.kept
    board.clear()
    loops = Loop("for j: K, V", kept.shape[1]), Loop("for kept i: Q, O, ℓ, m", kept.shape[0])
    shown = RunStage(board, run, loops=loops, names=("j", "i"), device=board.option("device", ""), numbered=True)
    starts = [r.start for j in range(kept.shape[1]) for r in run.rounds if (*r.tiles, *r.hidden)[0] == (0, j)]
    middle = len(starts) // 2 - 1
    if board.short:
        board.say("Where it is 0, only K and V come.")
        shown.play(starts[middle + 1], seconds=1.6)
        return
    board.say("K and V come in for every column.")
    shown.play(starts[middle], seconds=3.0)
    board.read()
    shown.begin()
    visited = listed(np.flatnonzero(kept[:, middle]).tolist())
    board.say(f"Column {middle} keeps rows {visited}: only for these come Q, O, ℓ and m.")
    shown.play(starts[middle + 1], seconds=5.0)
    board.say("Crossed-out tiles: no Q, no O, no scores.")
    shown.play(len(run), seconds=2.8)


def saved(board: Board, toy: BlockMasked) -> None:
    """Bytes of this run, with all tiles and with those kept."""
    run, kept, dense = toy.run, toy.kept, toy.dense()
    some, all_ = run.total.total, dense.total
    totals = {f"all {kept.size} tiles": dense, f"{kept.sum()} tiles": run.total}
    telling.put_totals(board, totals | ({} if board.short else {"standard": run.standard}))
    half = kept.mean() == 0.5
    before = f"{'Half' if half else f'{kept.mean():.0%} of'} the tiles, {some / all_:.0%} of the bytes"
    board.say(f"{before}.", given=some < all_)
    if board.short:
        return
    always = "K, V and the first O, ℓ, m move whatever the mask"
    board.say(f"More than {'half' if half else 'that'}: {always}.", given=some / all_ > kept.mean())
    if some > run.standard.total:
        size, keys = f"{run.trace.meta['block_q']}×{run.trace.meta['block_k']}", run.trace.meta["block_k"]
        again = f"tiles of {size} fetch Q and O again for every {keys} key{'s' * (keys != 1)}"
        board.say(f"Standard moves less here: {again}.")


def shares(board: Board, place: Stage) -> None:
    """Bytes that were counted, and times that were published."""
    upto, source = board.value(0.0), BLOCK_SPARSE_TIMES[0][1]
    none, straight = at_none()
    words = "Traffic is a straight line in the share kept, not quite to 0; times fall with it."
    turn(board, words, *charts_by_share(board, upto), given=straight and none > 0)
    first, second = board.pick(wide=("left", "right"), square=("above", "below"))
    note(board, place, f"N = {short(N)}; {first}: random masks, {MODEL}; {second}: {source.source}, read off its plot")
    board.move(upto.to(1.0), seconds=3.0)
    whole, standard = of_all_tiles()
    words = f"At {short(N)} tokens all tiles move {size_of(whole)}, standard {size_of(standard)}."
    board.say(words, given=whole < standard)


def lost(board: Board, place: Stage, toy: BlockMasked) -> None:
    """The strongest score that the mask leaves out."""
    skipped, frames = toy.skipped, board.value(())
    cell, card = strongest_left_out(toy.run, toy.S, skipped)
    words = "No longer exact attention: what is left out is never seen."
    turn(board, words, (toy.tiled(skipped=skipped, frames=frames), place.sides[0]))
    board.put(card, aside(board, place))
    for _ in range(3):
        board.set(frames.to((cell,)))
        board.wait(0.6)
        board.set(frames.to(()))
        board.wait(0.3)
    board.set(frames.to((cell,)))
