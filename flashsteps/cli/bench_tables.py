"""Results of `flashsteps bench` as lines, printed as they come: a point or a run a line, then what is to be known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..results import best, packages, where
from ..units import short, size_of

if TYPE_CHECKING:
    from ..results import Results

Row = Mapping[str, Any]

#: what is shown where nothing was measured
SHORT = {"out of memory": "oom", "not available": "-", "wrong": "wrong", "not run": "."}


def more(results: Results, said: int) -> Iterator[str]:
    """The lines of the rows from `said` on; before the very first what all have in common."""
    head, lines = {
        "speed": (_speed_head, _speed),
        "tune": (_tune_head, _tune),
        "train": (_train_head, _train),
        "beside": (_beside_head, _beside),
    }[results.kind]
    if results.rows and not said:
        yield _setting(results)
        yield from head(results)
    yield from lines(results, results.rows[said:])


def notes(results: Results) -> Iterator[str]:
    """What is said below the table."""
    yield ""
    if results.kind == "speed":
        yield from _peaks(results)
        yield f"* the fastest; {results.settings['flops']}"
    if results.kind == "train":
        yield from _agreement(results)
    yield from _reasons(results)
    if not results.finished:
        yield "cut off: not all was measured"


def milliseconds(seconds: float) -> str:
    """0.123 ms, 12.3 ms, 1,230 ms."""
    ms = seconds * 1000
    return f"{ms:,.0f} ms" if ms >= 999.5 else f"{ms:.3g} ms"


def _setting(results: Results) -> str:
    """Where it is measured, and with what."""
    driver = results.machine.get("driver")
    return ", ".join(filter(None, (where(results), driver and f"driver {driver}", packages(results))))


def _reasons(results: Results) -> Iterator[str]:
    """Why something was not measured, each reason once."""
    names: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row in results.rows:
        if row["status"] != "ok":
            name = row.get("backend") or row.get("attention") or row.get("kernel")
            why = "" if row["status"] == "out of memory" else row["why"] or ""
            names.setdefault((row["status"], why), {}).setdefault(str(name), []).append(row.get("n", 0))
    for (status, why), found in names.items():
        who = ", ".join(
            f"{name} from N = {short(min(sizes))}" if status == "out of memory" and min(sizes) else name
            for name, sizes in found.items()
        )
        yield f"{SHORT[status]}  {who}: {status}{f': {why}' if why else ''}"


# ---- speed


def _speed_head(results: Results) -> Iterator[str]:
    about = results.settings
    yield (
        f"{about['hidden']:,} hidden, {about['dtype']}, {about['tokens']:,} tokens or one sequence: "
        f"{_unit(results)[0]}, the median of runs that take turns"
    )
    yield ""
    yield _columns("pass", "mask", "d", "N", *_backends(results))


def _unit(results: Results) -> tuple[str, float]:
    return ("GFLOP/s", 1e3) if results.machine.get("kind") == "cpu" else ("TFLOP/s", 1.0)


def _backends(results: Results) -> list[str]:
    return list(dict.fromkeys(row["backend"] for row in results.rows))


def _columns(which: str, mask: str, d: str, n: str, *cells: str) -> str:
    fixed = f"{which:8}  {mask:6}  {d:>3}  {n:>4}"
    return "  ".join([fixed, *(f"{cell:>10}" for cell in cells)]).rstrip()


def _points(results: Results, rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str, str, str], dict[str, Row]]]:
    """What stands at the left of a line, and the row of each backend."""
    for (which, causal, d, n), group in groupby(rows, key=lambda row: (row["pass"], row["causal"], row["d"], row["n"])):
        yield (which, "causal" if causal else "full", str(d), short(n)), {row["backend"]: row for row in group}


def _speed(results: Results, rows: Sequence[Row]) -> Iterator[str]:
    per = _unit(results)[1]
    for at, found in _points(results, rows):
        fastest = best(list(found.values()))
        cells = []
        for name in _backends(results):
            row = found.get(name)
            if row is None or row["status"] != "ok":
                cells.append(f"{SHORT[row['status']] if row else ''} ")
            else:
                cells.append(f"{row['tflops'] * per:,.1f}{'*' if row is fastest else ' '}")
        yield _columns(*at, *cells)


def _peaks(results: Results) -> Iterator[str]:
    """The memory table, where memory was measured."""
    if all(row["peak_bytes"] is None for row in results.rows):
        return
    yield "the most memory held at one time; backward: a forward and a backward pass"
    yield ""
    yield _columns("pass", "mask", "d", "N", *_backends(results))
    for at, found in _points(results, results.rows):
        rows = [found.get(name) for name in _backends(results)]
        if any(row and row["peak_bytes"] for row in rows):
            yield _columns(*at, *(f"{_peak(row)} " for row in rows))
    yield ""


def _peak(row: Row | None) -> str:
    if row is None:
        return ""
    return size_of(row["peak_bytes"]) if row["peak_bytes"] else SHORT.get(row["status"], "")


# ---- tuning


def _tune_head(results: Results) -> Iterator[str]:
    yield f"{results.settings['dtype']}, N = {short(results.settings['n'])}: each candidate, and * the best"
    yield ""


def _tune(results: Results, rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        config = " ".join(f"{name}={value}" for name, value in row["config"].items())
        took = milliseconds(row["seconds"]["median"]) if row["status"] == "ok" else SHORT[row["status"]]
        mask = "causal" if row["causal"] else "full"
        yield f"{row['kernel']:12}  {mask:6}  d={row['d']:<3}  {took:>9}{'*' if row['best'] else ' '}  {config}"


# ---- training


def _train_head(results: Results) -> Iterator[str]:
    about = results.settings
    yield (
        f"a GPT of {about['layers']} layers, {about['heads']} heads of {about['head']}, "
        f"{about['parameters']:,} parameters, {about['arithmetic']}, {about['steps']} steps"
    )
    yield f"the text: {about['corpus']}"
    yield ""
    yield f"{'N':>4}  {'attention':12}  {'a step':>9}  {'peak':>8}  {'loss':>14}"


def _train(results: Results, rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["status"] != "ok":
            yield f"{short(row['n']):>4}  {row['attention']:12}  {SHORT[row['status']]:>9}"
            continue
        peak = size_of(row["peak_bytes"]) if row["peak_bytes"] else ""
        loss = f"{row['losses'][0]:.3f} → {row['losses'][-1]:.3f}"
        took = milliseconds(row["seconds"]["median"])
        yield f"{short(row['n']):>4}  {row['attention']:12}  {took:>9}  {peak:>8}  {loss:>14}"


def _agreement(results: Results) -> Iterator[str]:
    """How far the losses of others lie from those of standard attention, at any step."""
    curves = {(row["n"], row["attention"]): row["losses"] for row in results.rows if row["status"] == "ok"}
    others = dict.fromkeys(name for _, name in curves if name != "standard")
    for name in others:
        sizes = [n for n, other in curves if other == name and (n, "standard") in curves]
        pairs = [(a, b) for n in sizes for a, b in zip(curves[n, "standard"], curves[n, name], strict=True)]
        if pairs:
            furthest = max(abs(a - b) for a, b in pairs)
            yield f"{name}: no loss is further than {furthest:.2g} from that of standard attention"


# ---- what else is called


def _beside_head(results: Results) -> Iterator[str]:
    yield f"{results.settings['dtype']}: the median of runs that take turns, and what is read a second when decoding"
    yield ""


def _beside(results: Results, rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        took = milliseconds(row["seconds"]["median"]) if row["status"] == "ok" else SHORT[row["status"]]
        rate = f"{row['tb_per_s']:.2f} TB/s" if row["tb_per_s"] else ""
        yield f"{took:>9}  {rate:>9}  {row['pass']:8}  {row['what']}: {row['backend']}".rstrip()
