"""Times of training and of one step, as FA1 published them, with FlashAttention and without, as bars."""

from __future__ import annotations

from typing import Any

from ...traffic import published
from ...traffic.published import Figure, figure
from ..actors.bars import Bar, Bars
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..values import Made
from .duel import FLASH, STANDARD


def ratios() -> list[float]:
    """How many times as fast as Hugging Face's GPT-2 is trained with FlashAttention, for each model."""
    return [times[0][1] / times[-1][1] for times in published.GPT2_DAYS.values()]


def perplexities() -> float:
    """How far apart those of a model are."""
    each = [[perplexity for _, _, perplexity in times] for times in published.GPT2_DAYS.values()]
    return max(max(one) - min(one) for one in each)


def training(board: Board, place: Stage, grown: Any) -> list[tuple[Any, Box]]:
    """Days for each model of GPT-2, on one axis, and minutes for BERT."""
    upper, lower = place.whole.rows(12, 5)
    sides = upper.columns(2) if board.shape == "wide" else upper.rows(2)
    most, pictures = max(times[0][1] for times in published.GPT2_DAYS.values()), list[tuple[Any, Box]]()
    for box, (model, times) in zip(sides, published.GPT2_DAYS.items(), strict=True):
        bars = tuple(bar(who, days, grown, note=f"perplexity {reached}") for who, days, reached in times)
        pictures.append((Bars(bars, most, "{:.1f}", title=f"{model}: days on 8 A100s"), box))
    bert = tuple(bar(who, minutes, grown, error) for who, minutes, error in published.BERT_MINUTES)
    longest = max(minutes + error for _, minutes, error in published.BERT_MINUTES)
    title = "BERT-large: minutes on 8 A100s, to the target accuracy"
    return [*pictures, (Bars(bert, longest, "{:.1f}", title=title, widest="00.0 ± 0.0"), lower)]


def step(grown: Any) -> tuple[Bars, Figure, Figure]:
    """Attention of GPT-2 medium, forward and backward; and the figures of both."""
    was, now = figure("gpt2-medium-standard-time"), figure("gpt2-medium-flash-time")
    bars = bar("standard", was.value, grown), bar("FlashAttention", now.value, grown)
    chart = Bars(bars, was.value, "{:.1f} ms", title="attention of GPT-2 medium, forward and backward")
    return chart, was, now


def bar(who: str, value: float, grown: Any, error: float = 0.0, note: str = "") -> Bar:
    """As far as it has `grown`; how far off it may be is said once it is there."""
    hue = FLASH if who == "FlashAttention" else STANDARD
    off = Made(lambda u: error if u == 1 else 0.0, grown)
    return Bar(who, Made(lambda u: value * u, grown), hue, error=off, note=note)
