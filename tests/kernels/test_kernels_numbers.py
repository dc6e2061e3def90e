"""The kernels' numbers, in Triton's interpreter, against attention by its definition in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from flashsteps.kernels import (
    backward,
    block_sparse,
    csr,
    forward,
    paged,
    paged_decode,
    partial_results,
    split_kv_decode,
)
from flashsteps.kernels.targets.configs import Config
from flashsteps.kernels.targets.target import Target, pretend
from flashsteps.kernels.tile import one_over, tanh
from tests.kernels.kernel_problems import DTYPES, Problem, attention, far, gradients, near, problems

#: an example that fails is small, and the interpreter slow: it is shown as it was found
SLOW = settings(phases=(Phase.explicit, Phase.reuse, Phase.generate))


def right(problem: Problem, o: torch.Tensor, lse: torch.Tensor, keep: torch.Tensor | None = None) -> bool:
    """Whether o and lse are those of the definition, but for rounding."""
    tensors, given = problem.tensors(), problem.of_scores()
    exact, exact_lse = attention(problem, (x.double() for x in tensors), keep, **given)
    standard, _ = attention(problem, tensors, keep, **given)
    hidden = torch.isneginf(exact_lse)
    off = (lse.double() - exact_lse).masked_fill(hidden, 0)
    same = torch.equal(torch.isneginf(lse), hidden) and not o[hidden].any() and float(off.abs().max()) < 1e-5
    return same and near(o, exact, standard)


@given(problems(scores=True))
@settings(SLOW, max_examples=25)
def test_forward(problem: Problem) -> None:
    """Any mask, group, type, strides and blocks; o lies in memory as q does, so that a model can go on with it."""
    q, k, v = problem.tensors()
    o, lse = forward(q, k, v, **problem.options(), **problem.of_scores(), **problem.blocks())
    assert right(problem, o, lse)
    assert o.transpose(1, 2).is_contiguous()


@given(problems(scores=True), st.booleans())
@settings(SLOW, max_examples=18)
def test_backward(problem: Problem, through_lse: bool) -> None:
    """Gradients through o, and through lse where it has one; those of hidden rows are 0."""
    q, k, v = problem.tensors()
    options = problem.options() | problem.of_scores()
    o, lse = forward(q, k, v, **options, **problem.blocks())
    do, dlse = torch.randn_like(o), torch.randn_like(lse) * through_lse
    delta = torch.empty_like(lse)
    given_lse = dlse if through_lse else None
    ours = backward(do, q, k, v, o, lse, dlse=given_lse, delta=delta, **options, **problem.blocks())
    exact, standard = (gradients(problem, do, dlse, dtype) for dtype in (torch.float64, problem.dtype))
    assert all(near(*each) for each in zip(ours, exact, standard, strict=True))
    torch.testing.assert_close(delta, (do.float() * o.float()).sum(-1) - dlse, rtol=1e-5, atol=1e-5)


@given(problems(), st.data())
@settings(SLOW, max_examples=15)
def test_block_sparse(problem: Problem, data: st.DataObject) -> None:
    """Only the tiles of the block mask count; those that the mask hides are not even in the list."""
    block_q, block_k = min(problem.block_q, problem.n), min(problem.block_k, problem.m)
    rows, columns = -(-problem.n // block_q), -(-problem.m // block_k)
    listed = st.lists(st.lists(st.booleans(), min_size=columns, max_size=columns), min_size=rows, max_size=rows)
    visited = torch.tensor(data.draw(listed), dtype=torch.bool)
    keep = visited.repeat_interleave(block_q, 0)[: problem.n].repeat_interleave(block_k, 1)[:, : problem.m]
    keep = keep & problem.keep()

    q, k, v = problem.tensors()
    blocks = {"block_q": problem.block_q, "block_k": problem.block_k}
    starts, tiles = csr(q, k, visited, **blocks, causal=problem.causal, window=problem.window)
    pairs = [(i, int(j)) for i in range(rows) for j in tiles[starts[i] : starts[i + 1]]]
    of = [(slice(i * block_q, (i + 1) * block_q), slice(j * block_k, (j + 1) * block_k)) for i, j in pairs]
    assert all(keep[tile].any() for tile in of)
    assert sum(int(keep[tile].sum()) for tile in of) == int(keep.sum())
    assert pairs == sorted(pairs)

    o, lse = block_sparse(q, k, v, visited, **problem.options(), **problem.blocks())
    assert right(problem, o, lse, keep)
    again, _ = block_sparse(q, k, v, (starts, tiles), **problem.options(), **problem.blocks())
    assert torch.equal(o, again)


@given(problems(), st.integers(1, 6))
@settings(SLOW, max_examples=15)
def test_split_kv_decode(problem: Problem, splits: int) -> None:
    """However many pieces; each piece's own result is attention over its keys alone."""
    q, k, v = problem.tensors()
    partial = o_s, lse_s = partial_results(q, k, splits=splits, block_k=problem.block_k, d_v=v.shape[3])
    o, lse = split_kv_decode(q, k, v, splits=splits, partial=partial, **problem.options(), **problem.blocks())
    assert right(problem, o, lse)
    pieces, tiles = o_s.shape[1], -(-problem.m // problem.block_k)
    assert 1 <= pieces <= splits
    size = -(-tiles // splits) * problem.block_k
    for s in range(pieces):
        keep = problem.keep() & (torch.arange(problem.m) // size == s)
        exact, exact_lse = attention(problem, (x.double() for x in (q, k, v)), keep)
        packed = exact.unflatten(1, (problem.kv_heads, problem.group)).transpose(2, 3).reshape(o_s[:, s].shape)
        torch.testing.assert_close(o_s[:, s].double(), packed, rtol=0, atol=0.02 if q.itemsize == 2 else 1e-5)
        assert torch.equal(lse_s[:, s].isneginf().sum(), exact_lse.isneginf().sum())


@given(problems(), st.sampled_from((3, 4, 5, 7)), st.booleans(), st.sampled_from((None, 1, 2, 5)))
@settings(SLOW, max_examples=15)
def test_paged_decode(problem: Problem, page: int, a_length_each: bool, splits: int | None) -> None:
    """Pages of any size lie anywhere, shared out or not; what is in the pool beside them (NaN here) is never read."""
    q, k, v = problem.tensors()
    most = -(-problem.m // page)
    room = problem.batch * most + 2, page, problem.kv_heads
    pools = [torch.full((*room, x.shape[3]), torch.nan, dtype=q.dtype) for x in (k, v)]
    table = torch.randperm(room[0])[: problem.batch * most].view(problem.batch, most).int()
    for b in range(problem.batch):
        for j in range(most):
            keys = slice(j * page, min((j + 1) * page, problem.m))
            for pool, x in zip(pools, (k, v), strict=True):
                pool[table[b, j], : keys.stop - keys.start] = x[b, :, keys].transpose(0, 1)
    n_keys = torch.full((problem.batch,), problem.m, dtype=torch.int32) if a_length_each else problem.m
    o, lse = paged_decode(q, *pools, table, n_keys, block_q=problem.block_q, splits=splits, **problem.options())
    assert right(problem, o, lse)


def test_sequences_of_several_lengths() -> None:
    """In one batch of a paged cache, each sequence has as many keys as it has, one may have none; in pieces, too."""
    torch.manual_seed(0)
    pools, q = torch.randn(2, 6, 4, 2, 16), torch.randn(3, 4, 1, 16)
    table = torch.tensor([[5, 0, 3], [1, 2, -1], [-1, -1, -1]], dtype=torch.int32)
    lengths = torch.tensor([11, 6, 0], dtype=torch.int32)
    o, lse = paged_decode(q, *pools, table, lengths)
    in_pieces = paged_decode(q, *pools, table, lengths, splits=3)
    torch.testing.assert_close(in_pieces, (o, lse))
    for b, length in enumerate(lengths.tolist()):
        k, v = (pool[table[b].long()].flatten(0, 1)[:length].transpose(0, 1)[None] for pool in pools)
        alone, lse_alone = forward(q[b : b + 1], k, v)
        torch.testing.assert_close((o[b : b + 1], lse[b : b + 1]), (alone, lse_alone))


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_rounding_is_no_worse_than_standard(dtype: torch.dtype) -> None:
    """The field's rule to the letter, at a size where luck plays no part."""
    problem = Problem(n=48, m=64, d=64, kv_heads=1, group=2, dtype=dtype, causal=True, block_q=16, block_k=16)
    q, k, v = problem.tensors()
    o, lse = forward(q, k, v, **problem.options(), **problem.blocks())
    exact, _ = attention(problem, (x.double() for x in (q, k, v)))
    standard, _ = attention(problem, (q, k, v))
    assert far(o, exact) <= 2 * far(standard, exact) + 1e-5
    do, none = torch.randn_like(o), torch.zeros_like(lse)
    ours = backward(do, q, k, v, o, lse, **problem.options(), **problem.blocks())
    exact_ones, standard_ones = (gradients(problem, do, none, kind) for kind in (torch.float64, dtype))
    for mine, true, theirs in zip(ours, exact_ones, standard_ones, strict=True):
        assert far(mine, true) <= 2 * far(theirs, true) + 1e-5


@pytest.mark.parametrize("softcap", [1e-3, 0.5, 50.0, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_a_softcap_is_right_however_small_or_large(dtype: torch.dtype, softcap: float) -> None:
    """A tanh that loses the digits of small numbers loses cap · 6e-8, which is all there is at 1e8."""
    problem = Problem(n=13, m=24, d=32, dtype=dtype, causal=True, softcap=softcap, block_q=8, block_k=8)
    q, k, v = problem.tensors()
    o, lse = forward(q, k, v, **problem.options(), **problem.blocks())
    assert right(problem, o, lse)
    do, none = torch.randn_like(o), torch.zeros_like(lse)
    ours = backward(do, q, k, v, o, lse, **problem.options(), **problem.blocks())
    exact, standard = (gradients(problem, do, none, kind) for kind in (torch.float64, dtype))
    assert all(near(*each) for each in zip(ours, exact, standard, strict=True))


def by_element(function: Callable[..., Any], x: torch.Tensor) -> torch.Tensor:
    """A function of tile.py, applied to each number."""
    y = torch.empty_like(x)
    with np.errstate(all="ignore"):
        apply_each[(1,)](x, y, function, SIZE=len(x))
    return y


@triton.jit
def apply_each(X, Y, function: tl.constexpr, SIZE: tl.constexpr):
    at = tl.arange(0, SIZE)
    tl.store(Y + at, function(tl.load(X + at)))


def test_tanh_has_its_digits_wherever_it_is_asked_for() -> None:
    y = torch.cat([torch.logspace(-30, 4, 2048), -torch.logspace(-30, 4, 2047), torch.zeros(1)])
    off = by_element(tanh, y).double() - y.double().tanh()
    assert float((off.abs() / y.double().tanh().abs().clamp_min(1e-35)).max()) < 4e-7


def test_a_row_is_divided_by_its_sum_though_that_falls_short_of_1() -> None:
    """As it does with fused multiply-adds, where one key dominates: 1 / max(ℓ, 1) left it undivided."""
    sums = torch.tensor([0.0, 1 - 2**-12, 1.0, 3.0, torch.nan, torch.inf, 2**-20, 8.0])
    expected = torch.tensor([1.0, 1 / (1 - 2**-12), 1.0, 1 / 3, torch.nan, 0.0, 2**20, 0.125])
    torch.testing.assert_close(by_element(one_over, sums), expected, equal_nan=True)


@pytest.mark.parametrize("name", ["forward", "split", "paged", "block-sparse"])
@pytest.mark.parametrize("window", [None, (4, 0)], ids=["full", "window"])
@pytest.mark.parametrize("large", [range(4), (2,)], ids=["all", "one"])
def test_a_row_with_a_score_past_float32_is_nan_and_not_one_that_sees_fewer_keys(
    name: str, window: Any, large: Any
) -> None:
    """−∞ as a score is not −∞ as a mask. Rows 0 and 1 see no key (with a window), rows 3 and 5 score the large ones."""
    n, m = 6, 4
    q, k, v = torch.zeros(1, 1, n, 16), torch.zeros(1, 1, m, 16), torch.randn(1, 1, m, 16)
    q[:, :, 3::2], k[:, :, large] = -1e20, 1e20
    table = torch.tensor([[1, 0]], dtype=torch.int32)
    pools = [x.view(2, 2, 1, 16).flip(0) for x in (k[0, 0], v[0, 0])]
    o, lse = {
        "forward": lambda: forward(q, k, v, window=window, block_q=4, block_k=2),
        "split": lambda: split_kv_decode(q, k, v, window=window, splits=2, block_q=4, block_k=2),
        "paged": lambda: paged_decode(q, *pools, table, m, window=window, block_q=4),
        "block-sparse": lambda: block_sparse(q, k, v, np.ones((2, 2), bool), window=window, block_q=4, block_k=2),
    }[name]()
    lost = [row in (3, 5) and (window is None or any(key <= row + m - n for key in large)) for row in range(n)]
    hidden = [window is not None and row < n - m for row in range(n)]
    assert torch.isnan(lse[0, 0]).tolist() == lost
    assert torch.isnan(o[0, 0]).all(-1).tolist() == lost
    assert torch.isneginf(lse[0, 0]).tolist() == hidden
    assert not o[0, 0, hidden].any()


@pytest.mark.parametrize("shape", [(0, 3, 3), (1, 0, 3), (1, 3, 0)], ids=["no batch", "no query", "no key"])
def test_where_there_is_nothing(shape: tuple[int, int, int]) -> None:
    """No query: nothing comes out. No key: 0 and −∞."""
    batch, n, m = shape
    q, k = torch.randn(batch, 2, n, 16), torch.randn(batch, 2, m, 16)
    o, lse = forward(q, k, k)
    assert o.shape == q.shape
    assert not o.any()
    assert torch.isneginf(lse).all()
    assert not any(x.any() for x in backward(o, q, k, k, o, lse))


def test_pages_are_shared_out_until_every_multiprocessor_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """One program a multiprocessor, pieces of eight pages at least; a batch that fills the GPU is not shared out."""
    pool, table = torch.empty(512, 16, 2, 64), torch.zeros(1, 400, dtype=torch.int32)
    monkeypatch.setattr(paged, "_multiprocessors", lambda device: 132)

    def programs(batch: int, keys: int) -> tuple[int, ...]:
        q = torch.empty(batch, 8, 1, 64)
        with pretend(Target("cuda", 90)) as launches:
            sizes = paged_decode(q, pool, pool, table.expand(batch, -1).contiguous(), keys, config=Config(16, 16))
            assert sizes[0].shape == q.shape
        return tuple(launch.grid[0] for launch in launches)

    real = paged._enough
    monkeypatch.setattr(
        paged, "_enough", lambda problem, *sizes: real(problem._replace(device=torch.device("cuda")), *sizes)
    )
    assert programs(1, 6400) == (50, 1)  # 400 pages: 8 at least for each of 50 pieces; then merged
    assert programs(4, 6400) == (16, 1)  # 132 // 8 parts
    assert programs(66, 6400) == (1,)
    assert programs(1, 100) == (1,)
