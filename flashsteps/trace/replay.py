"""Any moment of a trace, quickly: a replay that sets out from the nearest of a few states kept along the way."""

from __future__ import annotations

import numpy as np

from .trace import NO_VALUES, State, Trace, replay

#: states that are kept at most, as long as the tensors that they do not share take no more than so many bytes
KEPT, KEPT_BYTES = 64, 1 << 27


class Replay:
    """The states of a trace, each given by `at`. Arrays in them are read-only, and shared where they did not change."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        stored = {event.tile.tensor for event in trace if event.op == "store" and event.tile}
        size = sum(trace.initial[name].nbytes for name in stored)
        most = max(4, min(KEPT, KEPT_BYTES // max(size, 1)))
        self.every = max(16, -(-len(trace) // most))
        start = State(-1, {name: _read_only(data) for name, data in trace.initial.items()}, {})
        self.kept = [start]  # after every so many steps, as far as anyone went
        self.last = start

    def at(self, step: int) -> State:
        """Everything as it stood after `step`; −1 is before the first.

        Raises ValueError outside the run, and where the run was too large to keep its values.
        """
        check_step(self.trace, step)
        near = self.kept[min((step + 1) // self.every, len(self.kept) - 1)]
        if near.step < self.last.step <= step:
            near = self.last
        self.last = self._from(near, step)
        return self.last

    def _from(self, state: State, step: int) -> State:
        """The state after `step`, on from an earlier one; a tensor is copied once, then written in place."""
        if state.step == step:
            return state
        trace, hbm, sram, own = self.trace, dict(state.hbm), dict(state.sram), set[str]()
        if len(trace.values) != len(trace.events):
            raise ValueError(NO_VALUES)
        program = trace[state.step].program if state.step >= 0 else 0
        for event in trace.events[state.step + 1 : step + 1]:
            if event.program != program:  # a new program shares nothing with the last
                program = event.program
                sram.clear()
            replay(event, trace.values[event.step], hbm, sram, trace.meta["computing"], own)
            if event.op == "store" and event.tile:
                own.add(event.tile.tensor)
            if event.step + 1 == self.every * len(self.kept):
                self.kept.append(_state(event.step, hbm, sram))
                own.clear()
        return _state(step, hbm, sram)


def check_step(trace: Trace, step: int) -> None:
    """Raises ValueError, one line, for a step that a trace does not have."""
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or not -1 <= step < len(trace):
        raise ValueError(f"step {step} is outside this run: give one from 0 to {len(trace) - 1}, or -1 for its start")


def _state(step: int, hbm: dict[str, np.ndarray], sram: dict[str, np.ndarray]) -> State:
    """A state that stays as it is."""
    return State(step, {n: _read_only(data) for n, data in hbm.items()}, {n: _read_only(x) for n, x in sram.items()})


def _read_only(array: np.ndarray) -> np.ndarray:
    if not array.flags.writeable:
        return array
    view = array.view()
    view.setflags(write=False)
    return view
