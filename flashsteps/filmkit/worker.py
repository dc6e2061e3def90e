"""One piece of work, on a worker of a Dask cluster: may it be done here, and what came of it, as data."""

from __future__ import annotations

import pickle
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from .facts import difference, facts
from .processes import Task

#: seconds between two words of progress
WORD = 0.5


def start(address: str = "ADDRESS") -> str:
    """What starts workers, one a core, each a process."""
    return f"dask worker {address} --nworkers=-1 --nthreads=1"


def own() -> dict[str, str]:
    """What this machine asks of workers."""
    return facts() | {"threads": "1"}


def asked(dask_worker: Any) -> dict[str, str]:
    """What a worker is like; Dask's `Client.run` looks for an argument of this name."""
    return facts() | {"threads": str(dask_worker.state.nthreads)}


def fault(here: dict[str, str], there: dict[str, str]) -> str:
    """Why a worker won't do, or ""."""
    if here["threads"] != there.get("threads"):
        return f"has {there.get('threads')} threads, and drawing takes a process each: start it with: {start()}"
    if other := difference(here, there):
        return f"has {other}, which would make other bytes: install the same there, and start it anew"
    return ""


def piece(packed: bytes, n: int, here: dict[str, str], topic: str) -> tuple[Any, dict[str, bytes], int]:
    """Do piece n of a task in a folder of its own that is gone then. Raises ValueError where this worker is not fit."""
    from distributed import get_worker

    worker, done, said = get_worker(), 0, 0.0
    key = worker.get_current_task()
    if why := fault(here, asked(worker)):
        raise ValueError(f"worker {worker.address} {why}")

    def told(more: int) -> None:
        nonlocal done, said
        done += more
        if (now := time.monotonic()) - said < WORD:
            return
        said = now
        state = worker.state.tasks.get(key)
        if state is None or state.state == "cancelled":
            raise RuntimeError("nobody wants this piece any more")
        worker.log_event(topic, (n, done))

    with tempfile.TemporaryDirectory(dir=worker.local_directory) as folder:
        try:
            result = _task(packed)(Path(folder), n, told)
            made = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
        except (OSError, MemoryError, ImportError, ValueError) as error:
            raise ValueError(f"worker {worker.address}: {error}") from None
    return result, made, done


@lru_cache(maxsize=1)
def _task(packed: bytes) -> Task[Any]:
    """Its film is told once, not for each piece."""
    task: Task[Any] = pickle.loads(packed)
    return task
