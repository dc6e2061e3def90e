"""What the compiler makes of the kernels for a GPU that need not be there: registers, spills, shared memory.

    python -m flashsteps.kernels.compiled 90              what is shipped, as a table
    python -m flashsteps.kernels.compiled 80 90 --tried   all candidates (minutes), which compiled.json then holds

A GPU is named by its compute capability, 80, 90, 100 …, or as gfx942.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.tools.tensor_descriptor import TensorDescriptor

from . import configs
from .flash2_backward import backward
from .flash2_block_sparse import block_sparse
from .flash2_forward import forward
from .paged import paged_decode
from .split_kv import split_kv_decode
from .target import Launch, Target, interpreted, pretend

#: torch's types by Triton's names
TYPES = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.int32: "i32",
    torch.int64: "i64",
}


DIVISIBLE = [["tt.divisibility", 16]]


class Resources(NamedTuple):
    """What one kernel takes: registers a thread, bytes spilled to memory a thread, bytes of shared memory a program."""

    registers: int
    spilled: int
    shared: int


class Case(NamedTuple):
    """One kernel to compile, for a head dimension d and options, with a tile or the one that is shipped (None)."""

    kernel: str
    d: int
    dtype: torch.dtype = torch.bfloat16
    causal: bool = False
    group: int = 1
    window: tuple[int, int] | None = None
    softcap: float | None = None
    config: configs.Config | None = None

    def __str__(self) -> str:
        said = f"{self.kernel} d={self.d} {TYPES[self.dtype]}" + " causal" * self.causal
        said += f" group={self.group}" * (self.group > 1) + f" window={self.window}" * (self.window is not None)
        tile = f" {self.config.block_m}×{self.config.block_n}" if self.config else ""
        stages = f" {self.config.num_warps} warps {self.config.num_stages} stages" if self.config else ""
        return said + " softcap" * (self.softcap is not None) + tile + stages


def cases() -> list[Case]:
    """What is shipped, in the options that make a difference."""
    plain = [
        Case(kernel, d, causal=causal) for kernel in configs.KERNELS for d in (64, 128) for causal in (False, True)
    ]
    wide = [Case(kernel, 256, causal=True) for kernel in configs.KERNELS]
    grouped = [Case(kernel, 128, causal=True, group=4) for kernel in configs.KERNELS]
    window = [Case(kernel, 128, torch.float16, window=(256, 64)) for kernel in configs.KERNELS]
    softcap = [Case(kernel, 80, softcap=50.0, causal=True) for kernel in configs.KERNELS]
    single = [Case(kernel, 128, torch.float32, causal=True) for kernel in configs.KERNELS]
    rest = [Case("block_sparse", 128), Case("delta", 128)]
    rest += [Case(kernel, 128, group=4) for kernel in ("split_kv", "merge", "paged")]
    return plain + wide + grouped + window + softcap + single + rest


def launch_of(case: Case, on: Target) -> Launch:
    """How this kernel would be run on such a GPU."""
    q = torch.empty(1, 2 * case.group, 512, case.d, dtype=case.dtype)
    k = torch.empty(1, 2, 512, case.d, dtype=case.dtype)
    options: dict[str, Any] = {"causal": case.causal, "window": case.window, "softcap": case.softcap}
    options["config"] = case.config
    with pretend(on) as launches:
        match case.kernel:
            case "forward":
                forward(q, k, k, **options)
            case "block_sparse":
                block_sparse(q, k, k, "butterfly", block_q=64, block_k=64, **options)
            case "split_kv" | "merge":
                split_kv_decode(q[:, :, :1], k, k, **options)
            case "paged":
                pool, table = torch.empty(8, 16, 2, case.d, dtype=case.dtype), torch.zeros(1, 8, dtype=torch.int32)
                paged_decode(q[:, :, :1], pool, pool, table, 100, **options)
            case _:
                backward(q, q, k, k, q, torch.empty(q.shape[:3]), **options)
    name = "split_kernel" if case.kernel == "split_kv" else f"{case.kernel}_kernel"
    return next(launch for launch in launches if launch.kernel.__name__ == name)


def source(launch: Launch) -> ASTSource:
    """The kernel with the types that these arguments have, specialised as Triton would when it is called."""
    kernel, arguments = launch.kernel, launch.arguments
    signature: dict[str, Any] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for index, parameter in enumerate(kernel.params):
        name, given = parameter.name, arguments[parameter.name]
        if parameter.is_constexpr or given is None:
            signature[name], constants[(index,)] = "constexpr", given
        elif isinstance(given, tuple):
            signature[name] = tuple(_type(one) for one in given)
            attributes |= {(index, at): DIVISIBLE for at, one in enumerate(given) if one % 16 == 0}
        else:
            signature[name] = _type(given)
            if isinstance(given, torch.Tensor) or (
                isinstance(given, int) and given % 16 == 0 and not parameter.do_not_specialize
            ):
                attributes[(index,)] = DIVISIBLE
    return ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)


def _type(given: Any) -> str:
    if isinstance(given, TensorDescriptor):
        return f"tensordesc<{TYPES[given.base.dtype]}[{', '.join(map(str, given.block_shape))}]>"
    if isinstance(given, torch.Tensor):
        return f"*{TYPES[given.dtype]}"
    return "fp32" if isinstance(given, float) else "i32" if abs(given) < 1 << 31 else "i64"


def compiled(launch: Launch, target: Target) -> Any:
    """The kernel, compiled as this launch would have it: `asm` by stage, and `metadata`."""
    warp = 64 if target.backend == "hip" else 32
    return triton.compile(
        source(launch), target=GPUTarget(target.backend, target.arch, warp), options=dict(launch.options)
    )


def resources(kernel: Any, target: Target) -> Resources:
    """What a compiled kernel takes, as the assembler says."""
    if target.backend == "hip":
        said = kernel.asm["amdgcn"]
        found = [re.search(rf"\.{name}:\s+(\d+)", said) for name in ("vgpr_count", "vgpr_spill_count")]
    else:
        said = _ptxas(kernel.asm["ptx"], int(target.arch))
        found = [re.search(pattern, said) for pattern in (r"Used (\d+) registers", r"(\d+) bytes spill stores")]
    registers, spilled = (int(match[1]) if match else -1 for match in found)
    return Resources(registers, spilled, kernel.metadata.shared)


def measured(case: Case, on: Target) -> Resources:
    """What a case takes, compiled for such a GPU."""
    return resources(compiled(launch_of(case, on), on), on)


def tried(on: Target) -> list[Case]:
    """All candidates."""
    return [
        Case(kernel, d, causal=causal, config=config)
        for kernel in configs.KERNELS
        for d in configs.HEAD_DIMS
        for config in configs.tried(kernel, d, on)
        for causal in (False, True)
    ]


#: what an operation of Triton's IR does to a tile
_OPERATIONS = {
    "tt.load": "load",
    "tt.descriptor_load": "load",
    "tt.store": "store",
    "tt.descriptor_store": "store",
    "tt.dot": "dot",
}


def moves(ttir: str) -> list[Any]:
    """The loads, products and stores of a kernel in its own order: ("load", "Q"), "dot" …; those of a loop are a list.

    `ttir` is the first of the stages that a kernel is compiled by: all is inlined, and nothing is moved about yet.
    """
    first: dict[str, str] = {}  # the first operand of what made a value: follow it, and there is the tensor
    here: list[Any] = []
    around: list[tuple[int, list[Any]]] = []
    for line in ttir.splitlines():
        indent = len(line) - len(line.lstrip())
        if around and line.strip().startswith("}") and indent == around[-1][0]:
            here = around.pop()[1]
            continue
        if "scf.for" in line:
            inner: list[Any] = []
            around.append((indent, here))
            here.append(inner)
            here = inner
            continue
        result, operation = re.fullmatch(r"\s*(?:(%\w+)(?::\d+)? = )?(.*)", line).groups()  # type: ignore[union-attr]
        name, *operands = re.findall(r"^[\w.]+|%\w+", operation) or [""]
        if operands:
            first[result] = operands[0]
        if name in _OPERATIONS:
            tensor = operands[0]
            while tensor in first:
                tensor = first[tensor]
            here.append("dot" if name == "tt.dot" else (_OPERATIONS[name], tensor[1:]))
    return here


def _ptxas(ptx: str, arch: int) -> str:
    from triton.backends.nvidia.compiler import get_ptxas  # noqa: PLC0415

    suffix = "a" if arch >= 90 else ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(ptx)
        command = [get_ptxas(arch).path, "-v", f"--gpu-name=sm_{arch}{suffix}", str(path), "-o", f"{path}.cubin"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def main() -> None:
    """Print what is shipped, or write down all candidates."""
    parser = argparse.ArgumentParser(
        prog="python -m flashsteps.kernels.compiled", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("gpu", nargs="+", help="80, 90, 100 … or gfx942")
    parser.add_argument("--tried", action="store_true", help="all candidates, into compiled.json")
    given = parser.parse_args()
    if interpreted():
        raise SystemExit("Triton's interpreter compiles nothing: unset TRITON_INTERPRET")
    rows = []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for gpu in given.gpu:
            on = Target("cuda", int(gpu)) if gpu.isdigit() else Target("hip", gpu)
            found = tried(on) if given.tried else cases()
            for case, taken in zip(found, pool.map(partial(measured, on=on), found), strict=True):
                print(f"{gpu:<7} {case!s:<60} {taken.registers:>4} registers {taken.spilled:>5} B spilled", end="")
                print(f" {taken.shared:>8,} B shared", flush=True)
                if case.config:
                    row = {"arch": gpu, "kernel": case.kernel, "d": case.d, "causal": case.causal}
                    rows.append({**row, "config": list(case.config), **taken._asdict()})
    if given.tried:
        text = ",\n".join(json.dumps(row) for row in rows)
        (Path(__file__).parent / "compiled.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
