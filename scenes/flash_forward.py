"""FlashAttention (FA1, Algorithm 1): keys and values outside, queries inside, O, ℓ and m going out to HBM and back."""

from flashsteps.filmkit import Board, Film, telling
from flashsteps.filmkit.actors.fit import Fit
from flashsteps.filmkit.actors.loops import Loop
from flashsteps.filmkit.closing import coda
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.run_stage import RunStage
from flashsteps.runs import again
from flashsteps.runs.counting import count
from flashsteps.story.labels import dtypes, opening
from flashsteps.story.maxima import slow_rounds
from flashsteps.units import size_of


class FlashForward(Film):
    title = "FlashAttention forward"

    def storyboard(self, board: Board) -> None:
        trace = board.record("flash-forward")
        run, meta = Run(trace, slowly=slow_rounds(trace)), trace.meta
        first, moves = run.first, run.shrink
        bq, bk = meta["block_q"], meta["block_k"]
        loops = Loop("for j: K, V", -(-meta["keys"] // bk)), Loop("for i: Q, O, ℓ, m", -(-meta["queries"] // bq))
        shown = {"device": board.option("device", ""), "code": board.option("code", False)}
        if board.short:
            return short(board, RunStage(board, run, loops=loops, names=("j", "i"), **shown))

        with board.chapter("One head"):
            stage = RunStage(board, run, loops=loops, names=("j", "i"), **shown)
            board.say(opening(trace))
            stage.play(run.after(op="load", first=True) - 1, seconds=2.6)

        with board.chapter("What comes in"):
            often = "" if meta["mask"] else f" {telling.times(loops[0].times)}"
            starts = "0, 1 and the sink" if meta.get("sinks") else "0, 0, −∞"
            board.say(f"K and V come once; Q comes{often} with O, ℓ and m, at first {starts}.")
            stage.play(run.after(first, slot="S", first=True) - 1, seconds=4.5)

        with board.chapter("A tile of scores"):
            board.say("S and P may be forgotten: m (max), ℓ (sum), O suffice.")
            stage.play(run.after(first, slot="o", op="compute"), seconds=3.7)

        with board.chapter("Out, and round"):
            board.say("O, ℓ and m go back to HBM until the next keys come.")
            stage.play(first.stop)
            until = run.round(moves.event).start if moves else len(run)
            stage.tell(until, seconds=min(3.0, 0.25 * run.rounds_between(first.stop, until)))

        if moves:
            with board.chapter("A max moves"):
                telling.max_moves(board, stage, moves)

        with board.chapter("All tiles"):
            larger = min(2 * bq, meta["queries"]), min(2 * bk, meta["keys"])
            needed = count("flash-forward", block_q=larger[0], block_k=larger[1], **again.sizes(trace)).peak.total
            too_large = f"{larger[0]}×{larger[1]} would not fit: {needed:,} B of {run.sram:,}."
            board.say("On it goes. S never goes out.", given=not {*"SP"} & {*run.total.by_tensor})
            stage.tell(len(run), seconds=min(2.0, 0.45 * run.rounds_between(stage.at, len(run))))
            if needed <= run.sram:
                board.say(f"{telling.toy(run)}; standard attention moves {size_of(run.standard.total)}.")
            else:
                board.read()
                stage.hide("meter")
                blocks = (f"{bq}×{bk}", trace.peak.total), (f"{larger[0]}×{larger[1]}", needed)
                board.put(Fit(blocks, run.sram, "the toy’s SRAM", dtypes(trace)), stage.places.meter)
                board.say(too_large)

        coda(board, trace)


def short(board: Board, stage: RunStage) -> None:
    """What moves, in three captions."""
    run = stage.run
    with board.chapter("In short"):
        board.say("K, V stay on chip; Q, O, ℓ, m come and go.")
        stage.play(run.first.stop, seconds=3.0)
        board.say("S is made there, tile by tile: it never leaves.")
        stage.play(len(run), seconds=3.2)
        board.say(f"{telling.toy(run)}; standard: {size_of(run.standard.total)}.")
