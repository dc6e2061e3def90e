"""A toy film, for tests: a word and a bar, a run, two chapters, options that are read and some that are not."""

from __future__ import annotations

from dataclasses import dataclass

from flashsteps.filmkit import Board, Box, Film
from flashsteps.filmkit.actors.actor import Actor


@dataclass(frozen=True)
class Bar(Actor):
    """So much of its box is filled; what it is called stands in it."""

    share: float
    name: str = ""

    def draw(self, pen, box):
        pen.panel(box)
        pen.fill(Box(box.x + 4, box.y + 4, round((box.w - 8) * self.share), box.h - 8), "Q", radius=12)
        if self.name:
            pen.label(box.x + pen.px(30), box.y + pen.px(50), self.name, "ink")


class Toy(Film):
    title = "A toy"

    def storyboard(self, board: Board) -> None:
        run = board.record("flash2-forward")
        upper, lower = board.main.rows(2)
        share, other = board.value(0.0), board.value(0.2)
        with board.chapter("It grows"):
            board.put(Bar(share, name=f"{run.meta['block_q']} queries in a block"), upper)
            board.say(f"A bar, and a run of {len(run)} steps.")
            board.move(share.to(0.9), seconds=1.0, step=0)
        if board.short:
            return
        with board.chapter("Another comes"):
            part = board.put(Bar(other), lower)
            board.say("The other one comes, moves, and goes.")
            board.move(other.to(0.7), part.to(lower.inset(100, 40)), seconds=1.5, step=1)
            board.wait(0.3)
            board.remove(part)
