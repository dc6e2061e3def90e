"""FlashAttention (FA1, Algorithm 1): keys and values outside, queries inside, O, ℓ and m going out to HBM and back."""

from flashsteps.filmkit import Board, Film, telling
from flashsteps.filmkit.actors.fit import Fit
from flashsteps.filmkit.actors.loops import Loop
from flashsteps.filmkit.closing import coda
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.run_stage import RunStage
from flashsteps.runs.record import count
from flashsteps.story.labels import opening
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
            written = sum(event.nbytes for event in trace if event.op == "store" and not event.loop)
            board.say(f"O, ℓ and m start in HBM as 0, 0 and −∞: that alone writes {size_of(written)}.")
            stage.play(run.after(op="load", first=True) - 1)

        with board.chapter("Keys, values"):
            board.say("A block of keys and values comes in, and stays for all queries.")
            stage.play(run.after(first, slot="q", first=True) - 1)

        with board.chapter("Queries"):
            board.say("Inner loop: queries come in, with what they have so far: O, ℓ and m.")
            stage.play(run.after(first, slot="S", first=True) - 1)

        with board.chapter("A tile of scores"):
            board.say("Scores are made on chip. P takes their place; each row’s max and sum stand beside.")
            stage.play(run.after(first, slot="o", op="compute") - 1)
            board.say("S and P may be forgotten: m, ℓ and O are all that later tiles need of them.")
            stage.play(run.after(first, slot="o", op="compute"))

        with board.chapter("Out, and round"):
            board.say("O, ℓ and m go back to HBM until the next keys come.")
            stage.play(first.stop)
            until = run.round(moves.event).start if moves else len(run)
            stage.tell(until, seconds=min(6.0, 0.6 * run.rounds_between(first.stop, until)))

        if moves:
            with board.chapter("A max moves"):
                telling.max_moves(board, stage, moves, "its old sum counts {} of what it did")

        with board.chapter("All tiles"):
            board.say(
                "So on, tile by tile: no tile of scores ever goes to HBM.",
                given=all(name not in "SP" for name in run.total.by_tensor),
            )
            stage.tell(len(run), seconds=min(5.0, 0.6 * run.rounds_between(stage.at, len(run))))
            larger = min(2 * bq, meta["queries"]), min(2 * bk, meta["keys"])
            sizes = {"n": meta["queries"], "n_keys": meta["keys"], "d": meta["d"], "dtype": meta["dtype"]}
            needed = count("flash-forward", block_q=larger[0], block_k=larger[1], **sizes).peak.total
            words = f"{telling.toy(run)}. Standard attention moves {size_of(run.standard.total)}."
            if needed > run.sram:
                board.read()
                stage.hide("meter")
                blocks = (f"{bq}×{bk}", trace.peak.total), (f"{larger[0]}×{larger[1]}", needed)
                board.put(Fit(blocks, run.sram, "the toy’s SRAM"), stage.places.meter)
                words = f"{telling.toy(run)}. Larger blocks would need {needed:,} B: the toy has {run.sram:,}."
            board.say(words)

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
