"""Experiments: training time, accuracy, memory. What was published and what was measured here, never in one chart."""

from flashsteps import results
from flashsteps.filmkit import Board, Film
from flashsteps.filmkit.actors.bars import Legend, Piece
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.pictures import published_times
from flashsteps.filmkit.pictures.duel import CHOSEN, CUDNN, FLASH, OURS, STANDARD, Duel, between, kept_of, versions
from flashsteps.filmkit.pictures.training import Losses, memory
from flashsteps.filmkit.places import APART, Stage, below, stage, turn
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
        with board.chapter("Training time, published"):
            training(board, place)
        if not board.short:
            with board.chapter("Attention alone, published"):
                more(board, place)
        duel = results.kept("duel")
        if duel and len(kept_of(duel)) > 1:
            with board.chapter("Speed, measured here"):
                raced(board, place, duel)
        if speed and train and not (board.short and duel):
            with board.chapter("Memory, measured here"):
                held(board, place, speed)
            with board.chapter("Loss, measured here"):
                trained(board, place, train)
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
    named = (
        (STANDARD, "without FlashAttention"), (FLASH, "FlashAttention, others’"), (CUDNN, "cuDNN"),
        (CHOSEN, "what PyTorch chooses"), (OURS, "flashsteps (ours)"),
    )  # fmt: skip
    board.put(Legend(tuple(Piece(1, hue, name=name) for hue, name in named)), place.below)


def training(board: Board, place: Stage) -> None:
    """Days and minutes, as FA1 has them."""
    grown, ratios = board.value(0.0), published_times.ratios()
    times, apart = f"{min(ratios):.1f} to {max(ratios):.1f} times", published_times.perplexities()
    words = f"GPT-2 trains {times} as fast as Hugging Face’s; perplexity is the same to {apart:.1f}."
    if board.short:
        words = f"Published: GPT-2 trains {max(ratios):.1f} times as fast."
    said = below(place, f"{SOURCE}, Tables 1 (BERT) and 2 (GPT-2; perplexity on OpenWebText), on 8 A100s")
    pictures = published_times.training(board, place, grown)
    turn(board, words, *pictures, said, grows=(grown.to(1.0),))


def more(board: Board, place: Stage) -> None:
    """Attention of GPT-2 medium, forward and backward; and what longer sequences bring."""
    grown, right, chance = board.value(0.0), published.PATH_X, published.PATH_X_BY_CHANCE
    speedup = published.LONG_RANGE_SPEEDUP
    chart, was, now = published_times.step(grown)
    upper, lower = place.whole.rows(*board.pick(wide=(5, 3), square=(1, 1)))
    words = f"On {a(was.hardware)} {was.value} ms became {now.value}; Path-X, 16K tokens long, is learned."
    said = below(place, f"{SOURCE}, Figure 2 ({was.hardware}; N = 1024, d = 64, 16 heads, batch 64)")
    cards = (
        Card("Path-X", "16K tokens; FA1, Table 6", (("right", f"{right}%"), ("by guessing", f"{chance:.0f}%"))),
        Card("long-range arena", "standard attention’s speed; FA1, Table 3", (("as fast", f"{speedup}×"),)),
    )
    boxes = lower.columns(2) if board.shape != "tall" else lower.rows(2)
    pictures = (chart, upper), *zip(cards, boxes, strict=True), said
    turn(board, words, *pictures, given=right > chance, grows=(grown.to(1.0),), seconds=0.8)


def raced(board: Board, place: Stage, found: Results) -> None:
    """How fast a forward and a backward pass are, ours and others', timed in turn on one GPU."""
    duel, gpu = Duel(found), found.machine["name"]
    said = f"measured here, {found.date}, {gpu}: {versions(found)}; {bits(found.settings['dtype'])}, d = {duel.d}"
    beside = [between(duel.against("cudnn", causal, "forward", "backward")) for causal in (False, True)]
    grown = board.value(0.0)
    words = f"Our kernels on {a(gpu.removeprefix('NVIDIA ').split()[0])}: {beside[False]} times cuDNN’s speed."
    if board.short:
        words = f"Measured: forward {between(duel.against('cudnn', False, 'forward'))} times cuDNN’s speed."
    turn(board, words, *duel.charts(place.sides, False, grown), below(place, said), grows=(grown.to(1.0),), seconds=0.8)
    if board.short:
        return
    board.read()
    grown, older = board.value(0.0), between(duel.against("flash", True, "forward", "backward"))
    words = f"Causal: {beside[True]} times cuDNN’s speed, {older} times FlashAttention-2’s."
    turn(board, words, *duel.charts(place.sides, True, grown), below(place, said), grows=(grown.to(1.0),), seconds=0.8)


def held(board: Board, place: Stage, speed: Results) -> None:
    """Memory, from the file under renders/data."""
    grown = board.value(0.0)
    chart, alone = memory(speed, grown)
    ours = any(hue == OURS for _, hue in chart.kinds)
    flat = "FlashAttention’s stays" if ours else "SDPA’s flash backend’s stays"
    words = f"Fewer, longer sequences: standard’s memory grows; {flat}."
    said = f"measured here, {speed.date}, {speed.machine['name']}: {versions(speed)}; {bits(speed.settings['dtype'])}"
    turn(board, words, (chart, place.whole), below(place, said), given=alone, grows=(grown.to(1.0),), seconds=1.0)


def trained(board: Board, place: Stage, train: Results) -> None:
    """Losses on each other, and how far they are apart."""
    steps = board.value(0.0)
    found, arithmetic = Losses(train, steps), bits(train.settings["arithmetic"])
    upper, lower = place.whole.rows(*board.pick(wide=(1, 12), square=(1, 8), tall=(1, 10)), gap=10)
    boxes = lower.columns(2, gap=APART) if board.shape == "wide" else lower.rows(2)
    pictures = zip((found.legend, found.curves(), found.differences()), (upper, *boxes), strict=True)
    said = f"measured here, {train.date}, {train.machine['name']}: {versions(train)}; {arithmetic}, one seed"
    words = f"Loss in {arithmetic}: ours differs from standard’s by {found.apart.get('flashsteps', 0.0):.3f} at most, "
    words += f"PyTorch’s by {found.apart['sdpa']:.3f}."
    if "flashsteps" not in found.apart:
        words = f"The losses of training are the same to {found.apart['sdpa']:.6f}."
    turn(board, words, *pictures, below(place, said), grows=(steps.to(float(found.count)),), seconds=1.5)


def bits(arithmetic: str) -> str:
    """`bf16`, of what a file calls it."""
    return {"bfloat16": "bf16", "bfloat16 autocast": "bf16"}.get(arithmetic, arithmetic)


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
