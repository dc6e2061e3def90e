"""Films of any size and shape, and what is drawn of them: the ground that tests of time, place and picture stand on."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple, TypeVar

import cairo
import numpy as np
from hypothesis import strategies as st

from flashsteps.filmkit import films, text
from flashsteps.filmkit.film import DEFAULT_DURATION, Film, film
from flashsteps.filmkit.layout import Box
from flashsteps.filmkit.stage import coda as closing
from flashsteps.filmkit.pen import Pen
from flashsteps.filmkit.stage import parts
from flashsteps.filmkit.stage.moment import moment
from flashsteps.filmkit.stage.part import Part
from flashsteps.inputs.qkv import QKV, check_qkv, load_qkv
from flashsteps.runs.arguments import small_block

FILMS = films.names()

README, HD = (800, 450), (1280, 720)
SIZES = (README, HD, (1920, 1080), (1080, 1080), (800, 800), (1080, 1920), (3840, 2160), (1024, 768), (1000, 500))
SMALL = (README, (800, 800), (540, 960), (1000, 500), (900, 700))

#: what a vocabulary can hold: punctuation, markup, forty characters, scripts that no bundled font has
WORDS = (
    "[CLS]",
    "the",
    "a",
    "'",
    ".",
    "because",
    "##ization",
    "W" * 40,
    "x_{i}^{2}",
    "<s>",
    "Übergröße",
    "漢字" * 20,
    "ﷺ",
)


@dataclass(frozen=True)
class Shot:
    """A film of some input: its sizes, options, and how large its picture is."""

    name: str
    n: int = 16
    n_keys: int = 16
    d: int = 8
    block_q: int | None = None
    block_k: int | None = None
    mask: str | None = None
    words: bool = False
    size: tuple[int, int] = README
    theme: str = "dark"
    code: bool = False
    duration: float = DEFAULT_DURATION
    gain: float = 1.0
    seed: int = 0

    def qkv(self) -> QKV:
        rng = np.random.default_rng(self.seed)
        rows = (self.n, self.n_keys, self.n_keys)
        q, k, v = ((self.gain * rng.standard_normal((n, self.d))).astype(np.float32) for n in rows)
        words = tuple(WORDS[i % len(WORDS)] for i in rng.integers(0, 99, max(rows)))
        return check_qkv(q, k, v, tokens=words if self.words else None)

    def film(self) -> Film:
        return made(self)

    @property
    def blocks(self) -> tuple[int, int]:
        """The sizes of the blocks that the run uses."""
        return min(self.block_q or small_block(self.n), self.n), min(
            self.block_k or small_block(self.n_keys), self.n_keys
        )

    def tiles(self) -> dict[tuple[int, int], bool]:
        """By block of queries and block of keys: does a query there see a key?"""
        seen = np.ones((self.n, self.n_keys), bool)
        if self.mask == "causal":
            seen = np.tril(seen, self.n_keys - self.n)
        bq, bk = self.blocks
        rows, columns = range(ceil(self.n / bq)), range(ceil(self.n_keys / bk))
        return {(i, j): bool(seen[i * bq : (i + 1) * bq, j * bk : (j + 1) * bk].any()) for i in rows for j in columns}


@lru_cache(maxsize=16)
def made(shot: Shot) -> Film:
    """The film of a shot, of which the same one is given each time."""
    return film(
        shot.name, shot.qkv(), width=shot.size[0], height=shot.size[1], block_q=shot.block_q, block_k=shot.block_k,
        mask=shot.mask, theme_name=shot.theme, duration=shot.duration, code=shot.code,
    )  # fmt: skip


@lru_cache(maxsize=16)
def sample(name: str, size: tuple[int, int] = README, **options: Any) -> Film:
    """A film of the bundled head."""
    return film(name, load_qkv("sample"), width=size[0], height=size[1], **options)


@st.composite
def shots(
    draw: st.DrawFn,
    /,
    names=FILMS,
    sizes=SIZES,
    largest: int = 64,
    deepest: int = 64,
    tiles: int = 6,
    **fixed: Any,
) -> Shot:
    """Shots with up to `largest` queries and keys in up to `tiles` blocks each."""
    rows = st.integers(1, largest)
    n = draw(rows)
    n_keys = draw(st.one_of(st.just(n), rows))
    options: dict[str, Any] = {
        "d": st.integers(1, deepest),
        "block_q": st.integers(ceil(n / tiles), n),
        "block_k": st.integers(ceil(n_keys / tiles), n_keys),
        "mask": st.sampled_from([None, "causal"]),
        "words": st.booleans(),
        "size": st.sampled_from(sizes),
        "theme": st.sampled_from(["dark", "light"]),
        "code": st.booleans(),
        "gain": st.sampled_from([1.0, 1.0, 20.0]),
        "seed": st.integers(0, 9),
    }
    chosen = {key: fixed[key] if key in fixed else draw(values) for key, values in options.items()}
    return Shot(draw(st.sampled_from(names)), n, n_keys, **chosen)


# ---- what is drawn, part by part


class Sheet:
    """A surface of a film's size to draw on."""

    def __init__(self, film: Film, under: "Sheet | None" = None) -> None:
        self.surface = cairo.ImageSurface(cairo.FORMAT_RGB24, film.layout.width, film.layout.height)
        self.pen = Scribe(cairo.Context(self.surface), film.theme, film.layout.unit)
        if under:
            self.pen.ctx.set_source_surface(under.surface, 0, 0)
            self.pen.ctx.paint()

    @property
    def pixels(self) -> np.ndarray:
        """RGB as it is now, (height, width, 3), to be read."""
        self.surface.flush()
        shape = (self.surface.get_height(), self.surface.get_width(), 4)
        return np.ndarray(shape, np.uint8, self.surface.get_data(), strides=(self.surface.get_stride(), 4, 1))[..., :3]


class Written(NamedTuple):
    """A text on a sheet: where its letters are (lower-case ones without a tail), and the colours it is written over."""

    words: str
    box: tuple[float, float, float, float]  # left, top, right, baseline
    size: float
    color: str
    alpha: float
    over: frozenset[str]

    def touches(self, other: "Written") -> bool:
        a, b = self.box, other.box
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class Scribe(Pen):
    """A pen that remembers what it wrote."""

    written: list[Written]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.written = []

    def text(self, x, y, words, size, color="ink", **options):
        style = self.style(size, options.get("weight", 400), options.get("mono", False))
        if self.fits(size):
            shown = words if options.get("room") is None else text.elide(words, style, options["room"])
            width = text.width(shown, style)
            left = x - width * {"left": 0, "center": 0.5, "right": 1}[options.get("align", "left")]
            box = (left, y - text.cap_height(style), left + width, y)
            alpha = options.get("alpha", 1.0)
            if shown.strip() and alpha > 0:
                self.written.append(Written(shown, box, style.size, self.color(color), alpha, self._under(box)))
        return super().text(x, y, words, size, color, **options)

    def _under(self, box: tuple[float, float, float, float]) -> frozenset[str]:
        """The colours that make up a tenth or more of a box."""
        target: Any = self.ctx.get_target()
        target.flush()
        shape = (target.get_height(), target.get_width(), 4)
        pixels = np.ndarray(shape, np.uint8, target.get_data(), strides=(target.get_stride(), 4, 1))
        left, top, right, bottom = (max(0, round(side)) for side in box)
        seen = pixels[top:bottom, left:right, :3].reshape(-1, 3)
        shares = Counter(map(bytes, seen))
        return frozenset("#" + color.hex() for color, count in shares.items() if count >= 0.1 * len(seen))


class Scene(NamedTuple):
    """What a part of a film is drawn from: from when on, the ground that never changes, and the parts upon it."""

    film: Film
    start: float
    ground: Sheet
    parts: tuple[Part, ...]

    def at(self, t: float, cut: bool = False) -> Sheet:
        """Ground and parts at a time, without what is on its way; each part drawn freely, or cut off at its box."""
        sheet = Sheet(self.film, self.ground)
        for part in self.parts:
            sheet.pen.ctx.save()
            if cut:
                sheet.pen.ctx.rectangle(*part.box)
                sheet.pen.ctx.clip()
            part.draw(sheet.pen, moment(self.film, t))
            sheet.pen.ctx.restore()
        sheet.pen.written = [*self.ground.pen.written, *sheet.pen.written]
        return sheet


def run_of(film: Film) -> Scene:
    """The run, from 0 to the coda."""
    ground = Sheet(film)
    parts.background(ground.pen, film)
    return Scene(film, 0.0, ground, tuple(parts.parts(film)))


def coda_of(film: Film) -> Scene:
    """The coda, until the end."""
    ground = Sheet(film)
    closing.background(film)(ground.pen)
    return Scene(film, film.timeline.coda, ground, tuple(closing.parts(film)))


def inside(box: Box, other: Box) -> bool:
    return other.x <= box.x and other.y <= box.y and box.right <= other.right and box.bottom <= other.bottom


Thing = TypeVar("Thing")


def there(thing: Thing | None) -> Thing:
    """What is there in the case at hand."""
    assert thing is not None
    return thing
