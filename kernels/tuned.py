"""The tiles that `flashsteps bench --tune` found fastest, by GPU: a JSON file that the kernels look into."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flashsteps.files import whole

from .configs import Config

PATH = Path(__file__).with_name("tuned.json")

#: what a tile is for; `bits`: of a number in q, k and v
KEY = ("gpu", "kernel", "d", "causal", "bits")


def config(gpu: str, kernel: str, d: int, causal: bool, bits: int) -> Config | None:
    """The fastest tile that was found on this GPU, or None where none was."""
    return _all(PATH).get((gpu, kernel, d, causal, bits))


def keep(gpu: str, bits: int, rows: Iterable[Mapping[str, Any]], path: Path | None = None) -> None:
    """Write down the best of these rows of tuning, in place of what was there for the same GPU, kernel, d and mask.

    Raises ValueError where the file cannot be written.
    """
    where = path or PATH
    tiles = dict(_all(where))
    for row in rows:
        if row["best"]:
            tiles[gpu, row["kernel"], row["d"], row["causal"], bits] = Config(**row["config"])
    lines = [json.dumps(dict(zip(KEY, key, strict=True)) | tile._asdict()) for key, tile in sorted(tiles.items())]
    with whole(where) as aside:
        aside.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n" if lines else "[]\n", encoding="utf-8")
    _all.cache_clear()


@cache
def _all(path: Path) -> dict[tuple[str, str, int, bool, int], Config]:
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {tuple(one[name] for name in KEY): Config(**{name: one[name] for name in Config._fields}) for one in found}
