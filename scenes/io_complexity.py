"""How traffic grows: closed forms as curves, recorded runs as rings on them; by tokens, by tile, and by SRAM."""

from math import log10

from flashsteps.filmkit import Board, Film, Made, Value
from flashsteps.filmkit.actors.areas import Areas
from flashsteps.filmkit.actors.curve import Dot, Rule
from flashsteps.filmkit.actors.formula import Formula, Fraction, Term
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.pictures import by_size
from flashsteps.filmkit.pictures.by_size import (
    COUNTED,
    FLASH,
    FLASH2,
    LENGTHS,
    LOOKS,
    NAMES,
    RECORDED,
    SHORT,
    SHOWN,
    SRAMS,
    STANDARD,
    TILE,
    TILES,
    TOKENS,
    D,
    in_order,
    moved,
    recorded,
    so_far,
    transfers,
    with_sram,
)
from flashsteps.filmkit.pictures.by_sram import larger
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.filmkit.script import Part
from flashsteps.machine.devices import DEFAULT, Device, device
from flashsteps.story.labels import a
from flashsteps.traffic import formulas
from flashsteps.units import short, size_of


class IOComplexity(Film):
    title = "IO complexity"

    def storyboard(self, board: Board) -> None:
        gpu, place = device(board.option("device", DEFAULT)), stage(board, *board.pick(wide=(5, 3), square=(3, 2)))
        if not board.short:
            with board.chapter("Count what moves"):
                terms(board, place)
        with board.chapter("By tokens"):
            dots = by_tokens(board, place)
        if not board.short:
            with board.chapter("Recorded runs"):
                recorded_runs(board, place, *dots)
        with board.chapter("By tile"):
            marks = by_tile(board, place)
        with board.chapter("Level with standard"):
            levels(board, *marks)
        if not board.short:
            with board.chapter("By SRAM"):
                by_sram(board, place, gpu)


def terms(board: Board, place: Stage) -> None:
    """All that standard attention moves, in the order of a run, and its formula."""
    there, (upper, lower) = board.value(0.0), place.whole.rows(3, 2)
    shapes, formula = Made(in_order, there), Made(so_far, there)
    board.put(Areas(shapes, sum(w for _, w, _ in transfers()) + 7 * 40, 256, middle=True), upper)
    board.put(Formula(formula, center=True), lower)
    counted = so_far(len(transfers())) == (Term("4Nd"), " + ", Term("4N²", "S"))
    board.say("Count what standard attention moves, one matrix after another.")
    note(board, place, "in the order of a run; solid: read, hatched: written; N tokens of d numbers, drawn with N = 4d")
    for n in range(len(transfers())):
        board.move(there.to(n + 1.0), seconds=0.35)
        board.wait(0.1)
    board.say("In all it moves 4Nd + 4N² numbers.", given=counted)


def by_tokens(board: Board, place: Stage) -> tuple[Value, Part]:
    """Curves by the number of tokens."""
    upto, dots = board.value(log10(LENGTHS[0])), board.value(())
    chart = by_size.by_tokens(dots, upto)
    ratios = tuple(
        (short(n), *(f"{moved(name, n, TILE) / moved(STANDARD, n, TILE):.2f}×" for name in (FLASH, FLASH2)))
        for n in SHOWN
    )
    table = Table(ratios, ("of standard’s", "FA1", "FA2"))
    grows = [moved(name, SHOWN[2], TILE) / moved(name, SHOWN[1], TILE) / (SHOWN[2] / SHOWN[1]) ** 2 for name in NAMES]
    words = "For many tokens all grow with N²" + ("." if board.short else ": they differ in height, not in slope.")
    alike = max(abs(g - 1) for g in grows) < 0.02
    _, beside = turn(board, words, (chart, place.sides[0]), (table, place.sides[1]), given=alike)
    note(board, place, f"closed forms; FA1: FlashAttention, FA2: FlashAttention-2; {COUNTED}")
    board.move(upto.to(log10(LENGTHS[-1])), seconds=2.0 if board.short else 3.5)
    return dots, beside


def recorded_runs(board: Board, place: Stage, dots: Value, beside: Part) -> None:
    """Runs, byte by byte, on the curves."""
    board.remove(beside)
    seen, rings, rows, exact = board.value(0.0), [], [], True
    for n in RECORDED:
        for name in NAMES:
            run, form = recorded(name, n), moved(name, n, TILE)
            rings.append(Dot(n, run, hue=LOOKS[name][0], ring=True))
            rows.append((f"{SHORT[name]}, N = {n}", f"{run:,}", f"{form:,}"))
            exact = exact and run == form
    board.put(Table(tuple(rows), ("bytes", "run", "formula"), seen=seen), place.sides[1])
    board.say("Rings are recorded runs of the reference. They lie on the formulas, byte for byte.", given=exact)
    for n in range(len(rings)):
        board.set(dots.to(tuple(rings[: n + 1])), seen.to(n + 1.0))
        board.wait(0.5)


def by_tile(board: Board, place: Stage) -> tuple[Value, Value]:
    """Curves by the size of a tile."""
    upto, rules, tiles = board.value(log10(TILES[0])), board.value(()), (TILE // 2, TILE)
    dots = board.value(
        tuple(
            Dot(n, moved(FLASH2, TOKENS, n), size_of(moved(FLASH2, TOKENS, n)), "accent", "below left") for n in tiles
        )
    )
    chart = by_size.by_tile(dots, rules, upto)
    half = moved(FLASH2, TOKENS, tiles[1]) / moved(FLASH2, TOKENS, tiles[0])
    words = (
        "Tiles twice as tall: half the traffic."
        if board.short
        else "The tile is what helps: twice as tall, half the traffic."
    )
    heights = Table(
        tuple((str(n), *(size_of(moved(name, TOKENS, n)) for name in (FLASH, FLASH2))) for n in TILES[2:]),
        ("rows", "FA1", "FA2"),
    )
    turn(board, words, (chart, place.sides[0]), (heights, place.sides[1]), given=abs(half - 0.5) < 0.01)
    note(board, place, f"closed forms; rows: keys of FA1, queries of FA2; {COUNTED}")
    board.move(upto.to(log10(TILES[-1])), seconds=1.6 if board.short else 3.0)
    return rules, dots


def levels(board: Board, rules: Value, dots: Value) -> None:
    """Where they move what standard attention does."""
    two, one, level = formulas.flash2_level(D), formulas.flash_level(D), moved(STANDARD, TOKENS, TILE)
    near = [moved(name, TOKENS, int(at)) / level for name, at in ((FLASH2, two), (FLASH, one))]
    given = max(abs(ratio - 1) for ratio in near) < 0.01
    if board.short:
        board.say(f"Level with standard at {two:g} and {one:g} rows.", given)
    first, second = Dot(two, level, "d/2", side="below left"), Dot(one, level, "¾d + 2", side="above right")
    board.set(dots.to((first,)), rules.to((Rule(two, f"{two:g}"),)))
    board.wait(0.2 if board.short else 0.8)
    board.set(dots.to((first, second)), rules.to((Rule(two, f"{two:g}"), Rule(one, f"{one:g}"))))
    words = f"Level with standard: FlashAttention-2 at d/2 = {two:g} queries, FlashAttention at ¾d + 2 = {one:g}."
    if not board.short:
        board.say(words, given)


def by_sram(board: Board, place: Stage, gpu: Device) -> None:
    """A larger SRAM holds taller tiles."""
    n, values = board.value(float(SRAMS[0])), [board.value(0.0) for _ in SRAMS]
    (left, right), bytes_at = stage(board).sides, [with_sram(M) for M in SRAMS]
    above, below = left.rows(1, 3)
    law = Formula((Fraction("N²d²", "M"), "   M: numbers that SRAM holds"))
    chip, chart = larger(n, values)
    ratios = [b / a for a, b in zip(bytes_at, bytes_at[1:], strict=False)]
    words = "It goes as N²d²/M: twice the SRAM, half the bytes. No exact method is better for all M."
    turn(board, words, (law, above), (chip, below), (chart, right), given=max(abs(r - 0.5) for r in ratios) < 0.02)
    room = gpu.shared_per_sm * 1024 / 2
    has = f"{a(gpu.model)}’s SM has {gpu.shared_per_sm} KiB of shared memory: M = {room / 1024:.0f}K"
    note(
        board,
        place,
        f"FA1, Theorem 2 and Proposition 3; N = {short(TOKENS)}, d = {D}. {has[0].upper()}{has[1:]} in fp16",
    )
    for M, now, value in zip(SRAMS, values, bytes_at, strict=True):
        board.move(n.to(float(M)), now.to(float(value)), seconds=0.9)
        board.wait(0.4)
