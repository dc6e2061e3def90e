"""Counting what a run would move, without any data: `count` adds it up, `walk` tells a tape of each step."""

from __future__ import annotations

from inspect import signature
from typing import Any

from .. import algorithms
from ..machine import dtypes, pages
from ..machine import heads as head_groups
from ..machine.events import IO
from ..machine.memory import HBM, SRAM, Tape
from ..scalars import whole
from ..trace import rules
from ..trace.rules import Tally
from . import arguments, running


def count(
    algorithm: str,
    *,
    n: int,
    d: int,
    d_v: int | None = None,
    n_keys: int | None = None,
    heads: int = 1,
    kv_heads: int | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: Any = None,
    dtype: Any = dtypes.DEFAULT,
    block_mask: Any = None,
    splits: int | None = None,
    softcap: float | None = None,
    bias: Any = None,
    sinks: Any = None,
    alibi: Any = None,
    dropout: float | None = None,
    device: str | None = None,
    sram: int | None = None,
    rule: str = rules.DEFAULT,
) -> IO:
    """What `record(…).io(rule)` would be for n queries and n_keys keys (n unless given) of size d, without any data.

    Where decoding is told n alone, one query looks at n keys. With `heads` and `kv_heads` (heads unless given), for all
    heads together; those of a group share each tile of K and V. `d_v` is the size of a value (d unless given). A `bias`
    comes in that is "shared" by all heads or that "heads" have each their own, and `sinks` if that is True; either may
    be an array, as `record` takes it.

    A mask that is a matrix is counted tile by tile, all others by arithmetic. Raises ValueError as `record` and
    `Trace.io` do.
    """
    given = dict(locals())  # all of the above, by name
    tally = Tally(rules.rule(given.pop("rule"), algorithm))
    hbm, memory = _walk(tally, **given)
    return tally.io(hbm.tensors, memory.peak)


#: the options of `count`, and their defaults, as `walk` has them
_TAKEN = signature(count).replace(parameters=[p for p in signature(count).parameters.values() if p.name != "rule"])


def walk(algorithm: str, tape: Tape, **given: Any) -> tuple[HBM, SRAM]:
    """Go through a run without any data and tell a tape of each step; `given` is what `count` takes, but a rule.

    Raises ValueError as `count` does.
    """
    call = _TAKEN.bind(algorithm, **given)
    call.apply_defaults()
    return _walk(tape, **call.arguments)


def _walk(
    tape: Tape,
    *,
    algorithm: str,
    n: int,
    d: int,
    d_v: int | None,
    n_keys: int | None,
    heads: int,
    kv_heads: int | None,
    dtype: Any,
    device: str | None,
    sram: int | None,
    **given: Any,
) -> tuple[HBM, SRAM]:
    """The same, with each default in its place."""
    alone = n_keys is None and algorithms.algorithm(algorithm).decodes  # n keys, and one query that looks at them
    N, M, d = whole("n", n), whole("n_keys", n if n_keys is None else n_keys), whole("d", d)
    N, d_v = 1 if alone else N, whole("d_v", d if d_v is None else d_v)
    H, parts = whole("heads", heads), whole("kv_heads", heads if kv_heads is None else kv_heads)
    options = arguments.called_with(algorithm, N, M, d, H, head_groups.group_of(H, parts), given)
    return walked(algorithm, tape, (N, M, d, d_v), H, parts, options, dtype, device, sram)


def walked(
    algorithm: str,
    tape: Tape,
    sizes: tuple[int, int, int, int],
    H: int,
    parts: int,
    options: dict[str, Any],
    dtype: Any = dtypes.DEFAULT,
    device: str | None = None,
    sram: int | None = None,
) -> tuple[HBM, SRAM]:
    """The same for (N, M, d, d_v), with options as an algorithm is called with them."""
    N, M, d, d_v = sizes
    by_runs, tiles = bool(options["mask"].by_rule), options.get("block_mask")
    if tiles is not None:
        by_runs = by_runs and tiles.by_rule((N * (H // parts) // options["block_q"], M // options["block_k"]))
    hbm, memory = running.machine(algorithm, dtype, device, sram, tape, counting=True, by_runs=by_runs, parts=parts)
    shapes: dict[str, tuple[int, ...]] = {"Q": (H * N, d), "dO": (H * N, d_v), "sinks": (H,)}
    rows = M
    if "bias" in options:
        shapes["bias"] = (H * N if options["bias"].by_head else N, M)
    if "table" in algorithms.algorithm(algorithm).parameters:
        page = options["block_k"]
        shapes["table"], rows = (-(-M // page),), pages.pool(M, page) * page
    shapes |= {"K": (parts * rows, d), "V": (parts * rows, d_v)}
    if "starts" in algorithms.algorithm(algorithm).parameters:
        shapes |= {name: list_.shape for name, list_ in options["block_mask"].lists().items()}
    running.run(algorithm, hbm, memory, running.initial(algorithm, hbm, shapes, None, options), options)
    return hbm, memory
