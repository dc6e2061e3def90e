"""Numbers as people read them."""

import json
import random
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashsteps import explorer, player, units


@given(st.floats(1e-300, 0.03), st.floats(1 / units.ELSEWHERE, units.ELSEWHERE))
def test_what_is_said_to_be_the_most_is_so_on_any_processor_and_not_much_more(x, elsewhere):
    found = re.fullmatch(r"10\^\{−(\d+)\}", units.at_most(x))
    assert found
    said = 10.0 ** -int(found[1])
    assert x * elsewhere <= said * (1 + 1e-9)
    assert said <= 10 * units.ELSEWHERE * x * (1 + 1e-9)


def test_the_size_of_values_is_said_where_it_is_another():
    assert [units.head_of(64), units.head_of(64, 64), units.head_of(64, 32)] == ["d = 64"] * 2 + ["d = 64, v 32 wide"]


@pytest.mark.parametrize(("x", "words"), [(0.0, "0"), (9.5e-7, "10^{−5}"), (1.2e-6, "10^{−5}"), (2.4e-4, "10^{−3}")])
def test_how_it_is_written(x, words):
    assert units.at_most(x) == words


def test_pages_write_bytes_and_tokens_as_python_does():
    """Of all sizes, most of all where one unit gives way to the next, and halfway between two numbers."""
    rng = random.Random(5)
    edges = [m * 1000**k for k in range(5) for m in (1, 10, 99.95, 100, 999.5, 1000)]
    halfway = [rng.randrange(1, 4000) * 250 * 1000**k for k in range(4) for _ in range(200)]
    near = [round(one) + step for one in edges + halfway for step in (-1, 0, 1)]
    sizes = [n for n in (*near, *(int(10 ** rng.uniform(0, 15.9)) for _ in range(3000))) if n >= 0]
    tokens = [*range(1, 70), *(2**k * m for k in range(7, 21) for m in (1, 3)), 1000, 1_000_000]
    node = shutil.which("node")
    assert node, "no Node: install nodejs (`make test` does)"
    script = "".join(
        f"const {name} = (() => {{ {explorer.plain((folder / file).read_text(encoding='utf-8'))} return {name}; }})();"
        for name, folder, file in (("sizeOf", player.FOLDER, "words.js"), ("short", explorer.FOLDER, "state.js"))
    )
    script += "const [sizes, tokens] = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    script += "console.log(JSON.stringify([sizes.map(sizeOf), tokens.map(short)]));"
    done = subprocess.run(
        [node, "-e", script], input=json.dumps([sizes, tokens]), capture_output=True, check=True, text=True
    )
    said = json.loads(done.stdout)
    assert said == [[*map(units.size_of, sizes)], [*map(units.short, tokens)]]
    assert {text.split()[1] for text in said[0]} == {"B", "KB", "MB", "GB", "TB"}
