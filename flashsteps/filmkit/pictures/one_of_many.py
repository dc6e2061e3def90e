"""One SM with what it has on chip, to scale; then all SMs of its chip, among which it takes its place."""

from __future__ import annotations

from typing import Any

from ...machine.devices import Device
from ...story.labels import a
from ...theme import HEAD
from .. import shapes
from ..actors.areas import Areas, Crowd
from ..actors.cards import Panel, Text
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..script import Part
from ..values import Made, linear


class OneOfMany:
    """`come`, `shrink` and `join`, in this order."""

    def __init__(self, board: Board, place: Stage, gpu: Device) -> None:
        self.board, self.many = board, gpu.multiprocessors
        self.name, self.full, self.count = board.value(f"one SM of {a(gpu.model)}"), board.value(0.0), board.value(1.0)
        self.box = board.pick(
            wide=place.whole.inset(300, 60), square=place.whole.inset(60, 120), tall=place.whole.inset(60, 440)
        )
        shared, registers = gpu.shared_per_sm, gpu.registers_per_sm
        inside = Made(shapes.multiprocessor, shared, registers, self.full)
        self.areas = Areas(inside, shared + registers, (shared + registers) * 0.45)
        columns = board.pick(wide=18, square=12, tall=9)
        head, body = place.whole.rows(1, 9)
        side = 0.94 * min(body.w / columns, body.h * columns / self.many, 140)
        self.place = Box(body.x, body.y, side, side)
        said = Made(lambda n: f"{n:.0f} SM{'s' * (n > 1)}", self.count)
        self.all: list[tuple[Any, Box]] = [
            (Text(said, HEAD, "ink", 600), head),
            (Crowd(self.count, self.many, "sram_line", columns, most=140), body),
        ]

    def come(self) -> None:
        """The one, empty."""
        self.panel = self.board.put(Panel(self.name, sram=True), self.box)
        self.inside = self.board.put(self.areas, Panel.inside(self.box))

    def shrink(self, said: Part) -> None:
        """What it has goes, with what was said of it; it becomes the first of all."""
        board = self.board
        board.remove(self.inside, said)
        board.set(self.name.to(""))
        board.move(self.panel.to(self.place), seconds=0.8)
        for actor, box in self.all:
            board.put(actor, box)

    def join(self) -> None:
        """The others come."""
        self.board.remove(self.panel)
        self.board.move(self.count.to(float(self.many)), seconds=1.5, ease=linear)
