"""What the film standard claims at real sizes: against Algorithm 0's closed form, and the chip's datasheet."""

import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.bars import Bars
from tests.scenes.seen import Told, actor, said

SCRIPT = Told("standard")
N, D = 1 << 16, 64


def test_s_and_p_are_nearly_all_that_moves():
    for bar, n in zip(actor(SCRIPT, "At real sizes", Bars).bars, (1 << 10, 1 << 12, 1 << 14, N), strict=True):
        share = 4 * n * n / (4 * n * n + 4 * n * D)
        assert bar.pieces[0].amount == pytest.approx(100 * share)
        assert bar.note == f"{share:.1%} S and P"
    assert f"at 64K S and P are {share:.1%} of all traffic" in said(SCRIPT)


def test_s_is_larger_than_all_sms_together():
    chip, S, both, needed = actor(SCRIPT, "Too large to stay", Bars).bars
    assert chip.value == 108 * 164 * 1024  # of an A100
    assert (S.value, both.value, needed.value) == (2 * N * N, 4 * N * N, 4 * 2 * N * D)
    assert "it is 8.6 GB, and the 108 SMs of an A100 80 GB hold 18.1 MB" in said(SCRIPT)


def test_another_gpu_holds_what_it_holds():
    script = fs.film("standard", device="h100").script()
    assert actor(script, "Too large to stay", Bars).bars[0].value == 132 * 228 * 1024
    assert "the 132 SMs of an H100 SXM hold 30.8 MB" in said(script)
