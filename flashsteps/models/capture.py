"""`with fs.capture() as calls: model(**inputs)`: each call of attention is noted, and kept where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import unknown
from ..units import size_of
from .calls import NOTHING, Call, Calls

#: how many bytes of tensors are kept at most, unless told otherwise
LIMIT = 1 << 30

ALL = "all"


@contextmanager
def capture(
    tensors: Any = None, *, backward: bool = False, tokens: Sequence[str] | None = None, limit: int = LIMIT
) -> Iterator[Calls]:
    """Note each call of attention that any torch model makes inside: `with capture() as calls: model(x)`.

    Seen are torch's `scaled_dot_product_attention` and `nn.MultiheadAttention`, `flex_attention`, the functions of
    flash-attn where it is installed, and this package's `flash_attention`. Attention that is written out by hand
    (transformers' "eager") is not: the table names the modules that took a softmax. What torch.compile made runs as it
    was written, meanwhile.

    tensors: which calls' tensors are kept, on the CPU: None (only shapes and options are noted), a call's number, from
        0, a module's path, or "all"; (3, 1) and ("layers.3", 1) are one head of them.
    backward: also keep the gradient of what a call gave; it comes with `loss.backward()`, inside or later.
    tokens: one for each key, which go along with heads that have as many.
    limit: the most bytes that may be kept; where more would be, the model is stopped.

    Raises ValueError, one line: without torch, for `tensors` that no call has, and at the limit.
    """
    choice = _choice(tensors)
    if backward and choice is None:
        raise ValueError(
            "backward=True keeps a gradient, but no tensors are kept: give tensors='all', or a call's number"
        )
    if not isinstance(limit, int | np.integer) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"limit is {limit!r}: give the most bytes to keep")
    try:
        from . import keeping, watching
    except ImportError as missing:
        raise ValueError(f"capture needs {missing.name}: pip install 'flashsteps[torch]'") from None
    calls, room = Calls(), Room(int(limit))
    words = None if tokens is None else tuple(tokens)

    def note(attention: Any, out: Any, where: Any) -> None:
        call = keeping.call(len(calls), attention, where.path, where.kind, words)
        if (heads := _heads(choice, call)) is not None:
            call = keeping.with_tensors(call, attention, out, heads, backward, room.take)
        calls.add(call)

    with watching.watching(note, calls.add_by_hand):
        yield calls
    if choice not in (None, (ALL, None)) and not any(call.kept for call in calls):
        raise ValueError(f"tensors={tensors!r}: {_known(choice, calls)}")


class Room:
    """How many bytes may still be kept."""

    def __init__(self, limit: int) -> None:
        self.limit, self.taken = limit, 0

    def take(self, nbytes: int, call: int) -> None:
        """Raises ValueError where so many are too many."""
        self.taken += nbytes
        if self.taken > self.limit:
            raise ValueError(
                f"the tensors of calls 0 to {call} take {size_of(self.taken)}, the limit is {size_of(self.limit)}: "
                f"keep fewer (tensors={call}, or tensors=({call}, 0) for one head), or give a larger limit="
            )


# ---- which are kept

Choice = tuple[Any, int | None]  # a call's number, a module's path or "all"; and a head


def _choice(tensors: Any) -> Choice | None:
    """What was asked for. Raises ValueError for what makes no sense."""
    if tensors is None:
        return None
    which, head = tensors if isinstance(tensors, tuple) and len(tensors) == 2 else (tensors, None)
    if not (isinstance(which, str) or _counted(which)) or not (head is None or _counted(head)):
        raise ValueError(
            f"tensors={tensors!r}: give the number of a call, from 0, a module's path, 'all', or one of them and a "
            "head: (3, 1)"
        )
    return which if isinstance(which, str) else int(which), None if head is None else int(head)


def _counted(given: Any) -> bool:
    return isinstance(given, int | np.integer) and not isinstance(given, bool) and int(given) >= 0


def _heads(choice: Choice | None, call: Call) -> tuple[int, ...] | None:
    """The heads of a call that are to be kept; None: none of its tensors are. Raises ValueError for one that isn't."""
    if choice is None:
        return None
    which, head = choice
    named = isinstance(which, str) and (which == ALL or f"{call.module}.".startswith(f"{which}."))
    if not (named or which == call.index):
        return None
    if head is None:
        return tuple(range(call.heads))
    if head >= call.heads:
        raise ValueError(f"head {head} was asked for, but call {call.index} has {call.heads} heads, from 0")
    return (head,)


def _known(choice: Choice, calls: Calls) -> str:
    """What there was, where nothing was what was asked for."""
    if not calls:
        return NOTHING
    if isinstance(choice[0], str):
        return unknown("module", choice[0], dict.fromkeys(call.module for call in calls))
    return f"there were {len(calls)} calls of attention, from 0 to {len(calls) - 1}"
