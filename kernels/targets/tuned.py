"""The tiles that `flashsteps bench --tune` found fastest, by GPU: a JSON file that the kernels look into."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from flashsteps.files import whole

PATH = Path(__file__).with_name("tuned.json")

#: what a tile is for, `d` on chip, `bits` of a number in q, k and v; all else in a line is the tile
KEY = ("gpu", "kernel", "d", "causal", "bits")


#: GPUs of one chip, whose memory differs: what was not tuned on the first is taken as it was on the second (where both
#: were tuned, with heads of 128, the fastest passes are the same kernels and tiles)
TWINS = {"NVIDIA H200": "NVIDIA H100 80GB HBM3"}


def found() -> dict[tuple[Any, ...], dict[str, Any]]:
    """All that there is: what a tile is for, as `KEY` names it, and the tile."""
    return _all(PATH)


def best(gpu: str, kernel: str, d: int, causal: bool, bits: int) -> dict[str, Any] | None:
    """The fastest tile that was found on this GPU or its twin, by the names of a Config, or None where none was."""
    tiles, of = found(), (kernel, d, causal, bits)
    return tiles.get((gpu, *of)) or tiles.get((TWINS.get(gpu, gpu), *of))


def keep(gpu: str, bits: int, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write down the best of these rows of tuning, in place of what was there for the same GPU, kernel, d and mask.

    A best row without a tile says that none of them is faster than what is there without it: then none is written down.
    Raises ValueError where the file cannot be written.
    """
    tiles = dict(found())
    tiles |= {(gpu, row["kernel"], row["d"], row["causal"], bits): row["config"] for row in rows if row["best"]}
    lines = [json.dumps(dict(zip(KEY, key, strict=True)) | one) for key, one in sorted(tiles.items()) if one]
    with whole(PATH) as aside:
        aside.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n" if lines else "[]\n", encoding="utf-8")
    _all.cache_clear()


@cache
def _all(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    if not path.exists():
        return {}
    lines = json.loads(path.read_text(encoding="utf-8"))
    return {tuple(one.pop(name) for name in KEY): one for one in lines}


@cache
def name(device: torch.device) -> str:
    """What the GPU is called."""
    return str(torch.cuda.get_device_name(device))
