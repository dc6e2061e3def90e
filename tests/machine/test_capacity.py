"""What fits on chip: tracked always, enforced where a device or a toy's SRAM is named."""

import re
from typing import Any

import pytest
from hypothesis import given, settings

import flashsteps as fs
from flashsteps.machine.devices import DEVICES
from tests.problems import ALL, Problem, problems

FLASH = ("flash-forward", "flash2-forward")


def test_the_shipped_tile_of_flash2_fits_an_a100():
    """128×64 at d = 128: q, k, v in shared memory; acc, S, P, m, ℓ, α, and at the end LSE, in registers."""
    peak = fs.count("flash2-forward", n=4096, d=128, block_q=128, block_k=64, device="a100-80gb").peak
    assert peak.shared == 2 * 128 * (128 + 64 + 64) == 65_536
    acc, tile, a_row = 4 * 128 * 128, 4 * 128 * 64, 4 * 128
    assert acc + 2 * tile + 2 * a_row == 132_096
    assert peak.registers == 132_096 + 2 * a_row
    assert peak.total == peak.shared + peak.registers


def test_what_does_not_fit_is_refused_with_all_that_is_there():
    with pytest.raises(ValueError, match="^shared memory") as error:
        fs.count("flash2-forward", n=1024, d=128, block_q=256, block_k=256, device="a100-80gb")
    assert str(error.value) == (
        "shared memory holds 166,912 bytes but this step needs 196,608 (q 65,536, k 65,536, v 65,536): "
        "choose smaller blocks"
    )


def test_registers_hold_what_is_computed():
    with pytest.raises(ValueError, match="^the register file") as error:
        fs.count("flash2-forward", n=1024, d=64, block_q=256, block_k=256, device="h100")
    assert str(error.value) == (
        "the register file holds 262,144 bytes but this step needs 329,728 "
        "(m_i 1,024, l_i 1,024, acc 65,536, S 262,144): choose smaller blocks"
    )


def test_a_toys_sram_holds_both():
    with pytest.raises(ValueError, match="^this toy SRAM") as error:
        fs.count("flash2-forward", n=16, d=8, block_q=4, block_k=4, sram=256)
    assert str(error.value) == (
        "this toy SRAM holds 256 bytes but this step needs 288 (q 64, k 64, m_i 16, l_i 16, acc 128): "
        "choose smaller blocks"
    )


@given(problems(FLASH))
@settings(deadline=None)
def test_a_run_needs_its_peak_and_no_less(problem):
    """Recorded and counted alike, with a toy's SRAM of any size."""
    peak = problem.count().peak.total
    assert problem.count(sram=peak).peak == problem.record(sram=peak).peak
    for run in (problem.count, problem.record):
        with pytest.raises(ValueError, match=rf"^this toy SRAM holds {peak - 1:,} bytes but this step needs "):
            run(sram=peak - 1)


@given(problems(more=True))
@settings(deadline=None)
def test_the_peak_is_the_most_that_stood_on_chip_at_a_time(problem):
    trace, where = problem.record(), dict[str, tuple[bool, int]]()
    shared, registers, total = [0], [0], [0]
    program = 0
    for event in trace:
        if event.program != program:
            where, program = {}, event.program
        if event.op == "load":
            held = where[event.slot][1] if event.row else 0
            where[event.slot] = (True, held + event.nbytes)
        if event.op == "compute":
            itemsize = 8 if problem.dtype == "float64" else 4
            where[event.slot] = (False, itemsize * event.shape[0] * (*event.shape, 1)[1])
        shared.append(sum(size for loaded, size in where.values() if loaded))
        registers.append(sum(size for loaded, size in where.values() if not loaded))
        total.append(shared[-1] + registers[-1])
    assert trace.peak == trace.io().peak == (max(shared), max(registers), max(total))


@pytest.mark.parametrize("options", [{"device": "t4"}, {"sram": 1}])
def test_the_standard_algorithm_is_exempt(options: dict[str, Any]):
    """Its matrix products are ideal: each reads its operands once, as the paper counts."""
    free = fs.count("standard-forward", n=1 << 14, d=64)
    assert fs.count("standard-forward", n=1 << 14, d=64, **options) == free
    assert free.peak.shared > DEVICES["t4"].shared_per_block * 1024


@pytest.mark.parametrize("algorithm", ALL)
def test_only_one_thing_can_say_what_fits(algorithm):
    problem = Problem(algorithm, 4, 4, 2, 2, 2)
    for run in (problem.count, problem.record):
        with pytest.raises(ValueError, match=r"^device='t4' and sram=64 both say what fits on chip: give one of them$"):
            run(device="t4", sram=64)


@pytest.mark.parametrize("name", DEVICES)
def test_the_default_blocks_fit_every_device_at_d_64(name):
    for algorithm in FLASH:
        io = fs.count(algorithm, n=4096, d=64, device=name)
        assert io.peak.shared <= DEVICES[name].shared_per_block * 1024
        assert re.fullmatch(r"[a-z0-9-]+", name)
