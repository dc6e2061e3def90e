"""A whole run on the board: HBM, bus, SRAM, loops, map, meter, code, each in a place of its own on each canvas."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..story.telling import SKIPPED
from .actors.bus import Bus
from .actors.code import Code
from .actors.course import Course, rails
from .actors.hbm import Hbm
from .actors.kernel import Kernel
from .actors.loops import Loop, RunLoops
from .actors.meter import Meter
from .actors.of_run import OfRun
from .actors.program import HEADS, Program, ProgramHeads
from .actors.slots import Slots
from .actors.sram import Sram
from .actors.tile_map import TileMap
from .board import Board
from .boxes import Box
from .run import ABOUT, Run
from .script import Part
from .values import linear

#: what SRAM shows: one large score tile, programs side by side, kernels one after another, or slots of any algorithm
Kind = Literal["tile", "lanes", "kernels", "slots"]

#: units: how high a kernel's line is, at most
RAIL = 88

#: units between programs side by side
LANE_GAP = 8

#: programs that are drawn side by side on each canvas
LANES = {"wide": 4, "square": 2, "tall": 4}


#: units: how high loops and the map are beside the rest of a square picture
_SQUARE = {"tile": (150, 206), "lanes": (124, 146), "kernels": (124, 232), "slots": (110, 242)}


#: units: how wide HBM is beside code
_CODE = {"tile": 500, "lanes": 480, "kernels": 660, "slots": 620}


class Places(NamedTuple):
    """Where the parts of a run stand, in units."""

    hbm: Box
    bus: Box
    sram: Box
    loops: Box | None
    map: Box
    meter: Box
    code: Box | None = None


def places(shape: str, main: Box, kind: Kind = "tile", code: bool = False) -> Places:
    """Of one canvas, within its main box: from left to right on a wide one, else from above to below."""
    if shape == "wide":
        if code:
            upper, lower = main.rows(600, 150, gap=50)
            left, pane = upper.columns(1252, 500)
            below, aside = lower.columns(1252, 500)
            return Places(*_across(left, _CODE[kind], 130), None, aside, below, pane)
        left, aside = main.columns(1332, 420)
        upper, lower = left.rows(*((600, 150) if kind != "lanes" else (636, 150)), gap=50 if kind != "lanes" else 14)
        loops, tiles = aside.rows(190, 590, gap=20) if kind != "kernels" else aside.rows(290, 300, gap=10)
        memory, way = {"tile": (580, 124), "lanes": (440, 140), "kernels": (560, 140), "slots": (690, 136)}[kind]
        hbm, bus, sram = _across(upper, memory, way)
        if kind == "lanes":  # a rail on a level with each program
            bus = Box(bus.x, bus.y + HEADS, bus.w, bus.h - HEADS)
        return Places(hbm, bus, sram, loops, tiles, lower)
    if shape == "square":
        hbm, bus, sram, meter = _down(main, 274, 62, 362, 14, 112)
        if code:
            hbm, bus, sram, meter, pane = (*_down(main, 220, 52, 280, 14, 108, 14, 136),)
            sram, tiles = sram.columns(664, 312)
            return Places(hbm, bus, sram, None, tiles, meter, pane)
        if kind == "lanes":
            hbm, aside = hbm.columns(660, 316)
        else:
            sram, aside = sram.columns(664, 312)
        loops, tiles = aside.rows(*_SQUARE[kind], gap=10)
        return Places(hbm, bus, sram, loops, tiles, meter)
    if code:
        hbm, bus, sram, aside, meter = _down(main, 460, 84, 430, 20, 330, 20, 150)
        pane, tiles = aside.columns(660, 316)
        return Places(hbm, bus, sram, None, tiles, meter, pane)
    if kind == "lanes":
        hbm, bus, sram, aside, meter = _down(main, 400, 80, 640, 16, 210, 14, 140)
    else:
        hbm, bus, sram, aside, meter = _down(main, 430, 76, 420, 18, 390, 16, 150)
    loops, tiles = aside.columns(480, 440, gap=80)
    return Places(hbm, bus, sram, loops, tiles, meter)


def _across(box: Box, hbm: float, bus: float) -> tuple[Box, Box, Box]:
    """Three that touch."""
    rest = Box(box.x + hbm + bus, box.y, box.w - hbm - bus, box.h)
    return Box(box.x, box.y, hbm, box.h), Box(box.x + hbm, box.y, bus, box.h), rest


def _down(box: Box, *heights: float) -> list[Box]:
    """One below the other: the first three touch, then a gap before each."""
    boxes, y = [], box.y
    for n, height in enumerate(heights):
        if n < 3 or n % 2 == 0:
            boxes.append(Box(box.x, y, box.w, height))
        y += height
    return boxes


def _of_kernels(at: Places, shape: str, many: int) -> Places:
    """Kernels or loops, a line each, and code in the place of a map; in a square picture there is no room for it."""
    assert at.loops
    if shape == "tall":
        return at._replace(code=at.map)
    both = Box(at.loops.x, at.loops.y, at.loops.w, at.map.bottom - at.loops.y)
    if shape == "square":
        return at._replace(loops=both)
    if not many:
        return at._replace(code=both)
    high = min(many * RAIL, both.h / 2)
    loops, code = both.rows(high, both.h - high - 20, gap=20)
    return at._replace(loops=loops, code=code)


class RunStage:
    """Puts a run on the board, and plays it. `parts` are by name: hbm, bus, sram (or program0 …), loops, map, meter.

    Of slots of any algorithm, `tile` says of how many queries and keys its map's tiles are: there is none without."""

    def __init__(
        self, board: Board, run: Run, *, kind: Kind = "tile", loops: tuple[Loop, ...] = (), names: tuple[str, ...] = (),
        device: str = "", code: bool = False, without: tuple[str, ...] = (),
        numbered: bool = False, tile: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.board, self.run, self.now = board, run, board.value(0.0)
        self.lit = board.value(None)
        self.places = places(board.shape, board.main, kind, code)
        if kind == "slots" and tile is None and self.places.loops:  # there is no map: in its place is code
            self.places = _of_kernels(self.places, board.shape, len(rails(run)))
        self.parts: dict[str, Part] = {}
        at, now = self.places, self.now
        actors: dict[str, tuple[OfRun, Box]] = {
            "hbm": (Hbm(run, now, device), at.hbm),
            "bus": (Bus(run, now, run.lanes if board.shape == "wide" else 1), at.bus),
        }
        if kind == "lanes":
            actors |= self._programs()
        else:
            one = Sram(run, now, self.lit) if kind == "tile" else (Slots if kind == "slots" else Kernel)(run, now)
            actors["sram"] = one, at.sram
        if (loops or kind == "slots") and at.loops:
            course = RunLoops(run, now, loops, names) if loops else Course(run, now)
            actors["loops"] = course, at.loops
        if kind in ("tile", "lanes") or tile:
            actors["map"] = TileMap(run, now, numbered=numbered, tile=tile), at.map
        own = run.trace.meta["algorithm"] == run.trace.standard
        actors["meter"] = Meter(run, now, standard=not own), at.meter
        if at.code:
            actors["code"] = Code(run, now, last=kind == "slots"), at.code
        self.actors, self.told = actors, set[int]()
        self.bring(*(name for name in actors if name not in without))

    def _programs(self) -> dict[str, tuple[OfRun, Box]]:
        """A panel for each of those that run side by side, on a level with its rail."""
        run, now, box = self.run, self.now, self.places.sram
        heads = Box(box.x, box.y, box.w, HEADS)
        boxes = Box(box.x, box.y + HEADS, box.w, box.h - HEADS).rows(run.lanes, gap=LANE_GAP)
        found: dict[str, tuple[OfRun, Box]] = {f"program{n}": (Program(run, now, n), at) for n, at in enumerate(boxes)}
        return found | {"heads": (ProgramHeads(run, now), heads)}

    def light(self, row: int | None) -> None:
        """Only this row of the score tile stands out; None: all do."""
        self.board.set(self.lit.to(row))

    def bring(self, *names: str) -> None:
        """These parts come."""
        for name in names:
            self.parts[name] = self.board.put(*self.actors[name])

    def hide(self, *names: str) -> None:
        """These parts go."""
        self.board.remove(*(self.parts.pop(name) for name in names if name in self.parts))

    @property
    def at(self) -> int:
        """The moment that comes next."""
        return int(self.now.at(self.board.now))

    def tell(self, to: float, seconds: float) -> None:
        """On to a moment, quickly; but the first tile that is skipped, and the first short block, are told of."""
        run = self.run
        start = self.at
        for number, words in sorted(news(run).items()):
            if start < number <= to and number not in self.told:
                self.told.add(number)
                part = (number - start) / max(1, to - start) * seconds
                self.play(number - 1, part)
                self.board.say(words)
                self.play(number, max(1.0, part / max(1, number - start)))
                self.board.read()
                seconds, start = seconds - part, number
        self.play(to, max(seconds, 0.3))

    def begin(self) -> None:
        """The next moment is about to happen: indices have moved on, and slots of what was before are empty."""
        self.board.set(self.now.to(self.at + ABOUT / 2))

    def play(self, to: float, seconds: float | None = None) -> None:
        """On to a moment, each as long as it takes by nature, or all together in so many seconds. Each step of the run
        that is done can be asked for by name."""
        board, start = self.board, self.at
        numbers = range(start, min(int(to), len(self.run)))
        whole = sum(map(self.run.seconds, numbers))
        scale = 1.0 if seconds is None or not whole else seconds / whole
        for number in numbers:
            board.move(self.now.to(float(number + 1)), seconds=scale * self.run.seconds(number), ease=linear)
            for event in self.run.moments[number]:
                board.steps[event.step] = board.now


def news(run: Run) -> dict[int, str]:
    """What is worth a word when a run comes to it first: the moment that is then over → words."""
    found: dict[int, str] = {}
    said: set[str] = set()
    for number, moment in enumerate(run.moments):
        for event in moment:
            if event.op == "skip" and "skip" not in said:
                said.add("skip")
                by_blocks = run.trace.meta.get("block_mask")
                found[number + 1] = "This tile is left out: nothing moves for it." if by_blocks else SKIPPED
            of = {"Q": "queries", "K": "keys"}.get(event.tile.tensor if event.tile else "")
            if event.op == "load" and event.tile and event.loop and of and of not in said:
                rows = event.tile.stop - event.tile.start
                whole = run.trace.meta[{"queries": "block_q", "keys": "block_k"}[of]]
                if rows < whole:
                    said.add(of)
                    found[number + 1] = f"The last block of {of} is short: {rows}, not {whole}. Nothing is padded."
    return found
