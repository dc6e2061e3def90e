"""What a film is of: the q, k and v that were asked for, and their runs, each recorded once however often shown."""

from __future__ import annotations

import importlib
import operator
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import algorithms
from ..runs.arguments import small_block
from ..runs.part import part

if TYPE_CHECKING:
    from ..inputs.qkv import QKV
    from ..trace.trace import Trace

#: how many queries and keys, and how wide, a picture has room for: columns are put together where they are too fine
MOST_ROWS, MOST_COLUMNS = 64, 256

#: what of a run a user may choose, and what says of which input it is
OF_A_RUN, OF_AN_INPUT = ("block_q", "block_k", "mask", "dtype", "sram"), ("input", "head", "layout", "rows")


class Input:
    """The input of one film, and its runs. `option(name, default)` is how to ask for what a user chose.

    `made` is what another Input has read and recorded for the same film: then no file is read, and nothing runs.
    """

    def __init__(self, made: Mapping[Any, Any] | None = None) -> None:
        self._made: dict[Any, Any] = dict(made or {})
        self._shows_own_mask = False
        self._bared = False  # was its own mask left out, since that was asked for?

    @property
    def made(self) -> dict[Any, Any]:
        """What was read and recorded until now; of an input of which a window is shown, the window alone."""
        return {key: made for key, made in self._made.items() if key != "input" or "rows" not in self._made}

    @property
    def unproven(self) -> bool:
        """Is there a saved run that was not held against its algorithm?"""
        return self._made.get("proven") is False

    def qkv(self, option: Callable[..., Any]) -> QKV:
        """q, k and v, as `input`, `head` and `layout` say, or the `rows` of them. Raises ValueError where they can't be
        read."""
        source, where = option("input", "sample"), {name: option(name) for name in ("head", "layout")}
        rows, whole = option("rows"), partial(self.once, "input", partial(_read, source, where))
        found: QKV = whole() if rows is None else self.once("rows", lambda: window(whole(), rows))
        return found

    def record(self, algorithm: str, option: Callable[..., Any], how: dict[str, Any]) -> Trace:
        """An algorithm's run; what `how` leaves open is the user's choice, and blocks are else small ones.

        A saved run (`trace`, a path or a Trace) stands for it where one was given, and with `kernel` that of its Triton
        kernel. Raises ValueError where something makes no sense, or is too large to draw.
        """
        saved = option("trace")
        if saved is not None:
            chosen = {name: option(name) for name in (*OF_AN_INPUT, *OF_A_RUN)}
            run: Trace = self._saved(saved, algorithm, chosen, how)
        else:
            qkv = _asked(algorithm, self.qkv(option))
            (N, d), M = qkv.q.shape, len(qkv.k)
            check_room(N, M, d)
            chosen = {name: option(name) for name in OF_A_RUN if name not in how}
            self.check_mask(option, how)
            how = {name: value for name, value in chosen.items() if value is not None} | how
            how = {"block_q": small_block(N), "block_k": small_block(M), **how}
            run = self.once((algorithm, _key(how)), partial(_record, algorithm, qkv, how))
        if not option("kernel", False):
            return run
        return self.twin(run)

    def check_mask(self, option: Callable[..., Any], how: Mapping[str, Any]) -> None:
        """Raises ValueError where the first run that a film shows has another mask than its model had, for its scores
        would be others; unless it has none, and that was asked for: mask none."""
        own = self.qkv(option).own.get("mask")
        first = not self._shows_own_mask and "mask" in how  # later another may stand beside it
        if first and own is not None and not np.array_equal(how["mask"], own):
            bare = not how["mask"]
            if not bare or option("mask") != "none":
                said, other = own if isinstance(own, str) else "of its own", "give mask none to see it without, or "
                raise ValueError(
                    f"this film shows runs with mask {how['mask'] or 'none'}, and this head has the mask {said}: "
                    f"{other * bare}choose a film of a whole run, such as flash2-forward"
                )
            self._bared = True
        self._shows_own_mask = True

    def twin(self, run: Trace) -> Trace:
        """The run of its Triton kernel on the same input. Raises ValueError where there is none, or no Triton."""
        of = next((key for key, made in self._made.items() if made is run), id(run))
        twin: Trace = self.once(("kernel", of), partial(_twin, run))
        return twin

    @property
    def note(self) -> str:
        """What has to be on screen all the time: that only some of the tokens are shown."""
        windows = [made.source for made in self._made.values() if hasattr(made, "tokens") and "rows" in made.source]
        notes = {f"tokens {of['rows'][0]} to {of['rows'][1] - 1} of {of['of']:,}" for of in windows}
        return ", ".join([*sorted(notes), *["without its model’s mask"] * self._bared])

    @property
    def runs(self) -> tuple[Trace, ...]:
        """All that were recorded until now."""
        return tuple(made for made in self._made.values() if hasattr(made, "meta"))

    def words(self) -> str:
        """All tokens and names of files that were read or recorded until now: what may be in any script."""
        metas = [run.meta for run in self.runs]
        tokens = [made.tokens for made in self.made.values() if hasattr(made, "tokens")]
        told = [str((meta["input"], meta["mask"])) for meta in metas]
        return "".join([*told, *(word for of in (*tokens, *(meta["tokens"] for meta in metas)) for word in of or ())])

    def _saved(self, saved: Any, algorithm: str, chosen: dict[str, Any], how: dict[str, Any]) -> Trace:
        """A run that is there already, if it is one that a film of this algorithm can show."""
        from ..trace import npz
        from ..trace.trace import NO_VALUES

        for name, value in chosen.items():
            if value is not None:
                raise ValueError(f"{name}={value!r} is for a new run, and this film is of a saved one: leave it out")
        path = isinstance(saved, str | os.PathLike)
        load = partial(npz.load, saved) if path else lambda: saved
        run: Trace = self.once("saved", load)
        meta = run.meta
        if meta["algorithm"] != algorithm:
            raise ValueError(
                f"this film shows {algorithm}, and this is a trace of {meta['algorithm']}: record that one, or leave "
                "the trace out"
            )
        for name, value in how.items():
            free = value is None and name != "mask"  # of any size: no user is asked, and none is told
            if meta.get(name, value) != value and not free:
                shows, has = f"{name}={value!r}", f"{name}={meta[name]!r}"
                raise ValueError(
                    f"this film shows a run with {shows}, and this trace is of one with {has}: record one so, or "
                    "leave the trace out"
                )
        if meta.get("heads", 1) > 1:
            raise ValueError(f"this trace is of {meta['heads']} heads, and a film shows one: record one head")
        if len(run.values) != len(run):
            raise ValueError(NO_VALUES)
        check_room(meta["queries"], meta["keys"], meta["d"], "record fewer")
        self.once("proven", partial(_prove, run))
        return run

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was made under this key, or else is made now."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _read(source: Any, where: Mapping[str, Any]) -> QKV:
    """An input as it was given: a QKV, q, k and v, a name or a file."""
    from ..inputs import qkv

    if isinstance(source, qkv.QKV):
        for name, value in where.items():
            if value is not None:
                raise ValueError(f"{name}={value!r}: the input that is given is one head already: leave it out")
        return source
    if isinstance(source, tuple | list) and len(source) == 3:
        return qkv.check_qkv(source[0], source[1], source[2], **where)
    if not isinstance(source, str | os.PathLike):
        what = type(source).__name__
        raise ValueError(f"input is of type {what}: give (q, k, v), 'sample', a file or {qkv.RANDOM_FORM}")
    return qkv.load_qkv(source, **where)


def _prove(run: Trace) -> bool:
    """Is a saved run as its algorithm leaves it? Raises ValueError where not; False where that can't be told."""
    from . import proof

    if proof.can_be_proven(run):
        proof.check(run)
        return True
    return False


def check_room(N: int, M: int, d: int, advice: str = f"give rows='0:{MOST_ROWS}' for a window of them") -> None:
    """Raises ValueError where a picture has no room for so much."""
    for what, given in (("queries", N), ("keys", M)):
        if given > MOST_ROWS:
            raise ValueError(
                f"{given} {what} are too many to draw, {MOST_ROWS} is the most: {advice}, or use `flashsteps view`"
            )
    if d > MOST_COLUMNS:
        raise ValueError(f"d = {d} is too wide to draw, {MOST_COLUMNS} is the most: use `flashsteps view`")


def window(qkv: QKV, rows: Any) -> QKV:
    """Some tokens of an input: those queries and keys, each other's last where there are more of one than the other.
    Tokens without a name are called by their numbers: in the window they would begin at 0.

    rows: the first token and the one after the last, as (0, 64) or "0:64". Raises ValueError for what is no such thing.
    """
    start, stop = _ends(rows)
    n, m = len(qkv.q), len(qkv.k)
    most = max(n, m)
    if not 0 <= start < stop <= most:
        raise ValueError(
            f"rows={_said(rows)!r}: there are {most:,} tokens, give two numbers from 0 to {most:,}, rising"
        )
    queries, keys = (slice(max(0, start - most + count), max(0, stop - most + count)) for count in (n, m))
    for what, some, count in (("query", queries, n), ("key", keys, m)):
        if some.start >= some.stop:
            raise ValueError(f"rows={_said(rows)!r}: no {what} is there, they begin at {most - count:,}")
    tokens = tuple(map(str, range(most)))[start:stop] if qkv.tokens is None else qkv.tokens[start:stop]
    source: dict[str, Any] = qkv.source | {"rows": [start, stop], "of": most}
    return replace(part(qkv, queries, keys), tokens=tokens, source=source)


def _ends(rows: Any) -> tuple[int, int]:
    parts = rows.split(":") if isinstance(rows, str) and re.fullmatch(r"[0-9]{1,18}:[0-9]{1,18}", rows) else rows
    try:
        start, stop = (int(one) if isinstance(one, str) else operator.index(one) for one in parts)
    except (TypeError, ValueError):
        raise ValueError(
            f"rows={_said(rows)!r}: give the first token and the one after the last, such as 0:{MOST_ROWS}"
        ) from None
    return start, stop


def _said(rows: Any) -> str:
    """A window as it is written."""
    return ":".join(map(str, rows)) if isinstance(rows, tuple | list) else str(rows)


def _asked(algorithm: str, qkv: QKV) -> QKV:
    """What an algorithm is asked: where it decodes, and nobody chose the queries, only the last one."""
    chosen = qkv.source.get("kind") not in ("sample", "random")
    if chosen or not algorithms.algorithm(algorithm).decodes:
        return qkv
    return part(qkv, slice(len(qkv.q) - 1, len(qkv.q)), slice(len(qkv.k)))


def _record(algorithm: str, qkv: QKV, how: dict[str, Any]) -> Trace:
    from ..inputs.qkv import Heads
    from ..runs.record import record_heads

    if algorithms.algorithm(algorithm).backward:
        how = how | {"do": _gradient(qkv)}
    return record_heads(algorithm, Heads.of(qkv), **({"source": qkv.source, **qkv.own} | how))


def _gradient(qkv: QKV) -> np.ndarray:
    """dO: what came in a step of training, where the input is a head of one; else at random."""
    found: np.ndarray | None = getattr(qkv, "do", None)
    if found is not None:
        return found
    drawn = np.random.default_rng(0).standard_normal((len(qkv.q), qkv.v.shape[1]), dtype=np.float32)
    return drawn.astype(qkv.q.dtype)


def _twin(run: Trace) -> Trace:
    """Raises ValueError, one line, where torch or triton is missing, and where there is no such kernel."""
    for package in ("torch", "triton"):
        try:
            os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported
            importlib.import_module(package)
        except ImportError:
            raise ValueError(f"{package} is missing: pip install 'flashsteps[kernels]'") from None
    with warnings.catch_warnings():  # that the interpreter is slow: it was asked for
        warnings.simplefilter("ignore")
        found: Trace = importlib.import_module("flashsteps.kernels.validation.twins").twin(run)
    return found


def _key(value: Any) -> Any:
    """Something to tell values apart by; arrays by what is in them."""
    if isinstance(value, dict):
        return tuple((name, _key(value[name])) for name in sorted(value))
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)
