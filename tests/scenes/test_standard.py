"""What the film standard claims at real sizes: against Algorithm 0's closed form, and the chip's datasheet."""

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.kernel import Kernel
from flashsteps.filmkit.run import Run
from tests.scenes.seen import Told, actor, actors, said

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
    assert "S can’t stay on chip: 8.6 GB. All SMs together hold 18.1 MB." in said(SCRIPT)
    assert "beside an A100" in actor(SCRIPT, "Too large to stay", Bars).title
    assert (chip.name, chip.under) == ("all 108 SMs", "processors, 164 KiB of SRAM each")


def test_another_gpu_holds_what_it_holds():
    script = fs.film("standard", device="h100").script()
    assert actor(script, "Too large to stay", Bars).bars[0].value == 132 * 228 * 1024
    assert "All SMs together hold 30.8 MB" in said(script)
    assert "beside an H100 SXM" in actor(script, "Too large to stay", Bars).title


def test_p_is_called_undivided_until_its_rows_add_up_to_one():
    run = Run(fs.record("standard-forward", *fs.load_qkv("sample"), block_q=4, block_k=4), slowly=range(12))
    seen = set()
    for event in run.trace:
        if event.slot == "P" and event.op in ("load", "compute"):
            sums = np.asarray(run.value(event.step), float).sum(axis=1)
            whole = bool(np.allclose(sums, 1, atol=0.01))
            assert Kernel(run, 0.0)._undivided(event.step) == (not whole)
            seen.add(whole)
    assert seen == {True, False}


def test_k_comes_in_whole_and_what_a_kernel_needs_comes_from_hbm():
    trace = fs.record("standard-forward", *fs.load_qkv("sample"), block_q=4, block_k=4)
    crossing = [(event.program, event.tile.tensor) for event in trace if event.nbytes and event.tile]
    moves = [[tensor for program, tensor in crossing if program == n] for n in range(3)]
    assert moves == [["K"] * 4 + ["Q", "S"] * 4, ["S", "P"] * 4, ["V"] * 4 + ["P", "O"] * 4]
    assert "Kernel 1: this toy’s K comes in whole, then Q; all scores, S, go out." in said(SCRIPT)
    assert "Kernel 2: softmax fetches all of S and writes P, as large." in said(SCRIPT)


def test_its_traffic_is_of_q_k_and_v_read_once_and_it_says_so():
    for n in (1 << 10, N):
        read = fs.count("standard-forward", n=n, d=D, block_q=128, block_k=128).by_tensor
        assert all(read[name].read == 2 * n * D for name in "QKV")
    words = [str(text.words) for text in actors(SCRIPT, "At real sizes", Text)]
    assert any("each of Q, K and V is read once" in line and f"d = {D}" in line for line in words)
