"""Colours and type: the one place that knows them. Sizes are those at 1080p."""

from __future__ import annotations

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
ORDER = ("Q", "K", "V", "S", "P", "O", "l", "m", "LSE")

#: tensors and slots whose name isn't what is written on screen; `_{…}` is a subscript
NAMES = {
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

_HUES = {"Q": "Q", "K": "K", "V": "V", "O": "O", "S": "S", "P": "S", "ACC": "O"}


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


def label(name: str) -> str:
    """How a tensor or a slot is called on screen."""
    return NAMES.get(name, name)
