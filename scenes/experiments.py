"""Experiments: training time, accuracy, memory. What was published and what was measured here, never in one chart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flashsteps import results
from flashsteps.filmkit import Board, Film, Made
from flashsteps.filmkit.actors.bars import Bar, Bars, Legend, Piece
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.actors.columns import Columns, Group
from flashsteps.filmkit.actors.curve import Axis, Curve, Line
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.places import Stage, below, note, stage, turn
from flashsteps.results import Results
from flashsteps.story.labels import a
from flashsteps.traffic import published
from flashsteps.traffic.published import figure
from flashsteps.units import short

#: what a colour means, in all charts: attention that stores S, FlashAttention as others have it, cuDNN's, and ours
STANDARD, FLASH, CUDNN, OURS = "dim", "ink", "Q", "accent"
BACKENDS = {
    "flashsteps": ("flashsteps", OURS),
    "cudnn": ("cuDNN", CUDNN),
    "flash": ("PyTorch’s FlashAttention-2", FLASH),
}
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
        duel = results.kept("duel")
        if duel and len(kept_of(duel)) > 1:
            with board.chapter("Speed, measured here"):
                raced(board, place, duel)
        if speed and train and not (board.short and duel):
            with board.chapter("Memory and loss, measured here"):
                measured(board, place, speed, train)
        if not board.short:
            with board.chapter("What is missing"):
                missing(board, place, speed)


def labels(board: Board, place: Stage, here: bool) -> None:
    """What each kind looks like."""
    words = "figures of ours, on a machine that is named" if here else "nothing yet comes with this film"
    ours = Card("measured here", words, lit=True)
    theirs = Card("published", "figures of others, each with its paper, and its hardware where it depends on it")
    board.say("First what was published, then what was measured here: never in one chart.")
    box = place.whole.rows(2, 3, 3)[1]
    for card, at in zip((theirs, ours), box.columns(2) if board.shape != "tall" else box.rows(2), strict=True):
        board.put(card, at)
        board.wait(0.6)
    named = (STANDARD, "without FlashAttention"), (FLASH, "FlashAttention, others’"), (CUDNN, "cuDNN"), (OURS, "ours")
    board.put(Legend(tuple(Piece(1, hue, name=name) for hue, name in named)), place.below)


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
    said = below(place, f"{SOURCE}, Tables 1 and 2, on 8 A100s; GPT-2 to the same perplexity")
    turn(board, words, *pictures, (chart, lower), said, grows=(grown.to(1.0),), seconds=1.5)


def bar(who: str, value: float, grown: Any, error: float = 0.0) -> Bar:
    hue = FLASH if who == "FlashAttention" else STANDARD
    return Bar(who, Made(lambda u: value * u, grown), hue, error=Made(lambda u: error if u == 1 else 0.0, grown))


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
    said = below(place, f"{SOURCE}, Figure 2, {was.hardware}; N = 1024, d = 64, 16 heads, batch 64")
    turn(board, words, (chart, place.whole.rows(5, 2)[0]), said, grows=(grown.to(1.0),))


def kept_of(duel: Results | None) -> dict[tuple[str, bool, int, str], float]:
    """TFLOP/s of those that were timed in turn, by pass, mask, N and whose; of the width that most rows have."""
    rows = [row for row in duel.rows if row["status"] == "ok"] if duel else []
    d = width(rows)
    return {
        (row["pass"], row["causal"], row["n"], row["backend"]): row["tflops"]
        for row in rows
        if row["d"] == d and row["backend"] in BACKENDS
    }


def width(rows: Sequence[Mapping[str, Any]]) -> int:
    """The head's width that most rows have."""
    return max((row["d"] for row in rows), key=[row["d"] for row in rows].count, default=0)


def between(each: Sequence[float]) -> str:
    """`0.95 to 0.99`."""
    low, high = (f"{end(each):.2f}" for end in (min, max))
    return low if low == high else f"{low} to {high}"


def raced(board: Board, place: Stage, duel: Results) -> None:
    """How fast a forward and a backward pass are, ours and others', timed in turn on one GPU."""
    speeds, d = kept_of(duel), width(duel.rows)
    sizes, most = sorted({n for _, _, n, _ in speeds}), max(speeds.values())
    gpu, dtype = duel.machine["name"], {"bfloat16": "bf16"}.get(duel.settings["dtype"], duel.settings["dtype"])
    said = f"measured here, {duel.date}, {gpu}: {versions(duel)}; {dtype}, d = {d}"
    batches = [max(1, duel.settings["tokens"] // n) for n in sizes]
    name = f"tokens in a sequence; {duel.settings['hidden'] // d} heads, batches of {max(batches)} to {min(batches)}"

    def charts(causal: bool, grown: Any) -> list[tuple[Any, Box]]:
        pictures: list[tuple[Any, Box]] = []
        for way, box in zip(("forward", "backward"), place.sides, strict=True):
            groups = tuple(Group(short(n), tuple(speeds.get((way, causal, n, one)) for one in BACKENDS)) for n in sizes)
            title = f"{way}{', causal' if causal else ', no mask'}: TFLOP/s"
            kinds = tuple(BACKENDS.values())
            pictures.append((Columns(groups, kinds, most, title=title, name=name, grown=grown), box))
        return pictures

    def against(other: str, causal: bool, *ways: str) -> list[float]:
        return [speeds[way, causal, n, "flashsteps"] / speeds[way, causal, n, other] for way in ways for n in sizes]

    def compared(causal: bool) -> str:
        forward, backward = (between(against("cudnn", causal, way)) for way in ("forward", "backward"))
        return f"{forward}× cuDNN’s speed forward, {backward}× backward."

    grown = board.value(0.0)
    words = f"Our kernels on {a(gpu.removeprefix('NVIDIA ').split()[0])}: {compared(False)}"
    if board.short:
        words = f"Measured: forward {between(against('cudnn', False, 'forward'))} times cuDNN’s speed."
    turn(board, words, *charts(False, grown), below(place, said), grows=(grown.to(1.0),))
    if board.short:
        return
    board.read()
    grown, words = board.value(0.0), f"With the causal mask: {compared(True)}"
    turn(board, words, *charts(True, grown), below(place, said), grows=(grown.to(1.0),))
    older = [x for causal in (False, True) for x in against("flash", causal, "forward", "backward")]
    board.say(f"Masked or not, ours are {between(older)} times as fast as PyTorch’s FlashAttention-2.")


def versions(found: Results) -> str:
    """What was measured, by version: torch 2.11.0, triton 3.6.0, cuDNN 9.19.0."""
    of = {name: str(found.versions[name]).partition("+")[0] for name in ("torch", "triton") if found.versions.get(name)}
    if (cudnn := str(found.versions.get("cudnn") or "")).isdigit():  # 91900
        of["cuDNN"] = f"{int(cudnn) // 10000}.{int(cudnn) // 100 % 100}.{int(cudnn) % 100}"
    return ", ".join(f"{name} {version}" for name, version in of.items())


def measured(board: Board, place: Stage, speed: Results, train: Results) -> None:
    """Memory and losses, from the files under renders/data."""
    rows = [row for row in speed.rows if row["pass"] == "backward" and not row["causal"] and row["status"] == "ok"]
    d = width([row for row in rows if row["backend"] == "standard"])
    held = {(row["n"], row["backend"]): row["peak_bytes"] for row in rows if row["d"] == d}
    sizes = sorted({n for n, backend in held if backend == "standard" and (n, "flash") in held})
    most, grown, steps = max(held[n, "standard"] for n in sizes), board.value(0.0), board.value(0.0)
    unit, name = (1e9, "GB") if most >= 1e10 else (1e6, "MB")
    who = [one for one in ("standard", "flash", "flashsteps") if all((n, one) in held for n in sizes)]
    flash = "SDPA, flash" if speed.machine["kind"] == "cpu" else BACKENDS["flash"][0]
    hues = {"standard": ("standard", STANDARD), "flash": (flash, FLASH), "flashsteps": ("flashsteps", OURS)}
    groups = tuple(Group(short(n), tuple(held[n, one] / unit for one in who)) for n in sizes)
    axis = f"tokens in a sequence, {speed.settings['tokens']:,} in all, d = {d}; numbers: {name}"
    memory = Columns(
        groups, tuple(hues[one] for one in who), most / unit, "{:.1f}" if unit == 1e9 else "{:.0f}",
        title="memory, forward and backward", name=axis, grown=grown,
    )  # fmt: skip
    loss, apart, about = losses(train, steps)
    flat = held[sizes[-1], "flash"] < 1.5 * held[sizes[0], "flash"]
    grows = held[sizes[-1], "standard"] > 1.5 * held[sizes[0], "standard"]
    words = "At as many tokens in all, standard’s memory grows with N; the others’ does not."
    machine, bits = speed.machine["name"], {"bfloat16 autocast": "bf16"}.get(train.settings["arithmetic"], "float32")
    said = f"measured here, {speed.date}, {machine}: {versions(speed)}; training in {bits}, {train.date}"
    pictures = (memory, place.sides[0]), (loss, place.sides[1]), below(place, said)
    turn(board, words, *pictures, given=flat and grows, grows=(grown.to(1.0),))
    board.move(steps.to(float(train.settings["steps"])), seconds=1.5)
    if apart < 1e-4:
        board.say(f"The losses of training are the same to {apart:.6f}.")
    else:
        board.say(f"In {bits} the losses differ by {apart:.3f} at most, at losses around {about:.1f}.")


def losses(train: Results, steps: Any) -> tuple[Curve, float, float]:
    """The curves at the largest N; at any N, how far those of two kinds of attention are apart; where they go to."""
    rows = [row for row in train.rows if row["status"] == "ok"]
    found = {(row["attention"], row["n"]): np.array(row["losses"]) for row in rows}
    sizes = {n for attention, n in found if attention == "standard" and ("sdpa", n) in found}
    names = {"standard": (STANDARD, 0), "sdpa": (FLASH, 8), "flashsteps": (OURS, 14)}
    there = [one for one in names if all((one, n) in found for n in sizes)]
    apart = max(float(np.abs(found[one, n] - found[other, n]).max()) for n in sizes for one in there for other in there)
    about = float(np.median([loss[len(loss) // 2 :] for loss in found.values()]))
    size = max(sizes)
    every = np.concatenate([found[one, size] for one in there])
    low, high, count = np.floor(every.min()), np.ceil(every.max()), len(found["standard", size])
    lines = tuple(
        Line("", tuple((float(t + 1), float(x)) for t, x in enumerate(found[one, size])), *names[one]) for one in there
    )
    x = Axis(0, count, ((count / 2, f"{count // 2}"), (float(count), f"{count}")), "steps")
    y = Axis(low, high, tuple((float(v), f"{v:.0f}") for v in np.arange(low, high + 1)))
    million = f"{train.settings['parameters'] / 1e6:.3g}M parameters"
    many = {2: "two", 3: "three"}[len(there)]
    title = f"loss, {million}, N = {short(size)}: {many} lines on each other"
    return Curve(x, y, lines, upto=steps, title=title), apart, about


def missing(board: Board, place: Stage, speed: Results | None) -> None:
    gpu = speed is not None and speed.machine["kind"] != "cpu"
    words = "Measured on a CPU up to now: no figure of ours is from a GPU yet."
    if speed is None:
        words = "Nothing measured comes with this film: flashsteps bench measures on your machine."
    elif gpu:
        words = f"Ours are from one {speed.machine['name'].split(' 80GB')[0]}: other chips will give other figures."
    cards = (
        Card("missing here", "other GPUs, other makers’, other days" if gpu else "any GPU"),
        Card("yours", "flashsteps bench --on-gpu FOLDER, or make bench-gpu, measures on the GPU at hand", lit=True),
    )
    box = place.whole.rows(2, 3, 3)[1]
    boxes = box.columns(2) if board.shape != "tall" else box.rows(2)
    turn(board, words, *zip(cards, boxes, strict=True))
