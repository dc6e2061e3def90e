"""A film of the gallery: which, which cut of it, in which theme, and how its files are called."""

from __future__ import annotations

from typing import NamedTuple

from .. import theme


class Piece(NamedTuple):
    """One of them."""

    film: str
    cut: str
    theme: str

    @property
    def stem(self) -> str:
        return self.film + "-short" * (self.cut == "short") + f"-{self.theme}" * (self.theme != theme.DEFAULT)

    @property
    def names(self) -> tuple[str, ...]:
        """Its files: the film; in the usual theme its captions; and of whole films a still, for who wants no motion."""
        captions = (f"{self.stem}.vtt",) * (self.theme == theme.DEFAULT)
        return (f"{self.stem}.gif", *captions, *(f"{self.stem}.png",) * (self.cut == "full"))

    def command(self, folder: str) -> str:
        """What makes its film, and its captions, alone."""
        words = [f"flashsteps render {self.film} -o {folder}/{self.stem}.gif"]
        words += [f"--cut {self.cut}"] * (self.cut != "full") + [f"--theme {self.theme}"] * (
            self.theme != theme.DEFAULT
        )
        return " ".join(words + ["--captions"] * (self.theme == theme.DEFAULT))
