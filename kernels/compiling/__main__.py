"""What is compiled, as a table: registers, spills and shared memory, for a GPU that need not be there.

    python -m flashsteps.kernels.compiling 90              what is shipped
    python -m flashsteps.kernels.compiling 80 90 --tried   all candidates (minutes), which compiled.json then holds

A GPU is named by its compute capability, 80, 90, 100 …, or as gfx942.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import triton

from ..targets import configs
from ..targets.target import Target, interpreted
from . import builds


def main() -> None:
    """Print what is shipped, or write down all candidates."""
    parser = argparse.ArgumentParser(
        prog="python -m flashsteps.kernels.compiling", description=(__doc__ or "").split("\n")[0]
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
            found = builds.tried(on) if given.tried else builds.shipped()
            for build, taken in zip(found, pool.map(partial(builds.measured, on=on), found), strict=True):
                print(f"{gpu:<7} {build!s:<60} {taken.registers:>4} registers {taken.spilled:>5} B spilled", end="")
                print(f" {taken.shared:>8,} B shared", flush=True)
                if build.config:
                    row = {"arch": gpu, "kernel": build.kernel, "d": build.d, "causal": build.causal}
                    rows.append({**row, "config": list(build.config), **taken._asdict()})
    if given.tried:
        text = ",\n".join(json.dumps(row) for row in rows)
        configs.COMPILED.write_text(f'{{"triton": "{triton.__version__}", "rows": [\n{text}\n]}}\n')


if __name__ == "__main__":
    main()
