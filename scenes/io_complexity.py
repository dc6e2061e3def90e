"""How traffic grows: closed forms as curves, recorded runs as rings on them; by tokens, by tile, and by SRAM."""

from math import log10

from flashsteps.filmkit import Board, Film, Value
from flashsteps.filmkit.actors.curve import Dot
from flashsteps.filmkit.actors.formula import Formula, Fraction, Term
from flashsteps.filmkit.pictures import by_size, by_sram, level, rings
from flashsteps.filmkit.pictures.by_size import COUNTED, FLASH2, LENGTHS, NAMES, SHOWN, TILE, TILES, TOKENS, D, moved
from flashsteps.filmkit.pictures.transfers import counted, so_far, transfers
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.filmkit.script import Part
from flashsteps.machine.devices import DEFAULT, Device, device
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
                with_more(board, place, gpu)


def terms(board: Board, place: Stage) -> None:
    """All that standard attention moves, in the order of a run, and its formula."""
    there = board.value(0.0)
    for actor, box in zip(counted(there), place.whole.rows(3, 2), strict=True):
        board.put(actor, box)
    given = so_far(len(transfers())) == (Term("4Nd"), " + ", Term("4N²", "S"))
    board.say("Count what standard attention moves, one matrix after another.")
    note(board, place, "in the order of a run; solid: read, hatched: written; N tokens of d numbers, drawn with N = 4d")
    for n in range(len(transfers())):
        board.move(there.to(n + 1.0), seconds=0.35)
        board.wait(0.1)
    board.say("In all it moves 4Nd + 4N² numbers.", given)


def by_tokens(board: Board, place: Stage) -> tuple[Value, Part]:
    """Curves by the number of tokens."""
    upto, dots = board.value(log10(LENGTHS[0])), board.value(())
    chart = by_size.by_tokens(dots, upto)
    grows = [moved(name, SHOWN[2], TILE) / moved(name, SHOWN[1], TILE) / (SHOWN[2] / SHOWN[1]) ** 2 for name in NAMES]
    words = "For many tokens all grow with N²" + ("." if board.short else ": they differ in height, not in slope.")
    alike = max(abs(g - 1) for g in grows) < 0.02
    _, beside = turn(board, words, (chart, place.sides[0]), (by_size.of_standard(), place.sides[1]), given=alike)
    note(board, place, f"closed forms; FA1: FlashAttention, FA2: FlashAttention-2; {COUNTED}")
    board.move(upto.to(log10(LENGTHS[-1])), seconds=2.0 if board.short else 3.5)
    return dots, beside


def recorded_runs(board: Board, place: Stage, dots: Value, beside: Part) -> None:
    """Runs, byte by byte, on the curves."""
    board.remove(beside)
    runs, seen = rings.rings(), board.value(0.0)
    board.put(rings.beside_formulas(seen), place.sides[1])
    board.say("Rings are recorded runs of the reference. They lie on the formulas, byte for byte.", rings.exact())
    for n in range(len(runs)):
        board.set(dots.to(runs[: n + 1]), seen.to(n + 1.0))
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
    turn(board, words, (chart, place.sides[0]), (by_size.of_tiles(), place.sides[1]), given=abs(half - 0.5) < 0.01)
    note(board, place, f"closed forms; rows: keys of FA1, queries of FA2; {COUNTED}")
    board.move(upto.to(log10(TILES[-1])), seconds=1.6 if board.short else 3.0)
    return rules, dots


def levels(board: Board, rules: Value, dots: Value) -> None:
    """Where they move what standard attention does."""
    (queries, keys), (at, lines), given = level.heights(), level.marks(), level.meet()
    if board.short:
        board.say(f"Level with standard at {queries:g} and {keys:g} rows.", given)
    board.set(dots.to(at[:1]), rules.to(lines[:1]))
    board.wait(0.2 if board.short else 0.8)
    board.set(dots.to(at), rules.to(lines))
    words = f"Level with standard: FlashAttention-2 at d/2 = {queries:g} queries, FlashAttention at ¾d + 2 = {keys:g}."
    if not board.short:
        board.say(words, given)


def with_more(board: Board, place: Stage, gpu: Device) -> None:
    """A larger SRAM holds taller tiles."""
    n, values = board.value(float(by_sram.SRAMS[0])), [board.value(0.0) for _ in by_sram.SRAMS]
    (left, right), bytes_at = stage(board).sides, [by_sram.with_sram(M) for M in by_sram.SRAMS]
    above, below = left.rows(1, 3)
    law = Formula((Fraction("N²d²", "M"), "   M: numbers that SRAM holds"))
    chip, chart = by_sram.larger(n, values)
    ratios = [b / a for a, b in zip(bytes_at, bytes_at[1:], strict=False)]
    words = "It goes as N²d²/M: twice the SRAM, half the bytes. No exact method beats that for all M."
    turn(board, words, (law, above), (chip, below), (chart, right), given=max(abs(r - 0.5) for r in ratios) < 0.02)
    said = f"FA1, Theorem 2 (no constant), Proposition 3; N = {short(TOKENS)}, d = {D}"
    note(board, place, f"{said}. {by_sram.on_a_chip(gpu)}")
    for M, now, value in zip(by_sram.SRAMS, values, bytes_at, strict=True):
        board.move(n.to(float(M)), now.to(float(value)), seconds=0.9)
        board.wait(0.4)
