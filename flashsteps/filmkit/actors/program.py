"""A program of several that run side by side: a flat panel with its tiles, its scores, its max and sum, its output."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Self

from ...theme import LABEL
from ..boxes import Box
from ..moments import SCORES, STATS
from ..run import Run
from . import cells, scores
from .of_run import OfRun, Shows, differing
from .sram import NEEDS, draw_slot, draw_value, name_of, need_of, tiles_of

if TYPE_CHECKING:
    from ..pen import Pen

#: units of the heads above a stack of programs
HEADS = 40


class Look(NamedTuple):
    """What is to be seen of a program: `whose` is its number, whether it skips a tile, its first query; `late`, whether
    ℓ is still that of before; then what each place shows."""

    whose: tuple[int | None, bool, int]
    late: bool
    shown: Shows


@dataclass(frozen=True)
class Program(OfRun):
    """`lane` says which of those side by side."""

    lane: int

    def seen(self) -> Look:
        program = self.run.program(self.now, self.lane)
        slots = {slot: (slot,) for slot in tiles_of(self.run)} | {"S": SCORES} | STATS
        shown = {name: self.run.shown(self.now, program, place) for name, place in slots.items()}
        skips = any(event.op == "skip" and event.program == program for event in self.run.events(self.now))
        late = scores.behind(self.run, self.now, program, "ℓ")
        return Look((program, skips, first_row(self.run, self.now, program)), late, tuple(shown.items()))

    def differs(self, before: Self, pen: Pen, box: Box) -> tuple[Box, ...]:
        was, now = before.looks, self.looks
        if (before.run, before.lane) != (self.run, self.lane) or was.whose != now.whose:
            return (box,)
        at, names = places(pen.unit, box, self.run), differing(was.shown, now.shown)
        found = {name: at.edges[name] for name in names if name in at.edges}
        if was.late != now.late:
            found["ℓ"] = at.edges["ℓ"]
        one, other = dict(was.shown)["S"], dict(now.shown)["S"]
        if "S" in found and one and other:
            found["S"] = scores.more(self.run, at.scores, one, other) or found["S"]
        return tuple(found.values())

    def draw(self, pen: Pen, box: Box) -> None:
        pen.panel(box, sram=True)
        (program, skips, first), late, pairs = self.looks
        shown, at = dict(pairs), places(pen.unit, box, self.run)
        seen = {name: pen.sees(edge) for name, edge in at.edges.items()}
        name = "idle" if program is None else f"program {program}"
        base = at.name.y + pen.px(23)
        pen.label(at.name.x, base, "skips" if skips else name, "accent" if skips else "ink", weight=600, room=at.name.w)
        for slot, place in at.tiles.items():
            if seen[slot]:
                draw_slot(pen, place, self.run, slot, shown[slot], most=14)
        if seen["S"] and shown["S"]:
            scores.tile(pen, at.scores, self.run, shown["S"])
        elif seen["S"]:
            pen.frame(at.scores.box, "faint", radius=4, dash=6)
        if program is not None and at.labels > pen.px(40) and seen["labels"]:
            count = min(self.run.trace.meta["block_q"], self.run.trace.meta["queries"] - first)
            words = self.run.names["queries"][first : first + count]
            cells.row_labels(pen, at.scores, words, at.scores.box.x - pen.px(12), at.labels - pen.px(12))
        for name, grid in at.stats.items():
            if seen[name]:
                scores.statistic(pen, grid, self.run, shown[name], behind=late and name == "ℓ")
        if at.acc and seen["acc"]:
            if shown["acc"]:
                draw_value(pen, at.acc, self.run, shown["acc"])
            else:
                pen.frame(at.acc.box, "faint", radius=4, dash=6)


@dataclass(frozen=True)
class ProgramHeads(OfRun):
    """What stands in which column of the programs below."""

    def seen(self) -> tuple[str, tuple[tuple[str, int], ...]]:
        program = self.run.program(self.now, 0)
        shown = self.run.shown(self.now, program, SCORES)
        return shown.slot if shown else "S", self.run.taken(program)

    def draw(self, pen: Pen, box: Box) -> None:
        at = places(pen.unit, Box(box.x, box.y, box.w, pen.px(146)), self.run)
        y = box.bottom - pen.px(12)
        middle = at.scores.box.x + at.scores.box.w / 2
        name, held = self.looks
        pen.label(middle, y, name, "S", weight=700, align="center")
        for name, grid in at.stats.items():
            pen.label(grid.box.x + grid.box.w / 2, y, name, "stat", weight=700, align="center")
        if at.acc:
            pen.label(at.acc.box.x + at.acc.box.w / 2, y, "acc", "O", weight=700, align="center")
        need = need_of(held, self.run.sram)
        place, note = name_of(self.run), scores.base(self.run.trace)
        left = box.x + pen.label(box.x, y, f"{place}, each" if not note else place, "ink", weight=600) + pen.px(16)
        if note and left + pen.width(note, LABEL) <= middle - pen.px(16):
            left += pen.label(left, y, note) + pen.px(16)
        room = middle - pen.px(16) - left - pen.figure_width(need) - pen.px(10)
        if room > -pen.px(10):
            how = next((words for words in NEEDS if pen.width(words, LABEL) <= room), "")
            left += pen.label(left, y, how) + pen.px(10) * bool(how)
            pen.figure(left, y, need)


class Places(NamedTuple):
    """Where a program's things stand, and how wide the labels of its rows are; `edges` are what each of them takes up
    at most, frames around it and all, but nothing of the panel's line."""

    name: Box
    tiles: dict[str, Box]
    labels: int
    scores: cells.Grid
    stats: dict[str, cells.Grid]
    acc: cells.Grid | None
    edges: dict[str, Box]


@lru_cache(maxsize=16)  # programs stay where they are
def places(unit: float, box: Box, run: Run) -> Places:
    """From left to right: what was loaded, under the program's name; tokens, scores, max and sum; the output so far."""

    def px(units: float) -> int:
        return round(units * unit)

    inside, gap = box.inset(px(16), px(7)).whole(), px(22)
    loaded = [slot for slot in ("q", "k", "v") if slot in tiles_of(run)]
    bq, bk = run.trace.meta["block_q"], run.trace.meta["block_k"]
    name = Box(inside.x, inside.y, px(152), inside.h // (len(loaded) + 1))
    tiles: dict[str, Box] = {
        slot: Box(inside.x - px(14), inside.y + (n + 1) * name.h, name.w + px(14), name.h)
        for n, slot in enumerate(loaded)
    }
    labels = min(px(132), round(0.175 * inside.w)) if run.trace.meta["tokens"] else px(50)
    x, stat = name.x + name.w + gap + labels, px(76)
    room = Box(x, inside.y, round(0.19 * inside.w), inside.h)
    tile = cells.grid(room, bq, bk, most=px(40), middle=False)
    x, stats = tile.box.right + gap, {}
    for stat_name in ("m", "ℓ"):
        stats[stat_name] = cells.Grid(Box(x, inside.y, stat, tile.box.h), (stat, tile.cell[1]), (tile.bins[0], 1))
        x += stat + px(6)
    acc = None
    if "acc" in tiles_of(run) and inside.right - x - gap > px(40):
        made = cells.grid(
            Box(x + gap, inside.y, inside.right - x - gap, 1), 1, run.shapes["acc"][1], finest=3, middle=False
        )
        acc = cells.Grid(
            Box(made.box.x, inside.y, made.box.w, tile.box.h),
            (made.cell[0], tile.cell[1]),
            (tile.bins[0], made.bins[1]),
        )
    of = {"S": tile.box, "labels": Box(tile.box.x - labels, tile.box.y, labels, tile.box.h)}
    of |= {slot: Box(at.x + px(14), at.y, at.w - px(14), at.h) for slot, at in tiles.items()}
    of |= {stat_name: grid.box for stat_name, grid in stats.items()} | ({"acc": acc.box} if acc else {})
    edges = {slot: cells.edge(unit, at) for slot, at in of.items()}
    return Places(name, tiles, labels, tile, stats, acc, edges)


def first_row(run: Run, now: float, program: int | None) -> int:
    """The first query of what a program works on."""
    if program is None:
        return 0
    events = [event for event in run.events(now) if event.program == program]
    event = events[0] if events else next(event for event in run.trace if event.program == program)
    return scores.row_of(run, event.loop.get("i", event.program))
