"""`flash_attention`: the kernels as one differentiable operation of torch, to be used in a model.

It stands where `torch.nn.functional.scaled_dot_product_attention` does, and takes grouped heads as they are. The
operation is registered with `torch.library`, so that torch.compile sees it whole.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.forward_ad import unpack_dual

from . import checks
from .flash2_backward import backward
from .flash2_forward import forward


def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """softmax(q kᵀ · scale) v for each head, exactly, without ever storing a matrix of scores (FlashAttention-2).

    q (B, H, N, d), k and v (B, Hk, M, d) of float16, bfloat16 or float32, with d up to 256 and H a multiple of Hk: head
    h uses keys and values of head h // (H / Hk). Any strides will do if the last is 1. Gives o (B, H, N, d), laid out
    as q is; with `return_lse` also lse (B, H, N), float32: the natural logarithm of each row's sum of exponentials.

    Masks are aligned to the bottom right, as in flash-attn ≥ 2.1 (`is_causal=True` of torch's function is top left; for
    N = M they agree). `causal`: query i sees keys up to i + M − N. `window` (left, right): it sees keys from
    i + M − N − left to i + M − N + right, −1 for no bound; both may be given. `scale` is 1/√d unless given. `softcap`
    makes each scaled score softcap · tanh(score / softcap). A query that sees no key gives 0, and −∞ as lse; one whose
    scores overflow float32 gives NaN.

    Gradients flow through o and lse, once, and backwards: forward-mode and second derivatives are refused. On an H100
    dQ is summed in no fixed order, unless torch.use_deterministic_algorithms(True) was called. Under autocast, inputs
    are cast as for torch's own function: float64 stays what it is. Raises ValueError, one line, where an argument makes
    no sense, and for tensors on a CPU unless Triton's interpreter was asked for (TRITON_INTERPRET=1, before Python
    starts).
    """
    for name, x in {"q": q, "k": k, "v": v}.items():
        if not isinstance(x, torch.Tensor):
            raise ValueError(
                f"{name} is {type(x).__name__}: give a torch.Tensor (batch, heads, tokens, head dimension)"
            )
    if not torch.compiler.is_compiling() and any(map(_has_tangent, (q, k, v))):
        raise ValueError(f"flash_attention has no forward-mode derivatives (torch.func.jvp): {_INSTEAD}")
    if torch.is_autocast_enabled(q.device.type):
        dtype = torch.get_autocast_dtype(q.device.type)
        q, k, v = (x if x.dtype == torch.float64 else x.to(dtype) for x in (q, k, v))
    problem = checks.problem(q, k, v, causal=causal, window=window, scale=scale, softcap=softcap)
    if not isinstance(return_lse, bool):
        raise ValueError(f"return_lse is {return_lse!r}: give True or False")
    o, lse = _forward(q, k, v, problem.left, problem.right, problem.scale, problem.softcap)
    return (o, lse) if return_lse else o


def _has_tangent(x: torch.Tensor) -> bool:
    """Whether x is a dual number, whose tangent the operation would drop without a word."""
    try:
        return unpack_dual(x).tangent is not None
    except RuntimeError:  # torch cannot look into a tensor that torch.func.vmap made of one
        return True


#: what has the derivatives that this has not
_INSTEAD = "use scaled_dot_product_attention under torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"


@torch.library.custom_op("flashsteps::flash_attention", mutates_args=())
def _forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, left: int, right: int, scale: float, softcap: float
) -> tuple[torch.Tensor, torch.Tensor]:
    return forward(q, k, v, **_options(left, right, scale, softcap))


@_forward.register_fake
def _forward_shapes(q: Any, k: Any, v: Any, left: Any, right: Any, scale: Any, softcap: Any) -> Any:
    return torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("flashsteps::flash_attention_backward", mutates_args=())
def _backward(
    do: torch.Tensor,
    dlse: torch.Tensor | None,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    o: torch.Tensor,
    lse: torch.Tensor,
    left: int,
    right: int,
    scale: float,
    softcap: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    if do.stride(-1) != 1:
        do = do.contiguous()  # the gradient of a sum, say, is one number, expanded
    if checks.far(do, k.shape[1]):
        do = do.transpose(1, 2).contiguous().transpose(1, 2)
    return backward(do, q, k, v, o, lse, dlse=dlse, **_options(left, right, scale, softcap))


@_backward.register_fake
def _backward_shapes(do: Any, dlse: Any, q: Any, k: Any, v: Any, *rest: Any) -> Any:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _options(left: int, right: int, scale: float, softcap: float) -> dict[str, Any]:
    return {"window": (left, right), "scale": scale, "softcap": softcap or None}


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    q, k, v, *ctx.options = inputs
    ctx.save_for_backward(q, k, v, *output)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, do: torch.Tensor | None, dlse: torch.Tensor | None) -> tuple[Any, ...]:
    q, k, v, o, lse = ctx.saved_tensors
    do = torch.zeros_like(o) if do is None else do
    return *_backward(do, dlse, q, k, v, o, lse, *ctx.options), None, None, None, None


def _differentiate_again(ctx: Any, *gradients: Any) -> Any:
    raise ValueError(f"flash_attention has no second derivatives (create_graph=True): {_INSTEAD}")


_forward.register_autograd(_differentiate, setup_context=_save)
_backward.register_autograd(_differentiate_again)
