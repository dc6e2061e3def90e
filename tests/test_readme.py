"""The README: commands run, outputs are what is printed, the table is counted anew, links lead somewhere.

`pytest --regenerate` writes the outputs and the table into it.
"""

from __future__ import annotations

import contextlib
import doctest
import hashlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import av
import pytest

import flashsteps as fs
from flashsteps.filmkit import embedding, gallery
from flashsteps.units import short, size_of
from tests.hostile.trial import trial
from tests.models import checkpoints

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
SCENE = ("$ manim render -ql talk.py Talk",)
TABLE = re.compile(r"(<!-- table: .*? -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def table() -> str:
    """Bytes of the three algorithms, from a toy to a real size."""
    rows = ["| N | d | tile | standard | FlashAttention | FlashAttention-2 |", "|---:|---:|---:|---:|---:|---:|"]
    for n, d, tile in ((16, 32, 4), (1 << 10, 64, 128), (1 << 13, 64, 128), (1 << 16, 64, 128), (1 << 20, 64, 128)):
        names = ("standard-forward", "flash-forward", "flash2-forward")
        totals = [fs.count(name, n=n, d=d, block_q=tile, block_k=tile).total for name in names]
        ratios = [f" ({total / totals[0]:.2f}×)" for total in totals[1:]]
        cells = [size_of(total) + ratio for total, ratio in zip(totals, ["", *ratios], strict=True)]
        rows.append(f"| {short(n)} | {d} | {tile}×{tile} | {' | '.join(cells)} |")
    return "\n" + "\n".join(rows) + "\n\n"


def run_console(block: str, folder: Path) -> str:
    """A console block with the outputs that its flashsteps commands really have."""
    shown: list[str] = []
    for line in block.splitlines():
        if not line.startswith("$ "):
            continue
        shown.append(line)
        words = shlex.split(line[2:])
        if words[0] != "flashsteps" or "--cluster" in words:
            # each has a test below, or runs this; what is for a cluster has its own in filmkit/test_cluster.py
            assert line in ("$ make demo", "$ make test", *SCENE) or "tcp://host:8786" in words or words[0] == "dask"
            continue
        with contextlib.chdir(folder):
            done = trial(*words[1:], bounds=(300, 64 << 30))
        assert done.code == 0, (line, done.err)
        if "-o" in words:
            assert (folder / words[words.index("-o") + 1]).stat().st_size > 1000
        shown += done.out.rstrip().splitlines()
    return "\n".join(line.rstrip() for line in shown) + "\n"


def run_python(block: str, folder: Path) -> str:
    """A Python session with the outputs that it really has."""
    shown: list[str] = []
    names: dict[str, object] = {}
    with contextlib.chdir(folder):
        for example in doctest.DocTestParser().get_examples(block):
            source = example.source.rstrip("\n").split("\n")
            shown += [f">>> {source[0]}", *(f"... {line}" for line in source[1:])]
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(example.source, "README.md", "single"), names)
            shown += said.getvalue().rstrip("\n").split("\n") if said.getvalue() else []
    return "\n".join(shown) + "\n"


def sizeless(text: str) -> str:
    """The text without the sizes of files and the errors of kernels, which differ a little between machines."""
    text = re.sub(r"(\.(?:csv|gif|html|json|pdf|png|mp4|npz|svg|vtt)   )[\d.,]+ [KM]?B", r"\1", text)
    return re.sub(r"\d\.\d\d× \(\w+\)|\d\.\de-\d\d", "", text)


def remade(text: str, folder: Path) -> str:
    """The README as it is when everything in it is run anew."""

    def again(found: re.Match[str]) -> str:
        kind, block = found.groups()
        if kind == "python" and ">>>" not in block:  # a file, and no session
            return found[0]
        return f"```{kind}\n{(run_console if kind == 'console' else run_python)(block, folder)}```"

    return TABLE.sub(lambda found: found[1] + table() + found[3], BLOCK.sub(again, text))


def test_everything_shown_is_what_is_printed(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command in a fork of this process: what it would import first is there already."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    text, folder = README.read_text(encoding="utf-8"), tmp_path / "here"
    checkpoints.write(folder / "gpt2", "gpt2")  # a reader's own model
    now = remade(text, folder)
    if request.config.getoption("--regenerate"):
        README.write_text(now, encoding="utf-8")
    assert sizeless(README.read_text(encoding="utf-8")) == sizeless(now)


def test_links_and_pictures_lead_to_files() -> None:
    for page in (README, ROOT / "renders" / "README.md"):
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
        pictures = re.findall(r'(?:src|srcset)="([^"]+)"', text)
        assert pictures
        assert [link for link in (*links, *pictures) if not (page.parent / link).is_file()] == []


def test_it_opens_with_a_film_that_has_words_for_those_who_do_not_see_it() -> None:
    opening = README.read_text(encoding="utf-8").split("\n\n")[1]
    assert opening.startswith("<picture>")
    alt = re.search(r'alt="([^"]+)"', opening)
    assert alt
    assert len(alt[1]) > 80
    assert opening.splitlines() == embedding.lines("flash-forward")  # as `flashsteps embed flash-forward` prints it


def test_the_gallery_holds_what_the_films_show_and_no_more_bytes_than_it_may() -> None:
    """Where this fails, `flashsteps gallery` makes what is out of date."""
    folder = ROOT / "renders"
    some = [piece for piece in gallery.pieces() if piece.theme == "dark"]  # the other has the same script
    assert list(gallery.out_of_date(folder, some)) == []
    assert gallery.strangers(folder) == []
    kept = gallery.manifest(folder)
    assert set(kept) == {name for piece in gallery.pieces() for name in piece.names}
    films = {name: entry for name, entry in kept.items() if name.endswith(".gif")}
    assert [name for name, entry in films.items() if entry["bytes"] > (1e6 if entry["cut"] == "short" else 2e6)] == []
    assert sum(entry["bytes"] for entry in kept.values()) < 40e6
    for name, entry in kept.items():
        assert entry["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_the_demo_is_one_command(tmp_path: Path) -> None:
    film = tmp_path / "film.gif"
    command = ["make", "demo", f"FILMS={film}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert film.read_bytes()[:6] == b"GIF89a"
    listed = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert film.name in listed[-1]


def test_the_scene_that_is_shown_plays_in_manim(tmp_path: Path) -> None:
    (scene,) = (block for _, block in BLOCK.findall(README.read_text(encoding="utf-8")) if "(Scene)" in block)
    (tmp_path / "talk.py").write_text(scene, encoding="utf-8")
    command = [sys.executable, "-m", *SCENE[0].split()[1:], "--fps", "5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (film,) = tmp_path.glob("media/videos/talk/*/Talk.mp4")
    with av.open(str(film)) as video:
        frames = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    lit = [(frame > 60).mean() for frame in frames]  # what stands out from the dark ground
    assert lit[0] < 0.005 < lit[30] < 0.2
    assert abs(lit[-1] - lit[30]) > 0.001  # it was made smaller
