"""The board: a storyboard runs over it once, with a clock, and what it does is written down as a Script.

Nothing here draws, and nothing is imported that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

from .actors.words import Caption, Title
from .boxes import CANVASES, Box
from .input import Input
from .script import Part, Script, Span
from .values import Ease, Move, Value, smooth

if TYPE_CHECKING:
    from ..inputs.qkv import QKV
    from ..trace.trace import Trace

FADE = 0.4  # seconds in which an actor comes or goes
LEAD = 0.7  # and by which words come before what they speak of
PAUSE, HOLD = 0.5, 2.0  # after what a chapter says was read; after all is over
LONGEST_CAPTION = 90  # characters


def reading_time(words: str) -> float:
    """How many seconds words have to stand to be read."""
    return max(2.5, 0.8 + len(words) / 15)


class Board:
    """What a storyboard writes on. `now` is the clock.

    What moves takes time; what is said stands as long as it takes to read, and longer if need be: the next words, or
    the end of the chapter, wait for it. `options` are what a user asked for; those that no storyboard asks the board
    about are refused in the end (`unread`), for nothing is accepted and ignored. `source` keeps what was recorded, for
    the same film in another shape.
    """

    def __init__(
        self,
        shape: str = "wide",
        title: str = "",
        *,
        options: Mapping[str, Any] | None = None,
        source: Input | None = None,
    ) -> None:
        self.shape, self.title, self.now = shape, title, 0.0
        width, height, self.head, self.main, self.foot = CANVASES[shape]
        self.whole = Box(0, 0, width, height)
        self._options, self._read, self._source = dict(options or {}), set[str](), source or Input()
        self.parts: list[Part] = []
        self.chapters: list[Span] = []
        self.captions: list[Span] = []
        self.steps: dict[Any, float] = {}
        self._names, self._chapter, self._words = self.value(()), self.value(0), self.value("")
        self._note = self.value("")
        self._open = self._turning = False
        self._head = self.put(Title(title, self._names, self._chapter, self._note), self.head, fade=0)
        self._caption = self.put(Caption(self._words), self.foot, fade=0)

    # ---- what was asked for

    def option(self, name: str, default: Any = None) -> Any:
        """What the user chose for an option of the film, if anything."""
        self._read.add(name)
        return self._options.get(name, default)

    @property
    def short(self) -> bool:
        """Is this to be the short cut? To ask is to have one."""
        self._read.add("cut")
        return self.is_short

    @property
    def is_short(self) -> bool:
        """The same, for those that serve all films and do not say that this one has a short cut."""
        return bool(self._options.get("cut", "full") == "short")

    @property
    def input(self) -> QKV:
        """The q, k and v that the user chose, or else the sample's."""
        return self._source.qkv(self.option)

    def record(self, algorithm: str, **how: Any) -> Trace:
        """The run of an algorithm on the input; what `how` doesn't say of blocks, mask, dtype and SRAM the user may.

        Raises ValueError where something makes no sense, or is too large to draw.
        """
        return self._source.record(algorithm, self.option, how)

    def check_mask(self, mask: str | None) -> None:
        """For a film whose first run the kit does not record: as for others, ValueError where the input's model had
        another mask, unless there is to be none."""
        self._source.check_mask(self.option, {"mask": mask})

    def once(self, key: Any, make: Callable[[], Trace]) -> Trace:
        """A run that `record` can't make, made by `make`: once for all shapes, and kept where the others are."""
        made: Trace = self._source.once(key, make)
        return made

    def twin(self, run: Trace) -> Trace:
        """The run of an algorithm's Triton kernel on the same input, in Triton's interpreter.

        Raises ValueError, one line, where torch or triton is missing, and where there is no such kernel.
        """
        return self._source.twin(run)

    @property
    def unread(self) -> list[str]:
        """The options that were given, and that this film has no use for."""
        return [name for name in self._options if name not in self._read]

    def pick(self, **by_shape: Any) -> Any:
        """What is given for this shape; a tall picture takes what a square one does, unless it has its own."""
        return by_shape.get(self.shape, by_shape.get("square", by_shape["wide"]))

    # ---- what a storyboard does

    def value(self, start: Any) -> Any:
        """A Value: something that will change in time. It may stand wherever what it is at one time may."""
        return Value(start)

    def put(self, actor: Any, box: Box, fade: float = FADE) -> Part:
        """It comes, while the clock goes on; at the very start it is there."""
        self._turn()
        part = Part(actor, Value(box), Value(0.0))
        part.opacity.move(1.0, self.now, self.now + fade * (self.now > 0))
        self.parts.append(part)
        return part

    def remove(self, *parts: Part) -> None:
        """They go, and only then comes what is next: nothing lies on anything."""
        for part in parts:
            part.opacity.move(0.0, self.now, self.now + FADE, smooth)
        self.now += FADE

    def clear(self) -> None:
        """All go but the head and what is said."""
        kept = (self._head, self._caption)
        self.remove(*(part for part in self.parts if part not in kept and part.opacity.at(self.now) > 0))

    def swap(self, part: Part, actor: Any) -> Part:
        """Another actor in its place."""
        self.remove(part)
        return self.put(actor, Box(*part.box.at(self.now)))

    def move(self, *moves: Move, seconds: float = 1.0, ease: Ease = smooth, step: Any = None) -> None:
        """All at once, in so many seconds; `step` is what a viewer may ask for by name when they are over."""
        self._turn()
        for value, goal in moves:
            value.move(goal, self.now, self.now + seconds, ease)
        self.now += seconds
        if step is not None:
            self.steps[step] = self.now

    def set(self, *moves: Move) -> None:
        """At once."""
        self.move(*moves, seconds=0.0)

    def wait(self, seconds: float) -> None:
        self._turn()
        self.now += seconds

    def say(self, words: str, given: bool = True, *, early: bool = False, lead: float = LEAD) -> None:
        """Words that stand until the next ones, and cut. `given` is what they rest on; `early` ones come before the
        chapter's picture and name. What they speak of comes `lead` seconds later: 0 where they tell what moves.

        Raises ValueError where the run turns out otherwise, so that there is no film, and for words that are too long.
        """
        if not given:
            raise ValueError(f"of this run it is not true that {words!r}, as the film says: choose another input")
        if len(words) > LONGEST_CAPTION:
            raise ValueError(f"{len(words)} characters are more than a caption's {LONGEST_CAPTION}: {words!r}")
        self._until_read()
        if not early:
            self._turn()
        self.captions.append(Span(words, self.now, self.now))
        self._words.move(words, self.now, self.now)
        self.now += lead

    def hush(self) -> None:
        """Once what was said last was read, nothing is said until the next words: a picture comes alone."""
        self._until_read()
        if self.captions and self._words.at(self.now):
            self.captions[-1] = self.captions[-1]._replace(stop=self.now)
            self._words.move("", self.now, self.now)

    @contextmanager
    def chapter(self, name: str) -> Iterator[None]:
        """One click of a talk, one section of a video. It lasts whole seconds: so it fits any frame rate. Its name
        comes with the first of it, once what stood before is gone."""
        if self._open:
            raise ValueError(f"the chapter {name!r} begins in another one: end that first")
        start, self._open = self.chapters[-1].stop if self.chapters else 0.0, True
        self._turning = True
        yield
        self._turn()
        self._open = False
        self._until_read()
        self.now = float(ceil(self.now + PAUSE))
        self.chapters.append(Span(name, start, self.now))

    def read(self) -> None:
        """Wait until what was said last can have been read."""
        self._until_read()

    # ---- what becomes of it

    def script(self) -> Script:
        """Everything that was done, as a Script; the last state holds for 2 seconds."""
        if not self.chapters:
            raise ValueError("this storyboard has no chapter: tell it in `with board.chapter(name):`")
        self.now = float(ceil(self.now + HOLD - PAUSE))
        self.chapters[-1] = self.chapters[-1]._replace(stop=self.now)
        names = tuple(chapter.name for chapter in self.chapters)  # known only now, and true from the start
        for value, known in ((self._names, names), (self._note, self._source.note)):
            value.legs[0] = value.legs[0]._replace(start=known, goal=known)
        ends = [*(c.start for c in self.captions), self.now][1:]
        said = tuple(
            c._replace(stop=c.stop if c.stop > c.start else end) for c, end in zip(self.captions, ends, strict=True)
        )
        return Script(self.shape, self.title, self.now, tuple(self.parts), tuple(self.chapters), said, dict(self.steps))

    def _turn(self) -> None:
        """To the name of the chapter that has begun; what was said in the one before is over once something happens."""
        if self._turning:
            self._turning = False
            self._chapter.move(len(self.chapters), self.now, self.now)
            if self.captions and self.chapters and self.captions[-1].start < self.chapters[-1].stop:
                self.hush()

    def _until_read(self) -> None:
        if self.captions:
            self.now = max(self.now, self.captions[-1].start + reading_time(self.captions[-1].name))
