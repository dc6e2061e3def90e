"""Standard attention (FA1, Algorithm 0): S and P, a number for each query and key, go out to HBM and come back."""

from collections.abc import Sequence
from typing import Any

from flashsteps.filmkit import Board, Film, telling
from flashsteps.filmkit.actors.bars import Bar, Bars, Piece
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.actors.loops import Loop
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.run_stage import RunStage
from flashsteps.machine.events import IO
from flashsteps.runs.record import count
from flashsteps.story.labels import opening
from flashsteps.units import short as tokens
from flashsteps.units import size_of

D, SIZES = 64, (1 << 10, 1 << 12, 1 << 14, 1 << 16)  # a real head’s width, and real numbers of tokens


class Standard(Film):
    title = "Standard attention"

    def storyboard(self, board: Board) -> None:
        trace = board.record("standard-forward")
        blocks = -(-trace.meta["queries"] // trace.meta["block_q"])
        run = Run(trace, slowly=(0, blocks, 2 * blocks))
        kernels = Loop("1  S = Q K^{T} / √d", blocks), Loop("2  P = softmax(S)", blocks), Loop("3  O = P V", blocks)
        shown = {"kind": "kernels", "device": board.option("device", ""), "code": board.option("code", False)}
        starts = [run.start_of(program) for program in range(3)]
        if board.short:
            return short(board, RunStage(board, run, loops=kernels, **shown))

        with board.chapter("Three kernels"):
            stage = RunStage(board, run, loops=kernels, **shown)
            board.say(opening(trace))
            board.read()
            board.say("Standard attention is three kernels, one after another.")

        with board.chapter("Scores go out"):
            written = run.total.by_tensor["S"].written
            board.say(f"First kernel: Q and K come in, and every score goes out: {size_of(written)} of S.")
            stage.play(starts[1], seconds=7.0)

        with board.chapter("An empty chip"):
            stage.begin()
            board.say("A kernel starts with an empty chip: what it needs, it has to fetch from HBM.")
            board.wait(2.0)
            stage.play(starts[1] + 1)

        with board.chapter("Softmax"):
            board.say("Softmax fetches all of S and writes P, just as large.")
            stage.play(starts[2], seconds=6.0)
            both = 2 * trace.initial["S"].nbytes
            extra = ("here", f"{both:,} B"), (f"at {tokens(SIZES[-1])}", size_of(4 * SIZES[-1] ** 2))
            board.put(Card("S and P", "extra memory", extra, "S"), stage.places.map._replace(h=200))

        with board.chapter("The output"):
            board.say("Last kernel: P comes back in, with V, and O goes out.")
            stage.play(len(run), seconds=6.0)

        with board.chapter("What it moved"):
            board.clear()
            parts = {"S and P": tuple("SP"), "Q, K, V and O": tuple("QKVO")}
            telling.put_totals(board, {name: telling.only(run.total, names) for name, names in parts.items()})
            share = scores_of(run.total) / run.total.total
            board.say(f"{size_of(run.total.total)} in all; {share:.0%} of it is S and P, out and back.")

        with board.chapter("At real sizes"):
            board.clear()
            counts = [count("standard-forward", n=n, d=D, block_q=128, block_k=128) for n in SIZES]
            grown = board.value(0.0)
            board.put(shares([scores_of(io) / io.total for io in counts], grown), board.main)
            board.say(f"The share of S and P in one head’s traffic, d = {D}, as the tokens grow.")
            board.move(grown.to(100.0), seconds=2.5)
            board.say(
                f"At {tokens(SIZES[-1])} tokens S and P are {scores_of(counts[-1]) / counts[-1].total:.1%} of it."
            )

        with board.chapter("And memory"):
            board.clear()
            own, needed = 2 * 2 * SIZES[-1] ** 2, 4 * 2 * SIZES[-1] * D  # fp16: S and P; Q, K, V and O
            extra = board.value(0)
            bars = Bar("Q, K, V, O", needed, "ink"), Bar("S and P", extra, "S")
            board.put(Bars(bars, own, title=f"memory of one head of {tokens(SIZES[-1])} tokens, fp16"), board.main)
            board.say(f"And they take {size_of(own)} of memory a head that the result doesn’t need.")
            board.move(extra.to(own), seconds=1.5)


def scores_of(io: IO) -> int:
    """Bytes of S and P, read and written."""
    return sum(sum(io.by_tensor[name]) for name in "SP")


def shares(each: Sequence[float], grown: Any) -> Bars:
    """All traffic as 100 %, at each number of tokens: what of it is S and P."""
    return Bars(
        tuple(
            Bar(
                f"{tokens(n)} tokens", grown, "S", (Piece(100 * share, "S"), Piece(100 * (1 - share), "dim")),
                figure=False, note=f"{share:.1%} S and P",
            )
            for n, share in zip(SIZES, each, strict=True)
        ),
        100.0,
    )  # fmt: skip


def short(board: Board, stage: RunStage) -> None:
    """What moves, in three captions."""
    run = stage.run
    with board.chapter("In short"):
        board.say("The first kernel writes all scores, S, to HBM.")
        stage.play(run.start_of(1), seconds=3.0)
        board.say("Softmax fetches S, writes P; P comes back too.")
        stage.play(len(run), seconds=3.2)
        board.say(f"{size_of(run.total.total)} moved; {scores_of(run.total) / run.total.total:.0%} of it is S and P.")
