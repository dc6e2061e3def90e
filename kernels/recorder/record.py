"""The recorder: what a Triton kernel itself loads, makes and stores, step by step, as Triton's interpreter runs it.

    with record_kernels(X=x, Y=y) as tape:
        kernel[grid](x, y, n)
    for program in tape.programs():
        print(program, *program.steps, sep="\\n")

It works for any kernel. Each load and store of the interpreter, by pointers or by descriptors, is looked up in the
tensors that were registered: an address becomes rows of a tensor in the order of its view's dimensions, so a view says
what a row is (`q.view(B, Hk, G, N, d).transpose(2, 3)` packs the heads of a group as rows). Lanes that are masked off
count for nothing. With `slots`, the kernel's own variables are watched, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from . import interpreter
from .source import Source
from .tape import KernelTape, Slots
from .tensors import Argument, registered


@contextmanager
def record_kernels(
    *,
    slots: Slots | None = None,
    loops: Mapping[str, tuple[str, int]] | None = None,
    through: Iterable[str] = (),
    **tensors: Any,
) -> Iterator[KernelTape]:
    """Record what kernels do to `tensors` (torch, on the CPU) while this is open. Gives the tape.

    A tensor is a view (…, columns): its leading dimensions, in their order, count its rows; `Vector(view)` has no
    columns; `Argument(name, view)` is what a kernel is launched with, for a tensor that is not there yet.

        import torch, triton, triton.language as tl
        from flashsteps.kernels import record_kernels

        @triton.jit
        def scale(X, Y, n, factor, BLOCK: tl.constexpr):
            i = tl.program_id(0)
            at = i * BLOCK + tl.arange(0, BLOCK)
            x = tl.load(X + at, mask=at < n)
            y = x * factor
            tl.store(Y + at, y, mask=at < n)

        x, y = torch.arange(6.0), torch.empty(6)
        with record_kernels(X=x, Y=y, slots={"y": ("y", "x")}, loops={"i": ("i", 1)}) as tape:
            scale[(2,)](x, y, 6, 0.5, BLOCK=4)
        for program in tape.programs():
            print(program.index, *program.steps, sep=", ")

    It prints, with TRITON_INTERPRET=1 set, what each of the two programs did, the second of them with two numbers only:

        {'i': 0}, load X[0:4], compute y, store Y[0:4]
        {'i': 1}, load X[4:6], compute y, store Y[4:6]

    `slots` names the kernels' variables to watch (add.s for s in the function add), each with its slot and, if it is to
    be cut to what is in range, what its axes count, the rows of the tile in a slot or the columns of a tile, d:
    {"s": ("S", "q", "k"), "m_i": ("m_i", "q"), "acc": ("acc", "q", "d")}; "q|o" is the first of these that there is.
    `loops` names the variables, in the same way, that say which block a program or a round of a loop is about, each
    with the loop's name and by how much it grows: {"pid": ("i", 1), "start": ("j", 64)}; one that is set in a loop
    counts inside of it alone. What the functions named in `through` do is told at the line that calls them.

    Raises ValueError, here, where Triton's interpreter is off, a tensor cannot be registered or a slot is no tuple of
    words; where a kernel is launched, if it loads or stores anything outside of all tensors (with the nearest tensor,
    program and source line), something that is not a tile, or by an atomic operation; and, at the end, if no kernel
    that ran sets a variable of `slots`. Whatever happens, nothing stays wrapped.
    """
    triton_interpreter = interpreter.there()
    if not tensors:
        raise ValueError("record_kernels() got no tensor: name those that kernels may touch, record_kernels(Q=q, O=o)")
    _well_formed(slots or {})
    tape = KernelTape(tensors, dict(slots or {}), dict(loops or {}), Source(through))
    awaited = {name: given for name, given in tensors.items() if isinstance(given, Argument)}
    for name, given in tensors.items():
        if name not in awaited:
            tape.register(registered(name, given))
    with interpreter.telling(triton_interpreter, tape, awaited):
        yield tape
    _all_set(tape)


def _well_formed(slots: Slots) -> None:
    """Raises ValueError where a slot is no tuple of words."""
    for variable, spec in slots.items():
        if not (isinstance(spec, tuple | list) and spec and all(isinstance(word, str) for word in spec)):
            slot = spec if isinstance(spec, str) else variable.rpartition(".")[2]
            raise ValueError(
                f"slots[{variable!r}] is {spec!r}: give (slot, axes…), as ({slot!r},) or ({slot!r}, 'q', 'd')"
            )


def _all_set(tape: KernelTape) -> None:
    """Raises ValueError where no kernel that ran sets a watched variable."""
    ran = tape.source.variables()
    for variable in tape.slots if ran else ():
        function, _, name = variable.rpartition(".")
        where = {function: ran[function]} if function in ran else ran
        if (function in where or not function) and any(name in names for names in where.values()):
            continue
        known = ", ".join(f"{one}.{given}" if one != function else given for one in where for given in where[one])
        raise ValueError(f"slots has {variable!r}, which no kernel that ran sets: there are {known or 'no variables'}")
