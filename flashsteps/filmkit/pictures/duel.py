"""Speeds that were timed in turn, as charts, and how far ours are from others'; what a colour means beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...results import Results
from ...units import short
from ..actors.columns import Columns, Group
from ..boxes import Box

#: what a colour means, in all charts: attention that stores S, FlashAttention as others have it, cuDNN's, what
#: PyTorch's scaled_dot_product_attention takes by itself, and ours
STANDARD, FLASH, CUDNN, CHOSEN, OURS = "dim", "ink", "Q", "V", "accent"
BACKENDS = {
    "flashsteps": ("flashsteps (ours)", OURS),
    "cudnn": ("cuDNN", CUDNN),
    "flash": ("PyTorch’s FlashAttention-2", FLASH),
}


class Duel:
    """What one GPU's file says of the width that most rows have: TFLOP/s by pass, mask, N and whose."""

    def __init__(self, found: Results) -> None:
        self.found, self.speeds, self.d = found, kept_of(found), width(found.rows)
        self.sizes = sorted({n for _, _, n, _ in self.speeds})

    def charts(self, sides: Sequence[Box], causal: bool, grown: Any) -> list[tuple[Any, Box]]:
        """The forward pass and the backward pass, side by side."""
        batches = [max(1, self.found.settings["tokens"] // n) for n in self.sizes]
        heads = f"{self.found.settings['hidden'] // self.d} heads, batches of {max(batches)} to {min(batches)}"
        kinds, most, pictures = tuple(BACKENDS.values()), max(self.speeds.values()), list[tuple[Any, Box]]()
        for way, box in zip(("forward", "backward"), sides, strict=True):
            found = ((n, tuple(self.speeds.get((way, causal, n, one)) for one in BACKENDS)) for n in self.sizes)
            groups = tuple(Group(short(n), values) for n, values in found)
            title, name = f"{way}{', causal' if causal else ', no mask'}: TFLOP/s", f"tokens in a sequence; {heads}"
            pictures.append((Columns(groups, kinds, most, title=title, name=name, grown=grown), box))
        return pictures

    def against(self, other: str, causal: bool, *ways: str) -> list[float]:
        """How many times as fast ours is, at each N."""
        pairs = ((way, causal, n) for way in ways for n in self.sizes)
        return [self.speeds[*at, "flashsteps"] / self.speeds[*at, other] for at in pairs]


def kept_of(duel: Results | None) -> dict[tuple[str, bool, int, str], float]:
    """TFLOP/s of those that were timed in turn, by pass, mask, N and whose; of the width that most rows have."""
    rows = [row for row in duel.rows if row["status"] == "ok"] if duel else []
    d = width(rows)
    return {
        (row["pass"], row["causal"], row["n"], row["backend"]): row["tflops"]
        for row in rows
        if row["d"] == d and row["backend"] in BACKENDS
    }


def width(rows: Sequence[Mapping[str, Any]]) -> int:
    """The head's width that most rows have."""
    return max((row["d"] for row in rows), key=[row["d"] for row in rows].count, default=0)


def between(each: Sequence[float]) -> str:
    """`0.95 to 0.99`."""
    low, high = (f"{end(each):.2f}" for end in (min, max))
    return low if low == high else f"{low} to {high}"


def versions(found: Results) -> str:
    """What was measured, by version: torch 2.11.0, triton 3.6.0, cuDNN 9.19.0."""
    of = {name: str(found.versions[name]).partition("+")[0] for name in ("torch", "triton") if found.versions.get(name)}
    if (cudnn := str(found.versions.get("cudnn") or "")).isdigit():  # 91900
        of["cuDNN"] = f"{int(cudnn) // 10000}.{int(cudnn) // 100 % 100}.{int(cudnn) % 100}"
    return ", ".join(f"{name} {version}" for name, version in of.items())
