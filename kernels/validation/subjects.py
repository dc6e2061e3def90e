"""The kernels as `validate` meets them: how each is run on a case, and what its tensors are in the reference's words.

Rows are packed as `flashsteps.machine.heads` packs them: key-value head (batch entry by batch entry), token, head of
the group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

import flashsteps as fs
from flashsteps.inputs.layouts import described
from flashsteps.machine import pages
from flashsteps.machine.block_masks import parse as parse_block_mask
from flashsteps.machine.masks import parse as parse_mask
from flashsteps.runs.record import OF_KEYS
from flashsteps.trace.trace import Trace

from .. import flash2_forward
from ..flash2_backward import backward
from ..flash2_block_sparse import block_sparse
from ..flash2_forward import forward
from ..paged import paged_decode
from ..recorder.record import record_kernels
from ..recorder.tape import Program
from ..recorder.tensors import Argument, Scores, Vector
from ..recorder.trace_of import trace_of
from ..split_kv import split_kv_decode
from ..targets import configs
from . import standard
from .cases import Case, Shape

#: the variables of the kernels whose values are steps of a trace, with their slots and axes: for `record_kernels`
SLOTS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("q", "k", "v")},
    **{"add_tile.s": ("S", "q", "k"), "p": ("P", "q", "k"), "alpha": ("alpha", "q|o"), "merge_kernel.w": ("w", "q|o")},
    **{"m_i": ("m_i", "q|o"), "m_new": ("m_i", "q|o"), "l_i": ("l_i", "q|o"), "acc": ("acc", "q|o", "d")},
    **{"o": ("acc", "q", "d"), "lse": ("LSE", "q"), "merge_kernel.o": ("o", "o", "d"), "merge_kernel.lse": ("lse",)},
}
BACKWARD_SLOTS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("q", "k", "v", "o", "do")},
    **{"lse": ("lse", "q"), "D_i": ("D", "q|o"), "dk": ("dk", "k", "d"), "dv": ("dv", "k", "d")},
    **{"dq": ("dq", "q", "d")},
    **{name: (slot, "q", "k") for name, slot in {"s": "S", "c": "C", "p": "P", "dp": "dP", "ds": "dS"}.items()},
    **{f"add_queries.{name}": (slot, "k", "q")
       for name, slot in {"s": "S", "c": "C", "p": "P", "dp": "dP", "ds": "dS"}.items()},
}  # fmt: skip

#: rows of a page, where a case doesn't say
PAGE = 16

#: what the kernels' loops are called, and the functions that only move a tile
LOOPS = {"i": ("i", 1), "split_kernel.s": ("s", 1), "merge_kernel.s": ("s", 1), "j": ("j", 1)}
THROUGH = (
    *("load_tile", "store_tile", "tile_at", "load_statistic", "store_statistic", "statistic_at", "rows_inside"),
    *("load_bias", "first_scores"),
    *("rounded", "part", "work", "visited", "seeing", "score_tile", "lost", "with_bias", "one_over", "natural_lse"),
    "tanh",
)


def tensors(case: Case) -> standard.Tensors:
    """q, k, v, do, a bias and sinks of a case: standard normal numbers, in its type, on the CPU."""
    shape, rng = case.shape, np.random.default_rng(case.seed)
    queries, keys = (shape.batch, shape.heads, shape.n), (shape.batch, shape.kv_heads, shape.m)
    d_v = case.d_v or shape.d
    sizes: list[tuple[int, ...] | None] = [(*queries, shape.d), (*keys, shape.d), (*keys, d_v), (*queries, d_v)]
    of_heads = {"shared": 1, "heads": shape.heads}
    sizes.append((1, of_heads[case.bias], shape.n, shape.m) if case.bias else None)
    sizes.append((shape.heads,) if case.sinks else None)
    made = (size and torch.from_numpy(rng.standard_normal(size, dtype=np.float32)) for size in sizes)
    return standard.Tensors(*made).to(getattr(torch, case.dtype))


def keep(case: Case) -> np.ndarray:
    """True where a query sees a key, (n, m)."""
    shape, mask = case.shape, parse_mask(case.mask, case.shape.n, case.shape.m)
    seen = mask.keep(slice(0, shape.n), slice(0, shape.m))
    if case.kernel == "block-sparse":
        assert case.block_q
        assert case.block_k
        bq, bk = min(case.block_q, shape.n), min(case.block_k, shape.m)
        visited = parse_block_mask(case.block_mask, mask, bq, bk).visited
        seen &= visited.repeat(bq, axis=0)[: shape.n].repeat(bk, axis=1)[:, : shape.m]
    return seen


def reference(case: Case, given: standard.Tensors, block_q: int | None, block_k: int | None) -> Trace:
    """The reference's trace of the same numbers, with these blocks."""
    q, k, v, do = (x.float().flatten(0, 1).numpy() for x in given[:4])
    if case.shape.batch * case.shape.heads == 1:
        q, k, v, do = q[0], k[0], v[0], do[0]
    extra: dict[str, Any] = {"softcap": case.softcap, "scale": case.scale}
    if given.bias is not None:
        extra["bias"] = (given.bias[0, 0] if case.bias == "shared" else given.bias[0]).float().numpy()
    if given.sinks is not None:
        extra["sinks"] = given.sinks.float().numpy()
    extra |= {"backward": {"do": do}, "block-sparse": {"block_mask": case.block_mask},
              "split-kv-decode": {"splits": case.splits}}.get(case.kernel, {})  # fmt: skip
    return fs.record(
        case.algorithm, q, k, v, block_q=block_q, block_k=block_k, mask=case.mask, dtype=case.dtype, **extra
    )


# ---- rows


def pack(x: torch.Tensor, shape: Shape) -> torch.Tensor:
    """A view of x (batch, heads, n, …) as (batch, kv_heads, n, group, …): its leading dimensions count rows."""
    return x.unflatten(1, (shape.kv_heads, shape.group)).transpose(2, 3)


def rows(x: torch.Tensor, shape: Shape) -> np.ndarray:
    """x (batch, heads, n, d) or (batch, heads, n) of queries, or of keys with their heads, as rows of HBM, float64."""
    packed = pack(x, shape) if x.shape[1:3] == (shape.heads, shape.n) else x
    wide = x.dim() == 4
    found: np.ndarray = (packed.flatten(0, -2) if wide else packed.flatten()).double().cpu().numpy()
    return found


# ---- runs


class Subject(NamedTuple):
    """A case, ready to run: `launch` runs its kernel and gives its outputs; `tensors` are those that it may touch."""

    launch: Callable[..., dict[str, torch.Tensor]]
    tensors: Mapping[str, Any]


def subject(
    case: Case,
    given: standard.Tensors,
    lists: tuple[torch.Tensor, torch.Tensor] | None = None,
    table: np.ndarray | None = None,
) -> Subject:
    """A case on these tensors. What its forward pass saves, and a cache in pages, are made beforehand.

    `lists` are starts and columns, for another block mask than the case's; `table` says in which pages keys are.
    """
    shape, (q, k, v, do, bias, sinks) = case.shape, given
    options, blocks = _options(case), _blocks(case)
    of_scores = {"attn_mask": bias, "sinks": sinks}

    def of_queries(x: torch.Tensor) -> Any:
        return pack(x, shape) if x.dim() == 4 else Vector(pack(x, shape))

    seen = {"Q": of_queries(q), "K": k, "V": v}
    if bias is not None:
        seen["bias"] = Scores(bias[0, 0] if case.bias == "shared" else pack(bias, shape))
    if sinks is not None:
        seen["sinks"] = Vector(sinks)
    out = {"O": Argument("O", of_queries), "LSE": Argument("LSE", of_queries)}
    match case.kernel:
        case "forward":
            options |= of_scores
            return Subject(lambda **more: _forward(forward(q, k, v, **options, **blocks, **more)), seen | out)
        case "backward":
            options |= of_scores
            o, lse = forward(q, k, v, **options, **blocks)
            saved = {"O": of_queries(o), "LSE": of_queries(lse), "dO": of_queries(do)}
            made = {"dQ": Argument("dQ", of_queries), "dK": Argument("dK"), "dV": Argument("dV")}
            return Subject(
                lambda: dict(zip(made, backward(do, q, k, v, o, lse, **options, **blocks), strict=True)),
                seen | saved | made | {"D": Argument("D_", of_queries)},
            )
        case "block-sparse":
            mask, listed = lists or case.block_mask, {name: Argument(name) for name in ("starts", "columns")}
            return Subject(lambda: _forward(block_sparse(q, k, v, mask, **blocks, **options)), seen | listed | out)
        case "split-kv-decode":
            partial = {"O_s": Argument("O_s"), "LSE_s": Argument("LSE_s", Vector)}
            return Subject(
                lambda: _forward(split_kv_decode(q, k, v, splits=case.splits, **options, **blocks)),
                seen | out | partial,
            )
    page = case.block_k or PAGE
    table = pages.table(table, None, shape.m, page)
    kp, vp = (_pool(x, table, page) for x in (k, v))
    where = torch.from_numpy(table).to(q.device)[None]
    cache = {"K": kp.permute(2, 0, 1, 3), "V": vp.permute(2, 0, 1, 3), "table": where[0]}
    return Subject(
        lambda: _forward(paged_decode(q, kp, vp, where, shape.m, block_q=case.block_q, **options)), seen | cache | out
    )


def empty_log(case: Case, given: standard.Tensors) -> torch.Tensor:
    """A log for the forward kernel on a case: `launch(trace=log)` fills it, `trace_log.read` reads it."""
    of_scores = {"attn_mask": given.bias, "sinks": given.sinks}
    return flash2_forward.empty_log(given.q, given.k, given.v, **_options(case), **of_scores, **_blocks(case))


def _options(case: Case) -> dict[str, Any]:
    return {"causal": case.causal, "window": case.window, "softcap": case.softcap, "scale": case.scale}


def _blocks(case: Case) -> dict[str, Any]:
    blocks: dict[str, Any] = {"block_q": case.block_q, "block_k": case.block_k}
    if case.descriptors:
        blocks["config"] = configs.Config(64, 64, descriptors=True)  # of these sizes where none are given
    return blocks


def _forward(both: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(zip(("O", "LSE"), both, strict=True))


def _pool(x: torch.Tensor, table: np.ndarray, page: int) -> torch.Tensor:
    """Keys or values (1, kv_heads, m, d) in a pool (pages, page, kv_heads, d), and 0 in the pages of others."""
    pool = x.new_zeros(pages.pool(x.shape[2], page) * page, x.shape[1], x.shape[3])
    at = torch.from_numpy(table).long().repeat_interleave(page) * page + torch.arange(page).repeat(len(table))
    pool[at[: x.shape[2]].to(x.device)] = x[0].transpose(0, 1)
    return pool.unflatten(0, (-1, page))


def _slots(kernel: str) -> dict[str, tuple[str, ...]]:
    """What is watched of a kernel."""
    if kernel == "backward":
        return BACKWARD_SLOTS
    runs = ("", "add_tile", *["merge_kernel"] * (kernel == "split-kv-decode"))
    return {name: spec for name, spec in SLOTS.items() if name.rpartition(".")[0] in runs}


def recorded(case: Case, given: standard.Tensors, reference: Trace, values: bool = True, **more: Any) -> Trace:
    """The trace of a case's kernel, as the interpreter runs it, numbered as the reference numbers its programs.

    Without `values` only what it loads and stores is in it. `more` is for `subject`.
    """
    ready, shape = subject(case, given, **more), case.shape
    with record_kernels(
        slots=_slots(case.kernel) if values else {}, loops=LOOPS, through=THROUGH, **ready.tensors
    ) as tape:
        outputs = ready.launch()

    def part(program: Program) -> int:
        return program.grid[2] * shape.kv_heads + program.grid[1]

    axes = described(reference.meta)
    computing = reference.meta["computing"]
    plain = {
        name: x.flatten(0, 1).float().numpy().astype(computing if name == "LSE" else reference.initial["Q"].dtype)
        for name, x in outputs.items()
    }
    return trace_of(
        tape,
        reference.meta | {"kernel": case.kernel},
        {name: axes.laid_out(x, of_keys=name in OF_KEYS) for name, x in plain.items()},
        order=lambda program: (part(program), program.launch, program.grid[0]),
        part=part if shape.parts > 1 else None,
    )
