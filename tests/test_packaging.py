"""What is installed: one import package with all its files, few requirements, and pins that agree with them."""

import os
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this tree, built from a copy, so that nothing is left behind here."""
    copy, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("flashsteps", "kernels", "renders", "scenes"):
        copytree(ROOT / name, copy / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*pip, "-w", out, copy], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.fixture(scope="session")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_claims_one_name(wheel, metadata):
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {"flashsteps", f"flashsteps-{metadata['Version']}.dist-info"}


def test_the_wheel_carries_every_file_of_the_package_the_kernels_and_the_scenes(wheel):
    there = {
        (Path(home) / file.relative_to(ROOT / folder)).as_posix()
        for folder in ("flashsteps", "kernels", "scenes")
        for home in ("flashsteps" if folder == "flashsteps" else f"flashsteps/{folder}",)
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    }
    measured = [file.name for kind in ("json", "npz") for file in (ROOT / "renders" / "data").glob(f"*.{kind}")]
    there |= {f"flashsteps/renders/data/{name}" for name in measured}
    assert there == {name for name in wheel.namelist() if name.startswith("flashsteps/")}


def test_the_wheel_works_where_there_is_no_tree(wheel, tmp_path):
    wheel.extractall(tmp_path)
    use = """if True:
        import importlib, pkgutil, sys
        sys.path.insert(0, sys.argv[1])
        import flashsteps, flashsteps.kernels, flashsteps.scenes
        for folder in (flashsteps.kernels, flashsteps.scenes):
            for module in pkgutil.walk_packages(folder.__path__, folder.__name__ + "."):
                importlib.import_module(module.name)
        print(flashsteps.load_qkv("sample").tokens)
        print(*(sys.modules[name].__file__ for name in sys.modules if name.startswith("flashsteps")), sep="\\n")
    """
    done = subprocess.run([sys.executable, "-I", "-c", use, tmp_path], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tokens, *files = done.stdout.splitlines()
    assert "animal" in tokens
    assert [file for file in files if not file.startswith(str(tmp_path) + os.sep)] == []


def test_the_core_needs_numpy_and_click_alone(metadata):
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    assert {r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})} == {"numpy", "click"}


def test_all_that_is_required_is_pinned_inside_its_range():
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pins = {canonicalize_name(pin.name): str(pin.specifier) for pin in map(Requirement, filter(None, lines))}
    extras = PROJECT["optional-dependencies"].values()
    required = map(Requirement, [*PROJECT["dependencies"], *(line for extra in extras for line in extra)])
    wanted = {canonicalize_name(r.name): r.specifier for r in required if r.name != PROJECT["name"]}
    assert [pin for pin in pins.values() if not pin.startswith("==")] == []
    assert [name for name in wanted if pins.get(name, "").removeprefix("==") not in wanted[name]] == []
