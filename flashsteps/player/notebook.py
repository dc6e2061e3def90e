"""The player in a notebook: an anywidget whose `step` goes both ways. `Trace.show()` makes one."""

from __future__ import annotations

import secrets
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
    shown = traitlets.Int(-1).tag(sync=True)  # the same, once the player has stood there for a moment
    key = traitlets.Unicode().tag(sync=True)  # by which the player knows the still beside it
    beside: Any = None

    def __init__(self, trace: Trace, step: int = -1) -> None:
        self.trace = trace
        packed = pack(trace)
        super().__init__(
            header=packed.header, data=packed.data, kept=packed.values, step=step, key=secrets.token_hex(8)
        )

    @traitlets.validate("step")
    def _inside(self, proposal: Any) -> int:
        step, last = int(proposal["value"]), len(self.trace) - 1
        if not -1 <= step <= last:
            raise ValueError(f"step {step} is outside this run: give one from 0 to {last}, or -1 for its start")
        return step

    def _ipython_display_(self) -> None:
        """The widget, and beside it the still of the step that is shown, for when the notebook is opened without it."""
        from IPython import display as notebook

        display: Any = notebook.display
        bundle, _ = _both(super()._repr_mimebundle_())
        display({**bundle, "text/plain": repr(self)}, raw=True)
        self.beside = display({"text/html": self._aside(), "text/plain": ""}, raw=True, display_id=True)

    @traitlets.observe("shown")
    def _stands(self, _: Any) -> None:
        """What is saved with the notebook is the step that was shown last."""
        if self.beside is not None:
            self.beside.update({"text/html": self._aside(), "text/plain": ""}, raw=True)

    def _aside(self) -> str:
        """The still, in an element that the player hides while it runs (mount.js)."""
        style = (
            ".jp-OutputArea-child:has(+ .jp-OutputArea-child .flashsteps-still) .jupyter-widgets:not(:has(.flashsteps))"
            "{display:none}"  # what JupyterLab says where there is no model
        )
        return (
            f'<div class="flashsteps-still" data-player="{self.key}"><style>{style}</style>'
            f"{still(self.trace, self.step)}</div>"
        )

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and, for where none can run, the still of the step that it is at."""
        data, more = _both(super()._repr_mimebundle_(**options))
        return {**data, "text/html": still(self.trace, self.step), "text/plain": repr(self)}, more

    def __repr__(self) -> str:
        return f"<player of {self.trace!r}, at step {self.step}>"


def _both(found: Any) -> tuple[dict[str, Any], Any]:
    """A bundle and its metadata, where there may be only one of them, or none."""
    data, more = found if isinstance(found, tuple) else (found, {})
    return data or {}, more
