"""A cache that grows in place: what is appended is there, and attention is that to all keys that each sequence has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from flashsteps.kernels import flash_attention, flash_attention_with_kvcache

OPTIONS: list[dict[str, Any]] = [{}, {"causal": True, "splits": 3}, {"window": (5, 0), "softcap": 4.0, "scale": 0.4}]
IDS = ["full", "causal, pieces", "window, softcap, scale"]
LENGTHS = torch.tensor([5, 0, 9], dtype=torch.int32)


def paged(x: torch.Tensor, page: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """A cache (B, room, Hk, d) as a pool of pages in no order, and the table that finds them."""
    batch, room = x.shape[:2]
    many = room // page
    table = torch.randperm(batch * many + 2)[: batch * many].view(batch, many).int()
    pool = torch.full((batch * many + 2, page, *x.shape[2:]), torch.nan)
    pool[table.long().flatten()] = x.reshape(batch * many, page, *x.shape[2:])
    return pool, table


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
@pytest.mark.parametrize("by_pages", [False, True], ids=["one piece", "pages"])
def test_step_by_step_it_is_attention_to_all_that_came(options: dict[str, Any], by_pages: bool) -> None:
    """Two steps, of three tokens and of one; what lies behind the last key (NaN here) is never read."""
    torch.manual_seed(0)
    k_all, v_all = torch.randn(3, 16, 2, 16), torch.randn(3, 16, 2, 12)
    k_cache, v_cache = k_all.clone(), v_all.clone()
    for b, length in enumerate(LENGTHS):
        k_cache[b, length:] = v_cache[b, length:] = torch.nan
    table = None
    if by_pages:
        torch.manual_seed(1)
        k_cache, table = paged(k_cache)
        torch.manual_seed(1)
        v_cache, table = paged(v_cache)
    lengths = LENGTHS.clone()
    for new in (3, 1):
        q = torch.randn(3, new, 4, 16)
        at = [slice(int(length), int(length) + new) for length in lengths]
        k, v = (torch.stack([x[b, at[b]] for b in range(3)]) for x in (k_all, v_all))
        o, lse = flash_attention_with_kvcache(q, k_cache, v_cache, k, v, lengths, table, **options, return_lse=True)
        lengths += new
        plain = {name: value for name, value in options.items() if name != "splits"}
        for b, length in enumerate(lengths):
            seen = (x[b, :length].transpose(0, 1) for x in (k_all, v_all))
            alone, alone_lse = flash_attention(q[b].transpose(0, 1), *seen, **plain, return_lse=True)
            torch.testing.assert_close(o[b].transpose(0, 1), alone, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(lse[b], alone_lse, rtol=1e-5, atol=1e-5)


def test_torch_compile_appends_in_place_too() -> None:
    q, k, cache = torch.randn(3, 1, 4, 16), torch.randn(3, 1, 2, 16), torch.randn(3, 16, 2, 16)

    def step(q: torch.Tensor, k: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor) -> Any:
        return flash_attention_with_kvcache(q, k_cache, v_cache, k, k, LENGTHS, causal=True)

    ours, theirs = ([cache.clone(), cache.clone()] for _ in "ab")
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(q, k, *ours), step(q, k, *theirs))
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[0][0, 5], k[0, 0])


def test_a_full_cache_and_one_number_of_keys() -> None:
    q, cache = torch.randn(2, 1, 4, 16), torch.randn(2, 8, 2, 16)
    full = flash_attention_with_kvcache(q, cache, cache)
    torch.testing.assert_close(full, flash_attention_with_kvcache(q, cache, cache, cache_seqlens=8))
    torch.testing.assert_close(
        flash_attention_with_kvcache(q, cache, cache, cache_seqlens=5),
        flash_attention_with_kvcache(q, cache[:, :5], cache[:, :5]),
    )


Q, C, N = torch.zeros(2, 1, 4, 16), torch.zeros(2, 8, 2, 16), torch.zeros(2, 1, 2, 16)
TABLE = torch.tensor([[0], [2]], dtype=torch.int32)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda f: f(Q, C, C, N), "k is given alone: give both k and v, or neither"),
        (lambda f: f(Q, C, C, N, N), "cache_seqlens is None, so the cache is full: say how many keys are there"),
        (lambda f: f(Q, C, C, N, N, 8), "cache_seqlens is 8, with 1 new: the cache has room for 8"),
        (
            lambda f: f(Q, C, C, N, N, 2.5),
            r"cache_seqlens is 2.5: give a whole number, or a tensor \(batch,\) of int32",
        ),
        (lambda f: f(Q, C, C, N, N, LENGTHS), r"cache_seqlens has shape \(3,\): give \(2,\)"),
        (lambda f: f(Q, C[:1], C[:1]), r"k_cache has shape \(1, 8, 2, 16\), q \(2, 1, 4, 16\): make batch and d"),
        (lambda f: f(Q, C, C[:, :4]), r"v_cache has shape \(2, 4, 2, 16\), k_cache \(2, 8, 2, 16\): give as much room"),
        (lambda f: f(Q, C, C, N, N[:, :0], 3), r"v has shape \(2, 0, 2, 16\): give \(2, 1, 2, 16\)"),
        (lambda f: f(Q, C, C, N, N, 3, TABLE), "block_table points outside the cache: its pages are 0 to 1"),
        (lambda f: f(Q, C.half(), C), "k_cache holds float16, q float32: make them the same"),
        (lambda f: f(Q[:, :, :3], C, C), "k_cache has 2 heads, q 3: those of q must be a multiple of those of k_cache"),
        (lambda f: f(Q, C, C, return_lse=1), "return_lse is 1: give True or False"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}") as refused:
        call(flash_attention_with_kvcache)
    assert "\n" not in str(refused.value)
