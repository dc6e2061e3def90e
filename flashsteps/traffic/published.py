"""Figures that others measured and published, each with its source and its hardware: what a film prints beside them."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import unknown


class Figure(NamedTuple):
    """A published number: `value` in `unit`, where it stands, and on what it was measured.

    FA1 is arXiv:2205.14135. Nothing here is ours, and nothing of ours is mixed into a chart of these without words.
    """

    value: float
    unit: str
    source: str
    hardware: str


#: FA1, Figure 1, left: a GPU's memories and the CPU's; SRAM's size is 192 KB in each of 108 SMs (section 2.1)
_HIERARCHY = ("FA1, Figure 1", "A100 40 GB")

#: FA1, Figure 2, left: attention of GPT-2 medium, N = 1024, d = 64, 16 heads, batch 64, forward and backward
_GPT2_MEDIUM = ("FA1, Figure 2", "A100")

#: FA2, section 4, and FA3, abstract: the fastest forward pass, and its share of what the GPU can do, as they print it
_FA2, _FA3 = ("FA2 (arXiv 2307.08691)", "A100"), ("FA3 (arXiv 2407.08608)", "H100")

FIGURES = {
    "sram-bandwidth": Figure(19.0, "TB/s", *_HIERARCHY),
    "sram-size": Figure(20.0, "MB", *_HIERARCHY),
    "sram-size-of-an-sm": Figure(192.0, "KB", "FA1, section 2.1", "A100 40 GB"),
    "hbm-bandwidth": Figure(1.5, "TB/s", *_HIERARCHY),
    "hbm-size": Figure(40.0, "GB", *_HIERARCHY),
    "dram-bandwidth": Figure(12.8, "GB/s", *_HIERARCHY),
    "dram-size": Figure(1.0, "TB", *_HIERARCHY),  # more than that
    "gpt2-medium-standard-time": Figure(41.7, "ms", *_GPT2_MEDIUM),
    "gpt2-medium-standard-traffic": Figure(40.3, "GB", *_GPT2_MEDIUM),
    "gpt2-medium-standard-work": Figure(66.6, "GFLOP", *_GPT2_MEDIUM),  # the paper does not say how it is counted
    "gpt2-medium-flash-time": Figure(7.3, "ms", *_GPT2_MEDIUM),
    "fa2-speed": Figure(230.0, "TFLOP/s", *_FA2),
    "fa2-share": Figure(73.0, "%", *_FA2),
    "fa3-speed": Figure(740.0, "TFLOP/s", *_FA3),
    "fa3-share": Figure(75.0, "%", *_FA3),
}

#: FA1, Figure 2, right: block-sparse attention at N = 4K, forward and backward, by the share of blocks kept; the last
#: is dense. Read off the plot, where no number is printed: good to a ms or so, and said without tenths.
BLOCK_SPARSE_TIMES = tuple(
    (share / 10, Figure(time, "ms", "FA1, Figure 2", "A100"))
    for share, time in enumerate((27.2, 43.4, 60.3, 81.2, 99.4, 117.0, 135.6, 155.6, 175.6, 188.4), 1)
)

#: FA1, Table 2: days of training on 8 A100s, and the perplexity on OpenWebText
GPT2_DAYS = {
    "GPT-2 small": (("Hugging Face", 9.5, 18.2), ("Megatron-LM", 4.7, 18.2), ("FlashAttention", 2.7, 18.2)),
    "GPT-2 medium": (("Hugging Face", 21.0, 14.2), ("Megatron-LM", 11.5, 14.3), ("FlashAttention", 6.9, 14.3)),
}

#: FA1, Table 1: minutes to the target accuracy of MLPerf 1.1, ± so many, on 8 A100s
BERT_MINUTES = (("Nvidia, MLPerf 1.1", 20.0, 1.5), ("FlashAttention", 17.4, 1.4))

#: FA1, Tables 3 and 6: how much faster on the long-range arena, and how often Path-X is right, in percent
LONG_RANGE_SPEEDUP, PATH_X, PATH_X_BY_CHANCE = 2.4, 61.4, 50.0


def figure(name: str) -> Figure:
    """The published figure of that name. Raises ValueError for one that isn't known."""
    if name not in FIGURES:
        raise ValueError(unknown("published figure", name, FIGURES))
    return FIGURES[name]
