"""The log that comes with the package, and what is made of it: against the file, and against one made by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flashsteps as fs
from flashsteps import schedules

(FILE,) = (Path(fs.__file__).parents[1] / "renders" / "data").glob("*-schedule.npz")


@pytest.mark.parametrize("causal", [True, False])
def test_each_tile_of_the_log_is_there_on_its_sm_at_its_time(causal):
    log = schedules.read(FILE, causal=causal)
    name = "causal" if causal else "full"
    with np.load(FILE) as file:
        rows = sorted(zip(*(file[f"{name}_{column}"].tolist() for column in ("program", "sm", "time")), strict=True))
        assert (log.heads, log.n, log.d) == tuple(int(file[x]) for x in ("heads", "n", "d"))
    blocks = len(log.programs) // log.heads
    read = [(one.head * blocks + one.block, one.sm, at) for one in log.programs for at in one.begun]
    assert sorted(read) == rows
    assert log.tiles == len(rows)
    assert log.sms == tuple(sorted({sm for _, sm, _ in rows}))
    assert log.end > max(at for *_, at in rows)


@pytest.mark.parametrize("causal", [True, False])
def test_a_program_has_a_tile_for_each_block_of_keys_that_its_queries_see(causal):
    log = schedules.read(FILE, causal=causal)
    blocks = len(log.programs) // log.heads
    assert all(len(one.begun) == (one.block + 1 if causal else blocks) for one in log.programs)


def test_a_last_tile_takes_as_long_as_the_others(tmp_path):
    columns: dict[str, Any] = {"full_program": [0, 0, 0, 1], "full_sm": [4, 4, 4, 2], "full_time": [30, 10, 22, 12]}
    np.savez(tmp_path / "a-schedule.npz", heads=2, n=8, d=4, gpu="one", **columns)
    log = schedules.read(tmp_path / "a-schedule.npz", causal=False)
    assert log.programs == (schedules.Program(4, 0, 0, (10, 22, 30)), schedules.Program(2, 0, 1, (12,)))
    assert log.programs[0].end == 40  # the median of 12 and 8 after the last
    assert log.programs[1].end == 12  # nothing tells how long it took
    assert (log.sms, log.tiles, log.end) == ((2, 4), 4, 40)
