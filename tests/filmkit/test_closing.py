"""The coda: every number was counted, one thing changes at a time, and standard attention's bar stays."""

import re

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.areas import Areas
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Chips, Text
from flashsteps.filmkit.board import Board
from flashsteps.filmkit.closing import Size, coda, way
from tests.scenes.looking import Looker

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
def test_a_figure_is_said_only_while_its_bar_stands_at_it(name, ratios):
    script, told_of = told(name), []
    for caption in script.captions:
        for figure in re.findall(r"(\d\.\d\d)×", caption.name):
            told_of.append(float(figure))
            for share in (0.01, 0.3, 0.6, 0.99):
                t = caption.start + share * (caption.stop - caption.start)
                assert shown(script, t, Bars).bars[0].value == pytest.approx(float(figure), abs=0.005), caption.name
    assert told_of == [ratios[0], ratios[-1]]
    start = script.captions[0].start + 0.5
    seen = [shown(script, start + k / 4, Bars).bars[0].value for k in range(int(4 * (script.duration - start)))]
    for ratio in ratios:  # it stands there for a moment
        assert sum(value == pytest.approx(ratio, abs=0.005) for value in seen) >= 2
    assert "d = 64, 128" in script.captions[-1].name
    even = "break-even: 50" if name == "flash-forward" else "break-even: 32"
    assert even in {area.name for area in shown(script, script.duration, Areas).areas}


@pytest.mark.parametrize(("name", "shared"), [(ALGORITHMS[0], 65), (ALGORITHMS[1], 48)])
def test_what_a_real_tile_needs_on_chip_is_beside_what_an_sm_has(name, shared):
    script = told(name)
    lines = [one.actor.words for one in script.at(script.duration) if type(one.actor) is Text]
    (words,) = ["".join(str(getattr(run, "words", run)) for run in line) for line in lines if "registers" in str(line)]
    d, block, fp16, fp32, KiB = 64, 128, 2, 4, 1024
    tiles = {"flash-forward": 4, "flash2-forward": 3}[name] * block * d * fp16  # Q, K, V, and O as FA1 fetches it
    statistics = {"flash-forward": 2, "flash2-forward": 0}[name] * block * fp32
    assert (tiles + statistics) / KiB == shared
    peak = fs.count(name, n=8192, d=d, block_q=block, block_k=block).peak
    most, both = peak.registers / KiB, peak.total / KiB
    assert most > 2 * block * block * fp32 / KiB  # S and P at least
    assert max(shared, most) < both <= shared + most  # each at its fullest, which is not at one time
    assert words == (
        f"at most {shared} KiB of 164 in shared memory, {most:.0f} KiB of 256 in registers, "
        f"{both:.1f} KiB at one time: fits on an SM of an A100".replace(".0 KiB", " KiB")
    )


@pytest.mark.parametrize(("dtype", "own"), [("float16", 8), ("float32", 4)])
def test_where_it_is_level_follows_from_what_is_beside_it(dtype, own):
    """¾d + 2 and d/2: numbers that each moves, beside standard attention's 4 a score, set equal."""
    d = 64
    for name, rows in zip(ALGORITHMS, ("keys", "queries"), strict=True):
        script = told(name, dtype=dtype)
        end = list(script.at(script.duration))
        text = " ".join(str(one.actor.words) for one in end if type(one.actor) is Text)
        moved = f"3d + {own}" if rows == "keys" else "2d"
        assert f"{moved} numbers a" in text
        assert "standard 4 a score" in text
        bracketed = f"({moved})" if "+" in moved else moved
        assert f"{bracketed} / {rows} = 4." in text
        level = (3 * d + own) / 4 if rows == "keys" else 2 * d / 4
        assert f"break-even: {level:.0f}" in {area.name for area in shown(script, script.duration, Areas).areas}
        statistics = "ℓ, m" if rows == "keys" else "LSE"
        assert f"one head, {dtype}{f', {statistics} float32' * (dtype == 'float16')}, forward" in text


@pytest.mark.parametrize(
    ("n", "d", "keys", "few"),
    [
        (16, 32, 8, True),  # break-even at 26
        (16, 4, 8, False),  # it moves less than standard
        (3, 1, 3, False),  # break-even at 2.75: what it moves more is O, ℓ and m, set up
    ],
)
def test_a_toy_is_said_to_have_too_few_keys_a_block_where_it_has(n, d, keys, few):
    board, rng = Board("wide", "x"), np.random.default_rng(0)
    coda(board, fs.record("flash-forward", *rng.normal(size=(3, n, d)).astype(np.float16), block_q=keys, block_k=keys))
    (words, *_) = board.script().captions[0]
    assert (f"blocks of {keys} keys are too flat" in words) == few
    assert few or (float(words.split()[2].removesuffix("×")) > 1) == (d == 1)


def test_where_a_gpu_has_no_room_for_it_it_says_so():
    board = Board("wide", "x", options={"device": "t4"})
    coda(board, fs.record("flash-forward", *fs.load_qkv("sample"), block_q=4, block_k=4))
    script = board.script()
    lines = [str(one.actor.words) for one in script.at(script.duration) if type(one.actor) is Text]
    assert any("too large for" in line and "T4" in line for line in lines)  # 65 KiB of 64


def test_a_mask_of_this_very_input_is_left_behind():
    script = told("flash2-forward", mask="document:5,11")
    assert "without that mask" in script.captions[1].name


@pytest.mark.parametrize("shape", ["wide", "square", "tall"])
def test_what_it_needs_on_chip_is_written_in_every_shape(shape):
    script = fs.film("flash-forward").script(shape)
    looker = Looker(script, (1920, 1080) if shape == "wide" else (1080, 1080 if shape == "square" else 1920), "dark")
    looker.look(script.duration)
    words = "".join(one.words for one in looker.written)
    assert "counted between HBM and SRAM only" in " ".join(one.words for one in looker.written)  # the note to its end
    assert all(part in words for part in ("65 KiB", "in shared memory", "163 KiB", "in registers", "212 KiB", "fits"))
