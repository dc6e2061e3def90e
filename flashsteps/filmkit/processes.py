"""Work that is shared out to processes, and comes back in order. What is made does not depend on how many there are."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")
Told = Callable[[int], None]
Task = Callable[[Path, int, Told], Result]


class Share(Protocol):
    """How work is shared out, to processes or elsewhere (`filmkit.share`)."""

    def __call__(self, task: Task[Result], count: int, folder: Path, told: Told) -> Generator[Result, None, None]:
        """`task(folder, n, told)` for n = 0 … count − 1, the results in that order.

        What a task writes, it writes to the folder that it is given, and then it lies in the one named here: they may
        be two. A task can be pickled; `told(amount)` is called here.
        """


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(task: Callable[[int, Told], Result], count: int, jobs: int, told: Told) -> Generator[Result, None, None]:
    """`task(n, told)` for n = 0 … count − 1, the results in that order; each in one of `jobs` processes, if those are
    more than 1.

    A task may say now and then how much more it has done: `told(amount)` is then called here. What it raises is raised
    here. However this ends, Ctrl-C too, the processes are gone. On Linux they are forks and take over what there is;
    elsewhere the task is sent to them. Raises ValueError where one was killed.
    """
    jobs = min(jobs, count)
    if jobs < 2:
        yield from (task(n, told) for n in range(count))
        return
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ends: list[Connection] = []
    workers = []
    try:
        for _ in range(jobs):
            here, there = context.Pipe()
            workers.append(context.Process(target=_work, args=(task, there, here), daemon=True))
            ends.append(here)
            workers[-1].start()
            there.close()
        yield from _collected(ends, count, told)
    finally:
        for worker in workers:
            worker.kill()
        for worker, end in zip(workers, ends, strict=False):
            end.close()
            worker.join()


def _collected(ends: list[Connection], count: int, told: Told) -> Iterator[Any]:
    """Hand out numbers, one to each that waits for one, and give what came back, in order."""
    ahead, done, busy = iter(range(count)), dict[int, Any](), set[Connection]()

    def next_for(end: Connection) -> None:
        if (n := next(ahead, None)) is not None:
            end.send(n)
            busy.add(end)

    for end in ends:
        next_for(end)
    for n in range(count):
        while n not in done:
            for end in [end for end in wait(list(busy)) if isinstance(end, Connection)]:
                try:
                    kind, *what = end.recv()
                except EOFError:
                    raise ValueError("a process that drew was killed: give --jobs 1, which takes less memory") from None
                if kind == "told":
                    told(*what)
                elif kind == "failed":
                    raise what[0]
                else:
                    done[what[0]] = what[1]
                    busy.discard(end)
                    next_for(end)
        yield done.pop(n)


def _work(task: Callable[[int, Told], Any], end: Connection, other: Connection) -> None:
    """A process: a number comes in, what the task makes of it goes out, until the one who asks is gone."""
    other.close()
    gc.freeze()  # what was left to be freed stays: a filter of libav would wait for its threads, which stayed behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the one who asks, and he ends this
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        while True:
            n = end.recv()
            try:
                end.send(("done", n, task(n, lambda amount: end.send(("told", amount)))))
            except (EOFError, BrokenPipeError):
                raise
            except Exception as error:
                end.send(("failed", error))
    except (EOFError, OSError):
        pass
