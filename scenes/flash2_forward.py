"""FlashAttention-2 (FA2, Algorithm 1): queries outside, one program for each block of them, many at once."""

from flashsteps.filmkit import Board, Film, linear, telling
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.loops import Loop, Turned
from flashsteps.filmkit.closing import coda
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.run_stage import LANES, RunStage
from flashsteps.story.labels import opening
from flashsteps.story.maxima import slow_rounds
from flashsteps.theme import HEAD
from flashsteps.units import size_of


class Flash2Forward(Film):
    title = "FlashAttention-2 forward"

    def storyboard(self, board: Board) -> None:
        trace, code = board.record("flash2-forward"), bool(board.option("code", False))
        meta = trace.meta
        programs, blocks = -(-meta["queries"] // meta["block_q"]), -(-meta["keys"] // meta["block_k"])
        lanes = 1 if code else min(LANES[board.shape], programs)
        run = Run(trace, slowly=slow_rounds(trace, -1), lanes=lanes)
        first = run.first
        loops = Loop("programs i: Q, O", programs), Loop("for j: K, V", blocks)
        shown = {"device": board.option("device", ""), "code": code, "kind": "lanes" if lanes > 1 else "tile"}
        if board.short:
            return short(board, RunStage(board, run, loops=loops, names=("i", "j"), **shown))

        with board.chapter("Loops turned round"):
            turn_round(board, opening(trace), Loop("for j: keys, values", blocks), Loop("for i: queries", programs))

        with board.chapter("Programs"):
            board.clear()
            stage = RunStage(board, run, loops=loops, names=("i", "j"), **shown)
            alone = "Each block of queries is a program; none needs anything of another."
            beside = f"{programs} programs, one a block of queries: drawn in step; at once on a GPU, recorded in turn."
            board.say(beside if lanes > 1 else alone)
            stage.play(run.after(first, slot="k", first=True) - 1)
            if "kernel" in meta:
                board.say("What moves here is what its Triton kernel loaded and stored, as it was recorded.")

        with board.chapter("Keys stream past"):
            board.say("Keys and values stream past; Q, m, ℓ and acc, the output so far, stay till the end.")
            stage.play(first.stop, seconds=4.0)
            out = run.after(tensor="O", op="store")
            stage.tell(max(stage.at, out - 2), seconds=min(5.0, 0.8 * run.rounds_between(stage.at, out)))

        with board.chapter("Out, once"):
            lse = "" if "kernel" in meta else " = m + ln ℓ"  # whose m has a factor of its own
            board.say(f"At last O = acc / ℓ goes out, and LSE (log-sum-exp, for the backward pass){lse}.")
            stage.play(len(run), seconds=3.6)

        other = telling.counted(run, "flash-forward")
        if other:
            with board.chapter("Beside the first"):
                board.clear()
                both = {"FlashAttention": other, "FlashAttention-2": run.total}
                telling.put_totals(board, both | {"standard": run.standard})
                ours, theirs = size_of(run.total.total), size_of(other.total)
                less = "instead of" if run.total.total < other.total else "where FlashAttention moves"
                times = telling.times(programs) if meta["mask"] is None else "again and again"
                moved = run.total.by_tensor
                all_once = all(sum(moved[name]) == trace.initial[name].nbytes for name in "QO")
                often = "once" if all_once else "less often"
                board.say(f"Q and O cross {often}, K and V {times}: {ours} {less} {theirs}.")

        coda(board, trace)


def turn_round(board: Board, words: str, outer: Loop, inner: Loop) -> None:
    """FA1's brackets, and how they change places."""
    turned = board.value(0.0)
    column = board.main.columns(1, 3, 1)[1] if board.shape == "wide" else board.main
    _, name, middle, below = column.rows(2, 1, 4, 2)
    first = board.put(Text("FlashAttention", HEAD, weight=600), name)
    board.put(Turned(outer, inner, turned), middle)
    board.put(Text(words), below)
    board.say("FlashAttention-2 turns the loops round: queries outside, keys inside.")
    board.wait(1.2)
    board.move(turned.to(1.0), seconds=2.0, ease=linear)
    board.swap(first, Text("FlashAttention-2", HEAD, "accent", weight=600))
    board.wait(0.5)


def short(board: Board, stage: RunStage) -> None:
    """What moves, in three captions."""
    run = stage.run
    with board.chapter("In short"):
        board.say("One program for each block of queries.")
        stage.play(run.first.stop, seconds=2.8)
        board.say("Keys stream past; the output goes out once.")
        stage.play(len(run), seconds=3.2)
        board.say(f"{telling.toy(run)}; standard: {size_of(run.standard.total)}.")
