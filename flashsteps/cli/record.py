"""`flashsteps record`: run an algorithm, and keep every step of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..units import size_of
from . import kernels
from . import options as take
from .options import option
from .program import Command, say

if TYPE_CHECKING:
    from ..inputs.qkv import Heads
    from ..trace.trace import Trace

EXAMPLES = """\b
Examples:
  flashsteps record flash2-forward -o run.npz --block-q 4 --block-k 4
  flashsteps record flash2-backward -o back.npz --input random:32,8 --mask window:7,0
  flashsteps record flash2-forward -o run.npz --input heads.safetensors --all-heads
  flashsteps record flash-forward -o run.npz --input random:1024,64 --mask causal --device h100
"""

#: the options of `run_options` that are read here; all others are `flashsteps.record`'s own
OF_THE_INPUT = ("source", "head", "layout", "do", "all_heads", "kernel")

DO = "an .npy file, or random[:SEED], standard normal numbers  [default: random]"


def run_options(blocks: take.Help) -> Callable[[Any], Any]:
    """All options that say what is run, and how; `blocks` says how large blocks are unless given."""
    adds = (
        take.input_options,
        take.block_options(blocks, of_input=True),
        option("--scale", type=take.REAL, help="What QKᵀ is multiplied by  [default: 1/√d]"),
        take.change_options,
        option("--bias", metavar="file:PATH",
               help="Numbers to add to scores, (N, M) or (heads, N, M), an .npy or .npz file  [default: none]"),
        option("--sinks", type=take.LOGITS, help="A logit (or one a head) that takes its share and has no value."),
        option("--seed", type=take.INTEGER,
               help="What decides which weights are dropped, or where pages lie  [default: 0]"),
        option("--queries", type=take.NUMBER,
               help="Only so many queries, the last  [default: all, or one where sample or random is decoded]"),
        option("--table", type=take.PAGES,
               help="For paged-decode: where each block of keys lies  [default: drawn with --seed]"),
        option("--all-heads", is_flag=True,
               help="Run all heads of a file together; those of a group share keys and values."),
        option("--do", type=take.Source(), metavar="SOURCE", help=f"For a backward pass, dO: {DO}"),
        take.capacity_options,
        option("--kernel", is_flag=True, help="Record the Triton kernel instead, in its interpreter (Linux)."),
    )  # fmt: skip

    def add(command: Any) -> Any:
        for one in reversed(adds):
            command = one(command)
        return command

    return add


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("algorithm", type=take.ALGORITHM, help="Which algorithm (`flashsteps list algorithms`).")
@take.output("FILE.npz", "Where to; - is standard output.", ".npz")
@run_options(take.run_blocks)
def record(algorithm: str, output: Path, **options: Any) -> None:
    """Run an algorithm, and save every step of it as a trace.

    A trace holds each tile that moves and each value made on chip, as plain data: `flashsteps show` and
    `flashsteps.load` read it, and so does NumPy.
    """
    from ..trace import npz as trace_file

    trace_file.check_path(output)
    trace = run_of(algorithm, options)
    trace.save(output)
    io, size = trace.io(), size_of(output.stat().st_size)
    say(f"{output}   {size}   {steps(trace)}: {io.read:,} B read from HBM, {io.written:,} B written")


def steps(trace: Trace) -> str:
    """How long a run is, and of what: `160 steps over 16 tokens, d 32, float16`."""
    from ..story.labels import sizes

    return f"{len(trace):,} steps over {sizes(trace.meta)}"


def run_of(algorithm: str, options: Mapping[str, Any], small: bool = False) -> Trace:
    """A run as the options of `run_options` have it; with `small`, blocks that were not given are those of a film.

    Raises ValueError as `flashsteps.record` does.
    """
    from ..inputs import qkv as inputs
    from ..runs import arguments
    from ..runs import record as run

    options = dict(options)
    source, head, layout, do, all_heads, kernel = (options.pop(name, None) for name in OF_THE_INPUT)
    if all_heads and head is not None:
        raise ValueError("--head and --all-heads both say which heads to run: give one of them")
    heads = inputs.load_heads(source, head, layout, every=bool(all_heads))
    heads = _last(heads, options.pop("queries", None), algorithm)
    first = heads.each[0]
    if small:
        for name, rows in (("block_q", len(first.q)), ("block_k", len(first.k))):
            options[name] = options[name] or arguments.small_block(rows)
    if do or arguments.takes(algorithm, "do"):
        options["do"] = _gradient(do or "random", heads)
    own = {"source": first.source, **first.own}
    try:
        trace = run.record_heads(algorithm, heads, **(own | take.given(options)))
    except ValueError as error:
        named = do and re.match(r"d[oO]\b", str(error)) and Path(do).is_file()
        raise ValueError(f"{do!r}: {error}" if named else str(error)) from error
    return kernels.twin(trace) if kernel else trace


def _last(heads: Heads, queries: int | None, algorithm: str) -> Heads:
    """The last so many queries: all of a file, and one of what is made here if it is decoded, unless told otherwise."""
    from .. import algorithms
    from ..runs import part

    first = heads.each[0]
    if queries is None:
        made_here = first.source["kind"] in ("sample", "random")
        queries = 1 if made_here and algorithms.algorithm(algorithm).decodes else len(first.q)
    if queries > len(first.q):
        raise ValueError(f"--queries {queries}: there are {len(first.q):,}, give at most as many")
    return heads if queries == len(first.q) else part.last(heads, queries)


def _gradient(given: str, heads: Heads) -> Any:
    """dO: from a file, or at random, of q's type."""
    import numpy as np

    from ..inputs import layouts
    from ..machine.mask_arrays import load_matrix

    found = re.fullmatch(r"random(?::(\d{1,18}))?", given, re.ASCII)
    if not found:
        return load_matrix(given)
    first, lead = heads.each[0], () if len(heads.each) == 1 else heads.axes.queries[:-2]
    shape = (*lead, len(first.q), first.v.shape[1])
    rng = np.random.default_rng(int(found[1] or 0))
    drawn = rng.standard_normal(shape, dtype=np.float32).astype(first.q.dtype)
    return drawn.transpose(layouts.back(heads.axes.layout, len(shape))) if lead else drawn
