"""The panes as lines of styled text, each a pure function of the view and the room there is.

Colour is never the only sign: what is there is a shade (░ to █), what is not a dot, and what moves has an arrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import ceil

import numpy as np
from rich.cells import set_cell_size
from rich.text import Text

from ..errors import shorten
from ..machine.events import Event, Tile
from ..runs.stepper import overlap
from ..theme import ink_on, mix
from ..units import number, size_of
from .paint import ABSENT, Paint, binned, shares
from .view import View

# ---- HBM


def hbm(view: View, paint: Paint, width: int, height: int) -> Text:
    """HBM's tensors side by side, rows downwards: what is there, what is on chip now, what moves."""
    initial = view.trace.initial
    most = max(len(data) for data in initial.values())
    halves = 2 if paint.rich and most > height - 1 else 1  # two rows of cells a line, as ▀
    rows = max(1, ceil(most / max(1, (height - 1) * halves)))  # of a tensor, to a cell
    step = rows * halves
    tall = max(1, min(3, (height - 1) // most))  # lines that a row gets where there is room
    names, widths, left = _columns(view, width)
    lines = [Text(" " * left)]
    for name in names:
        size = len(initial[name])
        lines[0].append(f" {set_cell_size(name, widths[name])}", f"bold {paint.hue(name)}" if size else "")
    state, event = view.state, view.stepper.event
    tiles = [held.tile for held in view.slots.values() if held.tile]
    textures = {}
    for name in names:
        data = state.hbm[name] if state else np.full(initial[name].shape, np.nan)
        textures[name] = _texture(view, name, data.reshape(len(data), math.prod(data.shape[1:])), rows, widths[name])
    for line in range(ceil(most / step)):
        first = line * step
        text = Text(set_cell_size(view.token(first, _axis(view), left - 1), left - 1) + " " if left else "")
        text.stylize(paint.color("dim"))
        for name in names:
            cells = textures[name][line * halves : (line + 1) * halves]
            _hbm_cells(text, view, paint, name, range(first, first + step), cells, widths[name], tiles, event)
        lines += [text]
        lines += [Text(" " * left).append_text(text[left:]) for _ in range(tall - 1)]
    if (hidden := len(initial) - len(names)) and lines:
        lines[0].append(f" +{hidden}", paint.color("dim"))
    return Text("\n").join(lines[:height])


def _axis(view: View) -> str:
    return "q" if view.trace.meta["queries"] >= view.trace.meta["keys"] else "k"


def _hbm_cells(
    text: Text,
    view: View,
    paint: Paint,
    name: str,
    rows: range,
    cells: np.ndarray,
    width: int,
    tiles: Sequence[Tile],
    event: Event | None,
) -> None:
    """One tensor's part of one line: a mark, then its cells, one upon another where there are two."""
    if not len(cells):
        text.append(" " * (width + 1))
        return
    here = Tile(name, rows.start, min(rows.stop, len(view.trace.initial[name])))
    moves = event is not None and event.tile is not None and overlap(event.tile, here)
    used = moves or any(overlap(tile, here) for tile in tiles)
    mark = {"load": "→", "store": "←", "skip": "╱"}.get(event.op, " ") if event and moves else "│" if used else " "
    text.append(mark, f"bold {paint.color('accent' if moves else 'ink')}")
    strength = 1.0 if used else 0.45
    if len(cells) == 1:
        for share in cells[0].tolist():
            text.append(*paint.cell(share, name, "panel", strength))
    else:
        for pair in cells.T.tolist():
            text.append(*paint.pair(pair, name, "panel", strength))
    text.append(" " * (width - cells.shape[1]))


def _texture(view: View, name: str, data: np.ndarray, step: int, width: int) -> np.ndarray:
    """A tensor as rows of shares, binned to lines of `step` rows and at most `width` columns."""
    low, high = view.ranges.get(name, (0.0, 1.0))
    lines, columns = ceil(len(data) / step), min(width, data.shape[1])
    padded = np.full((lines * step, data.shape[1]), np.nan)
    padded[: len(data)] = shares(data, low, high)
    return binned(padded, lines, columns)


def _columns(view: View, width: int) -> tuple[list[str], dict[str, int], int]:
    """Which tensors there is room for, how wide each is, and the width of the rows' names."""
    initial = view.trace.initial
    names = list(initial)
    least = {name: max(2 if initial[name].ndim > 1 else 1, len(name)) for name in names}
    longest = max(len(view.token(row, _axis(view), 9)) for row in range(min(64, max(map(len, initial.values())))))
    left = min(10, longest + 1)
    spare = width - sum(least.values()) - len(names)
    left = max(min(left, spare), min(left, 5))  # what is too much then is tensors, not the names of rows
    more = 0  # what "+3" takes, where not all of them are shown
    while len(names) > 1 and sum(least[name] + 1 for name in names) + left + more > width:
        names.pop()
        more = 3
    room = width - left - len(names) - sum(least[name] for name in names)
    wide = [name for name in names if initial[name].ndim > 1]
    widths = {name: least[name] for name in names}
    while room > 0 and (grow := [name for name in wide if widths[name] < initial[name].shape[1]]):
        for name in grow[:room]:
            widths[name] += 1
        room -= len(grow[:room])
    return names, widths, left


# ---- SRAM


def sram_title(view: View) -> str:
    return f"SRAM  {view.on_chip:,} of {view.room:,} B"


def gauge(view: View, paint: Paint, width: int) -> Text:
    """How full SRAM is."""
    full = min(width, round(width * view.on_chip / view.room))
    return Text.assemble(("█" * full, paint.color("sram_line")), ("░" * (width - full), paint.color("dim")))


def slots(view: View, paint: Paint, width: int, height: int, chosen: str | None) -> Text:
    """The slots, one a line, with what this step makes (▸) and reads (◂)."""
    held, event, lines = view.slots, view.stepper.event, []
    state = view.state
    reads = reads_now(view)
    for slot, of in held.items():
        made = event is not None and event.op in ("load", "compute") and event.slot == slot
        mark = "▸" if made else "◂" if slot in reads else " "
        shape = "×".join(map(str, _shape(view, slot)))
        style = f"{'bold reverse ' if slot == chosen else 'bold ' if made else ''}{paint.hue(slot)}"
        text = Text.assemble((mark, f"bold {paint.color('accent')}"), (f"{slot:<5}", style))
        text.append(f" {shape:<6}", paint.color("ink"))
        if width >= 30:
            text.append(f" {str(of.tile or f'step {of.step}'):<14}", paint.color("dim"))
        if state and width >= 40:
            low, high = view.ranges.get(slot, (0.0, 1.0))
            value = state.sram[slot].reshape(1, -1) if state.sram[slot].ndim == 1 else state.sram[slot]
            for share in binned(shares(value, low, high), 1, min(value.shape[1], width - text.cell_len))[0].tolist():
                text.append(*paint.cell(share, slot, "sram", 1.0))
        lines.append(text)
    first = _first_slot(view, height, chosen)
    shown = lines[first : first + height]
    if not lines:
        shown = [Text("nothing on chip", paint.color("dim"))]
    return Text("\n").join(shown)


def _first_slot(view: View, height: int, chosen: str | None) -> int:
    """Where the list of slots begins, so that the chosen one is in it."""
    names = list(view.slots)
    at = names.index(chosen) if chosen in names else 0
    return max(0, min(at - height // 2, len(names) - height))


def slot_at(view: View, height: int, chosen: str | None, line: int) -> str | None:
    """The slot on a line of the list."""
    names = list(view.slots)[_first_slot(view, height, chosen) :]
    return names[line] if 0 <= line < min(height, len(names)) else None


def reads_now(view: View) -> frozenset[str] | set[str]:
    """The slots that this step reads, as far as the algorithm's source says."""
    event = view.stepper.event
    if event is None or event.op in ("load", "skip"):
        return frozenset()
    return {event.slot} if event.op == "store" else view.stepper.lines[event.line].reads


def _shape(view: View, slot: str) -> tuple[int, ...]:
    held = view.slots[slot]
    shape = view.trace[held.step].shape
    return (held.tile.stop - held.tile.start, *shape[1:]) if held.tile and len(shape) else shape


def numbers(view: View, paint: Paint, width: int, height: int, slot: str | None) -> Text:
    """The numbers of a slot, and, where there is room, those of the others, a tile of scores first."""
    state, held = view.state, view.slots
    if state is None:
        return Text("no values are kept of this run, only what moved", paint.color("dim"))
    if slot is None:
        return Text("")
    others = sorted(held, key=lambda name: (not view.columns_of(name), -held[name].step))
    lines = _table(view, paint, width, height, slot)
    told = {slot, *_beside(view, slot)}
    for name in others:
        value = state.sram[name]
        if name in told or len(lines) + 3 + len(value) > height:
            continue
        told |= {name, *_beside(view, name)}
        where = held[name].tile or f"step {held[name].step}"
        heading = Text.assemble((name, f"bold {paint.hue(name)}"), (f"  {where}", paint.color("dim")))
        lines += [Text(), heading, *_table(view, paint, width, len(value) + 1, name)]
    return Text("\n").join(lines)


def _beside(view: View, slot: str) -> list[str]:
    """The statistics that stand beside a tile of scores: one number for each of its rows."""
    state = view.state
    if state is None or not view.columns_of(slot):
        return []
    return [name for name, x in state.sram.items() if x.shape == state.sram[slot].shape[:1]]


def _table(view: View, paint: Paint, width: int, height: int, slot: str) -> list[Text]:
    """A slot's numbers under the names of its columns, as many as there is room for."""
    state = view.state
    assert state is not None
    value = state.sram[slot]
    table = value.reshape(-1, 1) if value.ndim == 1 else value
    names, heads = view.rows_of(slot), view.columns_of(slot)
    left = min(9 if width >= 36 else 4, max(map(len, names), default=0)) + 1 if names and width >= 29 else 0
    room = max(1, (width - left) // 6)
    own = table.shape[1] if table.shape[1] <= room else max(3, room - 4)
    beside = _beside(view, slot)[: max(0, room - own)]
    fit = room - len(beside)
    cut = table.shape[1] > fit
    shown = range(min(table.shape[1], max(1, fit - cut)))
    rows = min(len(table), max(1, height - 1 - (len(table) > height - 1)))
    lines = [Text(" " * left)]
    for c in shown:
        words = heads[c] if heads else slot if value.ndim == 1 else str(c)
        lines[0].append(f"{set_cell_size(shorten(words, 5), 5)} ", paint.color("dim"))
    lines[0].append("  … " if cut else "", paint.color("dim"))
    for name in beside:
        lines[0].append(f"{name:^5.5} ", f"bold {paint.hue(name)}")
    for r in range(rows):
        line = Text(set_cell_size(names[r], left - 1) + " " if left else "", paint.color("dim"))
        for c in shown:
            line.append_text(_number(view, paint, slot, float(table[r, c])))
        line.append("  … " if cut else "", paint.color("dim"))
        for name in beside:
            line.append_text(_number(view, paint, name, float(state.sram[name][r])))
        lines.append(line)
    if len(table) > rows:
        lines.append(Text(f"… {len(table) - rows:,} more rows", paint.color("dim")))
    return lines


def _number(view: View, paint: Paint, slot: str, x: float) -> Text:
    """A value in a cell of its colour."""
    low, high = view.ranges.get(slot, (0.0, 1.0))
    text = f"{number(x) or ABSENT:>5}"
    share = shares(np.array(x), low, high)
    if not paint.rich or not np.isfinite(x):
        return Text.assemble((text, paint.hue(slot) if np.isfinite(x) else paint.color("dim")), " ")
    color = mix(paint.color("sram"), paint.hue(slot), round(0.15 + 0.85 * float(share), 2))
    return Text.assemble((text, f"{ink_on(color)} on {color}"), " ")


# ---- source, map, traffic


def source(view: View, paint: Paint, width: int, height: int) -> Text:
    """The algorithm's source around the line that runs, with that line lit."""
    known, now = view.stepper.lines, view.stepper.line
    code = view.trace.meta["code"].split("\n")
    inside = [n for n, line in known.items() if line.code.strip()]
    first = min((event.line for event in view.trace), default=1)
    at = now or max(1, first - 1)
    top = max(1, min(at - height // 2, len(code) - height + 1))
    window = range(top, min(len(code), top + height - 1) + 1)
    spaces = [len(known[n].code) - len(known[n].code.lstrip()) for n in window if n in inside]
    cut = max(0, min(spaces, default=0))
    lines = []
    for n in window:
        text, comment = known[n].code[cut:], code[n - 1][len(known[n].code) :].strip() if known[n].caption else ""
        mark = "▶" if n == now else " "
        line = Text(f"{mark}{n:>3} ", f"bold {paint.color('accent')}" if n == now else paint.color("dim"))
        body = shorten(text, max(1, width - 5))
        lit = f"bold {ink_on(paint.color('accent'))} on {paint.color('accent')}" if paint.rich else "bold reverse"
        line.append(body, lit if n == now else paint.color("ink"))
        room = width - 6 - len(body)
        if comment and room > 12:
            line.append(f" {shorten(comment, room)}", paint.color("dim"))
        lines.append(line)
    return Text("\n").join(lines)


def tile_map(view: View, paint: Paint, width: int, height: int, cursor: tuple[int, int] | None) -> Text:
    """The tiles of scores, queries downwards: computed (▓), at this step (█), passed over (╱), to come (·)."""
    if not view.tiles:
        return Text("This algorithm has no loop over tiles of scores.", paint.color("dim"))
    rows, columns, up, across = map_shape(view, width, height)
    wide, tall = map_cell(width, height, rows, columns)
    now, step = view.tile, view.stepper.step
    lines = []
    for r in range(rows):
        line = Text()
        for c in range(columns):
            inside = [(i, j) for i in range(r * up, (r + 1) * up) for j in range(c * across, (c + 1) * across)]
            signs, style = _tile_sign(view, paint, inside, now, step, cursor)
            line.append(signs[0] * (wide // 2) + signs[1] * (wide // 2), style)
        lines += [line] * tall
    return Text("\n").join(lines)


def map_cell(width: int, height: int, rows: int, columns: int) -> tuple[int, int]:
    """Signs and lines of a cell of the map: two signs to a line, as large as there is room for."""
    tall = max(1, min(3, height // rows, width // (2 * columns)))
    return 2 * tall, tall


def map_shape(view: View, width: int, height: int) -> tuple[int, int, int, int]:
    """Rows and columns of the map, and how many blocks of queries and of keys go into one."""
    tall, wide = view.grid
    up, across = max(1, ceil(tall / max(1, height))), max(1, ceil(wide / max(1, width // 2)))
    return ceil(tall / up), ceil(wide / across), up, across


def _tile_sign(
    view: View,
    paint: Paint,
    inside: list[tuple[int, int]],
    now: tuple[int, int] | None,
    step: int,
    cursor: tuple[int, int] | None,
) -> tuple[str, str]:
    skipped, seen = view.skipped, [tile for tile in inside if view.tiles.get(tile, step + 1) <= step]
    if cursor in inside:
        return "[]", f"bold reverse {paint.color('accent')}"
    if now in inside:
        return ("╱╱" if now in skipped else "██"), f"bold {paint.color('accent')}"
    if seen and all(tile in skipped for tile in seen):
        return "╱╱", paint.color("dim")
    if seen:
        return "▓▓", paint.color("S")
    return "··", paint.color("dim")


def map_title(view: View) -> str:
    """How many tiles were computed."""
    step, skipped = view.stepper.step, view.skipped
    done = sum(1 for tile, at in view.tiles.items() if at <= step and tile not in skipped)
    return f"{done} of {len(view.tiles) - len(skipped)} tiles"


def traffic(view: View, paint: Paint, width: int) -> Text:
    """Bytes moved so far, by tensor: read is solid, written is hatched; standard attention's whole is a mark."""
    whole = max(view.total.total, view.standard, 1)
    bar, used = Text(), 0
    for name, moved in view.moved.items():
        for part, sign in ((moved.read, "█"), (moved.written, "▒")):
            count = min(width - used, round(width * part / whole))
            bar.append(sign * count, paint.hue(name))
            used += count
    ghost = min(width - 1, round(width * view.standard / whole))
    for place in range(used, width):
        bar.append("┊" if place == ghost else "·", paint.color("ink" if place == ghost else "dim"))
    read, write = (sum(moved[n] for moved in view.moved.values()) for n in (0, 1))
    ratio = f" ({view.total.total / view.standard:.2f}×)" if view.standard else ""
    words = Text.assemble(
        ("moved ", paint.color("dim")),
        (size_of(read + write), f"bold {paint.color('ink')}"),
        (f" of {size_of(view.total.total)}  █ read {size_of(read)}  ▒ written {size_of(write)}", paint.color("dim")),
    )
    long, short = f"   ┊ standard attention {size_of(view.standard)}{ratio}", f" ┊ standard {size_of(view.standard)}"
    words.append(long if words.cell_len + len(long) <= width else short, paint.color("dim"))
    words.truncate(width)
    return Text("\n").join([words, bar])


def info(view: View, paint: Paint, width: int, playing: str) -> Text:
    """Where the run is: step, loops, program, what comes next."""
    stepper = view.stepper
    loops = " ".join(f"{name}={index}" for name, index in stepper.event.loop.items()) if stepper.event else "the start"
    parts = [
        (f"step {stepper.step} of {len(view.trace) - 1}", f"bold {paint.color('ink')}"),
        (playing, f"bold {paint.color('accent')}"),
        (loops, paint.color("ink")),
        (f"program {stepper.event.program}" if stepper.event else "", paint.color("dim")),
        (f"next: {view.next_words()}", paint.color("dim")),
    ]
    text = Text("   ").join([Text(words, style) for words, style in parts if words])
    text.truncate(width, overflow="ellipsis")
    return text


def scrubber(view: View, paint: Paint, width: int) -> Text:
    """The run from its first step to its last, with a mark where the outer loop goes on."""
    last = max(1, len(view.trace) - 1)
    at = round((width - 1) * max(0, view.stepper.step) / last)
    marks = {round((width - 1) * step / last) for step, _ in view.marks}
    text = Text()
    for place in range(width):
        sign = "●" if place == at else ("┿" if place < at else "┼") if place in marks else "━" if place < at else "─"
        text.append(sign, paint.color("accent" if place <= at else "dim"))
    return text
