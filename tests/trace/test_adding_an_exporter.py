"""To add an exporter is to add a file and an entry: those that CONTRIBUTING.md shows, in a copy of the package."""

import re

import flashsteps as fs
from tests.contributing import commands, copy_of_the_package, entries, example, flashsteps, put


def test_the_exporter_that_is_shown_exports(tmp_path):
    folder = copy_of_the_package(tmp_path)
    room, (entry,) = folder / "flashsteps" / "trace", entries("Add an exporter", "Kind(")
    (room / "markdown.py").write_text(example("Add an exporter"), encoding="utf-8")
    put(room / "exports.py", after="KINDS = {\n", text=f"    {entry}\n")
    put(room / "exports.py", after="from . import perfetto\n", text="from . import markdown\n")
    (command,) = commands("Add an exporter")
    done = flashsteps(folder, *command.removeprefix("flashsteps ").split())
    assert done.returncode == 0, done.stderr
    text = (folder / "run.md").read_text(encoding="utf-8")
    moved = fs.record("flash2-forward", *fs.load_qkv("sample")).io().by_tensor
    rows = {name: (int(read), int(written)) for name, read, written in
            re.findall(r"\| (\w+) \| (\d+) \| (\d+) \|", text.replace(",", ""))}  # fmt: skip
    assert rows == {name: (one.read, one.written) for name, one in moved.items()}
