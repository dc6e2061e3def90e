"""Race: all three have moved as much, until they are done; and what is said of them is so."""

import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.tape import Lanes
from tests.scenes.seen import actor, actors, said

NAMES = ("standard-forward", "flash-forward", "flash2-forward")


@pytest.fixture(scope="module")
def script():
    return fs.film("race").script()


def lanes(script, when):
    found = actor(script, when, Lanes)
    return found, {lane.name: lane for lane in found.lanes}


@pytest.mark.parametrize(("when", "size"), [("Who is first", (16, 32, 4)), ("The order turns", (8192, 64, 128))])
def test_tapes_are_as_long_as_what_is_counted(script, when, size):
    n, d, block = size
    totals = [fs.count(name, n=n, d=d, block_q=block, block_k=block).total for name in NAMES]
    shown, _ = lanes(script, when)
    assert [lane.total for lane in shown.lanes] == pytest.approx(totals)
    assert shown.most == max(totals)


def test_marks_are_the_run_s_transfers_in_order(script):
    _, one = lanes(script, "Who is first")
    run = fs.record("flash-forward", *fs.load_qkv("sample"), block_q=4, block_k=4)
    assert [part.amount for part in one["FlashAttention"].tape] == [event.nbytes for event in run if event.nbytes]


def test_when_the_first_is_done_the_others_are_so_far(script):
    shown, one = lanes(script, "Who is first")
    assert shown.moved == 6144
    assert one["standard"].status == "finished"
    assert one["FlashAttention"].status == "4 of 16 tiles done, no row of O finished"
    assert one["FlashAttention-2"].status == "9 of 16 tiles done, 2 of 4 blocks of O finished"


def test_at_a_real_size_standard_attention_has_only_written_s(script):
    shown, one = lanes(script, "A real size")
    assert one["FlashAttention-2"].status == "finished"
    assert shown.moved == one["FlashAttention-2"].total
    assert one["standard"].status == "all of S written, hardly any of it read back"
    assert one["FlashAttention"].status == "2,615 of 4,096 tiles done, no row of O finished"


def test_scales_stay_within_a_chapter(script):
    for chapter in script.chapters:
        most = {
            part.actor.most
            for t in range(round(chapter.start) + 1, round(chapter.stop))
            for part in script.at(t)
            if isinstance(part.actor, Lanes) and part.opacity == 1
        }
        assert len(most) == 1, chapter.name


def test_s_is_said_not_to_stay_on_chip_where_it_is_larger(script):
    S, chip = 2 * 8192**2, 108 * 164 * 1024
    assert f"{S / 1e6:.0f} MB; the 108 SMs (processors) of an A100 have {chip / 1e6:.1f} MB SRAM" in said(script)
    assert "stay on chip" not in said(fs.film("race", mask="causal").script())  # of 2K tokens


def test_why_each_carries_so_much(script):
    assert "FlashAttention: each of 4 blocks of keys fetches Q and O again, and writes O." in said(script)
    assert "FlashAttention-2: each of 4 blocks of queries fetches K and V again." in said(script)
    assert "serves 128 tokens, not 4" in said(script)
    whole = said(fs.film("race", block_q=16, block_k=16).script())
    assert "FlashAttention: its one block of keys fetches Q and O, and writes O." in whole
    assert "Standard attention writes S and P, and reads them back." in whole


def test_who_wins_depends_on_the_tile_and_the_words_say_so():
    assert "standard attention has the fewest bytes" in said(fs.film("race").script())
    large = fs.film("race", block_q=16, block_k=16)
    assert "FlashAttention-2 has the fewest bytes" in said(large.script())
    assert "FlashAttention-2 has the fewest" in said(fs.film("race", mask="window:3,0").script())


def test_a_mask_makes_the_real_size_smaller_and_its_counts_are_so():
    script = fs.film("race", mask="causal").script()
    assert "2K tokens" in said(script)
    shown, one = lanes(script, script.chapters[-1].name)
    for name, lane in zip(NAMES, one.values(), strict=True):
        count = fs.count(name, n=2048, d=64, block_q=128, block_k=128, mask="causal")
        assert lane.total == pytest.approx(count.total)
    with pytest.raises(ValueError, match="doesn't take"):
        fs.film("race", device="a100")


def test_standard_wins_with_a_toy_that_it_reads_once_and_hardly_reads_s_back_when_another_is_done(script):
    run = fs.record("standard-forward", *fs.load_qkv("sample"), block_q=4, block_k=4)
    assert {name: run.io().by_tensor[name].read for name in "QKV"} == dict.fromkeys("QKV", 16 * 32 * 2)
    assert "It keeps all of K on chip, and reads Q, K and V just once." in said(script)
    assert "keeps all of K" not in said(fs.film("race", block_q=16, block_k=16).script())
    shown, one = lanes(script, "A real size")
    n, d, fp16 = 8192, 64, 2
    read_back = shown.moved - (2 * n * d + n * n) * fp16  # beyond Q and K in, S out
    assert 0 < read_back < 0.001 * n * n * fp16
    assert "must read it back" in said(script)


def test_no_chapter_says_of_a_tape_that_it_is_done_before_it_is(script):
    assert not any("done" in chapter.name for chapter in script.chapters)


def test_the_toy_s_size_is_on_the_screen(script):
    words = [str(text.words) for text in actors(script, "Who is first", Text)]
    assert any("N = 16, d = 32, float16, tiles 4×4" in line for line in words)
