"""Work for a cluster's workers, who import it."""

import os
import time
from pathlib import Path
from typing import Any

from flashsteps.filmkit.processes import Told

LONG = 60  # seconds, which no test waits


def linger(folder: Path, n: int, told: Told) -> None:
    """Take long, and say so."""
    (folder / "begun").write_text("")
    for _ in range(20 * LONG):
        time.sleep(0.05)
        told(1)


def die(folder: Path, n: int, told: Told) -> None:
    os.kill(os.getpid(), 9)


def fail(folder: Path, n: int, told: Told) -> None:
    raise OSError(28, "No space left on device")


def left(dask_worker: Any) -> list[Path]:
    """What is still lingering on a worker."""
    return list(Path(dask_worker.local_directory).glob("*/begun"))
