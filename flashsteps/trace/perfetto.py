"""A trace for the Perfetto UI (ui.perfetto.dev) or chrome://tracing: a track a program, slices in modelled time.

The time of a step is a model: the bytes it moves over the device's bandwidth, and its FLOPs over the device's peak, one
step after another, two levels, no L2, no overlap. A toy's steps are far shorter than a nanosecond, the least that these
programs show, so the whole is slowed down by a power of 1,000, which the process's name says. Times are whole
microseconds, so that nothing is rounded twice and slices meet exactly.

Format: Trace Event Format, https://perfetto.dev/docs/getting-started/other-formats (Chrome JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..machine import devices
from ..machine.devices import Device
from ..machine.events import Event
from ..units import time_of
from .narration import of as lines_of
from .sram import on_chip
from .trace import Trace

#: what the whole trace is one process of
PID = 1


def lines(trace: Trace, device: str | None = None) -> Iterator[str]:
    """The document, an event a line; `device` is the trace's own, or the default, unless given.

    Raises ValueError for a device that isn't known.
    """
    name = device or trace.meta["device"] or devices.DEFAULT
    gpu = devices.device(name)
    starts, slower = clock(trace, gpu)
    model = f"model: bytes / {gpu.bandwidth:g} TB/s, FLOPs / {gpu.tflops:,} TFLOP/s of {gpu.title}; no L2, no overlap"
    about = {
        "model": model,
        "slowed_down": slower,
        "device": name,
        "algorithm": trace.meta["algorithm"],
        "steps": len(trace),
    }
    yield '{"displayTimeUnit": "ns", "otherData": ' + _text(about) + ', "traceEvents": ['
    events = [_text(event) for event in _events(trace, gpu, starts, slower)]
    yield from (f"{event}," for event in events[:-1])
    yield events[-1]
    yield "]}"


def seconds(event: Event, gpu: Device) -> float:
    """How long a step takes by the model: it moves its bytes, then does the work since the step before."""
    return event.nbytes / (gpu.bandwidth * 1e12) + event.flops / (gpu.tflops * 1e12)


def clock(trace: Trace, gpu: Device) -> tuple[list[int], int]:
    """When each step starts, in µs shown, with the end of the last; and how many times slower that is than the model.

    The shortest step that takes any time gets a microsecond, or up to a thousand.
    """
    taken = [seconds(event, gpu) for event in trace]
    shortest = min((t for t in taken if t > 0), default=1.0)
    slower = 1
    while shortest * slower * 1e6 < 1:
        slower *= 1000
    at, starts = 0.0, [0]
    for t in taken:
        at += t
        starts.append(round(at * slower * 1e6))
    return starts, slower


def _events(trace: Trace, gpu: Device, starts: list[int], slower: int) -> Iterator[dict[str, Any]]:
    words = f", slowed down {slower:,} times" if slower > 1 else ""
    title = f"{trace.meta['algorithm']} on {gpu.title}, modelled{words}"
    yield _about("process_name", 0, {"name": title})
    known, seen, read, written = lines_of(trace.meta), set[int](), 0, 0
    for event, now, taken in zip(trace, starts, on_chip(trace), strict=False):
        track = event.program + 1
        if track not in seen:
            seen.add(track)
            outer = next((f" ({name}={index})" for name, index in event.loop.items()), "")
            yield _about("thread_name", track, {"name": f"program {event.program}{outer}"})
            yield _about("thread_sort_index", track, {"sort_index": track})
        common = {"pid": PID, "tid": track, "ts": now, "cat": event.op}
        args: dict[str, Any] = {"step": event.step, **event.loop}
        args |= {"line": event.line, "code": known[event.line].code.strip()}
        if event.op == "skip":
            yield {"ph": "i", "name": f"skip {event.tile}", "s": "t", **common, "args": args}
        else:
            args |= {"shape": "×".join(map(str, event.shape)), "bytes": event.nbytes, "FLOPs": event.flops}
            args["modelled"] = time_of(seconds(event, gpu))
            name = f"{event.op} {event.tile or event.slot}"
            yield {"ph": "X", "name": name, "dur": starts[event.step + 1] - now, **common, "args": args}
        if event.op in ("load", "store"):
            read, written = read + event.nbytes * (event.op == "load"), written + event.nbytes * (event.op == "store")
            yield _counter("HBM bytes", starts[event.step + 1], {"read": read, "written": written})
        if event.op != "skip":
            yield _counter("SRAM bytes", now, {"shared memory": taken.shared, "registers": taken.registers})


def _about(what: str, track: int, args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": PID, "tid": track, "args": args}


def _counter(name: str, at: int, args: dict[str, int]) -> dict[str, Any]:
    return {"ph": "C", "name": name, "pid": PID, "tid": 0, "ts": at, "args": args}


def _text(data: Any) -> str:
    return json.dumps(data, allow_nan=False, ensure_ascii=False)
