"""What the film limits claims: against closed forms, what fits on a GPU, and published figures."""

from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Card, Text
from tests.scenes.seen import Told, actor, actors, said

SCRIPT = Told("limits")


def test_memory_and_traffic_fall_and_products_remain():
    memory, traffic, products = actor(SCRIPT, "What is left", Bars).bars
    N, d, fp16, fp32 = 1 << 16, 64, 2, 4
    standard = (3 * N * d + 2 * N * N) * fp16  # while S becomes P there is no O yet
    assert abs(memory.value - (4 * N * d * fp16 + N * fp32) / standard) < 1e-9
    flash2 = (2 * N * d + 2 * (N // 128) * N * d) * fp16 + N * fp32
    assert abs(traffic.value - flash2 / ((4 * N * d + 4 * N * N) * fp16)) < 1e-9
    assert products.value == 1.0


def test_the_tile_fits():
    shared, registers = actor(SCRIPT, "The tile must fit", Bars).bars
    assert shared.value == (128 + 2 * 64) * 128 * 2 == 65536  # q, k and v in fp16
    assert registers.value == 4 * (128 * 128 + 2 * 128 * 64 + 4 * 128) == 133120  # acc; S and P; m twice, ℓ and α, fp32
    assert (shared.whole, registers.whole) == (163 * 1024, 256 * 1024)
    assert "65,536 B of shared memory, 133,120 of registers" in said(SCRIPT)


def test_what_came_next_is_published():
    cards = {card.title: dict(card.figures) for card in actors(SCRIPT, "What came next", Card)}
    assert list(cards) == ["FlashAttention", "FlashAttention-2", "FlashAttention-3", "PyTorch", "FlexAttention"]
    assert cards["FlashAttention"] == {"A100": "41.7 → 7.3 ms"}
    assert cards["FlashAttention-2"] == {"A100": "230 TFLOP/s, 73 %"}
    assert cards["FlashAttention-3"] == {"H100": "740 TFLOP/s, 75 %"}
    (source,) = (str(text.words) for text in actors(SCRIPT, "What came next", Text))
    assert source.startswith("published: FA1, Figure 2")
    assert all(paper in source for paper in ("2307.08691", "2407.08608"))
