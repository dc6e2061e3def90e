"""Are the kernels' numbers right on this machine? Problems of every kind, outputs poisoned, held against float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..flash2_backward import backward
from ..flash2_forward import forward
from ..targets.configs import Config, tried
from ..targets.target import target
from ..validation import compare, standard
from .machine import Machine
from .speed import digits

#: (N, M): multiples of any tile, and of none; and to see that all works
SIZES, SMALL = ((1100, 1100), (1024, 1024)), ((40, 40),)

#: LSE is summed in float32 whatever the inputs are: how far off it may be, by how large it is
OF_LSE = 1e-5


Outputs = dict[str, Tensor]


class Check(NamedTuple):
    """What is tried: a pass, with a tile or the one that is shipped (None), on a problem, as `errors` takes it."""

    name: str
    config: Config | None
    options: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.name} {self.config} {self.options}"


def problems(kind: str, dims: Sequence[int], sizes: Sequence[tuple[int, int]]) -> list[Check]:
    """What is checked on a machine of this kind, what says most first: each pass with each of Hopper's own tiles and
    with what is shipped; and with the first of them what is special."""
    on = target(torch.device(kind))
    n, m = sizes[0]
    special: list[dict[str, Any]] = [
        {"n": 300, "m": 1100, "causal": True},
        {"n": 1100, "m": 300, "causal": True},
        {"window": (200, 60)},
        {"group": 4, "causal": True},
        {"group": 2, "window": (100, 0)},
        {"dtype": torch.float16},
    ]
    found: list[tuple[int, Check]] = []
    for d in dims:
        for name in ("forward", "backward"):
            own = [one for one in tried(name, d, on) if one.hopper] if on.backend == "cuda" else []
            for at, config in enumerate((*own, None)):
                for later, (rows, columns) in enumerate(sizes):
                    for causal in (False, True):
                        options = {"d": d, "n": rows, "m": columns, "causal": causal}
                        found.append((2 * later + (config is not None and at > 0), Check(name, config, options)))
            of_first = [Check(name, (*own, None)[0], {"d": d, "n": n, "m": m, **one}) for one in special]
            found += [(1, one) for one in of_first[: None if n > 100 else 1]]
    return [check for _, check in sorted(found, key=lambda one: one[0])]


def errors(machine: Machine, check: Check) -> dict[str, Any]:
    """How far each output is off and how far it may be, {name: [off, allowed]}, and whether all of it holds."""
    options = dict(check.options)
    dtype, group, d = options.pop("dtype", torch.bfloat16), options.pop("group", 1), options.pop("d")
    n, m = options.pop("n"), options.pop("m")
    random, heads = torch.Generator().manual_seed(0), 2
    shapes = [(2, heads * group, n, d), (2, heads, m, d), (2, heads, m, d), (2, heads * group, n, d)]
    given = standard.Tensors(*(torch.randn(shape, generator=random).to(dtype) for shape in shapes))
    keep = seen(n, m, **options).to(machine.kind)
    exact, near = (
        standard.attention(given, keep, scale=d**-0.5, softcap=None, dtype=one, device=machine.kind)
        for one in (torch.float64, dtype)
    )
    q, k, v, do = given.to(machine.kind)[:4]
    poison(q, k, v, torch.empty(q.shape[:3], device=machine.kind))
    if check.name == "forward":
        found = dict(zip(("O", "LSE"), forward(q, k, v, config=check.config, **options), strict=True))
    else:
        o, lse = exact["O"].to(dtype).contiguous(), exact["LSE"].float().contiguous()
        made = backward(do, q, k, v, o, lse, config=check.config, **options)
        found = dict(zip(("dQ", "dK", "dV"), made, strict=True))
    machine.wait()
    return held(found, exact, near)


def held(found: Outputs, exact: Outputs, near: Outputs) -> dict[str, Any]:
    """How far what was found is off what is exact, where standard attention of that type is as far off as `near`."""
    by = {name: [_off(x, exact[name]), _allowed(name, near[name], exact[name])] for name, x in found.items()}
    return {"errors": by, "holds": all(error <= allowed for error, allowed in by.values())}


def seen(n: int, m: int, causal: bool = False, window: tuple[int, int] | None = None) -> Tensor:
    """Which of m keys each of n queries sees, aligned to the bottom right. Shape (n, m)."""
    place = torch.arange(m)[None, :] - torch.arange(n)[:, None] - (m - n)
    left, right = window or (-1, -1)
    right = 0 if causal else right
    return ((place <= right) | (right < 0)) & ((place >= -left) | (left < 0))


def _off(x: Tensor, exact: Tensor) -> float:
    """The largest error; of a number that isn't one, 1e30. Where both are −∞ there is none."""
    off = torch.where(torch.isneginf(exact) & torch.isneginf(x), 0.0, x.double() - exact).abs()
    return min(1e30, digits(float(off.nan_to_num(float("inf")).max())))


def _allowed(name: str, near: Tensor, exact: Tensor) -> float:
    """By the field's rule, as `exact.FACTORS` has it: twice standard attention's error, three times for gradients."""
    if name == "LSE":
        return digits(OF_LSE * (1 + float(exact.abs().nan_to_num(0, 0, 0).max())))
    factor = compare.FACTOR * (1.5 if name.startswith("d") else 1)
    return digits(factor * float((near.double() - exact).abs().max()) + compare.MORE)


def poison(*like: Tensor) -> None:
    """Leave NaN in the memory that tensors of these shapes are made of next, where an allocator keeps what is free."""
    made = [torch.full_like(one, torch.nan) for one in like for _ in range(3)]
    del made
