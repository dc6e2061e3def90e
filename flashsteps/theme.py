"""Colours and type: the one place that knows them, and how colours mix. Sizes are those at 1080p."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

from .errors import unknown


class Theme(NamedTuple):
    """A set of colours. Q, K, V, O, S, stat: the hues of tensors; accent: what is now, and FlashAttention in charts."""

    bg: str
    panel: str
    line: str
    ink: str
    dim: str
    faint: str
    sram: str
    sram_line: str
    Q: str
    K: str
    V: str
    O: str
    S: str
    stat: str
    accent: str


THEMES = {
    "dark": Theme(
        bg="#0d1117", panel="#151b23", line="#2d3540", ink="#e6edf3", dim="#9aa4af", faint="#3d444d", sram="#1f1a10",
        sram_line="#8a6d1f", Q="#56b4e9", K="#e69f00", V="#2bb894", O="#d98cc0", S="#b8a1ff", stat="#f0e442",
        accent="#ff8f5e",
    ),
    "light": Theme(
        bg="#ffffff", panel="#f5f7fa", line="#d0d7de", ink="#1f2328", dim="#59636e", faint="#c3cad2", sram="#fff8e6",
        sram_line="#c9981a", Q="#0072b2", K="#985f00", V="#00805e", O="#b0468f", S="#6a4fd8", stat="#7a6c00",
        accent="#c4421a",
    ),
}  # fmt: skip

#: the same for terminals of 16 colours, where these would come out as others
SIXTEEN = {
    "dark": Theme(
        bg="#000000", panel="#000000", line="#555555", ink="#ffffff", dim="#aaaaaa", faint="#555555", sram="#000000",
        sram_line="#aa5500", Q="#00aaaa", K="#ffff55", V="#00aa00", O="#ff55ff", S="#55ffff", stat="#ffffff",
        accent="#ff5555",
    ),
    "light": Theme(
        bg="#ffffff", panel="#ffffff", line="#aaaaaa", ink="#000000", dim="#555555", faint="#aaaaaa", sram="#ffffff",
        sram_line="#aa5500", Q="#0000aa", K="#aa5500", V="#00aa00", O="#aa00aa", S="#5555ff", stat="#555555",
        accent="#aa0000",
    ),
}  # fmt: skip

DEFAULT = "dark"

# type, in px at 1080p; what comes out smaller than SMALLEST at the output's size is dropped
TITLE, HEAD, BODY, LABEL, SMALL = 44, 36, 32, 28, 24
SMALLEST = 11

#: the order of tensors, in every film
ORDER = ("Q", "K", "V", "bias", "sinks", "S", "P", "O", "l", "m", "LSE")

#: tensors and slots whose name isn't what is written on screen; `_{…}` is a subscript
NAMES = {
    "bias": "B",
    "sinks": "s",
    "sink": "s",
    "l": "ℓ",
    "l_i": "ℓ",
    "m_i": "m",
    "alpha": "α",
    "beta": "β",
    "m_new": "m",
    "l_new": "ℓ",
    "m_ij": "m_{ij}",
    "l_ij": "ℓ_{ij}",
}

_HUES = {"Q": "Q", "K": "K", "V": "V", "O": "O", "S": "S", "P": "S", "BIAS": "S", "ACC": "O"}


def theme(name: str) -> Theme:
    """The theme of that name. Raises ValueError for one that isn't known."""
    if name not in THEMES:
        raise ValueError(unknown("theme", name, THEMES))
    return THEMES[name]


def hue(name: str) -> str:
    """Which of a theme's hues a tensor or a slot has: `acc` and `O_s` are "O", `m_i`, `l`, `alpha` and `LSE` "stat".

    A gradient has its tensor's: `dq` and `dQ` are "Q".
    """
    base = name.partition("_")[0].upper()
    return _HUES.get(base) or _HUES.get(base.removeprefix("D"), "stat")


def rank(name: str) -> int:
    """Where a tensor stands among others, in the order of films; those that have no place there come last."""
    return ORDER.index(name) if name in ORDER else len(ORDER)


def label(name: str) -> str:
    """How a tensor or a slot is called on screen; what stands after a `_` is a subscript."""
    base, _, below = name.partition("_")
    return NAMES.get(name) or (f"{NAMES.get(base, base)}_{{{below}}}" if below else name)


# ---- arithmetic of colours

RGB = tuple[float, float, float]


@cache
def rgb(color: str) -> RGB:
    """A "#rrggbb" as red, green, blue, 0 … 1."""
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]


@lru_cache(maxsize=1 << 12)
def mix(a: str, b: str, share: float) -> str:
    """`share` of colour b in colour a."""
    blend = (round(255 * (x + (y - x) * share)) for x, y in zip(rgb(a), rgb(b), strict=True))
    return "#" + "".join(f"{c:02x}" for c in blend)


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours, as WCAG 2 defines it: 1 … 21."""

    def luminance(color: str) -> float:
        linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(color))
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@cache
def ink_on(color: str) -> str:
    """Black or white, whichever contrasts more."""
    return max("#000000", "#ffffff", key=lambda ink: contrast(ink, color))
