"""Limits: what FlashAttention does not do, and what came next. Every product remains; each variant needs a kernel."""

from flashsteps.filmkit import Board, Film
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.pictures.what_is_left import FITS, TILE, WIDE, N, beside_an_sm, costs_left, counts, on_chip
from flashsteps.filmkit.places import Stage, below, note, stage, turn
from flashsteps.machine.devices import MODEL, Device, device
from flashsteps.traffic.published import figure

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
    grown, (theirs, ours), (_, twice) = [board.value(0.0) for _ in range(3)], counts(), counts(2 * N)
    long = "Memory is nearly gone, traffic is a quarter, and every product remains."
    words = "Memory and traffic fall; every product remains." if board.short else long
    board.say(words, given=theirs.work.matmul == ours.work.matmul)
    if not board.short:
        board.clear()
    board.put(costs_left(grown), place.whole)
    note(board, place, f"one head, fp16, forward, tiles {TILE}×{TILE}; {MODEL}, not measured")
    for part in grown:
        board.move(part.to(1.0), seconds=0.8 if board.short else 1.4)
    if not board.short:
        given = twice.work.matmul == 4 * ours.work.matmul
        board.say("Twice the tokens are still four times the multiplying.", given)


def variants(board: Board, place: Stage) -> None:
    seen = board.value(0.0)
    head = ("variant", "what its kernel has to do with a tile")
    board.say("S is never in memory to be changed from outside: each variant needs a kernel that has it.")
    board.put(Table(VARIANTS, head, seen=seen, words=True), place.whole.rows(9, 1)[0])
    for n in range(len(VARIANTS)):
        board.set(seen.to(n + 1.0))
        board.wait(0.5)


def fits(board: Board, place: Stage, gpu: Device) -> None:
    """What a tile takes on chip, beside what there is."""
    grown, (shared, registers) = board.value(0.0), on_chip()
    chart, given = beside_an_sm(gpu, grown)
    words = f"The tile must fit: {shared:,} B of shared memory, {registers:,} of registers at d = {WIDE}."
    said = f"FlashAttention-2, tile {FITS[0]}×{FITS[1]}; Q, K, V in fp16, what is computed in fp32"
    pictures = (chart, place.whole.rows(5, 1)[0]), below(place, said)
    turn(board, words, *pictures, given=given, grows=(grown.to(1.0),), seconds=1.5)


def later(board: Board, place: Stage) -> None:
    """Cards, from the oldest to the newest; every figure is published."""
    was, now = figure("gpt2-medium-standard-time"), figure("gpt2-medium-flash-time")
    two, three = figure("fa2-speed"), figure("fa3-speed")
    first = f"{was.value} → {now.value} {now.unit}"
    cards = (
        Card("FlashAttention", "2022. S stays on chip.", ((now.hardware, first),), "accent"),
        Card("FlashAttention-2", "2023. Queries outside, more programs.", speed("fa2"), "accent"),
        Card("FlashAttention-3", "2024. Copies and products overlap.", speed("fa3"), "accent"),
        Card("PyTorch", "scaled_dot_product_attention picks a fused kernel where one fits."),
        Card("FlexAttention", "flex_attention(q, k, v, score_mod) compiles a fused kernel for each variant."),
    )
    words = "The idea stayed: tiles, a running max, no scores stored. Kernels follow the chips."
    board.clear()
    board.say("The idea stayed; kernels follow each new chip." if board.short else words)
    source = f"{was.source} (attention of GPT-2 medium), {two.source}, {three.source}"
    note(board, place, f"published: {source}: at best, of the GPU’s most")
    for card, box in zip(cards, five(board, place.whole), strict=True):
        board.put(card, box)
        board.wait(0.4 if board.short else 0.9)


def five(board: Board, box: Box) -> list[Box]:
    """Three boxes and two, each row as high as its cards need; in a square picture two, two and one."""
    if board.shape == "square":
        first, second, last = box.rows(4, 4, 3)
        return [*first.columns(2, gap=12), *second.columns(2, gap=12), last]
    upper, lower, _ = box.rows(*board.pick(wide=(10, 6, 2), tall=(12, 6, 3)))
    across = board.shape == "wide"
    return [*(upper.columns(3) if across else upper.rows(3)), *(lower.columns(2) if across else lower.rows(2))]


def speed(paper: str) -> tuple[tuple[str, str], ...]:
    """A published speed and, as published, its share of what the GPU can do."""
    fast, share = figure(f"{paper}-speed"), figure(f"{paper}-share")
    return ((fast.hardware, f"{fast.value:g} {fast.unit}, {share.value:g} {share.unit}"),)
