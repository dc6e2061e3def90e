"""To add a kernel is to add a file and three entries: those that CONTRIBUTING.md shows, in a copy of the package."""

import pytest

from tests.contributing import commands, copy_of_the_package, entries, example, flashsteps, put


@pytest.mark.parametrize("broken", [False, True])
def test_the_kernel_that_is_added_is_proven_and_one_that_is_broken_is_not(broken, tmp_path):
    """It is the forward kernel under another name; broken, it takes another scale than it is told."""
    folder = copy_of_the_package(tmp_path)
    room = folder / "flashsteps" / "kernels"
    code = (room / "flash2_forward.py").read_text(encoding="utf-8")
    (room / "mine.py").write_text(code, encoding="utf-8")
    (twin,), (case,) = entries("Add a kernel", '"flash2-forward"'), entries("Add a kernel", "Case(")
    put(room / "validation" / "cases.py", after="TWINS = {\n", text=f"    {twin}\n")
    put(room / "validation" / "cases.py", after="_OURS = (\n", text=f"    {case}\n")
    run = example("Add a kernel")
    run = run.replace("**blocks", "**blocks | {'scale': 0.5}") if broken else run
    put(room / "validation" / "subjects.py", after="    match case.kernel:\n", text=run)
    put(room / "validation" / "subjects.py", after="from .. import flash2_forward\n", text="from .. import mine\n")
    validate, compiling = commands("Add a kernel")
    done = flashsteps(folder, *validate.removeprefix("flashsteps ").split())
    assert (done.returncode == 0) != broken, done.stdout + done.stderr
    assert ("all 1 cases" in done.stdout) != broken
    assert (
        compiling == "python -m flashsteps.kernels.compiling 90"
    )  # a minute: tests/kernels/compiling has it in pieces
