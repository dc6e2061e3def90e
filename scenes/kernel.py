"""The Triton kernel: its own recorded loads and stores beside the reference's, ticked off one by one."""

import numpy as np

from flashsteps import schedules
from flashsteps.filmkit import Board, Film, Made, linear
from flashsteps.filmkit.actors.cards import Card, Text
from flashsteps.filmkit.actors.code import source
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.timeline import Timeline, Work
from flashsteps.filmkit.pictures.two_runs import NAMES, alike, in_order, listing, said, tapes
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.filmkit.run import Run
from flashsteps.schedules import Schedule
from flashsteps.theme import BODY, label
from flashsteps.units import size_of

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
            board.put(listed[1], boxes[1])
            if not board.short:
                board.say("This Triton kernel is what a GPU would run. Does it do what the films show?")
                board.wait(1.0)
            board.put(listed[0], boxes[0])
            board.put(tapes(moves, same, seen), lower)
            words = "Triton’s interpreter runs it here, and each load and store is written down."
            board.say("A Triton kernel beside its reference." if board.short else words)
            board.put(Text(Made(lambda at: said(moves[0], at), seen), BODY, "accent", 600, mono=True), middle)
            meta = reference.meta
            size = f"N = {meta['queries']}, d = {meta['d']}, {meta['dtype']}"
            note(board, place, f"{size}; in Triton’s interpreter: what the kernel asks for, not how fast it is")
        with board.chapter("Pair by pair"):
            if not board.short:
                board.say("First the queries, then keys and values, block by block: in both the same.")
                board.move(seen.to(min(5.0, float(len(same)))), seconds=5.0, ease=linear)
            words = "The kernel loads and stores what the reference does: same tiles, same order, same bytes."
            board.say("The same tiles, in the same order." if board.short else words, given=whole)
            board.move(seen.to(float(len(same))), seconds=2.2 if board.short else 7.0, ease=linear)
        with board.chapter("All of them"):
            totals(board, place, runs, same)
        if not board.short:
            with board.chapter("What it shows"):
                shows(board, place)
            if log := schedules.kept(causal=True):
                with board.chapter("On a GPU"):
                    on_a_gpu(board, place, log)


def totals(board: Board, place: Stage, runs: tuple[Run, Run], same: tuple[bool, ...]) -> None:
    """Bytes of both, by tensor, and how far the outputs are apart."""
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
    words, at = f"All {len(same)} agree", place.whole.rows(6, 1)[0]
    if board.short:
        board.set(seen.to(float(len(rows))))
        turn(board, f"{words}: {size_of(one.total)} in each.", (table, at), given=agree)
        return
    turn(board, "What both have moved, tensor by tensor.", (table, at))
    for n in range(len(rows)):
        board.set(seen.to(n + 1.0))
        board.wait(0.3)
    board.say(f"{words}, {size_of(one.total)} in each. O differs by {apart:.4f} at most: rounding.", given=agree)


def shows(board: Board, place: Stage) -> None:
    """What is proven by this, and what is not."""
    cards = (
        Card(
            "It shows",
            "Which tiles the kernel loads and stores, in which order, how many bytes, and its numbers.",
            lit=True,
        ),
        Card("It does not show", "What a compiler makes of it: registers, overlap, or how fast it is on a GPU."),
    )
    box = place.whole.rows(2, 4, 3)[1]
    boxes = box.columns(2) if board.shape != "tall" else box.rows(2)
    words = "It shows what the kernel asks for: not what a compiler makes of it, nor its speed."
    turn(board, words, *zip(cards, boxes, strict=True))
    note(board, place, "flashsteps validate holds all kernels against their references like this")


def on_a_gpu(board: Board, place: Stage, log: Schedule) -> None:
    """The same kernel's own log from a GPU: which SM worked on which tile when, slowed down."""
    lanes, most = {sm: lane for lane, sm in enumerate(log.sms)}, max(len(one.begun) for one in log.programs)
    works = tuple(
        Work(lanes[one.sm], tuple(map(float, one.begun)), one.end, 0.25 + 0.75 * len(one.begun) / most)
        for one in log.programs
    )
    now, seconds = board.value(0.0), 16.0
    ticks = tuple((1000.0 * us, f"{us} µs") for us in range(0, int(log.end / 1000) + 1, 20))
    picture = Timeline(len(lanes), works, log.end, now, ticks)
    gpu = log.gpu.removeprefix("NVIDIA ").split()[0]
    words = f"On an {gpu}: a lane for each of {len(lanes)} SMs, its processors. {len(works)} programs share them."
    turn(board, words, (picture, place.whole), given=len(works) > len(lanes))
    size = f"N = {log.n:,}, {log.heads} heads, d = {log.d}, causal; bright: more tiles"
    note(board, place, f"{size}; this kernel’s own log, {log.gpu}; here in slow motion")
    board.move(now.to(log.end * 0.35), seconds=0.35 * seconds, ease=linear)
    board.say(
        "Each stripe is a tile. When a program ends, its SM takes the next: a short gap.",
        given=not schedules.together(log),
    )
    board.move(now.to(log.end * 0.75), seconds=0.4 * seconds, ease=linear)
    board.say(
        "The programs with most tiles begin first, whatever their head: at the end are short ones.",
        given=schedules.heavy_first(log),
    )
    board.move(now.to(log.end), seconds=0.25 * seconds, ease=linear)
    idle = schedules.waiting(log)
    words = f"So all are done at about one time: the first has {idle / 1000:.0f} of {log.end / 1000:.0f} µs left."
    board.say(words, given=idle < 0.1 * log.end)
