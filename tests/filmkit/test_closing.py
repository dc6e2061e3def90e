"""The coda: every number was counted, one thing changes at a time, and standard attention's bar stays."""

import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.areas import Areas
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Chips
from flashsteps.filmkit.board import Board
from flashsteps.filmkit.closing import Size, coda, way

ALGORITHMS = ["flash-forward", "flash2-forward"]


def told(name, **how):
    qkv = fs.load_qkv("sample")
    board = Board("wide", "x")
    coda(board, fs.record(name, *qkv, **({"block_q": 4, "block_k": 4} | how)))
    return board.script()


def shown(script, t, kind):
    (found,) = [one.actor for one in script.at(t) if type(one.actor) is kind]
    return found


def test_sizes_grow_one_thing_at_a_time():
    toy = Size(16, 16, 32, 4, 4)
    grown, tall, wide = way(toy)
    path = [toy, *grown, *tall, *wide]
    assert path[-1] == Size(8192, 8192, 64, 128, 128)
    for a, b in zip(path, path[1:], strict=False):
        assert [a.n != b.n, (a.block_q, a.block_k) != (b.block_q, b.block_k), a.d != b.d].count(True) == 1


@pytest.mark.parametrize("shape", [(5, 9, 64, 3, 9), (64, 1, 7, 64, 1), (16, 16, 64, 16, 16)])
def test_any_toy_comes_to_a_real_size(shape):
    path = [size for leg in way(Size(*shape)) for size in leg]
    assert path[-1][:2] == (8192, 8192)
    assert path[-1][3:] == (128, 128)
    assert path[-1].d == 64


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("mask", [None, "causal"])
def test_every_bar_is_a_count_and_standard_s_never_moves(name, mask):
    script = told(name, mask=mask)
    for k in range(60):
        t = 1.0 + (script.duration - 1.0) * k / 60
        chips = dict(shown(script, t, Chips).chips)
        own, standard = shown(script, t, Bars).bars
        n = int(chips["tokens N"].replace("K", "")) * (1024 if "K" in chips["tokens N"] else 1)
        d, (bq, bk) = int(chips["head width d"]), map(int, chips["tile"].split("×"))
        size = {"n": n, "d": d, "block_q": bq, "block_k": bk, "mask": mask}
        counted = fs.count(name, **size).total / fs.count("standard-forward", **size).total
        assert own.value == pytest.approx(counted)
        assert standard.value == 1
        block = shown(script, t, Areas).areas[0]
        assert (block.w, block.h) == (d, bk if name == "flash-forward" else bq)


@pytest.mark.parametrize(
    ("name", "ratios"), [(ALGORITHMS[0], (2.69, 6.48, 0.21, 0.39)), (ALGORITHMS[1], (1.68, 3.99, 0.13, 0.25))]
)
def test_its_words_say_what_its_bars_do(name, ratios):
    script = told(name)
    for caption, ratio in zip(script.captions, ratios, strict=True):
        assert f"{ratio:.2f} times" in caption.name
        assert shown(script, caption.stop - 0.05, Bars).bars[0].value == pytest.approx(ratio, abs=0.005)
    assert "level at 50" in {area.name for area in shown(script, script.duration, Areas).areas} or "flash2" in name


def test_a_mask_of_this_very_input_is_left_behind():
    script = told("flash2-forward", mask="document:5,11")
    assert "without that mask" in script.captions[1].name
