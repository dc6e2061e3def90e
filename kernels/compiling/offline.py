"""What the compiler makes of a kernel for a GPU that need not be there: registers, spills, shared memory, moves."""

from __future__ import annotations

import re
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.experimental.gluon._runtime import GluonASTSource
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GluonDescriptor
from triton.tools.tensor_descriptor import TensorDescriptor

from ..targets.target import Launch, Target

#: torch's types by Triton's names
TYPES = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.uint8: "u8",
    torch.int32: "i32",
    torch.int64: "i64",
}


DIVISIBLE = [["tt.divisibility", 16]]


class Resources(NamedTuple):
    """What one kernel takes: registers a thread, bytes spilled to memory a thread, bytes of shared memory a program."""

    registers: int
    spilled: int
    shared: int


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
    language = GluonASTSource if kernel.is_gluon() else ASTSource
    return language(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)


def _type(given: Any) -> str:
    if isinstance(given, GluonDescriptor):
        return f"tensordesc<{TYPES[given.base.dtype]}[{', '.join(map(str, given.block_shape))}],{given.layout!r}>"
    if isinstance(given, TensorDescriptor):
        return f"tensordesc<{TYPES[given.base.dtype]}[{', '.join(map(str, given.block_shape))}]>"
    if isinstance(given, torch.Tensor):
        return f"*{TYPES[given.dtype]}"
    return "fp32" if isinstance(given, float) else "i32" if abs(given) < 1 << 31 else "i64"


def compile_for(launch: Launch, on: Target) -> Any:
    """The kernel, compiled as this launch would have it: `asm` by stage, and `metadata`."""
    warp = 64 if on.backend == "hip" else 32
    target = GPUTarget(on.backend, on.arch, warp)
    with knobs.runtime.scope():
        knobs.runtime.add_stages_inspection_hook = _not_assembled
        return triton.compile(source(launch), target=target, options=dict(launch.options))


def _not_assembled(*compiling: Any) -> tuple[str, str] | None:
    """Triton's hook: ptxas, which is slow, is left to `_assembled`, to which it says what a kernel takes."""
    if not compiling:
        return "not assembled", "not assembled"  # what Triton keeps such kernels by
    _, stages, *_ = compiling
    if "cubin" in stages:
        stages["cubin"] = lambda ptx, metadata: b""
    return None


def resources(kernel: Any, on: Target) -> Resources:
    """What a compiled kernel takes, as the assembler says."""
    if on.backend == "hip":
        said = kernel.asm["amdgcn"]
        found = [re.search(rf"\.{name}:\s+(\d+)", said) for name in ("vgpr_count", "vgpr_spill_count")]
    else:
        said, _ = _assembled(kernel.asm["ptx"], int(on.arch))
        found = [re.search(pattern, said) for pattern in (r"Used (\d+) registers", r"(\d+) bytes spill stores")]
    registers, spilled = (int(match[1]) if match else -1 for match in found)
    return Resources(registers, spilled, kernel.metadata.shared)


#: products, the waits that leave so many of them in flight, and exponentials
_ORDERED = re.compile(r"\b(HGMMA|MUFU\.EX2|WARPGROUP\.DEPBAR\.LE gsb0, 0x[0-9a-f]+)")


def order(kernel: Any, on: Target) -> list[str]:
    """Products, waits for products and exponentials, as they stand in an NVIDIA GPU's own code (SASS).

    "HGMMA", "MUFU.EX2", and "wait 1" for the wait that leaves one product, asked for last, in flight.
    """
    _, cubin = _assembled(kernel.asm["ptx"], int(on.arch))
    sass = _disassembled(cubin)
    return [f"wait {int(one[-1], 16)}" if "DEPBAR" in one else one for one in _ORDERED.findall(sass)]


@lru_cache(maxsize=1)  # what a kernel takes and its order are asked for one after the other
def _assembled(ptx: str, arch: int) -> tuple[str, bytes]:
    """What ptxas says of a kernel, and the code that it makes."""
    from triton.backends.nvidia.compiler import get_ptxas  # noqa: PLC0415

    suffix = "a" if arch >= 90 else ""
    with tempfile.TemporaryDirectory() as folder:
        path, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        path.write_text(ptx)
        command = [get_ptxas(arch).path, "-v", f"--gpu-name=sm_{arch}{suffix}", str(path), "-o", str(cubin)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return said, cubin.read_bytes()


def _disassembled(cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.nvdisasm.path, "-c", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


#: what an operation of Triton's IR, or of a Gluon kernel's, does to a tile
_OPERATIONS = {
    "tt.load": "load",
    "tt.descriptor_load": "load",
    "tt.store": "store",
    "tt.descriptor_store": "store",
    "tt.dot": "dot",
    "ttng.async_tma_copy_global_to_local": "load",
    "ttng.async_tma_copy_local_to_global": "store",
    "ttng.async_tma_reduce": "add",
    "ttng.warp_group_dot": "dot",
}

#: where warps of a Gluon kernel begin with what is theirs, and what it is given
_PARTITION = re.compile(r"\s*(?:default|partition\d+\((.*))")


def moves(ttir: str) -> list[Any]:
    """The loads, products and stores of a kernel in its own order: ("load", "Q"), "dot" …; those of a loop are a list.

    `ttir` is the first of the stages that a kernel is compiled by: all is inlined, and nothing is moved about yet. Of a
    Gluon kernel that is its TTGIR; what each of its partitions does is a list, too.
    """
    first: dict[str, str] = {}  # the first operand of what made a value: follow it, and there is the tensor
    here: list[Any] = []
    around: list[tuple[int, list[Any]]] = []
    given: list[str] = []
    for line in ttir.splitlines():
        indent = len(line) - len(line.lstrip())
        if around and line.strip().startswith("}") and indent == around[-1][0]:
            here = around.pop()[1]
            continue
        if "ttg.warp_specialize(" in line:
            given = re.findall(r"%\w+", line.partition(")")[0])
        partition = _PARTITION.match(line)
        if partition and partition[1]:  # its parameters are others' values
            first |= dict(zip(re.findall(r"(%\w+): ", partition[1]), given, strict=True))
        if partition or "scf.for" in line:
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
            here.append("dot" if _OPERATIONS[name] == "dot" else (_OPERATIONS[name], tensor[1:]))
    return here
