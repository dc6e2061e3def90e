"""The set-up script on machines made of stand-in programs: what it installs, what it says, when it does nothing."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ["cat", "chmod", "cksum", "cp", "dirname", "env", "grep", "mkdir", "rm", "sh", "tr"]

# A Python that finds all it looks for, makes a .venv that holds itself, and notes what pip is asked for.
PYTHON = """case "$*" in
    "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo "$(pwd -P)/.venv" >.venv/bin/activate ;;
    "-m pip"*) echo "$*" >>../pip.log ;;
    *get_config_var*) echo sh ;;
    *version_info*) echo 3.12 ;;
esac"""


class Machine:
    """A folder with a tree, the set-up script in it, and a PATH of `programs` (name: shell text) beside a few tools."""

    def __init__(self, home: Path, programs: dict[str, str]) -> None:
        self.home, self.tree, self.bin = home, home / "tree", home / "bin"
        (self.tree / ".ci").mkdir(parents=True)
        self.bin.mkdir()
        for name in (".ci/setup.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.tree / name)
        for name in TOOLS:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for name, text in {"id": "echo 0", "uname": "echo Linux", **programs}.items():
            (self.bin / name).write_text(f"#!{shutil.which('sh')}\n{text}\n")
            (self.bin / name).chmod(0o755)

    def set_up(self, extras: str = "render,inputs", **env: str) -> subprocess.CompletedProcess[str]:
        command = [str(shutil.which("sh")), ".ci/setup.sh", extras]
        env = {"PATH": str(self.bin), **env}
        return subprocess.run(command, cwd=self.tree, env=env, capture_output=True, text=True)

    def log(self, name: str) -> list[str]:
        path = self.home / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []


WHOLE = {"python3": PYTHON, "pkg-config": "", "chromium": "", "firefox-esr": "", "node": ""}


def test_set_up_once_serves_until_something_changes(tmp_path):
    machine = Machine(tmp_path, WHOLE)
    done = machine.set_up()
    assert (done.returncode, done.stderr, len(machine.log("pip"))) == (0, "", 1)
    assert machine.log("pip")[0].endswith("-c constraints.txt -e .[render,inputs]")

    again = machine.set_up()
    assert (again.returncode, again.stdout, len(machine.log("pip"))) == (0, "", 1)

    with (machine.tree / "constraints.txt").open("a") as constraints:
        constraints.write("# a change\n")
    machine.set_up()
    assert len(machine.log("pip")) == 2


def test_the_test_tools_hold_what_a_demo_needs_but_not_the_other_way(tmp_path):
    machine = Machine(tmp_path, WHOLE)
    for extras in ("render,inputs", "test", "render,inputs", "test"):
        machine.set_up(extras)
    assert [line.rsplit(" ", 1)[1] for line in machine.log("pip")] == [".[render,inputs]", ".[test]"]


@pytest.mark.parametrize("harm", ["moved", "broken"])
def test_a_venv_that_no_longer_works_is_made_anew(tmp_path, harm):
    machine = Machine(tmp_path, WHOLE)
    machine.set_up()
    if harm == "moved":
        machine.tree = machine.tree.rename(tmp_path / "elsewhere")
    else:
        (machine.tree / ".venv/bin/python").unlink()
    done = machine.set_up()
    assert "making it anew" in done.stdout
    assert (done.returncode, len(machine.log("pip"))) == (0, 2)
    assert machine.set_up().stdout == ""


def test_what_fails_is_not_taken_for_done_and_shows_why(tmp_path):
    machine = Machine(
        tmp_path, WHOLE | {"python3": PYTHON.replace('echo "$*" >>../pip.log', "echo no such version; exit 1")}
    )
    for _ in range(2):
        done = machine.set_up()
        assert done.returncode == 1
        assert "no such version" in done.stderr


# The same Python on a machine with neither its compiler nor pkg-config, and an apt-get that brings both.
LACKING = {"python3": PYTHON.replace("echo sh", "echo python-cc")}
APT_GET = """echo "$DEBIAN_FRONTEND $*" >>../apt.log
case "$*" in *install*) for name in python-cc pkg-config; do cp ../bin/id ../bin/$name; done ;; esac"""
PACKAGES = "gcc g++ pkg-config libcairo2-dev libpango1.0-dev"


@pytest.mark.parametrize(("uid", "sudos"), [(0, []), (1000, ["apt-get update", "env DEBIAN_FRONTEND=noninteractive"])])
def test_apt_get_brings_what_is_missing_and_asks_nothing(tmp_path, uid, sudos):
    sudo = 'echo "$1 $2" >>../sudo.log; exec "$@"'
    machine = Machine(tmp_path, LACKING | {"id": f"echo {uid}", "apt-get": APT_GET, "sudo": sudo})
    done = machine.set_up()
    assert (done.returncode, done.stderr, len(machine.log("pip"))) == (0, "", 1)
    assert machine.log("sudo") == sudos
    update, install = machine.log("apt")
    assert update == " update -q"
    assert install.startswith(f"noninteractive install -y --no-install-recommends {PACKAGES} ")


def test_apt_get_is_left_alone_where_nothing_is_missing(tmp_path):
    machine = Machine(tmp_path, WHOLE | {"apt-get": APT_GET})
    assert machine.set_up().returncode == 0
    assert machine.log("apt") == []


def test_the_test_tools_have_a_browser_and_a_demo_needs_none(tmp_path):
    get = 'echo "$*" >>../apt.log; case "$*" in *install*) cp ../bin/id ../bin/chromium ;; esac'
    without = {name: text for name, text in WHOLE.items() if name != "chromium"}
    machine = Machine(tmp_path, without | {"apt-get": get})
    assert machine.set_up().returncode == 0
    assert machine.log("apt") == []
    assert machine.set_up("test", CHROMIUM="/somewhere/chrome").returncode == 0
    assert machine.log("apt") == []
    (machine.tree / ".venv/installed").unlink()
    assert machine.set_up("test").returncode == 0
    assert machine.log("apt")[1].startswith("install -y --no-install-recommends chromium ")


@pytest.mark.parametrize(
    ("programs", "command"),
    [
        (
            {"uname": "echo Darwin", "brew": "exit 1"},
            "brew install cairo pango pkg-config && brew install --cask google-chrome",
        ),
        ({"pacman": ""}, "sudo pacman -S --needed base-devel cairo pango chromium"),
        ({}, "Missing, by Debian's names: chromium."),
    ],
    ids=["brew", "pacman", "none"],
)
def test_where_there_is_no_browser_it_says_how_to_get_one(tmp_path, programs, command):
    without = {name: text for name, text in WHOLE.items() if name != "chromium"}
    done = Machine(tmp_path, without | programs).set_up("test")
    assert done.returncode == 1
    assert command in done.stderr


def test_brew_brings_what_is_missing(tmp_path):
    brew = 'echo "$*" >>../brew.log; for name in python-cc pkg-config; do cp ../bin/id ../bin/$name; done'
    machine = Machine(tmp_path, LACKING | {"uname": "echo Darwin", "brew": brew})
    assert machine.set_up().returncode == 0
    assert machine.log("brew") == ["install cairo pango pkg-config"]


@pytest.mark.parametrize(
    ("programs", "command"),
    [
        ({"apt-get": "", "id": "echo 1000"}, f"su -c 'apt-get install -y --no-install-recommends {PACKAGES}'"),
        ({"dnf": ""}, "sudo dnf install -y gcc gcc-c++ pkgconf cairo-devel pango-devel python3-devel"),
        ({"zypper": ""}, "sudo zypper install -y gcc gcc-c++ pkgconf cairo-devel pango-devel python3-devel"),
        ({"pacman": ""}, "sudo pacman -S --needed base-devel cairo pango"),
        ({"apk": ""}, "apk add build-base pkgconf cairo-dev pango-dev python3-dev"),
        ({"uname": "echo Darwin"}, "brew install cairo pango pkg-config"),
        ({}, PACKAGES),
    ],
    ids=["no sudo", "dnf", "zypper", "pacman", "apk", "no brew", "none"],
)
def test_where_it_cannot_install_it_says_in_one_line_what_to_type(tmp_path, programs, command):
    machine = Machine(tmp_path, LACKING | programs)
    done = machine.set_up()
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert command in done.stderr
    assert not (machine.tree / ".venv").exists()


def test_an_apt_get_that_fails_shows_why_and_what_to_type(tmp_path):
    machine = Machine(tmp_path, LACKING | {"apt-get": "echo no network; exit 100"})
    done = machine.set_up()
    assert done.returncode == 1
    assert "no network" in done.stderr
    assert done.stderr.splitlines()[-1].endswith(f"apt-get install -y --no-install-recommends {PACKAGES}")


def test_what_is_still_missing_afterwards_is_named(tmp_path):
    done = Machine(tmp_path, LACKING | {"apt-get": ""}).set_up()
    assert done.returncode == 1
    assert done.stderr.startswith(f"Still missing for python3: {PACKAGES}.")


@pytest.mark.parametrize("env", [{}, {"PYTHON": "python3"}, {"PYTHON": "nothing-of-this-name"}])
def test_an_old_or_missing_python_gets_one_line(tmp_path, env):
    done = Machine(tmp_path, {"python3": "exit 1", "pkg-config": ""}).set_up(**env)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "No Python 3.11 or newer" in done.stderr
    assert env.get("PYTHON", "python3.14") in done.stderr
