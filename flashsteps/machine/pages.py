"""A paged cache: keys and values in pages that lie anywhere in a pool, and the block table that says where."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..inputs import readers


def pool(n_keys: int, page: int) -> int:
    """How many pages the pool has: twice as many as these keys fill, so that half belong to others."""
    return 2 * -(-n_keys // page)


def table(given: Any, seed: int | None, n_keys: int, page: int) -> np.ndarray:
    """The pages of n_keys keys, in order, as int32 (pages,): as given, or drawn with a seed (0 unless given).

    Raises ValueError, one line, for a table of another length, that points outside the pool or names a page twice.
    """
    pages, there = -(-n_keys // page), pool(n_keys, page)
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


def scattered(rows: np.ndarray, table: np.ndarray, page: int) -> np.ndarray:
    """The pool, with these rows in the pages that the table names, and 0 elsewhere."""
    spread = np.zeros((pool(len(rows), page) * page, rows.shape[1]), rows.dtype)
    for index, at in enumerate(table):
        part = rows[index * page : (index + 1) * page]
        spread[at * page : at * page + len(part)] = part
    return spread
