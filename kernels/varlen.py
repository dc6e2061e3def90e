"""`flash_attention_varlen`: attention over packed sequences of several lengths, as flash-attn has it.

The kernels of the other rooms do it: a program reads where its sequence begins, and goes on as if it were alone.
"""

from __future__ import annotations

from typing import Any

import torch

from . import checks
from .operation import attention

_NAMES = ("q", "k", "v")


def flash_attention_varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Each sequence's attention to its own keys. q (all queries, H, d), k (all keys, Hk, d), v (all keys, Hk, d_v).

    Sequence b has the queries cu_seqlens_q[b] to cu_seqlens_q[b + 1] − 1, and its keys likewise: int32, one more than
    there are sequences, in ascending order, on the device of q. No sequence is longer than max_seqlen_q and
    max_seqlen_k. Options are those of `flash_attention`, aligned to the bottom right of each sequence. Gives o (all
    queries, H, d_v), and with `return_lse` lse (H, all queries), float32; gradients flow through both.

    On a CPU the lengths are looked at; on a GPU nothing waits for them: there a query past max_seqlen_q gives NaN, as
    does one that is in no sequence. Raises ValueError for what makes no sense.
    """
    for name, x in zip(_NAMES, (q, k, v), strict=True):
        if not isinstance(x, torch.Tensor) or x.dim() != 3:
            said = tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
            raise ValueError(f"{name} is {said}: give a torch.Tensor (tokens, heads, head dimension)")
    for name, flag in {"causal": causal, "return_lse": return_lse}.items():
        if not isinstance(flag, bool):
            raise ValueError(f"{name} is {flag!r}: give True or False")
    n, m = checks.positive("max_seqlen_q", max_seqlen_q), checks.positive("max_seqlen_k", max_seqlen_k)
    _starts("cu_seqlens_q", cu_seqlens_q, n, q, "queries")
    _starts("cu_seqlens_k", cu_seqlens_k, m, k, "keys")
    if cu_seqlens_q.shape != cu_seqlens_k.shape:
        many = cu_seqlens_k.numel() - 1, cu_seqlens_q.numel() - 1
        raise ValueError(f"cu_seqlens_k has {many[0]} sequences, cu_seqlens_q {many[1]}: give as many of both")
    if torch.is_autocast_enabled(q.device.type):
        q, k, v = (x.to(torch.get_autocast_dtype(q.device.type)) for x in (q, k, v))
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    options: dict[str, Any] = {"causal": causal, "window": window, "scale": scale, "softcap": softcap, "sinks": sinks}
    problem = checks.packed(q, k, v, cu_seqlens_q.numel() - 1, n, m, **options)
    starts = cu_seqlens_q.contiguous(), cu_seqlens_k.contiguous()
    o, lse = attention(problem, q, k, v, None, sinks, *starts)
    return (o[0].transpose(0, 1), lse[0]) if return_lse else o[0].transpose(0, 1)


def _starts(name: str, starts: Any, longest: int, x: torch.Tensor, what: str) -> None:
    """Raises ValueError unless sequences begin where there are tokens, and are not longer than was said."""
    if not isinstance(starts, torch.Tensor) or starts.dim() != 1 or not starts.numel() or starts.dtype != torch.int32:
        raise ValueError(
            f"{name} is no tensor of int32 (sequences + 1,): give where each begins, and where the last ends"
        )
    if starts.device != x.device:
        raise ValueError(f"{name} is on {starts.device}, its tokens on {x.device}: move them to one device")
    if starts.device.type != "cpu" or torch.compiler.is_compiling():
        return
    lengths = starts.diff()
    if int(starts[0]) < 0 or int(starts[-1]) > x.shape[0] or bool((lengths < 0).any()):
        raise ValueError(f"{name} is {starts.tolist()}: give numbers from 0 to {x.shape[0]}, in ascending order")
    if lengths.numel() and int(lengths.max()) > longest:
        raise ValueError(
            f"{name} has a sequence of {int(lengths.max())} {what}: give max_seqlen_{name[-1]} as much, not {longest}"
        )
