"""The close of a film: this run's bars, then the same at real sizes. Every figure shown was counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...theme import BODY, HEAD, LABEL
from ...units import short, size_of
from ..coda import Step, caption, scalable_mask, schedule
from ..film import Film
from ..layout import Box
from ..pen import Pen
from . import below, header
from .moment import Moment
from .part import Part

#: seconds in which the run's last picture gives way
FADE = 0.5

HERO = 96


def background(film: Film) -> Callable[[Pen], None]:
    def draw(pen: Pen) -> None:
        place = film.layout
        pen.fill(Box(0, 0, place.width, place.height), "bg")
        header.background(pen, film)
        pen.fill(place.rail, "ink", radius=3)

    return draw


def parts(film: Film) -> Iterator[Part]:
    """The sizes, the bars, and what is said of them."""
    place = film.layout
    yield Part(place.main, where, _bars)
    yield Part(place.caption, _caption, lambda pen, m: below.draw_caption(pen, film, _caption(m)))
    low = Box(place.meter.x, place.meter.y, place.aside.right - place.meter.x, place.height - place.meter.y)
    yield Part(low, lambda m: None, _foot)


def where(m: Moment) -> int:
    """The step that is on."""
    times = schedule(m.film.timeline, m.film.coda)
    return max((k for k, (start, _) in enumerate(times) if m.t >= start), default=0)


def _bars(pen: Pen, m: Moment) -> None:
    film, box = m.film, m.film.layout.main
    n, all_steps = where(m), film.coda
    now, was = all_steps[n], all_steps[max(0, n - 1)]
    wide = film.layout.canvas == "wide"
    chips = _chips(now)
    changed = {name for (name, value), (_, before) in zip(chips, _chips(was), strict=True) if value != before}
    top, pitch = box.y + pen.px(30), pen.px(300)
    for k, (name, value) in enumerate(chips):
        chip = Box(box.x + k * (pitch + pen.px(20)), top, pitch, pen.px(92))
        pen.fill(chip, "panel", radius=14)
        pen.frame(chip, "accent" if name in changed else "line", width=3 if name in changed else 2, radius=14)
        pen.label(chip.x + pen.px(26), chip.y + pen.px(57), name)
        pen.figure(chip.right - pen.px(26), chip.y + pen.px(59), value, align="right", size=HEAD)
    ours, theirs = _names(film)
    hero_y = top + pen.px(92 + 150)
    ratio = (
        f"{now.ratio:,.2f}×" if now.ratio < 10 else f"{now.ratio:,.0f}×" if now.ratio >= 100 else f"{now.ratio:,.1f}×"
    )
    own_color = "S" if film.spec.kind == "kernels" else "accent"
    width = pen.text(box.x, hero_y, ratio, HERO, "accent" if now.ratio < 1 else own_color, weight=600)
    for k, words in enumerate(_versus(film)):
        pen.text(box.x + width + pen.px(30), hero_y - pen.px(44 - 40 * k), words, BODY, "dim")
    label = pen.px(330) if wide else 0
    room = box.w - label - round(pen.figure_width("000.0 MB", BODY)) - pen.px(30)
    most = max(now.own, now.standard)  # the longer bar is whole
    own_share, std_share = now.own / most, now.standard / most
    y, high, gap = hero_y + pen.px(70), pen.px(72), pen.px(34 if wide else 70)
    bars = ((ours, own_share, now.own, own_color), (theirs, std_share, now.standard, "dim"))
    for k, (name, share, nbytes, color) in enumerate(bars):
        line = y + k * (high + gap)
        if wide:
            pen.text(box.x, line + high / 2 + pen.px(11), name, BODY, weight=600, room=label - pen.px(20))
        else:
            pen.label(box.x, line - pen.px(14), name, "ink", weight=600)
        bar = Box(box.x + label, line, max(2, round(room * share)), high)
        pen.fill(bar, color, radius=4)
        pen.figure(bar.right + pen.px(18), line + high / 2 + pen.px(11), size_of(nbytes), size=BODY)
    mark = box.x + label + max(2, round(room * std_share))
    pen.line([(mark, y - pen.px(16)), (mark, y + 2 * high + gap + pen.px(10))], "dim", width=2, dash=8)


def _chips(step: Step) -> list[tuple[str, str]]:
    tile = [("tile", f"{step.block_q}×{step.block_k}")] if step.block_q else []
    return [("N", short(step.n)), ("d", str(step.d)), *tile]


def _names(film: Film) -> tuple[str, str]:
    if film.spec.kind == "kernels":
        return "S and P", "Q, K, V and O"
    return "FlashAttention-2" if "2" in film.spec.algorithm else "FlashAttention", "standard"


def _versus(film: Film) -> tuple[str, str]:
    if film.spec.kind == "kernels":
        return "the memory of", "Q, K, V and O"
    return "the HBM traffic of", "standard attention"


def _caption(m: Moment) -> str:
    return caption(m.film.trace, m.film.coda, where(m))


def _foot(pen: Pen, m: Moment) -> None:
    film, box = m.film, m.film.layout.meter
    meta = film.trace.meta
    mask = scalable_mask(film.trace)
    mask = f"{mask}, " if mask else "no mask at real sizes, " if meta["mask"] else ""
    what = f"one head, {mask}{meta['dtype']}, forward; every figure is counted, none is measured"
    room = film.layout.aside.right - box.x
    pen.label(box.x, box.y + pen.px(40), what, room=room)
    if film.spec.kind != "kernels":
        pen.text(box.x, box.y + pen.px(84), "two levels, no L2, no overlap", LABEL, "dim", room=room)
