"""Every kernel as it is built: what is shipped, in the options that make a difference, and all candidates."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from ..flash2_backward import backward
from ..flash2_block_sparse import block_sparse
from ..flash2_forward import forward
from ..paged import paged_decode
from ..split_kv import split_kv_decode
from ..targets import configs, tuned
from ..targets.target import Launch, Target, pretend
from .offline import TYPES, Resources, compile_for, resources

#: what `hopper_forward`, `hopper_backward` and `hopper_backward_wide` are for
SM_90 = Target("cuda", 90)


class Build(NamedTuple):
    """One kernel to compile, for a head dimension d and options, with a tile or the one that is shipped (None).

    `mask`: of "scores", of which each has a number, or of "keys", which are seen or not; "" for none.
    """

    kernel: str
    d: int
    dtype: torch.dtype = torch.bfloat16
    causal: bool = False
    group: int = 1
    window: tuple[int, int] | None = None
    softcap: float | None = None
    mask: str = ""
    config: configs.Config | None = None

    def __str__(self) -> str:
        said = f"{self.kernel} d={self.d} {TYPES[self.dtype]}" + " causal" * self.causal
        said += f" group={self.group}" * (self.group > 1) + f" window={self.window}" * (self.window is not None)
        said += f" mask of {self.mask}" if self.mask else ""
        tile = f" {self.config.block_m}×{self.config.block_n}" if self.config else ""
        stages = f" {self.config.num_warps} warps {self.config.num_stages} stages" if self.config else ""
        stages += " in turn" if self.config and self.config.in_turn else ""
        return said + " softcap" * (self.softcap is not None) + tile + stages


def shipped() -> list[Build]:
    """What is shipped, in the options that make a difference."""
    plain = [Build(kernel, d, causal=causal) for kernel in configs.TUNED for d in (64, 128) for causal in (False, True)]
    wide = [Build(kernel, 256, causal=True) for kernel in configs.TUNED]
    grouped = [Build(kernel, 128, causal=True, group=4) for kernel in configs.TUNED]
    window = [Build(kernel, 128, torch.float16, window=(256, 64)) for kernel in configs.TUNED]
    softcap = [Build(kernel, 80, softcap=50.0, causal=True) for kernel in configs.TUNED]
    single = [Build(kernel, 128, torch.float32, causal=True) for kernel in configs.TUNED]
    masked = [Build(kernel, d, causal=True, mask="scores") for kernel in configs.TUNED for d in (64, 128, 256)]
    masked += [Build(kernel, 128, torch.float32, causal=True, mask="scores") for kernel in configs.TUNED]
    masked += [Build(kernel, d, mask="keys") for kernel in configs.TUNED for d in (64, 128)]
    rest = [Build("block_sparse", 128), Build("delta", 128)]
    rest += [Build(kernel, 128, group=4) for kernel in ("split_kv", "merge", "paged")]
    return plain + wide + grouped + window + softcap + single + masked + rest


def hopper() -> list[Build]:
    """`hopper_forward`, which is shipped on no GPU but one where tuning found it faster: in what makes a difference,
    and with each tile that was found."""
    first = {d: next(one for one in configs.tried("forward", d, SM_90) if one.hopper) for d in configs.HEAD_DIMS}
    plain = [Build("forward", d, causal=causal, config=first[d]) for d in configs.HEAD_DIMS for causal in (False, True)]
    grouped = Build("forward", 128, torch.float16, causal=True, group=4, config=first[128])
    return _and_found("forward", [*plain, grouped, Build("forward", 128, window=(256, 64), config=first[128])])


def hopper_backward() -> list[Build]:
    """`hopper_backward`, likewise."""
    first = {d: configs.tried("backward", d, SM_90)[0] for d in (64, 128)}
    plain = [Build("backward", d, causal=causal, config=first[d]) for d in first for causal in (False, True)]
    grouped = Build("backward", 128, torch.float16, causal=True, group=4, config=first[128])
    deep = Build("backward", 128, config=configs.tried("backward", 128, SM_90)[-1])
    return _and_found("backward", [*plain, grouped, Build("backward", 128, window=(256, 64), config=first[128]), deep])


def hopper_wide() -> list[Build]:
    """Both kernels of `hopper_backward_wide`, likewise."""
    config = configs.tried("backward", 256, SM_90)[0]
    options: list[dict[str, Any]] = [{}, {"causal": True}, {"window": (256, 64)}]
    options += [{"dtype": torch.float16, "causal": True, "group": 4}]
    return [Build(kernel, 256, config=config, **one) for kernel in ("dkdv", "dq") for one in options]


def _and_found(kernel: str, builds: list[Build]) -> list[Build]:
    """These, and what tuning has found, beside a window, too; of the backward pass of heads of 256 `hopper_wide` has
    all that there is."""
    for (_, of, d, causal, _), tile in tuned.found().items():
        if of == kernel and tile.get("hopper") and (kernel == "forward" or d <= 128):
            config, window = configs.Config(**tile), (256, 64 if causal else -1)
            builds += [Build(kernel, d, causal=causal, config=config), Build(kernel, d, window=window, config=config)]
    return list(dict.fromkeys(builds))


def tried(on: Target) -> list[Build]:
    """All candidates."""
    return [
        Build(kernel, d, causal=causal, config=config)
        for kernel in configs.TUNED
        for d in configs.HEAD_DIMS
        for config in configs.tried(kernel, d, on)
        for causal in (False, True)
    ]


def launch_of(build: Build, on: Target) -> Launch:
    """How this kernel would be run on such a GPU."""
    q = torch.empty(1, 2 * build.group, 512, build.d, dtype=build.dtype)
    k = torch.empty(1, 2, 512, build.d, dtype=build.dtype)
    options: dict[str, Any] = {"causal": build.causal, "window": build.window, "softcap": build.softcap}
    options["config"] = build.config
    if build.mask:
        each = (2 * build.group, 512, 512) if build.mask == "scores" else (1, 1, 512)
        options["attn_mask"] = torch.empty(1, *each, dtype=build.dtype if build.mask == "scores" else torch.bool)
    with pretend(on) as launches:
        match build.kernel:
            case "forward":
                forward(q, k, k, **options)
            case "block_sparse":
                block_sparse(q, k, k, "butterfly", block_q=64, block_k=64, **options)
            case "split_kv" | "merge":
                split_kv_decode(q[:, :, :1], k, k, **options)
            case "paged":
                pool, table = torch.empty(8, 16, 2, build.d, dtype=build.dtype), torch.zeros(1, 8, dtype=torch.int32)
                paged_decode(q[:, :, :1], pool, pool, table, 100, **options)
            case _:
                backward(q, q, k, k, q, torch.empty(q.shape[:3]), **options)
    hopper = build.config is not None and build.config.hopper
    name = "split_kernel" if build.kernel == "split_kv" else f"{'hopper_' * hopper}{build.kernel}_kernel"
    return next(launch for launch in launches if launch.kernel.__name__ == name)


def measured(build: Build, on: Target) -> Resources:
    """What a build takes, compiled for such a GPU."""
    return resources(compile_for(launch_of(build, on), on), on)
