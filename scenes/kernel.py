"""The Triton kernel: its own recorded loads and stores beside the reference's, ticked off one by one."""

from math import ceil

import numpy as np

from flashsteps import schedules
from flashsteps.filmkit import Board, Film, Made, linear
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.code import source
from flashsteps.filmkit.actors.number import Number
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.timeline import Timeline, Work
from flashsteps.filmkit.pictures.two_runs import NAMES, alike, in_order, listing, said, tapes
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.filmkit.run import Run
from flashsteps.schedules import Schedule
from flashsteps.theme import BODY, label
from flashsteps.units import at_most, size_of

MOST = 256  # pairs that a tape can show


class Kernel(Film):
    title = "The Triton kernel"

    def storyboard(self, board: Board) -> None:
        reference = board.record("flash2-forward")
        kernel = board.twin(reference)
        runs, place = (Run(reference), Run(kernel)), stage(board)
        moves = tuple(tuple(in_order(trace)) for trace in (reference, kernel))
        if max(map(len, moves)) > MOST:
            raise ValueError(
                f"{len(moves[0])} transfers are too many to tell one by one, {MOST} is the most: give larger blocks"
            )
        same = tuple(alike(*pair) for pair in zip(*moves, strict=False))
        whole = len(moves[0]) == len(moves[1]) and all(same)
        seen = board.value(0.0)

        lines = [source(run) for run in runs]
        upper, middle, lower = place.whole.rows(
            *board.pick(wide=(20, 3, 17), square=(20, 3, 18), tall=(30, 2, 16)), gap=16
        )
        boxes = upper.columns(2) if board.shape == "wide" else upper.rows(2, gap=14)
        listed = [listing(n, lines[n], moves[n], seen) for n in (0, 1)]

        with board.chapter("Does it do the same?"):
            for n in (0, 1):
                board.put(listed[n], boxes[n])
            board.put(tapes(moves, same, seen), lower)
            board.put(Text(Made(lambda at: said(moves[0], at), seen), BODY, "accent", 600, mono=True), middle)
            meta = reference.meta
            size = f"N = {meta['queries']}, d = {meta['d']}, {meta['dtype']}"
            note(board, place, f"{size}; hatched: O and LSE (in {meta['computing']}), stored; all else is loaded")
            if board.short:
                board.say("A Triton kernel beside its reference.")
            else:
                board.say("Does the Triton kernel do what the films show?")
                board.say("Triton’s interpreter runs it here, noting each load and store: no GPU.")
                board.move(seen.to(min(5.0, float(len(same)))), seconds=4.4, ease=linear)  # the first ones slowly
        with board.chapter("Pair by pair"):
            words = "The kernel loads and stores what the reference does: same tiles, same order, same bytes."
            board.say("The same tiles, in the same order." if board.short else words, given=whole)
            board.move(seen.to(float(len(same))), seconds=2.2 if board.short else 7.5, ease=linear)
        with board.chapter("All of them"):
            totals(board, place, runs, same)
        if not board.short and (log := schedules.kept(causal=True)):
            with board.chapter("On a GPU"):
                on_a_gpu(board, place, log)


def totals(board: Board, place: Stage, runs: tuple[Run, Run], same: tuple[bool, ...]) -> None:
    """Bytes of both, by tensor; how many transfers agree, how far the outputs are apart; and what that shows."""
    one, other = (run.total for run in runs)
    rows, seen = [], board.value(0.0)
    for name in one.by_tensor:
        for side, what in (("read", "read"), ("written", "written")):
            if amount := getattr(one.by_tensor[name], side):
                rows.append((f"{label(name)} {what}", f"{amount:,} B", f"{getattr(other.by_tensor[name], side):,} B"))
    rows.append(("in all", size_of(one.total), size_of(other.total)))
    apart = float(np.abs(runs[0].trace.outputs["O"].astype(float) - runs[1].trace.outputs["O"].astype(float)).max())
    table = Table(tuple(rows), ("", *NAMES), seen=seen, lit=len(rows) - 1)
    agree = all(same) and one.total == other.total and apart < 0.01
    words, many = f"All {len(same)} agree", float(len(rows))
    if board.short:
        board.set(seen.to(many))
        turn(board, f"{words}: {size_of(one.total)} in each.", (table, place.whole.rows(6, 1)[0]), given=agree)
        return
    left, right = place.sides
    figures = (
        Number("", f"{sum(same)} of {len(same)}", "same tile, order and bytes", "loads and stores that agree"),
        Number("", at_most(apart), f"rounding of {runs[0].trace.meta['dtype']}", "O differs by at most"),
    )
    said = f"{words}, {size_of(one.total)} in both; O differs by {at_most(apart)} at most: rounding."
    pictures = (table, left), *zip(figures, right.rows(14, 14, 12, gap=24), strict=False)
    turn(board, said, *pictures, given=agree, grows=(seen.to(many),), seconds=1.1)
    note(board, place, "flashsteps validate holds all kernels against their references like this")
    board.say("The interpreter shows what the kernel asks for, not how fast it is.")


def on_a_gpu(board: Board, place: Stage, log: Schedule) -> None:
    """The same kernel's own log from a GPU: which SM worked on which tile when, slowed down."""
    lanes, most = {sm: lane for lane, sm in enumerate(log.sms)}, max(len(one.begun) for one in log.programs)
    works = tuple(
        Work(lanes[one.sm], tuple(map(float, one.begun)), one.end, 0.25 + 0.75 * len(one.begun) / most)
        for one in log.programs
    )
    now, seconds = board.value(0.0), 13.6
    ticks = tuple((1000.0 * us, f"{us} µs") for us in range(0, int(log.end / 1000) + 1, 20))
    picture = Timeline(len(lanes), works, log.end, now, ticks)
    gpu = log.gpu.removeprefix("NVIDIA ").split()[0]
    words = f"An {gpu}’s {len(lanes)} SMs, its processors, each a lane, share {len(works)} programs."
    turn(board, words, (picture, place.whole), given=len(works) > len(lanes))
    size = f"N = {log.n:,}, {log.heads} heads, d = {log.d}, causal; bright: more tiles"
    note(board, place, f"{size}; this kernel’s own log, {log.gpu}; here in slow motion")
    board.move(now.to(log.end * 0.3), seconds=0.3 * seconds, ease=linear)
    board.say(
        "A stripe is a tile; a dark gap, where an SM turns to its next program.", given=not schedules.together(log)
    )
    board.move(now.to(log.end * 0.6), seconds=0.3 * seconds, ease=linear)
    idle = ceil(schedules.waiting(log) / 1000)
    board.say(
        f"Programs with most tiles begin first: at the end no SM waits over {idle} of {log.end / 1000:.0f} µs.",
        given=schedules.heavy_first(log) and idle < 0.1 * log.end / 1000,
    )
    board.move(now.to(log.end), seconds=0.4 * seconds, ease=linear)
