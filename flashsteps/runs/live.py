"""A run that pauses after each step: what moves is looked at while it happens, and nothing of it can be changed.

An algorithm is an ordinary function, so it runs in a thread of its own, which waits at every step until it is asked for
the next one. What is handed out are copies: nothing that is done to them reaches the run.
"""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import algorithms
from ..machine.events import Event
from ..machine.memory import HBM
from ..trace import narration
from ..trace.trace import State, Trace, replay
from . import record as run
from .stepper import Step


def stepping(algorithm: str, q: Any, k: Any, v: Any, **options: Any) -> Stepping:
    """Run an algorithm step by step, with the arguments of `flashsteps.record`.

        >>> for step in fs.stepping("flash-forward", q, k, v, block_q=4, block_k=4):
        ...     print(step.event, list(step.sram))

    Between two steps the run stands still. Each `Step` has `event`, `caption`, `line`, `code`, `state`, `hbm`, `sram`.
    To leave early is fine: `close()` ends the run, and so does forgetting it. Raises what `record` does: at once for
    wrong arguments, at the step where it happens for the rest.
    """
    return Stepping(algorithm, q, k, v, **options)


class Stepping(Iterator[Step]):
    """A live run: an iterator over its steps, which has the `trace` when it is through, and can be closed before."""

    def __init__(self, algorithm: str, q: Any, k: Any, v: Any, **options: Any) -> None:
        self._lines, self._caption = narration.of({"code": algorithms.source(algorithm)}), ""
        self._algorithm, self._turn, self._started = algorithm, threading.Lock(), False
        self._run = _Run()
        self._end = weakref.finalize(self, self._run.end)  # does not wait: it may come at any time, in any thread
        context = contextvars.copy_context()  # where NumPy keeps what it does about overflows
        work = context.run, (self._run.work, (algorithm, q, k, v), options)
        self._thread = threading.Thread(target=work[0], args=work[1], name=f"flashsteps {algorithm}", daemon=True)
        self._thread.start()
        self._wait()
        if self._run.error:
            self._close(self._run.error)

    @property
    def trace(self) -> Trace:
        """The whole run, once it is through. Raises ValueError before that."""
        if self._run.trace is None:
            raise ValueError("this run is not through: it has a trace when there is no next step")
        return self._run.trace

    def __next__(self) -> Step:
        if not self._turn.acquire(blocking=False):
            raise ValueError("this run is being stepped in another thread: one step at a time")
        try:
            if not self._end.alive:
                raise StopIteration
            if self._started:
                self._run.go.release()
                self._wait()
            self._started = True
            if self._run.now is None:
                self._close(self._run.error or StopIteration())
            assert self._run.now
            event, state = self._run.now
            line = self._lines[event.line]
            self._caption = line.caption or self._caption
            return Step(event, self._caption, line.code.strip(), lambda: state)
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the run where it stands; it has no next step then. Does nothing where it is through."""
        with self._turn:
            self._close()

    def __enter__(self) -> Stepping:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "through" if self._run.trace else "paused" if self._end.alive else "closed"
        at = f" at {self._run.now[0]}" if where == "paused" and self._started and self._run.now else ""
        return f"<Stepping {self._algorithm}: {where}{at}>"

    def _wait(self) -> None:
        """Until the next step has come, or the end."""
        try:
            self._run.came.acquire()
        except BaseException:  # Ctrl-C: whose turn it is would not be known any more
            self._end()
            raise

    def _close(self, error: BaseException | None = None) -> None:
        """End the run, and say why, if there is a reason."""
        self._end()
        self._thread.join()
        if error is not None:
            raise error


class _Closed(BaseException):
    """Ends the run from within: no `except Exception` on its way stops it."""


class _Run:
    """What the run's thread and the one that steps share: whose turn it is, and what came. Knows no `Stepping`, so that
    one which is forgotten goes."""

    def __init__(self) -> None:
        self.go, self.came = threading.Semaphore(0), threading.Semaphore(0)
        self.now: tuple[Event, State] | None = None
        self.error: Exception | None = None
        self.trace: Trace | None = None
        self.ended = False

    def end(self) -> None:
        """Let the run end where it waits, or at its next step."""
        self.ended = True
        self.go.release()

    def work(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """All of the run's thread."""
        try:
            self.trace = run.record(*arguments, **options, each=lambda *hbm: _Teller(self, *hbm).step)
        except _Closed:
            pass
        except Exception as error:
            self.error = error
        self.now = None
        self.came.release()


class _Teller:
    """Keeps a copy of HBM and SRAM in step with the run, and makes it wait."""

    def __init__(self, run: _Run, hbm: HBM, initial: dict[str, np.ndarray]) -> None:
        self.run, self.machine, self.program = run, hbm, 0
        self.hbm = {name: _copy(data) for name, data in initial.items()}
        self.sram: dict[str, np.ndarray] = {}

    def step(self, event: Event, value: np.ndarray | None) -> None:
        for name, tensor in self.machine.tensors.items():
            if name not in self.hbm:
                self.hbm[name] = _copy(tensor.data)
        if event.program != self.program:
            self.program, self.sram = event.program, {}
        kept = None if value is None else _copy(value)
        replay(event, kept, self.hbm, self.sram, self.machine.computing.name)
        for array in (*self.hbm.values(), *self.sram.values()):
            array.setflags(write=False)
        self.run.now = event, State(event.step, dict(self.hbm), dict(self.sram))
        self.run.came.release()
        self.run.go.acquire()
        if self.run.ended:
            raise _Closed


def _copy(array: np.ndarray | None) -> np.ndarray:
    copied = np.array(array)
    copied.setflags(write=False)
    return copied
