"""Small attention problems at random, and what attention is: the ground that the core's tests stand on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps import algorithms, dtypes
from flashsteps.trace import IO, Trace

ALL = algorithms.names()


@dataclass(frozen=True)
class Problem:
    """An algorithm, its sizes and options: q (n, d), k and v (n_keys, d), standard normal."""

    algorithm: str
    n: int
    n_keys: int
    d: int
    block_q: int
    block_k: int
    mask: str | None = None
    dtype: str = "float16"
    seed: int = 0

    def inputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """q, k and v as the run stores them: in `dtype`."""
        rng = np.random.default_rng(self.seed)
        rows = (self.n, self.n_keys, self.n_keys)
        q, k, v = (rng.standard_normal((n, self.d)).astype(dtypes.storage(self.dtype)) for n in rows)
        return q, k, v

    def record(self, **options) -> Trace:
        q, k, v = self.inputs()
        return fs.record(self.algorithm, q, k, v, **self.options(), **options)

    def count(self, **options) -> IO:
        return fs.count(self.algorithm, n=self.n, n_keys=self.n_keys, d=self.d, **self.options(), **options)

    def options(self) -> dict[str, Any]:
        return {"block_q": self.block_q, "block_k": self.block_k, "mask": self.mask, "dtype": self.dtype}

    def kept(self) -> np.ndarray:
        """True where a query sees a key, (n, n_keys)."""
        all_true = np.ones((self.n, self.n_keys), bool)
        return np.tril(all_true, self.n_keys - self.n) if self.mask == "causal" else all_true

    def tiles(self) -> list[tuple[range, range]]:
        """The query rows and key rows of each tile that a query sees any of."""
        kept = self.kept()
        return [
            (range(i, min(i + self.block_q, self.n)), range(j, min(j + self.block_k, self.n_keys)))
            for i in range(0, self.n, self.block_q)
            for j in range(0, self.n_keys, self.block_k)
            if kept[i : i + self.block_q, j : j + self.block_k].any()
        ]


def problems(
    names=ALL, largest: int = 20, masks=(None, "causal"), dtype_names=tuple(dtypes.STORAGE)
) -> st.SearchStrategy[Problem]:
    rows = st.integers(1, largest)
    return st.builds(
        Problem,
        st.sampled_from(names),
        rows,
        rows,
        st.integers(1, 8),
        rows,
        rows,
        st.sampled_from(masks),
        st.sampled_from(dtype_names),
        st.integers(0, 1000),
    )


def attention(problem: Problem, scale: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """softmax(QKᵀ · scale)V and ln Σ exp(QKᵀ · scale) by the definition, in float64; 0 and −∞ where there is no key."""
    q, k, v = (x.astype(np.float64) for x in problem.inputs())
    scores = np.where(problem.kept(), q @ k.T * (problem.d**-0.5 if scale is None else scale), -np.inf)
    top = np.maximum(scores.max(axis=1, keepdims=True), np.finfo(float).min)
    weights = np.exp(scores - top)
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (top + np.log(total))[:, 0]
    return weights @ v / np.maximum(total, 1), np.where(total[:, 0] > 0, lse, -np.inf)
