"""Compile the kernels for a GPU that is not there, and say as JSON what came of it; a process of its own.

python tests/kernels/compiling/compile_kernels.py 90  what is shipped: registers, spills, shared memory, moves
python tests/kernels/compiling/compile_kernels.py "80 …"  one of these alone, by how its name begins
python tests/kernels/compiling/compile_kernels.py hopper  hopper_forward: the same, and the order of its code
python tests/kernels/compiling/compile_kernels.py hopper_backward  likewise
python tests/kernels/compiling/compile_kernels.py hopper_wide  likewise, both kernels of hopper_backward_wide
python tests/kernels/compiling/compile_kernels.py untraced  the forward kernel with TRACE off, and with no such switch
"""

import ast
import importlib.util
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from flashsteps.kernels import flash2_forward
from flashsteps.kernels.compiling import builds, offline
from flashsteps.kernels.targets import configs
from flashsteps.kernels.targets.target import Target, pretend

#: what only the log of the forward kernel needs
SWITCH = {"TRACE", "CLOCK", "log"}


def shipped(gpu: str, only: str = "") -> list[dict[str, Any]]:
    on = Target("cuda", int(gpu)) if gpu.isdigit() else Target("hip", gpu)
    rows = []
    for build in builds.shipped():
        plain = build.causal and build.group == 1 and build.softcap is None
        if (gpu == "90" or plain or build.kernel not in configs.TUNED) and str(build).startswith(only):
            kernel = offline.compile_for(builds.launch_of(build, on), on)
            taken = offline.resources(kernel, on)._asdict()
            rows.append(
                {"build": str(build), "kernel": build.kernel, **taken, "moves": offline.moves(kernel.asm["ttir"])}
            )
    return rows


def hopper(found: list[builds.Build]) -> list[dict[str, Any]]:
    rows = []
    for build in found:
        kernel = offline.compile_for(builds.launch_of(build, builds.SM_90), builds.SM_90)
        taken = offline.resources(kernel, builds.SM_90)._asdict()
        keys = build.config.block_n if build.config else 0
        said = {"build": str(build), "kernel": build.kernel, "d": build.d, "causal": build.causal}
        said |= {"config": build.config, "keys": keys, **taken}
        moves = offline.moves(kernel.asm["ttgir"])
        rows.append({**said, "moves": moves, "order": offline.order(kernel, builds.SM_90)})
    return rows


class Untraced(ast.NodeTransformer):
    """Takes the switch out of the source: its parameters, what is passed and returned for it, and what it guards."""

    def visit_If(self, node: ast.If) -> Any:
        return None if _of_switch(node.test) else self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> Any:
        node.args = [one for one in node.args if one.arg not in SWITCH]
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        node.keywords = [one for one in node.keywords if one.arg not in SWITCH]
        node.args = [one for one in node.args if not _of_switch(one)]
        return self.generic_visit(node)

    def visit_Tuple(self, node: ast.Tuple) -> Any:
        node.elts = [one for one in node.elts if not _of_switch(one)]
        return node


def _of_switch(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in SWITCH


def untraced() -> dict[str, Any]:
    """The PTX of both, and of the kernel with the switch on."""
    q, on = torch.empty(1, 2, 512, 128, dtype=torch.bfloat16), Target("cuda", 90)
    tree = Untraced().visit(ast.parse(Path(str(flash2_forward.__file__)).read_text()))
    source = ast.unparse(ast.fix_missing_locations(tree))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flash2_forward.py")
        path.write_text(source)
        spec = importlib.util.spec_from_file_location("flashsteps.kernels.untraced", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        options: dict[str, Any] = {"causal": True, "window": (300, 0)}
        with pretend(on) as launches:
            module.forward(q, q, q, **options)
            flash2_forward.forward(q, q, q, **options)
            flash2_forward.forward(q, q, q, **options, trace=flash2_forward.empty_log(q, q, q, **options))
        without, off, traced = (_code(offline.compile_for(launch, on).asm["ptx"]) for launch in launches)
    return {"source": source, "without": without, "off": off, "on": traced}


def _code(ptx: str) -> str:
    """Only the instructions: no comments, and nothing about where in the source they are from."""
    ptx = ptx.partition(".section")[0]
    ptx = re.sub(r"//.*|^\s*\.(loc|file)\b.*|^\$L__tmp.*|^\$L__func.*", "", ptx, flags=re.MULTILINE)
    return "\n".join(line.strip() for line in ptx.splitlines() if line.strip())


if __name__ == "__main__":
    others: dict[str, Any] = {"untraced": untraced}
    others["hopper"] = lambda: hopper(builds.hopper())
    others["hopper_backward"] = lambda: hopper(builds.hopper_backward())
    others["hopper_wide"] = lambda: hopper(builds.hopper_wide())
    what, _, only = sys.argv[1].partition(" ")
    json.dump(others[what]() if what in others else shipped(what, only), sys.stdout)
