"""Attention as one differentiable operation of torch, in two ways that give the same.

Outside of a trace it is an autograd.Function, which costs the host little. Where somebody traces, transforms or
pretends (torch.compile, torch.export, torch.func, fake tensors), it is an operation that is registered with
`torch.library`, so that it is seen whole.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.forward_ad import unpack_dual
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from . import checks
from .flash2_backward import gradients
from .flash2_forward import attend
from .launch import like
from .problem import Problem

#: what has the derivatives that this has not
_INSTEAD = "use scaled_dot_product_attention under torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"


def attention(
    problem: Problem,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    starts_q: torch.Tensor | None = None,
    starts_k: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """o and lse of a checked problem, differentiable by q, k, v and sinks. Raises ValueError for other derivatives."""
    tensors = q, k, v, attn_mask, sinks, starts_q, starts_k
    if not traced(*tensors):
        found: tuple[torch.Tensor, torch.Tensor] = _Attention.apply(problem, *tensors)
        return found
    if not torch.compiler.is_compiling() and any(_has_tangent(x) for x in tensors if x is not None):
        _refuse_tangents()
    given = *tensors, problem.n, problem.m, problem.left, problem.right, problem.scale, problem.softcap
    found = _Transformed.apply(*given) if _transformed() else _forward(*given)
    return found


def traced(*tensors: torch.Tensor | None) -> bool:
    """Whether somebody looks on, who has to see one operation: a compiler, a transform, a mode, a tensor of its own."""
    return (
        torch.compiler.is_compiling()
        or is_in_torch_dispatch_mode()
        or torch._C._len_torch_function_stack() > 0
        or _transformed()
        or not _SEEN_THROUGH.issuperset(map(type, tensors))
    )


#: tensors that are no more than that
PLAIN = {torch.Tensor, torch.nn.Parameter}
_SEEN_THROUGH = {*PLAIN, type(None)}


def _transformed() -> bool:
    """Whether torch.func is at work: grad, vmap."""
    return torch._C._functorch.maybe_current_level() is not None and not torch.compiler.is_compiling()


def _has_tangent(x: torch.Tensor) -> bool:
    """Whether x is a dual number, whose tangent the operation would drop without a word."""
    try:
        return unpack_dual(x).tangent is not None
    except RuntimeError:  # torch cannot look into a tensor that torch.func.vmap made of one
        return True


def _refuse_tangents() -> None:
    raise ValueError(f"flash_attention has no forward-mode derivatives (torch.func.jvp): {_INSTEAD}")


def _refuse_second() -> None:
    raise ValueError(f"flash_attention has no second derivatives (create_graph=True): {_INSTEAD}")


# ---- where nobody traces


class _Attention(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, problem: Problem, q: Any, k: Any, v: Any, *more: Any) -> Any:
        o, lse = _attend(problem, q, k, v, *more)
        ctx.problem = problem
        ctx.save_for_backward(q, k, v, o, lse, *more)
        ctx.set_materialize_grads(False)
        return o, lse

    @staticmethod
    def backward(ctx: Any, do: Any, dlse: Any) -> Any:
        given = do, dlse, *ctx.saved_tensors
        # with create_graph=True somebody may differentiate what follows, and has to be told
        dq, dk, dv, dsinks = (_Gradients.apply if torch.is_grad_enabled() else _gradients)(ctx.problem, *given)
        return None, dq, dk, dv, None, dsinks, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        _refuse_tangents()


class _Gradients(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, problem: Problem, *given: Any) -> Any:
        return _gradients(problem, *given)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        _refuse_second()


def _attend(problem: Problem, q: Any, k: Any, v: Any, attn_mask: Any, sinks: Any, starts_q: Any, starts_k: Any) -> Any:
    starts = None if starts_q is None else (starts_q, starts_k)
    return attend(problem, q, k, v, attn_mask, sinks, starts)


def _gradients(
    problem: Problem, do: Any, dlse: Any, q: Any, k: Any, v: Any, o: Any, lse: Any, mask: Any, sinks: Any, *starts: Any
) -> Any:
    do = torch.zeros_like(o) if do is None else checks.readable(do, problem.kv_heads)
    return gradients(problem, do, q, k, v, o, lse, mask, sinks, None if starts[0] is None else starts, dlse=dlse)


# ---- where somebody does


@torch.library.custom_op("flashsteps::flash_attention", mutates_args=())
def _forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attn_mask: torch.Tensor | None,
    sinks: torch.Tensor | None,
    starts_q: torch.Tensor | None,
    starts_k: torch.Tensor | None,
    n: int,
    m: int,
    left: int,
    right: int,
    scale: float,
    softcap: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    problem = _problem(q, k, v, attn_mask, sinks, starts_q, n, m, left, right, scale, softcap)
    found: tuple[torch.Tensor, torch.Tensor] = _attend(problem, q, k, v, attn_mask, sinks, starts_q, starts_k)
    return found


@_forward.register_fake
def _forward_shapes(q: Any, k: Any, v: Any, *rest: Any) -> Any:
    return like(q, v.shape[3]), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("flashsteps::flash_attention_backward", mutates_args=())
def _backward(
    do: torch.Tensor,
    dlse: torch.Tensor | None,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    o: torch.Tensor,
    lse: torch.Tensor,
    attn_mask: torch.Tensor | None,
    sinks: torch.Tensor | None,
    starts_q: torch.Tensor | None,
    starts_k: torch.Tensor | None,
    n: int,
    m: int,
    left: int,
    right: int,
    scale: float,
    softcap: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    problem = _problem(q, k, v, attn_mask, sinks, starts_q, n, m, left, right, scale, softcap)
    dq, dk, dv, dsinks = _gradients(problem, do, dlse, q, k, v, o, lse, attn_mask, sinks, starts_q, starts_k)
    return dq, dk, dv, q.new_empty(0) if dsinks is None else dsinks


@_backward.register_fake
def _backward_shapes(
    do: Any, dlse: Any, q: Any, k: Any, v: Any, o: Any, lse: Any, attn_mask: Any, sinks: Any, *rest: Any
) -> Any:
    dsinks = q.new_empty(0) if sinks is None else torch.empty_like(sinks)
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), dsinks


def _problem(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attn_mask: torch.Tensor | None,
    sinks: torch.Tensor | None,
    starts: torch.Tensor | None,
    n: int,
    m: int,
    *options: Any,
) -> Problem:
    left, right, scale, softcap = options
    if starts is None:
        return checks.problem(
            q, k, v, window=(left, right), scale=scale, softcap=softcap or None, attn_mask=attn_mask, sinks=sinks
        )
    return checks.packed(
        q, k, v, starts.numel() - 1, n, m, window=(left, right), scale=scale, softcap=softcap or None, sinks=sinks
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    q, k, v, attn_mask, sinks, starts_q, starts_k, *ctx.options = inputs
    ctx.save_for_backward(q, k, v, *output, attn_mask, sinks, starts_q, starts_k)
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: Any, do: torch.Tensor | None, dlse: torch.Tensor | None, *, by: Any = _backward
) -> tuple[Any, ...]:
    saved = ctx.saved_tensors
    do = torch.zeros_like(saved[3]) if do is None else do
    dq, dk, dv, dsinks = by(do, dlse, *saved, *ctx.options)
    return dq, dk, dv, None, None if saved[6] is None else dsinks, *[None] * (2 + len(ctx.options))


def _differentiate_again(ctx: Any, *gradients: Any) -> None:
    _refuse_second()


_forward.register_autograd(_differentiate, setup_context=_save)
_backward.register_autograd(_differentiate_again)


# ---- where torch.func transforms, which doesn't take the derivative of an operation that is registered


class _Transformed(torch.autograd.Function):  # type: ignore[misc]
    generate_vmap_rule = True
    forward = staticmethod(_forward)

    setup_context = staticmethod(_save)

    @staticmethod
    def backward(ctx: Any, do: torch.Tensor | None, dlse: torch.Tensor | None) -> tuple[Any, ...]:
        return _differentiate(ctx, do, dlse, by=_TransformedGradients.apply)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        _refuse_tangents()


class _TransformedGradients(torch.autograd.Function):  # type: ignore[misc]
    generate_vmap_rule = True
    forward = staticmethod(_backward)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        _refuse_second()

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        _refuse_second()
