"""Experiments: training time, accuracy, memory. What was published and what was measured here, never in one chart."""

from typing import Any

import numpy as np

from flashsteps import results
from flashsteps.filmkit import Board, Film, Made
from flashsteps.filmkit.actors.bars import Bar, Bars
from flashsteps.filmkit.actors.cards import Card, Text
from flashsteps.filmkit.actors.columns import Columns, Group
from flashsteps.filmkit.actors.curve import Axis, Curve, Line
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.results import Results
from flashsteps.theme import HEAD
from flashsteps.traffic import published
from flashsteps.traffic.published import figure
from flashsteps.units import short

OURS, NOT_OURS = "accent", "dim"
SOURCE = "published: FA1 (arXiv 2205.14135)"


class Experiments(Film):
    title = "Experiments"

    def storyboard(self, board: Board) -> None:
        place, speed, train = stage(board), results.kept("speed"), results.kept("train")
        here = speed is not None and train is not None
        if not board.short:
            with board.chapter("Two kinds of figures"):
                labels(board, place, here)
        with board.chapter("Training time"):
            training(board, place)
        if not board.short:
            with board.chapter("Longer sequences"):
                longer(board, place)
            with board.chapter("One step"):
                step(board, place)
        if speed and train:
            with board.chapter("Measured here"):
                measured(board, place, speed, train)
        if not board.short:
            with board.chapter("What is missing"):
                missing(board, place, speed)


def labels(board: Board, place: Stage, here: bool) -> None:
    """What each kind looks like."""
    words = "figures of ours, on a machine that is named" if here else "nothing yet comes with this film"
    ours = Card("measured here", words, lit=True)
    theirs = Card("published", "figures of others, each with its paper and its hardware")
    board.say("First what was published, then what was measured here: never in one chart.")
    box = place.whole.rows(2, 3, 3)[1]
    for card, at in zip((theirs, ours), box.columns(2) if board.shape != "tall" else box.rows(2), strict=True):
        board.put(card, at)
        board.wait(1.0)


def training(board: Board, place: Stage) -> None:
    """Days and minutes, as FA1 has them."""
    upper, lower = place.whole.rows(12, 5)
    sides = upper.columns(2) if board.shape == "wide" else upper.rows(2)
    ratios = [times[0][1] / times[-1][1] for times in published.GPT2_DAYS.values()]
    most, pictures, grown = max(times[0][1] for times in published.GPT2_DAYS.values()), [], board.value(0.0)
    for box, (model, times) in zip(sides, published.GPT2_DAYS.items(), strict=True):
        bars = tuple(bar(who, days, grown) for who, days in times)
        pictures.append((Bars(bars, most, "{:.1f}", title=f"{model}: days of training"), box))
    bert = tuple(bar(who, minutes, grown, error) for who, minutes, error in published.BERT_MINUTES)
    longest = max(minutes + error for _, minutes, error in published.BERT_MINUTES)
    chart = Bars(bert, longest, "{:.1f}", title="BERT-large: minutes to the target", widest="00.0 ± 0.0")
    words = f"With FlashAttention GPT-2 trains {min(ratios):.1f} to {max(ratios):.1f} times as fast as Hugging Face’s."
    if board.short:
        words = f"Published: GPT-2 trains {max(ratios):.1f} times as fast."
    turn(board, words, *pictures, (chart, lower))
    note(board, place, f"{SOURCE}, Tables 1 and 2, on 8 A100s; GPT-2 to the same perplexity")
    board.move(grown.to(1.0), seconds=1.5)


def bar(who: str, value: float, grown: Any, error: float = 0.0) -> Bar:
    ours = OURS if who == "FlashAttention" else NOT_OURS
    return Bar(who, Made(lambda u: value * u, grown), ours, error=Made(lambda u: error if u == 1 else 0.0, grown))


def longer(board: Board, place: Stage) -> None:
    """What became possible."""
    right, chance = published.PATH_X, published.PATH_X_BY_CHANCE
    cards = (
        Card("Path-X", "sequences of 16K tokens", (("right", f"{right} %"), ("by guessing", f"{chance:.0f} %"))),
        Card("long-range arena", "against standard attention", (("as fast", f"{published.LONG_RANGE_SPEEDUP}×"),)),
    )
    box = place.whole.rows(2, 4, 3)[1]
    boxes = box.columns(2) if board.shape != "tall" else box.rows(2)
    words = f"Published too: Path-X {right} % right, guessing gives {chance:.0f}; long-range arena 2.4× as fast."
    turn(board, words, *zip(cards, boxes, strict=True))
    note(board, place, f"{SOURCE}, Tables 3 and 6")


def step(board: Board, place: Stage) -> None:
    """Attention of GPT-2 medium, forward and backward."""
    was, now, grown = figure("gpt2-medium-standard-time"), figure("gpt2-medium-flash-time"), board.value(0.0)
    bars = bar("standard", was.value, grown), bar("FlashAttention", now.value, grown)
    chart = Bars(bars, was.value, "{:.1f} ms", title="attention of GPT-2 medium, forward and backward")
    words = f"One attention step: {was.value} to {now.value} ms, {was.value / now.value:.1f} times as fast, on an A100."
    turn(board, words, (chart, place.whole.rows(5, 2)[0]))
    note(board, place, f"{SOURCE}, Figure 2, {was.hardware}; N = 1024, d = 64, 16 heads, batch 64")
    board.move(grown.to(1.0), seconds=1.2)


def measured(board: Board, place: Stage, speed: Results, train: Results) -> None:
    """Memory and losses, from the files under renders/data."""
    held = {
        (row["n"], row["backend"]): row["peak_bytes"]
        for row in speed.rows
        if row["pass"] == "backward" and not row["causal"] and row["status"] == "ok"
    }
    sizes = sorted({n for n, backend in held if backend == "standard" and (n, "flash") in held})
    losses = {(row["attention"], row["n"]): row["losses"] for row in train.rows if row["status"] == "ok"}
    size = max(n for attention, n in losses if attention == "sdpa")
    tokens = speed.settings["tokens"]
    most, grown, steps = max(held[n, "standard"] for n in sizes) / 1e6, board.value(0.0), board.value(0.0)
    groups = tuple(Group(short(n), tuple(held[n, b] / 1e6 for b in ("standard", "flash"))) for n in sizes)
    kinds, name = (
        (("standard", NOT_OURS), ("SDPA, flash", OURS)),
        f"tokens in a sequence, {tokens:,} in all; numbers: MB",
    )
    memory = Columns(groups, kinds, most, title="memory, forward and backward", name=name, grown=grown)
    one, other = (np.array(losses[attention, size]) for attention in ("standard", "sdpa"))
    apart = max(float(np.abs(np.subtract(losses["standard", n], losses["sdpa", n])).max()) for _, n in losses)
    low, high, count = np.floor(one.min()), np.ceil(one.max()), len(one)
    lines = (
        Line("", tuple((float(t + 1), float(x)) for t, x in enumerate(one)), NOT_OURS),
        Line("", tuple((float(t + 1), float(x)) for t, x in enumerate(other)), OURS, 8),
    )
    x = Axis(0, count, ((count / 2, f"{count // 2}"), (float(count), f"{count}")), "steps")
    y = Axis(low, high, tuple((float(v), f"{v:.0f}") for v in np.arange(low, high + 1)))
    loss = Curve(x, y, lines, upto=steps, title=f"loss of a small GPT, N = {size}: two lines on each other")
    flat = held[sizes[-1], "flash"] < 1.5 * held[sizes[0], "flash"]
    grows = held[sizes[-1], "standard"] > 2 * held[sizes[0], "standard"]
    words = "Memory stays flat where standard’s grows with N, and the losses are the same."
    if board.short:
        words = "Measured here: memory stays flat as N grows."
    turn(board, words, (memory, place.sides[0]), (loss, place.sides[1]), given=flat and grows and apart < 1e-4)
    machine, torch = speed.machine["name"], str(speed.versions["torch"]).partition("+")[0]
    said = f"measured here, {speed.date}: {machine}, torch {torch}; losses {apart:.6f} apart at most"
    note(board, place, said)
    board.move(grown.to(1.0), seconds=1.2)
    board.move(steps.to(float(count)), seconds=1.5)
    if board.short:
        board.say("The losses are the same.")


def missing(board: Board, place: Stage, speed: Results | None) -> None:
    gpu = speed is not None and speed.machine["kind"] != "cpu"
    words = "Measured on a CPU up to now: no figure of ours is from a GPU yet."
    if speed is None:
        words = "Nothing measured comes with this film: flashsteps bench measures on your machine."
    elif gpu:
        words = f"Measured on one {speed.machine['name']}: other chips will give other figures."
    how = "flashsteps bench --all measures on the machine at hand"
    turn(board, words, (Text("what is missing", HEAD, "ink", 600), place.whole.rows(3, 1, 8)[1]))
    board.put(Text(how), place.whole.rows(4, 1, 7)[1])
