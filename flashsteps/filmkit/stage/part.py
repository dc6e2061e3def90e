"""A part of the stage: a box, a key, and how it is drawn. As long as the key stays, so does its picture."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from ..layout import Box
from ..pen import Pen
from .moment import Moment


class Part(NamedTuple):
    """Something on the stage that is drawn anew when its key changes, over what never changes."""

    box: Box
    key: Callable[[Moment], Hashable]
    draw: Callable[[Pen, Moment], None]
