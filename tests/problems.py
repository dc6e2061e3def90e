"""Small attention problems at random, and what attention is: the ground that the core's tests stand on."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps import algorithms
from flashsteps.machine import block_masks, dtypes, masks
from flashsteps.machine.events import IO
from flashsteps.trace.trace import Trace

ALL = algorithms.names()
BACKWARD = tuple(name for name in ALL if algorithms.algorithm(name).backward)
FORWARD = tuple(name for name in ALL if name not in BACKWARD)
SPARSE = ("block-sparse-forward", "flash2-block-sparse-forward")
DECODE = tuple(name for name in ALL if algorithms.algorithm(name).decodes)
#: those that need no more than q, k and v
PLAIN = tuple(name for name in FORWARD if name not in SPARSE)


@dataclass(frozen=True)
class Problem:
    """An algorithm, its sizes and options: q (n, d), k (n_keys, d), v (n_keys, d_v), standard normal, as is a bias."""

    algorithm: str
    n: int
    n_keys: int
    d: int
    block_q: int
    block_k: int
    mask: str | None = None
    dtype: str = "float16"
    seed: int = 0
    block_mask: Any = "strided:1"
    splits: int = 3
    d_v: int | None = None
    biased: bool = False
    sink: float | None = None

    def inputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """q, k and v as the run stores them: in `dtype`."""
        rng = np.random.default_rng(self.seed)
        shapes = (self.n, self.d), (self.n_keys, self.d), (self.n_keys, self.width)
        q, k, v = (rng.standard_normal(shape).astype(dtypes.storage(self.dtype)) for shape in shapes)
        return q, k, v

    @property
    def width(self) -> int:
        """The width of v and O."""
        return self.d_v or self.d

    def bias(self) -> np.ndarray | None:
        """What is added to scores (n, n_keys), as stored: some of it hides a key; None without."""
        rng = np.random.default_rng(self.seed + 2)
        added = 2 * rng.standard_normal((self.n, self.n_keys))
        hidden = np.where(rng.random(added.shape) < 0.2, -np.inf, added)
        return hidden.astype(dtypes.storage(self.dtype)) if self.biased else None

    def gradient(self) -> np.ndarray:
        """dO (n, d_v), for a backward pass."""
        rng = np.random.default_rng(self.seed + 1)
        return rng.standard_normal((self.n, self.width)).astype(dtypes.storage(self.dtype))

    def record(self, **options) -> Trace:
        q, k, v = self.inputs()
        if self.algorithm in BACKWARD:
            options = {"do": self.gradient()} | options
        return fs.record(self.algorithm, q, k, v, **self.options(), **options)

    def count(self, **options) -> IO:
        return fs.count(self.algorithm, **self.sizes(), **self.options(), **options)

    def sizes(self) -> dict[str, Any]:
        """What `count` takes in the place of arrays."""
        return {"n": self.n, "n_keys": self.n_keys, "d": self.d, "d_v": self.d_v}

    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "block_q": self.block_q,
            "block_k": self.block_k,
            "mask": self.mask,
            "dtype": self.dtype,
        }
        if self.biased:
            options["bias"] = self.bias()
        if self.sink is not None:
            options["sinks"] = self.sink
        if self.algorithm in SPARSE:
            options["block_mask"] = self.block_mask
        if self.algorithm == "split-kv-decode":
            options["splits"] = self.splits
        return options

    def kept(self) -> np.ndarray:
        """True where a query sees a key, (n, n_keys)."""
        kept = brute_force(self.mask, self.n, self.n_keys)
        return kept & self.visited() if self.algorithm in SPARSE else kept

    def scores(self, scale: float | None = None) -> np.ndarray:
        """QKᵀ · scale and what is added to it, in float64; −∞ where a query does not see a key, (n, n_keys)."""
        q, k, _ = (x.astype(np.float64) for x in self.inputs())
        added = self.bias()
        scores = q @ k.T * (self.d**-0.5 if scale is None else scale) + (0.0 if added is None else added.astype(float))
        return np.where(self.kept(), scores, -np.inf)

    def visited(self) -> np.ndarray:
        """True where a query and a key are of a tile that the block mask has, (n, n_keys)."""
        block_q, block_k = min(self.block_q, self.n), min(self.block_k, self.n_keys)
        mask = masks.parse(None, self.n, self.n_keys)
        tiles = block_masks.parse(self.block_mask, mask, block_q, block_k).visited
        return tiles.repeat(block_q, axis=0)[: self.n].repeat(block_k, axis=1)[:, : self.n_keys]

    def tiles(self) -> list[tuple[range, range]]:
        """The query rows and key rows of each tile that a query sees any of."""
        kept = self.kept()
        return [
            (range(i, min(i + self.block_q, self.n)), range(j, min(j + self.block_k, self.n_keys)))
            for i in range(0, self.n, self.block_q)
            for j in range(0, self.n_keys, self.block_k)
            if kept[i : i + self.block_q, j : j + self.block_k].any()
        ]


def brute_force(mask: Any, n: int, n_keys: int) -> np.ndarray:
    """True where a query sees a key, (n, n_keys): each rule by its definition, key by key."""
    kept = np.ones((n, n_keys), bool)
    if isinstance(mask, np.ndarray):
        return mask
    rules = [rule.replace(",", ":").split(":") for rule in (mask or "none").split("+")]
    there = keys_there(mask, n_keys)
    for kind, *rest in rules:
        numbers = [int(number) for number in rest]
        for i in range(n):
            for j in range(n_keys):
                kept[i, j] &= j < there and _sees(kind, numbers, i, j, i + there - n)
    return kept


def keys_there(mask: Any, n_keys: int) -> int:
    """How many keys there are, where a mask says that the cache is not full."""
    return min((int(number) for number in re.findall(r"keys:(\d+)", str(mask))), default=n_keys)


def _sees(kind: str, numbers: list[int], i: int, j: int, diagonal: int) -> bool:
    if kind == "window":
        left, right = numbers
        return (left == -1 or j >= diagonal - left) and (right == -1 or j <= diagonal + right)
    if kind == "document":
        document = [which for which, length in enumerate(numbers) for _ in range(length)]
        return document[i] == document[j]
    if kind == "cu_seqlens":
        return sum(i >= end for end in numbers) == sum(j >= end for end in numbers)
    if kind == "causal-top-left":
        return j <= i
    return kind in ("none", "keys") or j <= diagonal or (kind == "prefix" and j < numbers[0])


@st.composite
def mask_names(draw, n: int, n_keys: int) -> Any:
    """A mask that is a rule, over so many queries and keys, or several joined by +."""
    bound, there = st.integers(-1, max(n, n_keys)), draw(st.just(n_keys) | st.integers(1, n_keys))
    rules = [
        st.just("none"),
        st.just("causal"),
        st.just("causal-top-left"),
        st.just(f"keys:{there}"),
        st.builds(lambda left, right: f"window:{left},{right}", bound, bound),
        st.integers(1, there).map(lambda length: f"prefix:{length}"),
    ]
    if n == there:
        rules.append(st.builds(_documents, st.just(n), st.sets(st.integers(1, n), max_size=5), st.booleans()))
    found = draw(st.none() | st.lists(st.one_of(rules), min_size=1, max_size=3).map("+".join))
    return found if there == n_keys or (found and "keys" in found) else f"{found or 'none'}+keys:{there}"


def _documents(n: int, ends: set[int], by_ends: bool) -> str:
    stops = [0, *sorted({*ends, n})]
    if by_ends:
        return "cu_seqlens:" + ",".join(map(str, stops))
    return "document:" + ",".join(str(b - a) for a, b in zip(stops, stops[1:], strict=False))


BLOCK_MASKS = st.one_of(
    st.just("butterfly"),
    st.integers(0, 4).map(lambda far: f"local:{far}"),
    st.integers(1, 5).map(lambda far: f"strided:{far}"),
    st.builds(lambda tenths, seed: f"random:0.{tenths},{seed}", st.integers(1, 9), st.integers(0, 99)),
)


#: a logit that a type of 16 bits holds as it is
SINK = st.none() | st.integers(-8, 8).map(lambda halves: halves / 2)


@st.composite
def problems(
    draw, names=ALL, largest: int = 20, masks=None, dtype_names=tuple(dtypes.STORAGE), more: bool = False
) -> Problem:
    """Any problem; with any mask that is a rule, unless `masks` lists some; `more`: biases, sinks, v of any width."""
    rows = st.integers(1, largest)
    n, n_keys = draw(rows), draw(rows)
    n_keys = draw(st.sampled_from((n_keys, n)))
    return Problem(
        draw(st.sampled_from(names)),
        n,
        n_keys,
        draw(st.integers(1, 8)),
        draw(rows),
        draw(rows),
        draw(mask_names(n, n_keys) if masks is None else st.sampled_from(masks)),
        draw(st.sampled_from(dtype_names)),
        draw(st.integers(0, 1000)),
        draw(BLOCK_MASKS),
        draw(st.integers(1, 6)),
        *((draw(st.none() | st.integers(1, 8)), draw(st.booleans()), draw(SINK)) if more else ()),
    )


def attention(problem: Problem, scale: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """softmax(S)V and ln Σ e^S by the definition, in float64, where a sink is one more score, without a value.

    Without a key, and without a sink, 0 and −∞.
    """
    scores, v = problem.scores(scale), problem.inputs()[2].astype(np.float64)
    if problem.sink is not None:
        scores = np.hstack([scores, np.full((problem.n, 1), problem.sink)])
    top = np.maximum(scores.max(axis=1, keepdims=True), np.finfo(float).min)
    weights = np.exp(scores - top)
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (top + np.log(total))[:, 0]
    return weights[:, : problem.n_keys] @ v / np.maximum(total, 1), np.where(total[:, 0] > 0, lse, -np.inf)


def gradients(problem: Problem, scale: float | None = None) -> dict[str, np.ndarray]:
    """dQ, dK and dV by the definition, in float64: the derivatives of Σ dO∘O."""
    q, k, v = (x.astype(np.float64) for x in problem.inputs())
    do, scale = problem.gradient().astype(np.float64), problem.d**-0.5 if scale is None else scale
    O, LSE = attention(problem, scale)
    p = np.exp(np.minimum(problem.scores(scale) - np.maximum(LSE, -1e300)[:, None], 0))
    ds = p * (do @ v.T - (do * O).sum(axis=1, keepdims=True))
    return {"dQ": ds @ k * scale, "dK": ds.T @ q * scale, "dV": p.T @ do}
