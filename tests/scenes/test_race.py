"""Race: all three have moved as much, until they are done; and what is said of them is so."""

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Chips, Text
from flashsteps.filmkit.actors.tape import Lanes
from tests.scenes.seen import actor, actors, said

NAMES = ("standard-forward", "flash-forward", "flash2-forward")
FULL = dict(zip(NAMES, ("standard attention", "FlashAttention", "FlashAttention-2"), strict=True))


@pytest.fixture(scope="module")
def script():
    return fs.film("race").script()


def lanes(script, when):
    found = actor(script, when, Lanes)
    return found, {lane.name: lane for lane in found.lanes}


@pytest.mark.parametrize(("when", "size"), [("Who is first", (16, 32, 4)), ("In the end", (8192, 64, 128))])
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
            if isinstance(part.actor, Lanes | Bars) and part.opacity == 1
        }
        assert len(most) == 1, chapter.name


def test_s_is_set_beside_the_chip_where_it_is_larger(script):
    S, chip = 2 * 8192**2, 108 * 164 * 1024
    assert f"writes S: {S / 1e6:.0f} MB; an A100 has {chip / 1e6:.1f} MB of shared memory." in said(script)
    assert "shared memory" not in said(fs.film("race", mask="causal").script())  # of 2K tokens


def test_why_each_carries_so_much(script):
    assert "FlashAttention fetches Q and O 4 times, writes O 5 times." in said(script)
    assert "FlashAttention-2 fetches K and V 4 times." in said(script)
    once = {name: fs.record(name, *fs.load_qkv("sample"), block_q=4, block_k=4) for name in NAMES[1:]}
    for name, tensors in (("flash-forward", "QO"), ("flash2-forward", "KV")):
        moved, initial = once[name].io().by_tensor, once[name].initial
        assert {moved[one].read / initial[one].nbytes for one in tensors} == {4}
    assert once["flash-forward"].io().by_tensor["O"].written == 5 * once["flash-forward"].outputs["O"].nbytes
    whole = said(fs.film("race", block_q=16, block_k=16).script())
    assert "FlashAttention fetches Q and O once, writes O twice." in whole
    assert "Standard attention writes S and P, and reads them back." in whole


def test_who_wins_depends_on_the_tile_and_the_words_say_so():
    assert "Standard attention wins with this toy" in said(fs.film("race").script())
    large = said(fs.film("race", block_q=16, block_k=16).script())
    assert "FlashAttention-2 wins with this toy: it has the fewest bytes" in large
    assert "FlashAttention-2 wins with this toy" in said(fs.film("race", mask="window:3,0").script())


def totals(n, d, block):
    return {name: fs.count(name, n=n, d=d, block_q=block, block_k=block).total for name in NAMES}


def test_more_tokens_and_a_wider_head_leave_the_order_and_the_tile_alone_turns_it(script):
    toy, same, real = totals(16, 32, 4), totals(8192, 64, 4), totals(8192, 64, 128)
    assert sorted(same, key=same.get) == sorted(toy, key=toy.get)
    assert sorted(real, key=real.get) != sorted(same, key=same.get)
    assert min(same, key=same.get) == max(real, key=real.get) == "standard-forward"
    assert "8K tokens, same tiles: standard attention still moves least." in said(script)
    assert "The order turns: FlashAttention-2 moves least." in said(script)
    assert "S and P: 537 MB of 541 MB; others: 213 MB and 136 MB." in said(script)
    moved = fs.count("standard-forward", n=8192, d=64, block_q=128, block_k=128).by_tensor
    assert f"{sum(sum(moved[name]) for name in 'SP') / 1e6:.0f} MB" == "537 MB"


def test_while_the_tile_grows_nothing_else_does_and_each_bar_was_counted(script):
    start, stop = next((c.start, c.stop) for c in script.captions if c.name.startswith("Only the tile"))
    seen = {}
    for t in np.arange(start - 0.5, stop - 0.5, 0.05):
        (tokens, width, tile), bars = actor(script, t, Chips).chips, actor(script, t, Bars)
        assert (tokens[1], width[1]) == ("8K", "64")
        block = int(tile[1].partition("×")[0])
        assert tile[1] == f"{block}×{block}"
        seen[block] = bars.most, *(bar.value for bar in bars.bars)
        assert [sum(piece.amount for piece in bar.pieces) for bar in bars.bars] == [bar.value for bar in bars.bars]
    most = max(totals(8192, 64, 4).values())
    assert seen == {block: (most, *totals(8192, 64, block).values()) for block in (4, 8, 16, 32, 64, 128)}


@pytest.mark.parametrize("how", [{"block_q": 16, "block_k": 16}, {"mask": "causal"}, {"block_q": 2, "block_k": 8}])
def test_whether_the_tile_turns_the_order_is_told_as_it_is(how):
    script = fs.film("race", **how).script()
    n, mask = (2048, how["mask"]) if "mask" in how else (8192, None)
    tiles = (how.get("block_q", 4), how.get("block_k", 4)), (128, 128)
    orders = []
    for q, k in tiles:
        moved = ((fs.count(name, n=n, d=64, block_q=q, block_k=k, mask=mask).total, name) for name in NAMES)
        orders.append([name for _, name in sorted(moved)])
    assert f"The order {'stays' if orders[0] == orders[1] else 'turns'}: {FULL[orders[1][0]]} moves" in said(script)
    assert f"{FULL[orders[0][0]]} " in next(c.name for c in script.captions if "same tiles" in c.name)


def test_a_mask_of_this_very_input_is_said_to_be_left_out_at_the_real_size():
    script = fs.film("race", mask=np.tril(np.ones((16, 16), bool))).script()
    for chapter in ("The tile alone", "A real size"):
        assert any("without the toy’s mask" in str(text.words) for text in actors(script, chapter, Text))
    script = fs.film("race", mask="causal").script()
    assert any("causal" in str(text.words) for text in actors(script, "The tile alone", Text))


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
    assert "it reads Q, K and V just once." in said(script)
    assert "just once" not in said(fs.film("race", block_q=16, block_k=16).script())
    shown, one = lanes(script, "A real size")
    n, d, fp16 = 8192, 64, 2
    read_back = shown.moved - (2 * n * d + n * n) * fp16  # beyond Q and K in, S out
    assert 0 < read_back < 0.001 * n * n * fp16
    assert "has read hardly any of S back" in said(script)


def test_no_chapter_says_of_a_tape_that_it_is_done_before_it_is(script):
    assert not any("done" in chapter.name for chapter in script.chapters)


def test_the_toy_s_size_is_on_the_screen(script):
    words = [str(text.words) for text in actors(script, "Who is first", Text)]
    assert any("N = 16, d = 32, float16, tiles 4×4" in line for line in words)
