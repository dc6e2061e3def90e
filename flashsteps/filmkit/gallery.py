"""The gallery: every film, whole and short, in each theme, with a still and captions; and what is out of date in it.

A manifest (gallery.json) says of each file by which command it was made, how large it is, and, as a digest, what is
said in it, for how long and in which colours. So what changed is found by telling each film again, and by drawing a few
of its pictures (`filmkit.alike`), and only that is made anew.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import files, theme
from . import alike, embedding, films, reel
from .piece import Piece as Piece
from .presets import PRESETS
from .processes import Share
from .share import shared
from .storyboard import CUTS

MANIFEST = "gallery.json"

#: between these lines of a folder's README.md stands what the gallery writes
BEGIN, END = "<!-- gallery -->", "<!-- end of gallery -->"

Entry = dict[str, Any]


def pieces(names: Sequence[str] = ()) -> list[Piece]:
    """All there are, or those of some films. Raises ValueError for a film that isn't known."""
    for name in names:
        films.section(name)
    return [
        Piece(name, cut, colours) for name in names or films.names() for cut in CUTS for colours in theme.THEMES
    ]  # fmt: skip


def digest(piece: Piece, shown: reel.Reel | None = None) -> str:
    """What a film says, for how long, and in which colours; it is told anew unless it is at hand, `shown`."""
    shown = shown or _shown(piece)
    told = (
        *PRESETS["readme"],
        round(shown.duration, 3),
        shown.chapters,
        shown.script().vtt(),
        theme.theme(piece.theme),
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def moment(shown: reel.Reel) -> float:
    """When a film is best seen standing still: at the end of its longest chapter but for the last, which sums up."""
    _, _, stop = max(shown.chapters[:-1] or shown.chapters, key=lambda chapter: chapter.stop - chapter.start)
    return stop - 1 / PRESETS["readme"].fps


def out_of_date(
    folder: Path, some: Sequence[Piece], jobs: int | None = None, cluster: str | None = None
) -> Iterator[tuple[Piece, str]]:
    """Those that are not what they would be if they were made now, and why; nothing is written."""
    with shared(jobs, cluster) as share:
        for piece, _, why in _late(folder, some, share):
            yield piece, why


def _late(folder: Path, some: Sequence[Piece], share: Share) -> Iterator[tuple[Piece, str, str]]:
    """The same, with the digest of each, which was made to find out."""
    kept = manifest(folder)
    with closing(share(partial(_now, some), len(some), folder, lambda amount: None)) as each:
        for piece, now in zip(some, each, strict=True):
            if why := _fault(folder, piece, kept, now):
                yield piece, now.digest, why


class _Now(NamedTuple):
    """What a film would be if it were made now: its digest, and some of its frames, packed."""

    digest: str
    frames: list[int]
    pictures: list[bytes]

    def unpacked(self) -> Iterator[alike.Picture]:
        width, height, _ = PRESETS["readme"]
        for packed in self.pictures:
            yield np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width, 3)


def _now(some: Sequence[Piece], folder: Path, n: int, told: Callable[[int], None]) -> _Now:
    shown, (width, height, fps) = _shown(some[n]), PRESETS["readme"]
    frames = alike.moments(shown.chapters, fps)
    drawn = (shown.frame(k / fps, width=width, height=height)[..., :3] for k in frames)
    return _Now(digest(some[n], shown), frames, [zlib.compress(picture.tobytes(), 1) for picture in drawn])


def strangers(folder: Path) -> list[str]:
    """Files that the manifest has, of films that there are no more."""
    known = {name for piece in pieces() for name in piece.names}
    return sorted(name for name in manifest(folder) if name not in known)


def _fault(folder: Path, piece: Piece, kept: dict[str, Entry], now: _Now) -> str:
    for name in piece.names:
        if name not in kept or not (folder / name).is_file():
            return f"{name} is not there"
        if kept[name]["sha256"] != _hash(folder / name):
            return f"{name} is not the file that was made"
        if kept[name]["says"] != now.digest:
            return "it says something else now"
    pictures = alike.kept(folder / f"{piece.stem}.gif", now.frames, PRESETS["readme"].fps)
    if not all(alike.alike(one, other) for one, other in zip(pictures, now.unpacked(), strict=True)):
        return "it shows something else now"
    return ""


def make(
    folder: Path,
    some: Sequence[Piece],
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    began: Callable[[int], None] = lambda frames: None,
    progress: Callable[[int], None] = lambda frames: None,
) -> list[Piece]:
    """Make those that are out of date, a film in each of `jobs` processes (one a core), or by each worker of the Dask
    `cluster` whose scheduler has this address, then manifest and README.

    Gives what was made. `began(frames)` hears how many frames there are to do, `progress(frames)` how many more are.
    Raises ValueError where a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _around(folder / "README.md")  # refused before anything is drawn
    with shared(jobs, cluster) as share:
        todo = [(piece, now) for piece, now, _ in _late(folder, some, share)]
        began(sum(round(_shown(piece).duration * PRESETS["readme"].fps) for piece, _ in todo))
        found = manifest(folder)
        with closing(share(partial(_make, todo, folder.as_posix()), len(todo), folder, progress)) as made:
            for entries in made:
                found |= entries
                _save(folder, found)
    for name in strangers(folder):
        (folder / name).unlink(missing_ok=True)
        del found[name]
    _save(folder, found)
    _write_readme(folder, found)
    return [piece for piece, _ in todo]


def _shown(piece: Piece) -> reel.Reel:
    return reel.film(piece.film, cut=piece.cut, theme=piece.theme)


def _make(
    todo: Sequence[tuple[Piece, str]], named: str, folder: Path, n: int, told: Callable[[int], None]
) -> dict[str, Entry]:
    """The files of one film, and what the manifest has of each; the gallery's folder is `named` so in commands."""
    piece, says = todo[n]
    look, shown, before = PRESETS["readme"], _shown(piece), 0

    def progress(done: int, total: int) -> None:
        nonlocal before
        told(done - before)
        before = done

    for name in piece.names:
        path = folder / name
        if name.endswith(".gif"):
            shown.render(path, jobs=1, progress=progress)
        elif name.endswith(".png"):
            shown.still(path, moment(shown), width=look.width, height=look.height)
        else:
            with files.whole(path) as aside:
                aside.write_text(shown.script().vtt(), encoding="utf-8", newline="\n")
    about: Entry = {
        "film": piece.film,
        "cut": piece.cut,
        "theme": piece.theme,
        "command": piece.command(named),
    }
    about |= {"says": says, "width": look.width, "height": look.height, "seconds": round(shown.duration, 2)}
    return {
        name: about | {"bytes": (folder / name).stat().st_size, "sha256": _hash(folder / name)} for name in piece.names
    }


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---- what is written beside the films


def manifest(folder: Path) -> dict[str, Entry]:
    """What was made there, by the files' names; nothing where nothing was. Raises ValueError for another file."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): {**entry, "sha256": str(entry["sha256"]), "says": str(entry["says"])}
                for name, entry in data.items()}  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"'{path}' is no manifest of a gallery: delete it, and make the gallery anew") from None


def _save(folder: Path, found: dict[str, Entry]) -> None:
    lines = [f"  {json.dumps(name)}: {json.dumps(found[name], ensure_ascii=False)}" for name in sorted(found)]
    with files.whole(folder / MANIFEST) as aside:
        aside.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")


def _write_readme(folder: Path, found: dict[str, Entry]) -> None:
    path = folder / "README.md"
    before, after = _around(path)
    with files.whole(path) as aside:
        aside.write_text(f"{before}{BEGIN}\n{page(found)}{END}{after}", encoding="utf-8", newline="\n")


def _around(path: Path) -> tuple[str, str]:
    """What a folder's README.md has before and after the films. Raises ValueError where it has no place for them."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"# The gallery\n\n{BEGIN}{END}\n"
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError(
            f"'{path}' has no place for the films: put the lines {BEGIN} and {END} where they are to stand"
        )
    return before, after


def page(found: dict[str, Entry]) -> str:
    """The films with a sentence each, as Markdown."""
    lines = []
    for name in films.names():
        entry = found.get(f"{name}.gif")
        if entry is None:
            continue
        short = found[f"{name}-short.gif"]
        lines.append(f"## {name}\n\n{films.summary(name)}\n")
        lines.append("\n".join(embedding.picture(name, "short", str, entry["width"] // 2)) + "\n")
        links = [f"[whole]({name}.gif) ([light]({name}-light.gif)), {entry['seconds']:.0f} s"]
        links += [f"[short]({name}-short.gif) ([light]({name}-short-light.gif)), {short['seconds']:.0f} s"]
        links += [f"[still]({name}.png) ([light]({name}-light.png))", f"[captions]({name}.vtt)"]
        lines.append(" · ".join(links) + "\n")
        lines.append(f"    {entry['command']}\n    {short['command']}\n")
    return "\n".join(lines)
