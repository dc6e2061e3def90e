"""Who does what is shared out: processes of this machine, or workers of a Dask cluster. The same comes of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from .processes import Share, Task, Told, cores, in_order


@contextmanager
def shared(jobs: int | None, cluster: str | None) -> Iterator[Share]:
    """In `jobs` processes (None: one a core), or by the workers of the Dask `cluster` whose scheduler has this address.

    Raises ValueError for both, and, one line, where the cluster can't be used (`filmkit.cluster`).
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs={jobs}: give 1 or more")
    if cluster is None:
        yield partial(_here, jobs or cores())
        return
    if jobs is not None:
        raise ValueError(f"jobs={jobs} is for processes of this machine, and cluster={cluster!r} has workers: give one")
    from .cluster import connected

    with connected(cluster) as share:
        yield share


def _here(jobs: int, task: Task[Any], count: int, folder: Path, told: Told) -> Generator[Any, None, None]:
    return in_order(partial(task, folder), count, jobs, told)
