"""What can do attention here, by name: each is a function of q, k and v that autograd can go back through.

Torch's own (`scaled_dot_product_attention` with each of its backends, FlexAttention), standard attention written out in
torch and in NumPy, and this package's kernel. The causal mask is over as many queries as keys, where all agree on it.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from flashsteps.errors import unknown

from .machine import plain

#: q, k and v, (B, H, N, d) each, to O of the same shape
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


class Unavailable(Exception):
    """This backend cannot run here: the message says why."""


class Backend(NamedTuple):
    """A way to do attention.

    `make(n, causal, device)` gets it ready for N queries and keys, or raises Unavailable. `matrices`: how many N×N
    matrices a head has in memory at one time in a pass forward and back; 0 where it has none. `compiled`: torch.compile
    makes it anew for each shape, with gradients or without.
    """

    make: Callable[[int, bool, torch.device], Attention]
    matrices: int = 0
    compiled: bool = False


# ---- standard attention, written out


def standard(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d)V, with S and P in memory; `hidden` (N, N) says which keys a query does not see."""
    s = (q @ k.mT) * q.shape[-1] ** -0.5
    if hidden is not None:
        s = s.masked_fill(hidden, float("-inf"))
    return torch.softmax(s, dim=-1) @ v


def _standard(n: int, causal: bool, device: torch.device) -> Attention:
    hidden = torch.ones(n, n, dtype=torch.bool, device=device).triu(1) if causal else None
    return lambda q, k, v: standard(q, k, v, hidden)


class _Numpy(torch.autograd.Function):  # type: ignore[misc] # torch is not read
    """Standard attention in NumPy, forward and back."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        Q, K, V = (x.detach().numpy() for x in (q, k, v))
        scale = np.asarray(Q.shape[-1] ** -0.5, Q.dtype)
        S = (Q @ K.swapaxes(-1, -2)) * scale
        if causal:
            S[..., np.triu(np.ones(S.shape[-2:], bool), 1)] = -np.inf
        S -= S.max(-1, keepdims=True)
        P = np.exp(S, out=S)
        P /= P.sum(-1, keepdims=True)
        ctx.kept = Q, K, V, P, scale
        return torch.from_numpy(P @ V)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        Q, K, V, P, scale = ctx.kept
        dO = grads[0].numpy()
        dV = P.swapaxes(-1, -2) @ dO
        dS = dO @ V.swapaxes(-1, -2)
        dS -= (P * dS).sum(-1, keepdims=True)
        dS *= P
        dS *= scale
        return torch.from_numpy(dS @ K), torch.from_numpy(dS.swapaxes(-1, -2) @ Q), torch.from_numpy(dV), None


def _numpy(n: int, causal: bool, device: torch.device) -> Attention:
    if device.type != "cpu":
        raise Unavailable("NumPy runs on the CPU")

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if q.dtype not in (torch.float32, torch.float64):
            raise Unavailable("NumPy has fast products of float32 and float64 alone")
        out: Tensor = _Numpy.apply(q, k, v, causal)
        return out

    return attention


# ---- torch's own


#: the backends of scaled_dot_product_attention
TORCH = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


def held(backend: str, *given: Tensor, **options: Any) -> Tensor:
    """scaled_dot_product_attention of what is given, held to one of its backends."""
    with sdpa_kernel(TORCH[backend]):
        out: Tensor = scaled_dot_product_attention(*given, **options)
        return out


def sdpa(backend: str, *, shared: bool = False) -> Callable[[int, bool, torch.device], Attention]:
    """The same, to be made ready; `shared`: heads of queries share those of keys."""

    def make(n: int, causal: bool, device: torch.device) -> Attention:
        if device.type == "cpu" and backend not in ("math", "flash"):
            raise Unavailable("torch has it for GPUs alone")
        return partial(held, backend, is_causal=causal, enable_gqa=shared)

    return make


def _flex(n: int, causal: bool, device: torch.device) -> Attention:
    if device.type == "cpu":
        raise Unavailable("torch compiles it with gradients for GPUs alone")
    flex: Any = importlib.import_module("torch.nn.attention.flex_attention")

    def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return i >= j

    torch.compiler.reset()  # a shape more than torch compiles of one function would be left uncompiled
    compiled = torch.compile(flex.flex_attention, dynamic=False, fullgraph=True)
    blocks = flex.create_block_mask(seen, None, None, n, n, device=str(device)) if causal else None

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = compiled(q, k, v, block_mask=blocks)
        return out

    return attention


# ---- this package's own


def _flashsteps(n: int, causal: bool, device: torch.device) -> Attention:
    if device.type == "cpu":
        raise Unavailable("on a CPU Triton's interpreter runs the kernel to check it: its time says nothing")
    try:
        flash_attention: Any = importlib.import_module(f"{__package__}".rpartition(".")[0]).flash_attention
    except ImportError as error:
        raise Unavailable(f"it needs triton: {plain(error)}") from error

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = flash_attention(q, k, v, causal=causal)
        return out

    return attention


#: all of them, in the order of tables and legends
BACKENDS = {
    "flashsteps": Backend(_flashsteps),
    "flash": Backend(sdpa("flash")),
    "cudnn": Backend(sdpa("cudnn")),
    "efficient": Backend(sdpa("efficient")),
    "flex": Backend(_flex, compiled=True),
    "math": Backend(sdpa("math"), matrices=5),
    "standard": Backend(_standard, matrices=5),
    "numpy": Backend(_numpy, matrices=3),
}


def chosen(names: Iterable[str]) -> dict[str, Backend]:
    """Those of these names, in their own order. Raises ValueError for a name that isn't known."""
    wanted = list(names)
    for name in wanted:
        if name not in BACKENDS:
            raise ValueError(unknown("backend", name, BACKENDS))
    return {name: backend for name, backend in BACKENDS.items() if name in wanted}


# ---- what goes wrong


def out_of_memory(error: BaseException) -> bool:
    """Was there too little memory, by whatever name torch, NumPy or a library has for it?"""
    signs = "out of memory|can't allocate memory|unable to allocate|alloc_failed|not enough memory"
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(re.search(signs, str(error), re.IGNORECASE))


def reason(error: BaseException, heard: Iterable[warnings.WarningMessage]) -> str:
    """Why it did not run, in one line: torch's error says only that a backend won't, its warnings say why."""
    said = [re.sub(r"\s*\(Triggered internally.*", "", str(one.message), flags=re.DOTALL) for one in heard]
    said = [text for text in said if not re.search(r"not used because|runtime disabled", text)]
    if re.search(r"no (available|viable) (kernel|backend)", str(error), re.IGNORECASE) and said:
        return plain("; ".join(dict.fromkeys(said)))
    return plain(error)
