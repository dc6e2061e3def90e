"""A GPU that is only pretended: a launch goes its whole way through Triton, up to the launcher in C, which is another.

For processes of their own, in which Triton is no interpreter. Tensors lie on the CPU and are taken for those of an
H100; nothing is compiled, since how long a launch takes, and what it gives the launcher, does not depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import triton.compiler
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver as nvidia
from triton.compiler import CompiledKernel
from triton.runtime.driver import driver

from flashsteps.kernels import checks, launch
from flashsteps.kernels.targets import target, tuned

#: the GPU that is pretended, and its name
SM_90, NAME = target.Target("cuda", 90), "NVIDIA H100 80GB HBM3"

#: a number for each kernel that is compiled, by which the launcher knows it
_functions = count(1)


@contextmanager
def stubbed(launched: Callable[..., None]) -> Iterator[None]:
    """Until this is left, kernels are launched on an H100 of which only `launched` is there, for the launcher in C."""
    problem, device, before = checks.Problem, torch.device("cuda", 0), driver._active
    stood_in: dict[Any, dict[str, Any]] = {
        checks: {"Problem": lambda *given: problem(*given)._replace(device=device)},
        launch: {"pretended": lambda: None},
        tuned: {"name": lambda device: NAME},
        torch.cuda: {"_exchange_device": lambda index: 0, "_maybe_exchange_device": lambda index: 0},
        triton.compiler: {"compile": _compiled},
        nvidia: {
            **dict(zip(("ARG_CONSTEXPR", "ARG_KERNEL", "ARG_TUPLE"), range(3), strict=True)),
            "PyKernelArg": lambda nested_tuple, type: (nested_tuple, type),
            "compile_module_from_src": lambda **of: SimpleNamespace(launch=launched),
            "library_dirs": list,
        },
    }
    with ExitStack() as stack:
        stack.enter_context(target.pretend(SM_90))
        for module, names in stood_in.items():
            stack.enter_context(mock.patch.multiple(module, create=True, **names))
        stack.callback(setattr, driver, "_active", before)
        driver.set_active(_driver(launched))
        yield


def _compiled(src: Any, target: Any, options: dict[str, Any], **more: Any) -> CompiledKernel:
    """For `triton.compile`: a kernel of which no more is known than what was asked for."""
    assert src.fn.cache_key  # now Triton knows the globals that this goes by, and will look at them
    kernel = CompiledKernel.__new__(CompiledKernel)
    described = [one for one in src.signature.values() if isinstance(one, str) and one.startswith("tensordesc")]
    kernel.metadata = SimpleNamespace(
        **options | {"num_ctas": 1, "shared": 0, "launch_cooperative_grid": False, "launch_pdl": False},
        **{f"{whose}_scratch_{what}": 0 for whose in ("global", "profile") for what in ("size", "align")},
        tensordesc_meta=[_map(one) for one in described],
    )
    kernel.packed_metadata = options["num_warps"], 1, 0
    kernel.src, kernel.name, kernel.hash, kernel.kernel = src, src.fn.__name__, "", b""
    kernel.module = kernel.function = kernel._run = kernel.metadata_group = None
    return kernel


def _map(descriptor: str) -> dict[str, Any]:
    """How the tiles of a descriptor are fetched."""
    dtype, block = re.findall(r"<(\w+)\[([\d, ]+)\]", descriptor)[0]
    size, block_size = {"fp16": 2, "bf16": 2, "fp32": 4, "u8": 1}[dtype], list(map(int, block.split(",")))
    return {"swizzle": 3, "elem_size": size, "elem_type": 6, "block_size": block_size, "fp4_padded": False}


def _driver(launched: Callable[..., None]) -> Any:
    """Triton's driver, without what it asks libcuda for; what is described for TMA stays what it was described by."""
    return SimpleNamespace(
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 7,
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        launcher_cls=nvidia.CudaLauncher,
        utils=SimpleNamespace(
            launch=launched,
            load_binary=lambda *of: ("module", next(_functions), 0, 0, 1024),
            get_device_properties=lambda device: {"max_shared_mem": 232_448},
            build_signature_metadata=tuple,
            fill_tma_descriptor=lambda *of: of,
            fill_tma_descriptor_tiled=lambda *of: of,
        ),
    )
