"""What lies over the stepper for a moment: the keys, a question, all values of a slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, Static

from ..units import number
from .paint import ABSENT
from .view import View

#: rows and columns that the table of values shows
MOST = 200

KEYS = {
    "right": "→", "left": "←", "up": "↑", "down": "↓", "space": "space", "question_mark": "?", "plus": "+",
    "minus": "-", "equals_sign": "=", "pageup": "PgUp", "pagedown": "PgDn", "escape": "Esc", "enter": "Enter",
    "home": "Home", "end": "End", "tab": "Tab", "shift+tab": "Shift+Tab",
}  # fmt: skip


class Over(ModalScreen[str | None]):
    """Something over the stepper; Esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Close", show=False)]


class Help(Over):
    """Every key and what it does."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark", "dismiss(None)", "Close", show=False)]

    def __init__(self, bindings: Sequence[Binding]) -> None:
        super().__init__()
        self.keys = bindings

    def compose(self) -> ComposeResult:
        lines = []
        for binding in self.keys:
            keys = " ".join(KEYS.get(key, key) for key in binding.key.split(","))
            lines.append(f"{keys:<10}{binding.tooltip}")
        half = -(-len(lines) // 2)
        with Container(id="help", classes="box") as box:
            box.border_title = Content("keys")
            yield Static(Text("\n".join(lines[:half])))
            yield Static(Text("\n".join(lines[half:])))
            yield Static(Text("The mouse does it too: click a tile, a slot, the line of the run."), id="hint")


class Ask(Over):
    """Where to go: a step or a tile."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close", show=False)]

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def compose(self) -> ComposeResult:
        with Container(id="ask", classes="box") as box:
            box.border_title = Content(f"a step, -1 to {self.last}, or a tile: 2,1")
            yield Input(max_length=24)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class Values(Over):
    """All values of a slot; the cell that the cursor is on is told of."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("v", "dismiss(None)", "Close", show=False)]

    def __init__(self, view: View, slot: str) -> None:
        super().__init__()
        self.view, self.slot = view, slot
        state = view.state
        assert state is not None
        self.value = state.sram[slot]
        self.table = self.value.reshape(-1, 1) if self.value.ndim == 1 else self.value
        self.rows, self.columns = view.rows_of(slot), view.columns_of(slot)

    def compose(self) -> ComposeResult:
        with Container(id="values", classes="box") as box:
            box.border_title = Content(f"{self.slot}  {'×'.join(map(str, self.value.shape))}")
            yield DataTable(zebra_stripes=False)
            yield Static(id="told")

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        rows, columns = (min(MOST, n) for n in self.table.shape)
        for c in range(columns):
            table.add_column(Text(self.columns[c] if self.columns else str(c)))
        for r in range(rows):
            cells = [Text(number(float(x), room=8) or ABSENT, justify="right") for x in self.table[r, :columns]]
            table.add_row(*cells, label=Text(self.rows[r] if self.rows else str(r)))
        table.focus()
        self.tell(0, 0)

    def on_data_table_cell_highlighted(self, event: DataTable.CellHighlighted) -> None:
        self.tell(event.coordinate.row, event.coordinate.column)

    def tell(self, row: int, column: int) -> None:
        """Name, indices, tokens, value, and which steps made and read it."""
        held = self.view.slots[self.slot]
        x = self.table[row, column]
        index = str(row) if self.value.ndim == 1 else f"{row}, {column}"
        names = [names[n] for names, n in ((self.rows, row), (self.columns, column)) if names]
        called = f" ({' × '.join(names)})" if names else ""
        made = f"loaded at step {held.step} from {held.tile}" if held.tile else f"made at step {held.step}"
        reads = ", ".join(map(str, self.view.reads_of(self.slot)[:6]))
        value = "−∞" if np.isneginf(x) else f"{float(x):.6g}"
        cut = "" if max(self.table.shape) <= MOST else f"; the first {MOST} of each are shown"
        words = f"{self.slot}[{index}]{called} = {value}   {made}{f', read at {reads}' if reads else ''}{cut}"
        self.query_one("#told", Static).update(Text(words))
