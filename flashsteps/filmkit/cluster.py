"""Work that is shared out to the workers of a Dask cluster, which have no disk in common with this machine.

A task travels as data and comes back as what it returned and the files that it wrote. Dask gives the piece of a worker
that died to another one. A worker that would make other bytes is refused beforehand, and, where it comes later, by
itself (`filmkit.worker`).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import pickle
import threading
import time
import uuid
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from .. import files
from .processes import Share, Task, Told
from .worker import asked, fault, own, piece, start

#: seconds until a scheduler has answered, and until a worker has come where none is left
ANSWER, NOBODY = 5.0, 30.0


#: the loggers of Dask that have a level of their own: whatever ends a run is said here, in one line
_LOGGERS = ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio")


@contextmanager
def connected(address: str) -> Iterator[Share]:
    """The workers of a cluster, all of which would make the same bytes as this machine.

    Raises ValueError, one line, where Dask is not installed, no scheduler answers there, there is no worker, or one
    that would make other bytes.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ModuleNotFoundError as missing:
        raise ValueError(
            f"a cluster needs {missing.name}, which is not installed: pip install 'flashsteps[cluster]'"
        ) from None
    with _quiet():
        if why := _silent(address):
            raise ValueError(
                f"cluster={address!r}: {why}: give the address that `dask scheduler` prints, such as tcp://host:8786"
            )
        try:
            client = distributed.Client(address, timeout=ANSWER, set_as_default=False, name="flashsteps")
        except OSError as error:
            raise ValueError(f"cluster={address!r}: its scheduler answered, and then no more: {error}") from None
        try:
            _check(client, address)
            yield partial(_in_order, client, address)
        finally:  # what was not done by then is cancelled
            with suppress(Exception):
                client.close(ANSWER)


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask tells its log, and warns, of what is an error here anyway."""
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"distributed\b")
            yield
    finally:
        gc.collect()  # what failed and was not asked for says so when it goes
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _silent(address: str) -> str:
    """Why no scheduler has answered, or "". Client itself waits for ever for one that took the call and is silent."""
    rpc: Any = importlib.import_module("distributed.core").rpc
    found: list[Any] = []

    async def ask() -> Any:
        async with rpc(address, timeout=ANSWER) as there:
            return await asyncio.wait_for(there.identity(), ANSWER)

    def call() -> None:
        try:
            found.append(asyncio.run(ask()))
        except Exception as error:  # of whatever answered in its own way
            found.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(2 * ANSWER)
    if not found or isinstance(found[0], OSError | TimeoutError):
        return "no Dask scheduler answers there"
    if isinstance(found[0], Exception):
        return f"this is no scheduler's address ({found[0] or type(found[0]).__name__})"
    kind = found[0].get("type", "")
    return "" if "Scheduler" in str(kind) else f"a {str(kind).lower()} answers there, and no scheduler"


# ---- what workers are like


def _check(client: Any, address: str) -> None:
    """Raises ValueError where there is no worker, or one that would make other bytes."""
    here, found = own(), client.run(asked, on_error="return")
    if not found:
        raise ValueError(f"cluster={address!r} has no worker: start some with: {start(address)}")
    for worker, there in found.items():
        if isinstance(there, Exception):
            raise ValueError(f"worker {worker} cannot run flashsteps ({there}): install the same there as here")
        if why := fault(here, there):
            raise ValueError(f"worker {worker} {why}")


# ---- here


def _in_order(
    client: Any, address: str, task: Task[Any], count: int, folder: Path, told: Told
) -> Generator[Any, None, None]:
    """A Share. Raises ValueError where a piece, or the cluster, cannot be saved."""
    heard, topic = SimpleQueue[tuple[int, Any]](), f"flashsteps-{uuid.uuid4().hex}"
    client.subscribe_topic(topic, lambda event: heard.put(event[1]))
    # as a task of its own it is sent once, to each worker that asks for it, and again if that one dies
    packed = client.submit(bytes, pickle.dumps(task), key=f"{topic}-task")
    pieces = [client.submit(piece, packed, n, own(), topic, key=f"{topic}-{n}") for n in range(count)]

    def wait_for(n: int) -> None:
        pieces[n].add_done_callback(lambda _: heard.put((n, None)))

    for n in range(count):
        wait_for(n)
    done, amounts = dict[int, Any](), [0] * count
    try:
        for n in range(count):
            while n not in done:
                m, amount = _next(client, address, heard)
                if amount is None and pieces[m].status == "pending":  # it was done, and its worker died with it
                    wait_for(m)
                    continue
                if amount is None:  # it is done
                    done[m], made, amount = _result(pieces[m], m, count, address)
                    pieces[m].release()
                    for name, data in made.items():
                        with files.whole(folder / Path(name).name) as aside:
                            aside.write_bytes(data)
                if amount > amounts[m]:  # else it has begun again, elsewhere
                    told(amount - amounts[m])
                    amounts[m] = amount
            yield done.pop(n)
    finally:
        with suppress(Exception):
            client.unsubscribe_topic(topic)
        for future in (packed, *pieces):
            future.release()


def _next(client: Any, address: str, heard: SimpleQueue[tuple[int, Any]]) -> tuple[int, Any]:
    """Which piece has something to tell, and how much of it is done: None where all of it is."""
    alone = 0.0
    while True:
        try:
            return heard.get(timeout=1)
        except Empty:
            pass
        if client.status != "running":
            raise ValueError(f"cluster={address!r}: its scheduler is gone: start it again, then this")
        now = time.monotonic()
        if client.scheduler_info()["workers"]:
            alone = 0.0
        elif not alone:
            alone = now
        elif now - alone > NOBODY:
            raise ValueError(f"cluster={address!r} has no worker left: start some with: {start(address)}")


def _result(future: Any, n: int, count: int, address: str) -> tuple[Any, dict[str, bytes], int]:
    """What came of a piece: what its task returned, its files, and how much was done."""
    from distributed import KilledWorker

    try:
        found: tuple[Any, dict[str, bytes], int] = future.result()
    except KilledWorker as killed:
        raise ValueError(
            f"piece {n + 1} of {count} was tried {killed.allowed_failures + 1} times, and each time its worker died, "
            f"{killed.last_worker.address} as the last: give workers more memory (dask worker --memory-limit)"
        ) from None
    except CancelledError:
        raise ValueError(
            f"cluster={address!r}: piece {n + 1} of {count} was lost with its scheduler: start both again"
        ) from None
    return found
