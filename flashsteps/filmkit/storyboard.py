"""What a film is before anything is drawn: a title, a storyboard, and what was chosen for it. No manim here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import theme as themes
from .board import Board
from .input import Input
from .script import Script

if TYPE_CHECKING:
    from ..trace.trace import Trace

CUTS = ("full", "short")


class Storyboard:
    """A film as `flashsteps` reads it. With manim it is a Scene as well: `flashsteps.filmkit.Film`.

    What is chosen for it (input, mask, …) is given by keyword, or set in the body of a subclass:
    `class Mine(FlashForward): mask = "causal"`.
    """

    title = ""
    theme = themes.DEFAULT

    def __init__(self, **options: Any) -> None:
        self.choose(options)

    def storyboard(self, board: Board) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no storyboard")

    def choose(self, options: Mapping[str, Any]) -> None:
        """Take what was chosen; None and False are as good as not given."""
        chosen = {**_of_class(type(self)), **options}
        self.theme = chosen.pop("theme", None) or self.theme
        themes.theme(self.theme)
        self.chosen = {name: value for name, value in chosen.items() if value is not None and value is not False}
        if (cut := self.chosen.get("cut", "full")) not in CUTS:
            raise ValueError(f"cut={cut!r}: give {' or '.join(CUTS)}")
        self.chosen = {name: value for name, value in self.chosen.items() if (name, value) != ("cut", "full")}
        self._source, self._scripts = Input(), dict[str, Script]()

    @property
    def words(self) -> str:
        """What strangers wrote that may be on screen: tokens, names of files."""
        return self._source.words()

    @property
    def runs(self) -> tuple[Trace, ...]:
        """What was recorded for what has been told until now, in that order."""
        return self._source.runs

    @property
    def made(self) -> Mapping[Any, Any]:
        """What has been read and recorded for what has been told until now."""
        return self._source.made

    def again(self, made: Mapping[Any, Any]) -> None:
        """Tell it of this, which another one of the same film has `made`, and read and record nothing anew."""
        self._source = Input(made)

    def script(self, shape: str = "wide") -> Script:
        """The film in a shape, told once. Raises ValueError for an option that this film has no use for."""
        if shape not in self._scripts:
            script, unread = self._tell(shape)
            if unread:
                raise ValueError(f"the film {self.title!r} doesn't take {said(unread[0], self.chosen)}: leave it out")
            self._scripts[shape] = script
        return self._scripts[shape]

    def suit(self, shape: str = "wide") -> list[str]:
        """Tell it in a shape, and leave out of what was chosen what it has no use for: that, by name."""
        if shape in self._scripts:
            return []
        script, unread = self._tell(shape)
        self.chosen = {name: value for name, value in self.chosen.items() if name not in unread}
        if "cut" not in unread:  # what was not asked about has changed nothing, but for the cut, which all heed
            self._scripts[shape] = script
        return unread

    def _tell(self, shape: str) -> tuple[Script, list[str]]:
        """The film, and the options that it has no use for."""
        board = Board(shape, self.title, options=self.chosen, source=self._source)
        try:
            self.storyboard(board)
        except (LookupError, ArithmeticError, AttributeError, TypeError, StopIteration) as error:
            if not self._source.unproven:
                raise
            raise ValueError(
                f"this trace is not as its algorithm leaves it ({type(error).__name__}: {error}): record it anew"
            ) from None
        return board.script(), board.unread


def said(name: str, options: Mapping[str, Any]) -> str:
    """An option as it was given, `block_q=4`; one that is more than a few letters by its name."""
    value = options[name]
    short = isinstance(value, str | int | float) or (
        isinstance(value, tuple) and all(isinstance(one, int) for one in value)
    )
    return f"{name}={value!r}" if short else name


def _of_class(film: type) -> dict[str, Any]:
    """What subclasses of the class that has the storyboard set in their bodies, but for what a scene of manim takes."""
    tells = next(n for n, base in enumerate(film.__mro__) if "storyboard" in vars(base))
    others = [base for base in film.__mro__ if not issubclass(base, Storyboard)]
    found: dict[str, Any] = {}
    for base in reversed(film.__mro__[:tells]):
        if issubclass(base, Storyboard):
            found |= {name: x for name, x in vars(base).items() if not any(hasattr(other, name) for other in others)}
    return {name: x for name, x in found.items() if name[0] != "_" and name != "title" and not hasattr(x, "__get__")}
