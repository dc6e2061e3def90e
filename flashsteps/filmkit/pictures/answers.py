"""One answer, however it was computed: outputs one below the other, and their first digits as a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...units import number
from ..actors.row import Row
from ..actors.table import Table
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..run import Run
from ..tiles import held
from ..values import Value


class Answers:
    """Of runs by name: `apart` is how far any is from the first, `seen` how many rows the table has by now."""

    def __init__(self, board: Board, place: Stage, ways: dict[str, Run]) -> None:
        found = [held(run, "O")[0] for run in ways.values()]
        self.seen: Value = board.value(0)
        self.apart, most = (float(max(np.abs(O - of).max() for O in found)) for of in (found[0], 0.0))
        self.many, self.length = min(3, len(found[0])), len(found[0])
        left, right = place.whole.columns(5, 4, gap=72) if board.shape == "wide" else place.whole.rows(3, 2)
        digits = ((number(x, 4, 7) for x in O[: self.many]) for O in found)
        rows = tuple((name, *some) for name, some in zip(ways, digits, strict=True))
        table = Table(rows, ("", *(f"O_{{{n}}}" for n in range(self.many))), seen=self.seen)
        self.table: tuple[Any, Box] = table, right.rows(1, 3, 1)[1] if board.shape == "wide" else right
        titled = (
            Row(tuple(O.tolist()), "O", -most, most, title=f"O, {name}") for name, O in zip(ways, found, strict=True)
        )
        self.rows: list[tuple[Any, Box]] = list(zip(titled, left.rows(3, gap=30), strict=True))
