"""The player in a notebook: an anywidget whose `step` goes both ways. `Trace.show()` makes one."""

from __future__ import annotations

from typing import Any

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError(f"to show a trace in a notebook needs {error.name}: pip install 'flashsteps[notebook]'") from None

from .. import player
from ..trace.trace import Trace
from .pack import pack
from .still import still


class Player(anywidget.AnyWidget):
    """A trace to step through. `step` (−1: the start) follows the player and moves it: `observe` it, or set it.

    Raises TraitError, a ValueError's words, for a step outside the run.
    """

    _esm = player.module()
    _css = player.style()
    header = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    kept = traitlets.Bytes().tag(sync=True)
    step = traitlets.Int(-1).tag(sync=True)

    def __init__(self, trace: Trace, step: int = -1) -> None:
        self.trace = trace
        packed = pack(trace)
        super().__init__(header=packed.header, data=packed.data, kept=packed.values, step=step)

    @traitlets.validate("step")
    def _inside(self, proposal: Any) -> int:
        step, last = int(proposal["value"]), len(self.trace) - 1
        if not -1 <= step <= last:
            raise ValueError(f"step {step} is outside this run: give one from 0 to {last}, or -1 for its start")
        return step

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and, for where none can run, the still of the step that it is at."""
        found = super()._repr_mimebundle_(**options)
        data, more = found if isinstance(found, tuple) else (found, {})
        return {**(data or {}), "text/html": still(self.trace, self.step), "text/plain": repr(self)}, more

    def __repr__(self) -> str:
        return f"<player of {self.trace!r}, at step {self.step}>"
