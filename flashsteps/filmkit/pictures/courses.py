"""Runs side by side that have moved as many bytes: each as a tape, with how far it is in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ...machine.devices import MODEL
from ...theme import hue
from ...traffic.course import Course, Transfer
from ..actors.bars import Legend, Piece
from ..actors.cards import Text
from ..actors.tape import Lane, Lanes, averaged, transfers
from ..board import Board
from ..values import Made

STANDARD, FLASH, FLASH2 = "standard-forward", "flash-forward", "flash2-forward"
NAMES = {STANDARD: "standard attention", FLASH: "FlashAttention", FLASH2: "FlashAttention-2"}
LOOPS = {STANDARD: "S and P, out and back", FLASH: "for j: K, V · for i: Q, O", FLASH2: "for i: Q · for j: K, V"}
KERNELS = ("Q and K in, S out", "softmax: S in, P out", "P and V in, O out")
WRITTEN = "all of S written, hardly any of it read back"
HUES = (("Q", "Q"), ("K", "K"), ("V", "V"), ("S", "S, P"), ("O", "O"), ("stat", "ℓ, m, LSE"))
Courses = Mapping[str, Course]


def ranked(courses: Courses) -> list[str]:
    return sorted(courses, key=lambda name: courses[name].total)


def lanes(board: Board, courses: Courses, words: str, each: bool = False) -> Any:
    """The tapes on one axis, what their hues mean, and what is shown. Gives the bytes that all have moved."""
    moved = board.value(0.0)
    upper, legend, note = board.main.rows(
        *board.pick(wide=(620, 56, 88), square=(570, 96, 130), tall=(1160, 96, 130)), gap=16
    )
    most = max(course.total for course in courses.values())
    board.put(Lanes(tuple(lane(course, moved, each) for course in courses.values()), moved, most), upper)
    board.put(hues(Piece(1, "faint", name="to come"), Piece(1, "ink", name="end")), legend)
    board.put(Text(f"{words}; {MODEL}"), note)
    return moved


def hues(*more: Piece) -> Legend:
    """What the hues of a run's bytes mean, and what else there is to see."""
    each = (Piece(1, color, name=name) for color, name in HUES)
    return Legend((*each, Piece(1, "dim", name="read"), Piece(1, "dim", True, "written"), *more))


def lane(course: Course, moved: Any, each: bool) -> Lane:
    """A tape of each transfer, or else of what the rounds of its outer loop are made of."""
    name, status = course.algorithm, cast(Any, Made(lambda nbytes: status_of(course, nbytes), moved))
    if each:
        return Lane(NAMES[name].removesuffix(" attention"), transfers(pieces(course.transfers)), LOOPS[name], status)
    tape, ends = averaged(map(pieces, course.rounds)), (0.0, *map(float, course.kernels))
    names = tuple(zip(ends, ends[1:], KERNELS, strict=False)) if name == STANDARD else ()
    return Lane(NAMES[name].removesuffix(" attention"), tape, LOOPS[name], status, names)


def pieces(moved: Iterable[Transfer]) -> list[Piece]:
    return [Piece(one.nbytes, hue(one.tensor), one.written) for one in moved]


def status_of(course: Course, nbytes: float) -> str:
    """In words, what is over of it."""
    done, whole = course.done(nbytes), course.whole
    if done.transfers == whole.transfers:
        return "finished"
    if course.algorithm == STANDARD:
        over = sum(one.nbytes for one in course.transfers[: done.transfers]) == course.kernels[0]
        return WRITTEN if over else KERNELS[done.program]
    rows = f"{done.outputs:,} of {whole.outputs:,} blocks of O finished" if done.outputs else "no row of O finished"
    return f"{done.tiles:,} of {whole.tiles:,} tiles done, {rows}"
