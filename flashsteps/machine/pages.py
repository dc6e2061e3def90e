"""A paged cache: keys and values in pages that lie anywhere in a pool, and the block table that says where."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..inputs import readers


def pool(n_keys: int, page: int) -> int:
    """How many pages the pool has: twice as many as these keys fill, so that half belong to others."""
    return 2 * -(-n_keys // page)


class Pool(NamedTuple):
    """A pool of one's own, and what of it is one sequence's: k (…, n_keys, d) and v, without the pages between."""

    k: Any
    v: Any
    pages: int
    page: int
    table: Any


def own(k: Any, v: Any, given: Any, n_keys: int | None) -> Pool:
    """A sequence's keys and values out of a pool (pages, page, d) or (pages, page, kv_heads, d), as flash-attn has it.

    `given` is the table: the sequence's pages in order, of which n_keys keys (all, unless given) use the first. Raises
    ValueError, one line, for arrays that don't fit each other, and a table that points outside or is too short.
    """
    shape = tuple(k.shape)
    if tuple(v.shape)[:-1] != shape[:-1] or 0 in shape:
        raise ValueError(f"the pool of k has shape {shape} and that of v {tuple(v.shape)}: each key needs one value")
    if given is None:
        raise ValueError(f"k has shape {shape}, a pool of pages: give table, too, the pages of this sequence in order")
    with readers.one_line("table is no array"):
        numbers = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    numbers = numbers[0] if numbers.ndim == 2 and len(numbers) == 1 else numbers
    there, page = shape[:2]
    most = numbers.size * page
    n_keys = most if n_keys is None else n_keys
    if not 1 <= n_keys <= most:
        raise ValueError(f"n_keys is {n_keys}: the table's pages, {numbers.size} of {page} keys, hold 1 to {most}")
    found = table(numbers[: -(-n_keys // page)] if numbers.ndim == 1 else numbers, None, n_keys, page, there)

    def gathered(pool: Any) -> Any:
        rows = pool[found.tolist()].reshape(-1, *shape[2:-1], pool.shape[-1])[:n_keys]
        return rows.swapaxes(0, 1) if len(shape) == 4 else rows

    return Pool(gathered(k), gathered(v), there, page, found)


def table(given: Any, seed: int | None, n_keys: int, page: int, there: int | None = None) -> np.ndarray:
    """The pages of n_keys keys, in order, as int32 (pages,): as given, or drawn with a seed (0 unless given).

    There are as many as `pool` says, or `there`. Raises ValueError, one line, for a table of another length, that
    points outside the pool or names a page twice.
    """
    pages, there = -(-n_keys // page), there or pool(n_keys, page)
    if given is None:
        return np.random.default_rng(seed or 0).permutation(there)[:pages].astype(np.int32)
    if seed is not None:
        raise ValueError(f"table and seed={seed} both say where pages lie: give one of them")
    with readers.one_line("table is no array"):
        numbers = np.asarray(given)
    if numbers.dtype.kind not in "iu" or numbers.shape != (pages,):
        raise ValueError(
            f"table has {numbers.dtype} {numbers.shape}: give whole numbers ({pages},), a page for each {page} keys"
        )
    if outside := [int(number) for number in numbers if not 0 <= number < there]:
        raise ValueError(f"table points to page {outside[0]}, outside the pool: give pages from 0 to {there - 1}")
    if len(set(numbers.tolist())) < pages:
        raise ValueError("table names a page twice: give each page of keys its own")
    return numbers.astype(np.int32)


def scattered(rows: np.ndarray, table: np.ndarray, page: int, there: int | None = None) -> np.ndarray:
    """The pool, with these rows in the pages that the table names, and 0 elsewhere, where others have theirs."""
    spread = np.zeros(((there or pool(len(rows), page)) * page, rows.shape[1]), rows.dtype)
    for index, at in enumerate(table):
        part = rows[index * page : (index + 1) * page]
        spread[at * page : at * page + len(part)] = part
    return spread
