"""What a caller gave, checked, and what follows from it: every error names the argument and says what to do."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton

from flashsteps import scalars

from .problem import Problem
from .targets.target import interpreted, pretended
from .tile import ADDED, ADDED_BY_KEY, BOOLEAN, BOOLEAN_BY_KEY

#: the largest head dimension: beyond it, no tile of Q, K and V fits on chip
LARGEST = 256

DTYPES = {torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float32: "float32"}

Window = tuple[int, int]

#: of so many problems it is kept what follows from them: a model asks for the same few again and again
KEPT = 1024


def problem(
    q: Any,
    k: Any,
    v: Any,
    *,
    causal: Any = False,
    window: Any = None,
    scale: Any = None,
    softcap: Any = None,
    attn_mask: Any = None,
    sinks: Any = None,
    names: tuple[str, str, str] = ("q", "k", "v"),
) -> Problem:
    """The problem of q (B, H, N, d), k (B, Hk, M, d) and v (B, Hk, M, d_v), so named.

    `attn_mask` (B | 1, H | 1, N | 1, M | 1) and `sinks` (H,) are as `flash_attention` has them. Raises
    ValueError, one line, where they make no problem.
    """
    for name, x in zip(names, (q, k, v), strict=True):
        matrix_of_heads(name, x)
    of_q, of_k, of_v = q.shape, k.shape, v.shape
    for name, x in zip(names[1:], (k, v), strict=True):
        same(name, x, names[0], q)
        if x.shape[0] != of_q[0]:
            raise ValueError(f"{name} has batch {x.shape[0]}, {names[0]} {of_q[0]}: give as many of both")
    if of_k[3] != of_q[3]:
        raise ValueError(f"{names[1]} has head dimension {of_k[3]}, {names[0]} {of_q[3]}: make them the same")
    if of_v[:3] != of_k[:3]:
        raise ValueError(f"{names[2]} has shape {tuple(of_v)}, {names[1]} {tuple(of_k)}: give a value for each key")
    near(names[0], q, of_k[1])
    widths("head dimension", (names[0], of_q[3]), (names[2], of_v[3]))
    options = options_of(of_q, of_k, causal, window, scale, softcap, names)
    sizes = of_q[0], of_q[1], of_k[1], of_q[2], of_k[2], of_q[3], of_v[3]
    kind = 0 if attn_mask is None else mask_kind(attn_mask, (*of_q[:3], of_k[2]), q, names[0])
    if sinks is not None:
        heads_of(sinks, q, names[0])
    return Problem(*sizes, *options, q.dtype, q.device, kind, sinks is not None)


def packed(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    sequences: int,
    n: int,
    m: int,
    *,
    causal: Any = False,
    window: Any = None,
    **more: Any,
) -> Problem:
    """The problem of packed tokens, q (1, H, all of them, d) …: so many sequences of up to n tokens and m keys.

    Raises ValueError, one line, where they make none.
    """
    whole = problem(q, k, v, **more)
    left, right = bounds(n, m, causal, window)
    n, m = min(n, whole.n), min(m, whole.m)
    return whole._replace(batch=sequences, n=n, m=m, left=left, right=right, packed=whole.n)


def widths(what: str, *named: tuple[str, int]) -> None:
    """Raises ValueError where a row is wider than fits on chip, or has no number."""
    for name, d in named:
        if not 1 <= d <= LARGEST:
            raise ValueError(f"{name} has {what} {d}: give 1 to {LARGEST}")


def mask_kind(mask: Any, scores: tuple[int, ...], q: torch.Tensor, name: str) -> int:
    """BOOLEAN or ADDED, by key or not, as in `tile`, of a mask of these scores (B, H, N, M).

    Raises ValueError unless it has a number for each of them, or 1 for an axis.
    """
    if not isinstance(mask, torch.Tensor):
        raise ValueError(f"attn_mask is {type(mask).__name__}: give a torch.Tensor of bool or float, or None")
    if mask.dtype not in (torch.bool, torch.float32, q.dtype):
        holds = str(mask.dtype)[6:]
        raise ValueError(
            f"attn_mask holds {holds}: give bool (True: may be seen), or float32, which is added to scores"
        )
    if mask.dim() != 4 or any(n not in (1, size) for n, size in zip(mask.shape, scores, strict=False)):
        raise ValueError(f"attn_mask has shape {tuple(mask.shape)}: give {tuple(scores)}, or 1 for any of them")
    if mask.device != q.device:
        raise ValueError(f"attn_mask is on {mask.device}, {name} on {q.device}: move them to one device")
    by_key = mask.shape[1] == mask.shape[2] == 1 < scores[2]
    boolean, added = (BOOLEAN_BY_KEY, ADDED_BY_KEY) if by_key else (BOOLEAN, ADDED)
    return int((boolean if mask.dtype == torch.bool else added).value)


def describable(*tensors: torch.Tensor) -> bool:
    """Whether TMA can fetch from each of these (B, heads, n, d): rows lie at multiples of 16 bytes, none repeated."""
    return all(x.data_ptr() % 16 == 0 and _regular(x.shape, x.stride(), x.element_size()) for x in tensors)


@lru_cache(KEPT)
def _regular(shape: torch.Size, strides: tuple[int, ...], size: int) -> bool:
    return all(
        n == 1 or (stride > 0 and stride * size % 16 == 0) for n, stride in zip(shape[:3], strides, strict=False)
    )


def with_mask(problem: Problem, mask: torch.Tensor | None) -> Problem:
    """The problem, which knows now whether TMA can fetch tiles of the mask that is really there.

    It can where a mask has all rows, each a whole number of 16 bytes apart from the next.
    """
    if mask is None or mask.shape[2:] != (problem.n, problem.m) or mask.stride(3) != 1:
        return problem
    return problem._replace(mask_in_tiles=problem.m * mask.element_size() >= 16 and describable(mask))


def heads_of(sinks: Any, q: torch.Tensor, name: str) -> None:
    """Raises ValueError unless sinks has a number for each head of q, on the same device."""
    if not isinstance(sinks, torch.Tensor) or sinks.dtype not in DTYPES:
        raise ValueError(f"sinks is no tensor of {', '.join(DTYPES.values())}: give one number for each head of {name}")
    shaped("sinks", sinks, (q.shape[1],), sinks.dtype, q.device)


def options_of(
    q_shape: tuple[int, ...],
    k_shape: tuple[int, ...],
    causal: Any,
    window: Any,
    scale: Any,
    softcap: Any,
    names: tuple[str, ...] = ("q", "k"),
) -> tuple[int, int, float, float]:
    """left, right, scale and softcap (0 for none). Raises ValueError, one line, for what makes no sense."""
    d = q_shape[-1]
    if not k_shape[1] or not q_shape[1] or q_shape[1] % k_shape[1]:
        q, k = names[:2]
        raise ValueError(
            f"{k} has {k_shape[1]} heads, {q} {q_shape[1]}: those of {q} must be a multiple of those of {k}"
        )
    left, right = bounds(q_shape[2], k_shape[2], causal, window)
    scale = d**-0.5 if scale is None else _number("scale", scale, "None for 1/√d")
    return left, right, scale, 0.0 if softcap is None else _number("softcap", softcap, "None for none")


def bounds(n: int, m: int, causal: Any, window: Any) -> Window:
    """How many keys a query sees to the left and to the right of the diagonal, −1 for all. Raises ValueError."""
    if not isinstance(causal, bool):
        raise ValueError(f"causal is {causal!r}: give True or False")
    left, right = (-1, -1) if window is None else _window(window)
    # no query is further from a key than n + m: a larger bound is none
    return left if left < n + m else -1, 0 if causal else right if right < n + m else -1


def _window(window: Any) -> Window:
    numbers = tuple(map(scalars.plain, window)) if isinstance(window, (tuple, list)) else ()
    if len(numbers) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n >= -1 for n in numbers):
        raise ValueError(f"window is {window!r}: give (left, right), whole numbers, 0 or more, or -1 for no bound")
    return numbers[0], numbers[1]


def _number(name: str, given: Any, none: str) -> float:
    if not (number := scalars.finite(given) or 0) > 0:
        raise ValueError(f"{name} is {given!r}: give a finite number above 0, or {none}")
    return number


def matrix_of_heads(name: str, x: Any, axes: str = "(batch, heads, tokens, head dimension)") -> None:
    """Raises ValueError unless x is a tensor of four dimensions that the kernels can read, on a device they run on."""
    if not isinstance(x, torch.Tensor):
        raise ValueError(f"{name} is {type(x).__name__}: give a torch.Tensor {axes}")
    if x.dim() != 4:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: give {axes}")
    if x.dtype not in DTYPES:
        raise ValueError(f"{name} holds {str(x.dtype)[6:]}: give {', '.join(DTYPES.values())}")
    if x.shape[3] > 1 and x.stride(3) != 1 and x.numel():
        raise ValueError(f"{name} has stride {x.stride(3)} in its last dimension: call {name}.contiguous() first")
    runs_on(name, x)


def far(x: torch.Tensor, kv_heads: int) -> bool:
    """Whether the heads of one group lie so far apart that a kernel can't count the elements between in 32 bits."""
    return bool((x.shape[1] // max(kv_heads, 1) - 1) * x.stride(1) + LARGEST * x.stride(2) >= 1 << 31)


def readable(x: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """x (B, H, N, d) in an order in which the kernels can read it, copied if it has to be."""
    if x.stride(-1) != 1:
        x = x.contiguous()  # the gradient of a sum, say, is one number, expanded
    return x.transpose(1, 2).contiguous().transpose(1, 2) if far(x, kv_heads) else x


def near(name: str, x: torch.Tensor, kv_heads: int) -> None:
    """Raises ValueError where the heads of one group lie too far apart."""
    if far(x, kv_heads):
        better = f"{name}.transpose(1, 2).contiguous().transpose(1, 2)"
        raise ValueError(f"{name} has heads of one group 2³¹ elements apart or more: give {better}")


def runs_on(name: str, x: torch.Tensor) -> None:
    """Raises ValueError where no kernel can run on the device of x."""
    kind = x.device.type
    if kind == "cuda" or (kind == "cpu" and (interpreted() or pretended() is not None)):
        return
    if kind == "cpu":
        raise ValueError(
            f"{name} is on the CPU: move it to a GPU, or set TRITON_INTERPRET=1 before Python starts (slow)"
        )
    raise ValueError(f"{name} is on {kind}: move it to a GPU that torch calls cuda")


def same(name: str, x: torch.Tensor, other: str, like: torch.Tensor) -> None:
    """Raises ValueError unless x has the type of `like`, and is on the same device."""
    if x.dtype != like.dtype:
        raise ValueError(f"{name} holds {str(x.dtype)[6:]}, {other} {str(like.dtype)[6:]}: make them the same")
    if x.device != like.device:
        raise ValueError(f"{name} is on {x.device}, {other} on {like.device}: move them to one device")


def shaped(name: str, x: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """Raises ValueError unless x is a tensor of this shape and type, on this device."""
    if not isinstance(x, torch.Tensor):
        raise ValueError(f"{name} is {type(x).__name__}: give a torch.Tensor {shape}")
    if tuple(x.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: give {shape}")
    if x.dtype != dtype:
        raise ValueError(f"{name} holds {str(x.dtype)[6:]}: give {str(dtype)[6:]}")
    if x.device != device:
        raise ValueError(f"{name} is on {x.device}, q on {device}: move them to one device")


def of_forward(q: torch.Tensor, v: torch.Tensor, *, delta: Any, do: Any, o: Any, **statistics: Any) -> None:
    """Raises ValueError where a tensor that a backward pass takes is not as the forward pass of q and v gave it."""
    for name, x in {"do": do, "o": o}.items():
        matrix_of_heads(name, x)
        shaped(name, x, (*q.shape[:3], v.shape[3]), q.dtype, q.device)
        near(name, x, v.shape[1])
    for name, x in {**statistics, "delta": delta}.items():
        if x is not None:
            shaped(name, x, tuple(q.shape[:3]), torch.float32, q.device)
    if delta is not None and not delta.is_contiguous():
        raise ValueError("delta is not contiguous: give torch.empty_like(lse)")


def positive(name: str, given: Any) -> int:
    """`given` as an int. Raises ValueError unless it is a whole number above 0."""
    return scalars.whole(name, given)


def power_of_2(name: str, given: Any) -> int:
    """`given` as an int. Raises ValueError unless it is a power of two, and large enough for a GPU's matrix units."""
    least = 1 if interpreted() else 16
    number = positive(name, given)
    if number & (number - 1) or number < least:
        raise ValueError(f"{name} is {number}: give a power of two, {least} or more")
    return number


def up(n: int) -> int:
    """The power of two that n fits into, as a tile's side: on a GPU, 16 at least."""
    return max(int(triton.next_power_of_2(n)), 1 if interpreted() else 16)


def on_chip_d(d: int) -> int:
    """How wide a row of d numbers is on chip: a power of two, 16 at least."""
    return max(int(triton.next_power_of_2(d)), 16)
