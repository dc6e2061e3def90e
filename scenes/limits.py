"""Limits: what FlashAttention does not do, and what came next. Every product remains; each variant needs a kernel."""

from typing import Any

from flashsteps.filmkit import Board, Film, Made
from flashsteps.filmkit.actors.bars import Bar, Bars, Mark
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.places import Stage, below, note, stage, turn
from flashsteps.machine.devices import MODEL, Device, device
from flashsteps.runs.record import count
from flashsteps.traffic.footprint import footprint
from flashsteps.traffic.published import figure
from flashsteps.units import short, size_of

N, D, TILE = 1 << 16, 64, 128  # a real head
WIDE, FITS = 128, (128, 64)  # a wide head, and the tile that is shipped for it

#: what a variant asks of a kernel: S is never in memory, so nobody can change it from outside
VARIANTS = (
    ("causal, window", "tiles are skipped, others are cut"),
    ("ALiBi", "a slope times the distance is added"),
    ("softcap", "cap · tanh(s / cap)"),
    ("dropout", "weights are dropped, by a seed"),
    ("block-sparse", "a list says which tiles count"),
    ("pages", "a table says where keys lie"),
)

LINKS = (
    ("FlashAttention", "arxiv.org/abs/2205.14135"),
    ("FlashAttention-2", "arxiv.org/abs/2307.08691"),
    ("FlashAttention-3", "arxiv.org/abs/2407.08608"),
    ("flash-attn", "github.com/Dao-AILab/flash-attention"),
    ("PyTorch", "docs.pytorch.org"),
    ("FlexAttention", "pytorch.org/blog/flexattention"),
)


class Limits(Film):
    title = "Limits"

    def storyboard(self, board: Board) -> None:
        place = stage(board)
        if not board.short:
            with board.chapter("Three costs"):
                costs(board, place)
        with board.chapter("What is left"):
            remains(board, place)
        if not board.short:
            with board.chapter("A kernel for each variant"):
                board.clear()
                variants(board, place)
            with board.chapter("The tile must fit"):
                fits(board, place, device(board.option("device", "a100-80gb")))
        with board.chapter("What came next"):
            later(board, place)
        if not board.short:
            with board.chapter("Read on"):
                turn(
                    board,
                    "To read on: the papers, and the code.",
                    (Table(LINKS, words=True), place.whole.rows(7, 2)[0]),
                )


def costs(board: Board, place: Stage) -> None:
    """The three, in turn."""
    cards = (
        Card("memory", "What has to be allocated: S and P are N × N."),
        Card("HBM traffic", "What crosses between HBM and SRAM."),
        Card("products", "What is multiplied and added: Q Kᵀ and P V."),
    )
    boxes = middle(place.whole, 3, board)
    board.say("Three costs of attention: memory, traffic, and products. Which are gone?")
    for card, box in zip(cards, boxes, strict=True):
        board.put(card, box)
        board.wait(0.8)


def middle(box: Box, many: int, board: Board) -> list[Box]:
    """So many boxes for cards, in the middle: side by side in a wide picture, else one above the other."""
    if board.shape == "wide":
        return box.rows(4, 5, 6)[1].columns(many)
    return box.rows(1, 8, 1)[1].rows(many)


def remains(board: Board, place: Stage) -> None:
    """Each cost of FlashAttention-2, as a share of standard attention's."""
    sizes: dict[str, Any] = {"n": N, "d": D, "block_q": TILE, "block_k": TILE}
    names = "standard-forward", "flash2-forward"
    held, io = [footprint(name, **sizes).total for name in names], [count(name, **sizes) for name in names]
    pairs = (
        ("memory", "grows with N", size_of, held[1], held[0]),
        ("HBM traffic", "grows with N²", size_of, io[1].total, io[0].total),
        ("products", "grow with N²", flops, io[1].work.matmul, io[0].work.matmul),
    )
    grown = [board.value(0.0) for _ in pairs]
    bars = tuple(
        Bar(
            name,
            Made(lambda u, s=own / of: 1 - (1 - s) * u, part),
            under=how,
            whole=1.0,
            note=f"{say(own)} of {say(of)}",
        )
        for (name, how, say, own, of), part in zip(pairs, grown, strict=True)
    )
    chart = Bars(bars, 1.0, "{:.1%}", (Mark(1.0, "standard"),), title=f"FlashAttention-2, N = {short(N)}, d = {D}")
    same = io[0].work.matmul == io[1].work.matmul
    long = "Memory is nearly gone, traffic a quarter; every product remains: four times for 2N."
    board.say("Memory and traffic fall; every product remains." if board.short else long, given=same)
    board.put(chart, place.whole) if board.short else turn_to(board, chart, place.whole)
    note(board, place, f"one head, fp16, forward, tiles {TILE}×{TILE}; {MODEL}, not measured")
    for part in grown:
        board.move(part.to(1.0), seconds=0.8 if board.short else 1.4)


def turn_to(board: Board, actor: Any, box: Box) -> None:
    """All goes, this comes; the words stand."""
    board.clear()
    board.put(actor, box)


def flops(work: float) -> str:
    return f"{work / 1e12:.1f} TFLOP"


def variants(board: Board, place: Stage) -> None:
    seen = board.value(0.0)
    head = ("variant", "what its kernel has to do with a tile")
    board.say("Each variant needs a kernel that has it: S is never there to be changed afterwards.")
    board.put(Table(VARIANTS, head, seen=seen, words=True), place.whole.rows(9, 1)[0])
    for n in range(len(VARIANTS)):
        board.set(seen.to(n + 1.0))
        board.wait(0.5)


def fits(board: Board, place: Stage, gpu: Device) -> None:
    """What a tile takes on chip, beside what there is."""
    io = count("flash2-forward", n=1 << 13, d=WIDE, block_q=FITS[0], block_k=FITS[1])
    room = gpu.shared_per_block * 1024, gpu.registers_per_sm * 1024
    taken, grown = (io.peak.shared, io.peak.registers), board.value(0.0)
    names = ("shared memory", "Q, K and V of a tile"), ("registers", "acc, S, P, m, ℓ, α")
    bars = tuple(
        Bar(name, Made(lambda u, b=b: b * u, grown), "V" if n == 0 else "S", under=what, whole=float(most),
            note=f"of {most:,} B")
        for n, ((name, what), b, most) in enumerate(zip(names, taken, room, strict=True))
    )  # fmt: skip
    chart = Bars(bars, float(max(room)), "{:,.0f} B", title=f"one SM of {gpu.title}")
    words = f"The tile must fit: {taken[0]:,} B of shared memory, {taken[1]:,} of registers at d = {WIDE}."
    given = all(b <= most for b, most in zip(taken, room, strict=True))
    pictures = (chart, place.whole.rows(5, 1)[0]), below(place, f"FlashAttention-2, tile {FITS[0]}×{FITS[1]}, fp16")
    turn(board, words, *pictures, given=given, grows=(grown.to(1.0),), seconds=1.5)


def later(board: Board, place: Stage) -> None:
    """Cards, from the oldest to the newest; every figure is published."""
    was, now = figure("gpt2-medium-standard-time"), figure("gpt2-medium-flash-time")
    two, three = figure("fa2-speed"), figure("fa3-speed")
    first = f"{was.value} → {now.value} {now.unit}"
    cards = (
        Card("FlashAttention", "2022. S stays on chip.", ((f"{now.hardware}, published", first),), "accent"),
        Card("FlashAttention-2", "2023. Queries outside, more programs.", speed(two, "a100-40gb"), "accent"),
        Card("FlashAttention-3", "2024. Copies and products overlap.", speed(three, "h100"), "accent"),
        Card("PyTorch", "scaled_dot_product_attention picks a fused kernel where one fits."),
        Card("FlexAttention", "flex_attention(q, k, v, score_mod) compiles a fused kernel for each variant."),
    )
    words = "The idea stayed: tiles, a running max, no scores stored. Kernels follow the chips."
    board.clear()
    board.say("The idea stayed; kernels follow each new chip." if board.short else words)
    upper, lower, _ = place.whole.rows(*board.pick(wide=(10, 6, 2), square=(30, 20, 1), tall=(12, 6, 3)))
    across = board.shape == "wide"
    boxes = [*(upper.columns(3) if across else upper.rows(3)), *(lower.columns(2) if across else lower.rows(2))]
    for card, box in zip(cards, boxes, strict=True):
        board.put(card, box)
        board.wait(0.4 if board.short else 0.9)
    note(board, place, "all figures published: the time is of a step of GPT-2 medium’s attention; speeds at their best")


def speed(found: Any, gpu: str) -> tuple[tuple[str, str], ...]:
    """A published speed, as a share of what its GPU can do."""
    most = device(gpu).tflops
    return (f"{found.hardware}, published", f"{found.value:.0f} TFLOP/s"), (
        f"of {most} at most",
        f"{found.value / most:.0%}",
    )
