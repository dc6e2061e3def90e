"""What measuring needs of a machine: a clock, an empty cache, the peak of its memory, and what it is called.

`Gpu` and `Cpu` have the same methods. All that only works on a GPU stands in `Gpu`, and nothing else does.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import torch

from flashsteps import __version__

#: what is zeroed between two timed calls: many times any L2, and so long a write that the next launch is in time
FLUSH_BYTES = 2 << 30


class Machine(Protocol):
    """A GPU, a CPU, or what a test puts in their place."""

    kind: str

    def about_to(self, what: str) -> None:
        """Hear what is begun now, for whoever waits and would know what never ended. May raise what forbids it."""

    def mark(self) -> Any:
        """A point in the machine's own time, once all that was asked of it before is done."""

    def seconds(self, start: Any, end: Any) -> float:
        """From one mark to another. Only after `wait`."""

    def wait(self) -> None:
        """Until all is done. Raises what went wrong on the machine meanwhile."""

    def flush(self) -> None:
        """Put other data into the cache."""

    def peak(self, call: Callable[[], object]) -> int | None:
        """Run it, and say how many bytes it had allocated at most, beyond what was there before; None: not known."""

    def room(self) -> int | None:
        """Bytes that may be allocated before the machine itself is in danger; None: it says so in time."""

    def release(self) -> None:
        """Give back what is allocated and not in use."""

    def about(self) -> dict[str, Any]:
        """What it is, as plain data."""


class Gpu:
    """The current GPU: time from its own events, memory from torch's allocator."""

    kind = "cuda"

    def __init__(self, about_to: Callable[[str], None] = lambda what: None) -> None:
        self.about_to = about_to
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        self._other = torch.empty(min(FLUSH_BYTES, total // 16) // 4, dtype=torch.int32, device="cuda")

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(start.elapsed_time(end)) / 1000

    def wait(self) -> None:
        torch.cuda.synchronize()

    def flush(self) -> None:
        self._other.zero_()

    def peak(self, call: Callable[[], object]) -> int:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)

    def room(self) -> None:
        return None  # asking for too much is an error there, not the end

    def release(self) -> None:
        gc.collect()  # a cycle may still hold tensors
        torch.cuda.empty_cache()

    def about(self) -> dict[str, Any]:
        gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
        return {
            "kind": self.kind,
            "name": gpu.name,
            "driver": _driver(),
            "capability": f"{gpu.major}.{gpu.minor}",
            "multiprocessors": gpu.multi_processor_count,
            "memory_bytes": gpu.total_memory,
            "l2_bytes": getattr(gpu, "L2_cache_size", None),
        }


class Cpu:
    """The processor: time from the wall's clock, memory from torch's profiler and, for NumPy's, from tracemalloc."""

    kind = "cpu"

    def __init__(self, about_to: Callable[[str], None] = lambda what: None) -> None:
        self.about_to = about_to
        self._other = torch.empty(1 << 26, dtype=torch.int8)  # 64 MiB: more than most last-level caches

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        return end - start

    def wait(self) -> None:
        pass

    def flush(self) -> None:
        self._other.zero_()

    def peak(self, call: Callable[[], object]) -> int:
        """Both are counted as if their peaks were at one time: only one of them is ever large."""
        tracemalloc.start()
        try:
            with _silent(), torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
            ) as profile:  # fmt: skip
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                call()
            numpys = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        with tempfile.TemporaryDirectory() as folder, _silent():
            file = Path(folder) / "trace.json"
            profile.export_chrome_trace(str(file))
            events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
        now = torchs = 0
        for event in sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"]):
            now += event["args"]["Bytes"]
            torchs = max(torchs, now)
        return torchs + (numpys if numpys > 1 << 20 else 0)  # less are Python's own objects

    def room(self) -> int | None:
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            return None

    def release(self) -> None:
        pass

    def about(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        }


def this(about_to: Callable[[str], None] = lambda what: None) -> Machine:
    """The GPU where torch sees one, else the CPU. `about_to` hears what is begun."""
    return Gpu(about_to) if torch.cuda.is_available() else Cpu(about_to)


def versions() -> dict[str, str | None]:
    """What the figures depend on, as installed here; None where there is none."""
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "triton": _version("triton"),
        "cuda": torch.version.cuda or torch.version.hip,
        "cudnn": str(cudnn) if cudnn else None,
        "numpy": _version("numpy"),
        "flashsteps": __version__,
        "system": platform.system(),
    }


def plain(error: BaseException | str) -> str:
    """What went wrong, as one line of at most 200 signs, without folders: results are for others to read."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    text = re.sub(r"(?<![\w.])(?:[A-Za-z]:)?(?:[/\\][\w.+~@-]+)+[/\\]", "", text)
    return text if len(text) <= 200 else f"{text[:199]}…"


# ---- asking the system


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """The driver's version, as nvidia-smi or the kernel's module says it."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
        return said.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        pass
    try:
        found = re.search(r"Kernel Module\D*([\d.]+)", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        return None
    return found[1] if found else None


def _processor() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


@contextmanager
def _silent() -> Iterator[None]:
    """Without what the profiler's C++ says of itself on standard error."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
