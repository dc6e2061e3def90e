"""Which tiles a kernel visits, and which it takes to be seen whole: every small case, against the mask itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from flashsteps.kernels.tile import seeing, visited, work


@triton.jit
def sort_tiles(
    given, found,
    SIZE: tl.constexpr, BLOCK: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr, BY_KEYS: tl.constexpr,
):  # fmt: skip
    """found (4, SIZE) from given (6, SIZE): first, last, n, m, left and right of so many cases at once."""
    at = tl.arange(0, SIZE)
    first = tl.load(given + at)
    last = tl.load(given + SIZE + at)
    n = tl.load(given + 2 * SIZE + at)
    m = tl.load(given + 3 * SIZE + at)
    left = tl.load(given + 4 * SIZE + at)
    right = tl.load(given + 5 * SIZE + at)
    if BY_KEYS:
        lo, full, cut, hi = seeing(first, last, n, m, left, right, BLOCK, LEFT, RIGHT)
    else:
        lo, full, cut, hi = visited(first, last, n, m, left, right, BLOCK, LEFT, RIGHT)
    tl.store(found + at, lo)
    tl.store(found + SIZE + at, full)
    tl.store(found + 2 * SIZE + at, cut)
    tl.store(found + 3 * SIZE + at, hi)


@pytest.mark.parametrize("by_keys", [False, True], ids=["keys of some queries", "queries of some keys"])
@pytest.mark.parametrize("bounded", list(product((False, True), repeat=2)), ids=str)
@pytest.mark.parametrize("block", [1, 2, 4])
def test_tiles_are_sorted_as_the_mask_has_them(block: int, bounded: tuple[bool, bool], by_keys: bool) -> None:
    """Hidden ones are not visited, those seen whole are between `full` and `cut`, and no others are."""
    cases = []
    for n, m in product(range(1, 8), repeat=2):
        for left, right in product(*((range(5) if one else (-1,)) for one in bounded)):
            rows = m if by_keys else n
            cases += [(a, min(a + 3, rows) - 1, n, m, left, right) for a in range(0, rows, 3)]
    size = triton.next_power_of_2(len(cases))
    given = torch.zeros(6, size, dtype=torch.int32)
    given[2:4] = 1  # what fills up the rest are cases, too
    given[:, : len(cases)] = torch.tensor(cases, dtype=torch.int32).T
    found = torch.empty(4, size, dtype=torch.int32)
    sort_tiles[(1,)](given, found, size, block, *bounded, by_keys)
    for (first, last, n, m, left, right), (lo, full, cut, hi) in zip(cases, found.T.tolist(), strict=False):
        below, key = np.arange(n)[:, None] + m - n, np.arange(m)[None, :]
        keep = (left < 0) | (key >= below - left)
        keep = np.broadcast_to(keep & ((right < 0) | (key <= below + right)), (n, m))
        strip = keep[:, first : last + 1].T if by_keys else keep[first : last + 1]
        tiles = [strip[:, start : start + block] for start in range(0, strip.shape[1], block)]
        touched = [number for number, tile in enumerate(tiles) if tile.any()]
        whole = [number for number, tile in enumerate(tiles) if tile.all() and tile.shape[1] == block]
        assert list(range(lo, hi)) == touched
        assert list(range(full, cut)) == whole


@triton.jit
def say_work(found, heads_kv, section, LAST_FIRST: tl.constexpr, TOGETHER: tl.constexpr):
    """found (programs, 3): block, batch entry and head of each program, in the order in which they begin."""
    number = tl.program_id(0) + tl.num_programs(0) * (tl.program_id(1) + tl.num_programs(1) * tl.program_id(2))
    i, b, h = work(heads_kv, section, LAST_FIRST, TOGETHER)
    tl.store(found + 3 * number, i)
    tl.store(found + 3 * number + 1, b)
    tl.store(found + 3 * number + 2, h)


@pytest.mark.parametrize("three", [False, True], ids=["blocks, parts", "blocks, heads, batch"])
@pytest.mark.parametrize("section", [1, 2, 4, 5, 100])
@pytest.mark.parametrize("last_first", [False, True])
def test_each_block_of_each_head_has_one_program_and_long_ones_begin_first(
    section: int, last_first: bool, three: bool
) -> None:
    blocks, heads, batch = 3, 3, 2
    grid = (blocks, heads, batch) if three else (blocks, heads * batch)
    found = torch.full((blocks * heads * batch, 3), -1)
    say_work[grid](found, heads, section, last_first, True)
    assert sorted(map(tuple, found.tolist())) == list(product(range(blocks), range(batch), range(heads))), found
    order = [(b * heads + h, i) for i, b, h in found.tolist()]
    groups = [order[at : at + section * blocks] for at in range(0, len(order), section * blocks)]
    for number, group in enumerate(groups):
        assert {part // section for part, _ in group} == {number}  # whose keys are in L2 together
        assert [i for _, i in group] == sorted((i for _, i in group), reverse=last_first)
    say_work[grid](found, heads, section, False, False)
    assert [(b * heads + h, i) for i, b, h in found.tolist()] == list(product(range(heads * batch), range(blocks)))
