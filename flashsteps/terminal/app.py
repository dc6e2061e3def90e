"""`flashsteps step` on a terminal: the run held in hand, forwards and back, with everything as it stands."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.events import Click, Resize
from textual.theme import Theme as Scheme
from textual.widgets import Footer, Static

from .. import theme as themes
from ..errors import shorten
from ..theme import Theme
from ..trace.trace import Trace
from . import panes
from .paint import Paint
from .screens import Ask, Help, Values
from .view import View

#: steps a second, from which + and − choose
SPEEDS = (1, 2, 5, 10, 25, 50)
SPEED = 2


#: the smallest window, in signs and lines, that there is room in
LEAST = (60, 16)


class Part(Static):
    """A part of the screen: whenever it gets another size, all is drawn anew for it."""

    def on_resize(self, _: Resize) -> None:
        app = self.app
        if isinstance(app, StepApp) and not app.due:  # most get another size together
            app.due = True
            app.call_next(app.redraw)


class Pane(Part):
    """A framed pane."""


class StepApp(App[None]):
    """The stepper. `rich` says whether values may be backgrounds: by the terminal's colours unless given."""

    CSS_PATH = Path(__file__).with_name("app.tcss")
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "play", "Play", key_display="space", tooltip="play, pause"),
        Binding("right,n", "move('next')", "Step", key_display="→", tooltip="step on"),
        Binding("left,b", "move('back')", "Back", show=False, tooltip="step back"),
        Binding("l", "until('load')", "Load", tooltip="next load"),
        Binding("L", "until('load', True)", "Load before", show=False, tooltip="load before"),
        Binding("s", "until('store')", "Store", tooltip="next store"),
        Binding("S", "until('store', True)", "Store before", show=False, tooltip="store before"),
        Binding("p", "program", "Program", tooltip="next program"),
        Binding("P", "program(True)", "Program before", show=False, tooltip="program before"),
        Binding("t", "touched", "Tile", tooltip="next touch of this tile"),
        Binding("T", "touched(True)", "Tile before", show=False, tooltip="touch before"),
        Binding("plus,equals_sign", "speed(1)", "Faster", show=False, tooltip="play faster"),
        Binding("minus", "speed(-1)", "Slower", show=False, tooltip="play slower"),
        Binding("home", "seek(-1)", "Start", show=False, tooltip="to the start"),
        Binding("end", "seek(None)", "End", show=False, tooltip="to the end"),
        Binding("pageup", "scrub(-1)", "A tenth back", show=False, tooltip="a tenth back"),
        Binding("pagedown", "scrub(1)", "A tenth on", show=False, tooltip="a tenth on"),
        Binding("g", "ask", "Go to", show=False, tooltip="go to a step, a tile"),
        Binding("m", "map", "Map", tooltip="choose a tile in the map"),
        Binding("up", "vertical(-1)", "Up", show=False, tooltip="back; up in the map"),
        Binding("down", "vertical(1)", "Down", show=False, tooltip="on; down in the map"),
        Binding("enter", "choose", "Choose", show=False, tooltip="jump to that tile"),
        Binding("tab", "slot(1)", "Slot", show=False, priority=True, tooltip="hold the next slot"),
        Binding("shift+tab", "slot(-1)", "Slot before", show=False, priority=True, tooltip="the slot before"),
        Binding("v", "values", "Values", show=False, tooltip="all values of the slot"),
        Binding("escape", "leave", "Leave", show=False, tooltip="leave the map, the slot"),
        Binding("c", "theme", "Colours", show=False, tooltip="dark or light"),
        Binding("question_mark", "help", "Help", key_display="?", tooltip="these keys"),
        Binding("q", "quit", "Quit", tooltip="quit"),
    ]

    def __init__(self, trace: Trace, *, theme: str = themes.DEFAULT, rich: bool | None = None, at: int = -1) -> None:
        super().__init__()
        self.view = View(trace)
        self.view.stepper.seek(at)
        self.look, self.rich = theme, rich
        self.playing, self.speed, self.held, self.said = False, SPEED, "", ""
        self.due = False  # is all to be drawn anew, once what goes on is over?
        self.cursor: tuple[int, int] | None = None
        few = self.console.color_system == "standard" and rich is None
        self.palettes = themes.SIXTEEN if few else themes.THEMES
        for name, colors in self.palettes.items():
            self.register_theme(scheme(name, colors))
        self.theme = f"flashsteps-{theme}"
        self._timer: Any = None

    # ---- what there is on screen

    def compose(self) -> ComposeResult:
        yield Static(id="small")
        yield Part(id="title")
        with Container(id="stage"):
            with Container(id="chips"):
                yield Pane(id="hbm")
                with Container(id="sram"):
                    yield Part(id="gauge")
                    with Container(id="inside"):
                        yield Part(id="slots")
                        yield Part(id="numbers")
            with Container(id="low"):
                yield Pane(id="source")
                yield Pane(id="map")
        yield Part(id="caption")
        yield Part(id="info")
        yield Part(id="traffic")
        yield Part(id="scrubber")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.title = "flashsteps"
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):  # the terminal is to be as it was
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)
        for pane, title in (("#hbm", "HBM"), ("#source", "source")):
            self.query_one(pane).border_title = Content(title)

    def on_resize(self, resized: Resize) -> None:
        small = resized.size.width < LEAST[0] or resized.size.height < LEAST[1]
        self.screen.set_class(small, "-small")
        words = f"This window has {resized.size.width}×{resized.size.height}: it takes {LEAST[0]}×{LEAST[1]} to step."
        self.query_one("#small", Static).update(Text(words))
        self.call_after_refresh(self.settle)

    def redraw(self) -> None:
        """Anew, for the sizes that there are now."""
        self.due = False
        if self.is_running and not self.screen.has_class("-small"):
            self.draw()

    def settle(self) -> None:
        """The list of slots as high as it ever gets, where there is room for it; then all else."""
        most = max(map(len, self.view.held))
        self.query_one("#slots").styles.height = min(16, most) if self.screen.has_class("-high") else "1fr"
        self.call_after_refresh(self.draw)

    @property
    def paint(self) -> Paint:
        many = self.console.color_system in ("truecolor", "256") and not self.no_color
        return Paint(self.palettes[self.look], many if self.rich is None else self.rich)

    @property
    def slot(self) -> str | None:
        """The slot whose numbers are shown: the one held, or the newest made, or stored."""
        slots, event = self.view.slots, self.view.stepper.event
        if self.held in slots:
            return self.held
        if event and event.slot in slots:
            return event.slot
        return max(slots, key=lambda slot: slots[slot].step, default=None)

    def draw(self) -> None:
        """Everything anew, as large as it is."""
        view, paint = self.view, self.paint
        name = Text.assemble((shorten(view.trace.name, 40), f"bold {paint.color('ink')}"))
        name.append(f"  {shorten(view.title, 120)}", paint.color("dim"))
        self._put("#title", name)
        self._fill("#hbm", lambda w, h: panes.hbm(view, paint, w, h))
        self.query_one("#sram").border_title = Content(panes.sram_title(view))
        self._fill("#gauge", lambda w, h: panes.gauge(view, paint, w))
        self._fill("#slots", lambda w, h: panes.slots(view, paint, w, h, self.slot))
        self._fill("#numbers", lambda w, h: panes.numbers(view, paint, w, h, self.slot))
        self._fill("#source", lambda w, h: panes.source(view, paint, w, h))
        self._fill("#map", lambda w, h: panes.tile_map(view, paint, w, h, self.cursor))
        around = self.query_one("#map")
        around.border_title = Content(panes.map_title(view))
        around.border_subtitle = Content(f"{len(view.skipped)} passed over") if view.skipped else None
        hint = "" if view.stepper.step >= 0 else " → steps on, space plays, ? is help."
        caption = self.said or view.stepper.caption + hint
        self._put("#caption", Text(caption, f"bold {paint.color('ink')}", no_wrap=True, overflow="ellipsis"))
        playing = f"playing, {self.speed} a second" if self.playing else ""
        self._fill("#info", lambda w, h: panes.info(view, paint, w, playing))
        self._fill("#traffic", lambda w, h: panes.traffic(view, paint, w))
        self._fill("#scrubber", lambda w, h: panes.scrubber(view, paint, w))

    def _put(self, at: str, text: Text) -> None:
        self.query_one(at, Static).update(text)

    def _fill(self, at: str, make: Any) -> None:
        size = self.query_one(at, Static).content_size
        if size.width > 0 and size.height > 0:
            self._put(at, make(size.width, size.height))

    def moved(self, event: object, where: str) -> None:
        """After a move: say so where there was nowhere to go."""
        self.said = "" if event is not None or self.view.stepper.step < 0 else f"No {where}."
        self.draw()

    # ---- moves

    def action_move(self, way: str) -> None:
        if self.cursor is not None:
            return self._map_by(0, 1 if way == "next" else -1)
        self._pause()
        stepper = self.view.stepper
        event = stepper.next() if way == "next" else stepper.back()
        self.moved(event, "step after this: the run is through" if way == "next" else "step before this")

    def action_until(self, op: str, reverse: bool = False) -> None:
        self._pause()
        event = self.view.stepper.until(op=op, reverse=reverse)
        self.moved(event, f"{op} {'before' if reverse else 'after'} this")

    def action_program(self, reverse: bool = False) -> None:
        self._pause()
        self.moved(self.view.stepper.program(reverse=reverse), f"program {'before' if reverse else 'after'} this")

    def action_touched(self, reverse: bool = False) -> None:
        self._pause()
        event = self.view.stepper.event
        what = str((event.tile or event.slot) if event else "a tile")
        found = self.view.stepper.touched(reverse=reverse)
        self.moved(found, f"step {'before' if reverse else 'after'} this touches {what}")

    def action_seek(self, step: int | None) -> None:
        self._pause()
        self.view.stepper.seek(len(self.view.trace) - 1 if step is None else step)
        self.moved(True, "")

    def action_scrub(self, way: int) -> None:
        last = len(self.view.trace) - 1
        self.action_seek(min(last, max(-1, self.view.stepper.step + way * max(1, round(last / 10)))))

    def action_vertical(self, way: int) -> None:
        if self.cursor is not None:
            return self._map_by(way, 0)
        self.action_move("next" if way > 0 else "back")

    # ---- playing

    def action_play(self) -> None:
        stepper = self.view.stepper
        if self.playing:
            self._pause()
        else:
            if stepper.step == len(self.view.trace) - 1:
                stepper.seek(-1)
            self.playing = True
            self._pace()
        self.moved(True, "")

    def action_speed(self, way: int) -> None:
        at = min(len(SPEEDS) - 1, max(0, SPEEDS.index(self.speed) + way))
        self.speed = SPEEDS[at]
        if self.playing:
            self._pace()
        self.moved(True, "")
        self.said = "" if self.playing else f"{self.speed} steps a second when playing."
        self.draw()

    def _pace(self) -> None:
        if self._timer:
            self._timer.stop()
        self._timer = self.set_interval(1 / self.speed, self._tick)

    def _tick(self) -> None:
        if self.view.stepper.next() is None:
            self._pause()
        self.moved(True, "")

    def _pause(self) -> None:
        self.playing = False
        if self._timer:
            self._timer.stop()
            self._timer = None

    # ---- the map, slots, and what is asked for

    def action_map(self) -> None:
        self.cursor = None if self.cursor is not None else self.view.tile or (0, 0)
        self.said = "Arrows choose a tile, Enter jumps to it, Esc leaves." if self.cursor is not None else ""
        self.draw()

    def _map_by(self, down: int, right: int) -> None:
        assert self.cursor is not None
        tall, wide = self.view.grid
        i, j = self.cursor
        self.cursor = min(tall - 1, max(0, i + down)), min(wide - 1, max(0, j + right))
        self.draw()

    def action_choose(self) -> None:
        if self.cursor is not None:
            self.go_to_tile(*self.cursor)

    def action_leave(self) -> None:
        self.cursor, self.held, self.said = None, "", ""
        self.draw()

    def go_to_tile(self, i: int, j: int) -> None:
        """To the first step at a tile, and out of the map."""
        self._pause()
        self.cursor = None
        found = self.view.tiles.get((i, j))
        if found is not None:
            self.view.stepper.seek(found)
        self.moved(found, f"step is at tile ({i}, {j})")

    def action_slot(self, way: int) -> None:
        names = list(self.view.slots)
        if names:
            at = names.index(self.slot) if self.slot in names else -way
            self.held = names[(at + way) % len(names)]
            self.said = f"Holding {self.held}: its numbers stay. Esc lets it go."
        self.draw()

    def action_values(self) -> None:
        self._pause()
        slot = self.slot
        if slot and self.view.state and slot in self.view.state.sram:
            self.push_screen(Values(self.view, slot))

    def action_ask(self) -> None:
        self._pause()
        self.push_screen(Ask(len(self.view.trace) - 1), self._asked)

    def _asked(self, text: str | None) -> None:
        found = re.fullmatch(r"\s*(-?\d{1,9})\s*(?:[,; ]\s*(\d{1,9}))?\s*", text or "")
        if found and found[2]:
            return self.go_to_tile(int(found[1]), int(found[2]))
        if found and -1 <= int(found[1]) < len(self.view.trace):
            return self.action_seek(int(found[1]))
        if text:
            last = len(self.view.trace) - 1
            self.said = f"{shorten(text, 20)!r} is no step and no tile: give 0 to {last}, or a tile: 2,1."
        self.draw()

    def action_help(self) -> None:
        self._pause()
        self.push_screen(Help([binding for binding in self.BINDINGS if isinstance(binding, Binding)]))

    def action_theme(self) -> None:
        names = list(self.palettes)
        self.look = names[(names.index(self.look) + 1) % len(names)]
        self.theme = f"flashsteps-{self.look}"
        self.draw()

    def on_click(self, click: Click) -> None:
        """A click in the map jumps to the tile, one on the scrubber to the step, one on a slot holds it."""
        where = click.widget.id if click.widget else None
        at = click.get_content_offset(click.widget) if click.widget else None
        if at is None or click.widget is None:
            return
        width, height = click.widget.content_size
        if where == "scrubber":
            self.action_seek(round(at.x / max(1, width - 1) * (len(self.view.trace) - 1)))
        elif where == "map":
            rows, columns, up, across = panes.map_shape(self.view, width, height)
            wide, tall = panes.map_cell(width, height, rows, columns)
            if at.y // tall < rows and at.x // wide < columns:
                self.go_to_tile(at.y // tall * up, at.x // wide * across)
        elif where == "slots" and (named := panes.slot_at(self.view, height, self.slot, at.y)):
            self.held = named
            self.draw()


def scheme(name: str, colors: Theme) -> Scheme:
    """A theme of ours as one of Textual's."""
    return Scheme(
        f"flashsteps-{name}",
        primary=colors.accent,
        accent=colors.accent,
        foreground=colors.ink,
        background=colors.bg,
        surface=colors.panel,
        panel=colors.panel,
        dark=name == "dark",
        text_alpha=1.0,
        variables={
            "flash-line": colors.line,
            "flash-dim": colors.dim,
            "flash-sram": colors.sram,
            "flash-sram-line": colors.sram_line,
            "footer-background": colors.bg,
            "footer-foreground": colors.dim,
            "footer-description-foreground": colors.dim,
            "footer-description-background": colors.bg,
            "footer-key-foreground": colors.accent,
            "footer-key-background": colors.bg,
            "footer-item-background": colors.bg,
        },
    )
