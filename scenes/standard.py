"""Standard attention (FA1, Algorithm 0): S and P, a number for each query and key, go out to HBM and come back."""

from collections.abc import Sequence
from typing import Any

from flashsteps.filmkit import Board, Film, places, telling
from flashsteps.filmkit.actors.bars import Bar, Bars, Piece
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.actors.loops import Loop
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.run_stage import RunStage
from flashsteps.machine.devices import DEFAULT, Device, device
from flashsteps.machine.events import IO
from flashsteps.runs.counting import count
from flashsteps.story.labels import a, opening, scores
from flashsteps.units import short as tokens
from flashsteps.units import size_of

D, SIZES = 64, (1 << 10, 1 << 12, 1 << 14, 1 << 16)  # a real head’s width, and real numbers of tokens
BEST = f"fp16, d = {D}; each of Q, K and V is read once: standard attention at its best"


class Standard(Film):
    title = "Standard attention"

    def storyboard(self, board: Board) -> None:
        trace = board.record("standard-forward")
        blocks = -(-trace.meta["queries"] // trace.meta["block_q"])
        run = Run(trace, slowly=(0, blocks, 2 * blocks))
        made = f"1  {scores(trace.meta)}", "2  P = softmax(S)", "3  O = P V"
        kernels = tuple(Loop(what, blocks) for what in made)
        chosen = board.option("device", "")
        shown = {"kind": "kernels", "device": chosen, "code": board.option("code", False)}
        starts = [run.start_of(program) for program in range(3)]
        if board.short:
            return short(board, RunStage(board, run, loops=kernels, **shown))

        with board.chapter("Three kernels"):
            stage = RunStage(board, run, loops=kernels, without=("loops",), **shown)
            board.say(opening(trace))
            board.read()
            stage.bring(*({"loops"} & stage.actors.keys()))
            board.say("Three kernels (GPU programs) run in turn.")

        with board.chapter("Scores go out"):
            come = "this toy’s K comes in whole, then Q" if run.is_toy else "K and Q come in"
            board.say(f"Kernel 1: {come}; all scores, S, go out.")
            stage.play(starts[1], seconds=4.8)

        with board.chapter("Softmax"):
            stage.begin()
            board.say("Each kernel starts with an empty chip: all must come from HBM.")
            board.wait(2.0)
            stage.play(starts[1] + 1)
            board.say("Kernel 2: softmax fetches all of S and writes P, as large.", lead=0.0)
            stage.play(starts[2], seconds=4.8)
            both = 2 * trace.initial["S"].nbytes
            place = stage.places.map
            extra = ("here", f"{both:,} B"), (f"at {tokens(SIZES[-1])}", size_of(4 * SIZES[-1] ** 2))
            board.put(Card("S and P", "extra memory", extra, "S"), place._replace(h=min(250, place.h)))

        with board.chapter("The output"):
            board.say("Kernel 3: P comes back in, with V, and O goes out.", lead=0.0)
            stage.play(len(run), seconds=4.8)

        with board.chapter("What it moved"):
            board.clear()
            parts = {"S and P": tuple("SP"), "Q, K, V and O": tuple("QKVO")}
            telling.put_totals(board, {name: telling.only(run.total, names) for name, names in parts.items()})
            share = scores_of(run.total) / run.total.total
            board.say(f"{size_of(run.total.total)} in all; {share:.0%} of it is S and P, out and back.")

        with board.chapter("At real sizes"):
            counts = [count("standard-forward", n=n, d=D, block_q=128, block_k=128) for n in SIZES]
            grown = board.value(0.0)
            here = places.stage(board)
            share = scores_of(counts[-1]) / counts[-1].total
            places.turn(
                board,
                f"More tokens, more of it: at {tokens(SIZES[-1])} S and P are {share:.1%} of all traffic.",
                (shares([scores_of(io) / io.total for io in counts], grown), here.whole),
                places.below(here, BEST),
                grows=(grown.to(100.0),),
                seconds=0.9,
            )

        with board.chapter("Too large to stay"):
            board.clear()
            too_large(board, device(chosen or DEFAULT), SIZES[-1])


def too_large(board: Board, gpu: Device, n: int) -> None:
    """S of one head of n tokens, beside what all of a GPU's SMs hold; and S and P, beside what the result needs."""
    one, needed = 2 * n * n, 4 * 2 * n * D  # fp16: S, and P is as large; Q, K, V and O
    both = board.value(0)
    each = f"processors, {gpu.shared_per_sm} KiB of SRAM each"
    bars = (
        Bar(f"all {gpu.multiprocessors} SMs", gpu.shared, "sram_line", under=each),
        Bar("S", one, "S"),
        Bar("S and P", both, "S"),
        Bar("Q, K, V and O", needed, "ink"),
    )
    board.put(
        Bars(bars, 2 * one, title=f"one head of {tokens(n)} tokens, d = {D}, fp16, beside {a(gpu.chip)}"), board.main
    )
    chip = f"All SMs together hold {size_of(gpu.shared)}"
    board.say(f"S can’t stay on chip: {size_of(one)}. {chip}.", given=one > gpu.shared)
    board.wait(2.5)
    board.move(both.to(2 * one), seconds=1.5)
    board.say(f"S and P take {size_of(2 * one)} a head, all else {size_of(needed)}.")


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
        title="what of one head’s traffic is S and P",
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
