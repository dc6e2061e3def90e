"""What the film kernel claims: the loads and stores of both runs, by counting, and their numbers, in float64."""

import dataclasses

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.code import Listing
from flashsteps.filmkit.actors.pairs import Pairs
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.input import Input
from flashsteps.machine.events import Tile
from tests.scenes.seen import Told, actor, actors, said

SCRIPT = Told("kernel")


def test_every_transfer_is_there_and_agrees():
    pairs = actor(SCRIPT, "Pair by pair", Pairs)
    program = ["Q", *["K", "V"] * 4, "O", "LSE"]
    assert [transfer.name for transfer in pairs.first] == program * 4
    assert pairs.first == pairs.second
    assert [transfer.written for transfer in pairs.first] == [name in ("O", "LSE") for name in program] * 4
    assert pairs.same == (True,) * 44
    assert pairs.seen == 44


def test_the_lines_that_are_lit_make_the_transfer_at_hand():
    begun = SCRIPT.time("Does it do the same?")
    for t in np.linspace(begun + 1, SCRIPT.time("Pair by pair") - 0.1, 20):
        pairs = actor(SCRIPT, t, Pairs)
        if pairs.seen == 0:
            continue
        at = int(pairs.seen) if pairs.seen > int(pairs.seen) else int(pairs.seen) - 1
        tensor = pairs.first[at].name
        for listing in actors(SCRIPT, t, Listing):
            (line,) = [code for number, code in listing.lines if number == listing.lit]
            assert tensor in line, (tensor, line)


def test_bytes_are_those_of_the_closed_form_in_both():
    rows = {row[0]: row[1:] for row in actor(SCRIPT, "All of them", Table).rows}
    N, d, fp16, fp32 = 16, 32, 2, 4
    once, four = f"{N * d * fp16:,} B", f"{4 * N * d * fp16:,} B"
    expected = {"Q read": once, "K read": four, "V read": four, "O written": once, "LSE written": f"{N * fp32} B"}
    assert rows == {name: (size, size) for name, size in expected.items()} | {"in all": ("10.3 KB", "10.3 KB")}


def test_the_outputs_are_as_close_as_it_says():
    q, k, v = (np.float16(x).astype(float) for x in fs.load_qkv("sample"))
    p = np.exp(q @ k.T / np.sqrt(32))
    exact = p @ v / p.sum(axis=1, keepdims=True)
    assert "O differs by 0.0002 at most" in said(SCRIPT)
    half = np.spacing(np.float16(np.abs(exact).max()))  # the last place of fp16
    assert float(half) >= 0.0002


def test_a_kernel_that_does_not_do_the_same_has_no_film(monkeypatch):
    twin = Input.twin

    def wrong(self, run):
        kernel = twin(self, run)
        first = next(n for n, event in enumerate(kernel.events) if event.op == "load")
        tile = Tile("Q", 4, 8)
        changed = (*kernel.events[:first], kernel.events[first]._replace(tile=tile), *kernel.events[first + 1 :])
        return dataclasses.replace(kernel, events=changed)

    monkeypatch.setattr(Input, "twin", wrong)
    with pytest.raises(ValueError, match="this run is not as the film says"):
        fs.film("kernel")
