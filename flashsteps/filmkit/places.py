"""Places that films share: a stage, its two sides, and a line below it that says where figures are from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .actors.cards import Text
from .board import Board
from .boxes import Box
from .script import Part
from .values import Ease, Move, smooth

APART = 72.0  # units between two sides


class Stage(NamedTuple):
    """All of it; its two sides, beside each other in a wide picture, else one above the other; the line below."""

    whole: Box
    sides: tuple[Box, Box]
    below: Box


def stage(board: Board, left: float = 1, right: float = 1) -> Stage:
    """The stage of this board, whose sides are as large as the weights say."""
    whole, below = board.main.rows(*board.pick(wide=(18, 1), square=(9, 1), tall=(16, 1)))
    first, second = whole.columns(left, right, gap=APART) if board.shape == "wide" else whole.rows(left, right)
    return Stage(whole, (first, second), below)


def aside(board: Board, place: Stage) -> Box:
    """Where a few words stand beside a picture: the upper part of the second side, as high as they need."""
    return place.sides[1].rows(*board.pick(wide=(4, 5), square=(1,), tall=(1, 1)))[0]


def turn(
    board: Board,
    words: str,
    *pictures: tuple[Any, Box],
    given: bool = True,
    grows: Sequence[Move] = (),
    seconds: float = 1.2,
    ease: Ease = smooth,
) -> list[Part]:
    """To another picture: all goes, these actors come to their boxes, and the words to them; in a short cut the words
    come first, which saves time.

    What `grows` does so in so many seconds before the words come: they say figures of bars that stand. In a short cut
    these stand from the start.
    """
    first = board.is_short and board.now > 0
    if first:
        board.say(words, given, early=True)
    if board.now > 0:
        board.clear()
    if grows and not board.is_short:
        board.hush()
    parts = [board.put(actor, box) for actor, box in pictures]
    board.move(*grows, seconds=seconds * (bool(grows) and not board.is_short), ease=ease)
    if not first:
        board.say(words, given)
    return parts


def below(place: Stage, words: str) -> tuple[Text, Box]:
    """Words below the stage, as one of a picture's: a source, a scale, what is not counted."""
    return Text(words), place.below


def note(board: Board, place: Stage, words: str) -> Part:
    """The same, for a picture that is there."""
    return board.put(*below(place, words))
