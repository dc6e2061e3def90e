"""The explorer in a notebook: its page in a frame of its own, which needs no kernel and stays in the saved notebook."""

from __future__ import annotations

from ..trace.trace import Trace
from . import page


class Explorer:
    """A page on a run's input and settings. Raises ValueError, one line, for a run that the page cannot perform."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.text = trace, page.of_trace(trace)

    def _repr_html_(self) -> str:
        style = "width:100%;height:860px;border:0"
        return f'<iframe srcdoc="{page.escape(self.text)}" style="{style}" title="FlashAttention, explored"></iframe>'

    def __repr__(self) -> str:
        return f"<explorer of {self.trace!r}>"
