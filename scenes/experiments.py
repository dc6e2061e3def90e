"""Experiments: training time, accuracy, memory. What was published and what was measured here, never in one chart."""

from flashsteps import results
from flashsteps.filmkit import Board, Film
from flashsteps.filmkit.actors.bars import Legend, Piece
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.pictures import published_times
from flashsteps.filmkit.pictures.duel import CUDNN, FLASH, OURS, STANDARD, Duel, between, kept_of, versions
from flashsteps.filmkit.pictures.training import losses, memory
from flashsteps.filmkit.places import Stage, below, stage, turn
from flashsteps.results import Results
from flashsteps.story.labels import a
from flashsteps.traffic import published

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
            with board.chapter("Published too"):
                more(board, place)
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
    theirs = Card("published", "figures of others, each with its paper")
    board.say("First published figures, then our own: never in one chart.")
    box = place.whole.rows(2, 3, 3)[1]
    for card, at in zip((theirs, ours), box.columns(2) if board.shape != "tall" else box.rows(2), strict=True):
        board.put(card, at)
        board.wait(0.6)
    named = (STANDARD, "without FlashAttention"), (FLASH, "FlashAttention, others’"), (CUDNN, "cuDNN"), (OURS, "ours")
    board.put(Legend(tuple(Piece(1, hue, name=name) for hue, name in named)), place.below)


def training(board: Board, place: Stage) -> None:
    """Days and minutes, as FA1 has them."""
    grown, ratios = board.value(0.0), published_times.ratios()
    words = f"GPT-2 trains {min(ratios):.1f} to {max(ratios):.1f} times as fast as Hugging Face’s, perplexity equal."
    if board.short:
        words = f"Published: GPT-2 trains {max(ratios):.1f} times as fast."
    said = below(place, f"{SOURCE}, Tables 1 and 2, on 8 A100s; GPT-2 to the same perplexity")
    pictures = published_times.training(board, place, grown)
    turn(board, words, *pictures, said, grows=(grown.to(1.0),))


def more(board: Board, place: Stage) -> None:
    """Attention of GPT-2 medium, forward and backward; and what longer sequences bring."""
    grown, right, chance = board.value(0.0), published.PATH_X, published.PATH_X_BY_CHANCE
    chart, was, now = published_times.step(grown)
    upper, lower = place.whole.rows(*board.pick(wide=(5, 3), square=(1, 1)))
    words = f"Attention, forward and backward: {was.value} ms became {now.value} (A100)."
    said = below(place, f"{SOURCE}, Figure 2 ({was.hardware}; N = 1024, d = 64, 16 heads, batch 64), Tables 3 and 6")
    turn(board, words, (chart, upper), said, grows=(grown.to(1.0),), seconds=0.8)
    board.read()
    cards = (
        Card("Path-X", "sequences of 16K tokens", (("right", f"{right}%"), ("by guessing", f"{chance:.0f}%"))),
        Card("long-range arena", "against standard attention", (("as fast", f"{published.LONG_RANGE_SPEEDUP}×"),)),
    )
    for card, box in zip(cards, lower.columns(2) if board.shape != "tall" else lower.rows(2), strict=True):
        board.put(card, box)
    board.say(f"Path-X, of 16K tokens: {right}% right; by guessing {chance:.0f}%.")


def raced(board: Board, place: Stage, found: Results) -> None:
    """How fast a forward and a backward pass are, ours and others', timed in turn on one GPU."""
    duel, gpu = Duel(found), found.machine["name"]
    dtype = {"bfloat16": "bf16"}.get(found.settings["dtype"], found.settings["dtype"])
    said = f"measured here, {found.date}, {gpu}: {versions(found)}; {dtype}, d = {duel.d}"

    beside = [between(duel.against("cudnn", causal, "forward", "backward")) for causal in (False, True)]
    grown = board.value(0.0)
    words = f"Our kernels on {a(gpu.removeprefix('NVIDIA ').split()[0])}: {beside[False]} times cuDNN’s speed."
    if board.short:
        words = f"Measured: forward {between(duel.against('cudnn', False, 'forward'))} times cuDNN’s speed."
    turn(board, words, *duel.charts(place.sides, False, grown), below(place, said), grows=(grown.to(1.0),), seconds=0.8)
    if board.short:
        return
    board.read()
    grown, words = board.value(0.0), f"Causal: {beside[True]} times cuDNN’s speed."
    turn(board, words, *duel.charts(place.sides, True, grown), below(place, said), grows=(grown.to(1.0),), seconds=0.8)
    older = [x for causal in (False, True) for x in duel.against("flash", causal, "forward", "backward")]
    board.say(f"Masked or not: {between(older)} times PyTorch’s FlashAttention-2.")


def measured(board: Board, place: Stage, speed: Results, train: Results) -> None:
    """Memory and losses, from the files under renders/data."""
    grown, steps = board.value(0.0), board.value(0.0)
    (held, alone), (loss, apart, about) = memory(speed, grown), losses(train, steps)
    words = "At equal tokens standard’s memory grows with N; a flash backend’s does not."
    machine, bits = speed.machine["name"], {"bfloat16 autocast": "bf16"}.get(train.settings["arithmetic"], "float32")
    said = f"measured here, {speed.date}, {machine}: {versions(speed)}; training in {bits}, {train.date}"
    pictures = (held, place.sides[0]), (loss, place.sides[1]), below(place, said)
    turn(board, words, *pictures, given=alone, grows=(grown.to(1.0),), seconds=1.0)
    board.move(steps.to(float(train.settings["steps"])), seconds=1.5)
    if apart < 1e-4:
        board.say(f"The losses of training are the same to {apart:.6f}.")
    else:
        board.say(f"In {bits} losses, around {about:.1f}, differ by {apart:.3f} at most.")


def missing(board: Board, place: Stage, speed: Results | None) -> None:
    gpu = speed is not None and speed.machine["kind"] != "cpu"
    words = "Measured on a CPU up to now: no figure of ours is from a GPU yet."
    if speed is None:
        words = "Nothing measured comes with this film: flashsteps bench measures on your machine."
    elif gpu:
        words = f"Measured on one {speed.machine['name'].split(' 80GB')[0]}; other chips differ."
    cards = (
        Card("missing here", "other GPUs, other makers’" if gpu else "any GPU"),
        Card("yours", "flashsteps bench --on-gpu FOLDER, or make bench-gpu, measures on the GPU at hand", lit=True),
    )
    box = place.whole.rows(2, 3, 3)[1]
    boxes = box.columns(2) if board.shape != "tall" else box.rows(2)
    turn(board, words, *zip(cards, boxes, strict=True))
