"""What the film kernel claims: the loads and stores of both runs, by counting, and their numbers, in float64."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import flashsteps as fs
from flashsteps import schedules
from flashsteps.filmkit.actors.code import Listing
from flashsteps.filmkit.actors.number import Number
from flashsteps.filmkit.actors.pairs import Pairs
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.timeline import Timeline
from flashsteps.filmkit.input import Input
from flashsteps.machine.events import Tile
from tests.scenes.seen import Told, actor, actors, said

SCRIPT = Told("kernel")
(LOG,) = (Path(fs.__file__).parents[1] / "renders" / "data").glob("*-schedule.npz")


def test_every_transfer_is_there_and_agrees():
    pairs = actor(SCRIPT, "Pair by pair", Pairs)
    program = ["Q", *["K", "V"] * 4, "O", "LSE"]
    assert [transfer.name for transfer in pairs.first] == program * 4
    assert pairs.first == pairs.second
    assert [transfer.written for transfer in pairs.first] == [name in ("O", "LSE") for name in program] * 4
    assert pairs.same == (True,) * 44
    assert pairs.seen == 44


@pytest.mark.parametrize("tokens", [1, 3, 12, 17])
def test_it_needs_no_blocks_to_be_given(tokens):
    assert fs.film("kernel", input=f"random:{tokens},8").duration > 0  # blocks that nobody gave are powers of two


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
    assert "O differs by 10^{−3} at most" in said(SCRIPT)
    assert any(figure.value == "10^{−3}" for figure in actors(SCRIPT, "All of them", Number))
    half = np.spacing(np.float16(np.abs(exact).max()))  # the last place of fp16
    assert 1e-4 < float(half) < 1e-3


def test_a_kernel_that_does_not_do_the_same_has_no_film(monkeypatch):
    twin = Input.twin

    def wrong(self, run):
        kernel = twin(self, run)
        first = next(n for n, event in enumerate(kernel.events) if event.op == "load")
        tile = Tile("Q", 4, 8)
        changed = (*kernel.events[:first], kernel.events[first]._replace(tile=tile), *kernel.events[first + 1 :])
        return dataclasses.replace(kernel, events=changed)

    monkeypatch.setattr(Input, "twin", wrong)
    with pytest.raises(ValueError, match="of this run it is not true that .*, as the film says: choose another input"):
        fs.film("kernel")


def logged() -> dict[int, tuple[int, np.ndarray]]:
    """Of each program in the GPU's log of a causal mask: its SM, and when its tiles began."""
    with np.load(LOG) as file:
        program, sm, time = (file[f"causal_{column}"] for column in ("program", "sm", "time"))
    return {int(one): (int(sm[program == one][0]), np.sort(time[program == one])) for one in np.unique(program)}


def test_each_sm_of_the_gpu_has_a_lane_and_each_tile_its_time():
    lanes, log = actor(SCRIPT, "On a GPU", Timeline), logged()
    sms = sorted({sm for sm, _ in log.values()})
    assert lanes.count == len(sms) == 132
    drawn = sorted((work.lane, work.begun) for work in lanes.works)
    assert drawn == sorted((sms.index(sm), tuple(map(float, begun))) for sm, begun in log.values())
    assert f"{len(sms)} SMs, its processors, each a lane, share {len(log)} programs" in said(SCRIPT)
    strengths = {(len(work.begun), round(work.strength, 6)) for work in lanes.works}
    assert [strength for _, strength in sorted(strengths)] == sorted(strength for _, strength in strengths)


def test_programs_with_most_tiles_begin_first_and_no_sm_waits_long():
    log = sorted(logged().values(), key=lambda one: one[1][0])
    begun, later, least = set(), [], 1 << 30
    for sm, tiles in log:
        if sm in begun:
            later.append(len(tiles))
        else:
            least = min(least, len(tiles))
        begun.add(sm)
    assert "Programs with most tiles begin first" in said(SCRIPT)
    assert later == sorted(later, reverse=True)
    assert later[0] <= least
    assert later[-1] == 1
    last = {sm: 0.0 for sm, _ in log}
    for sm, tiles in log:
        last[sm] = max(last[sm], tiles[-1] + (float(np.median(np.diff(tiles))) if len(tiles) > 1 else 0.0))
    end = max(last.values())
    assert f"no SM waits over {np.ceil((end - min(last.values())) / 1000):.0f} of {end / 1000:.0f} µs" in said(SCRIPT)
    mine = [tiles for sm, tiles in log if sm == log[0][0]]
    assert all(a[-1] < b[0] for a, b in zip(mine, mine[1:], strict=False))  # one program after another


def test_a_log_in_another_order_has_no_such_words(monkeypatch):
    log = schedules.read(LOG, causal=True)
    first, *_, last = sorted(log.programs, key=lambda one: one.begun[0])
    turned = [first._replace(begun=last.begun), last._replace(begun=first.begun)]
    others = [one for one in log.programs if one not in (first, last)]
    monkeypatch.setattr(schedules, "kept", lambda causal: log._replace(programs=(*others, *turned)))
    with pytest.raises(ValueError, match="of this run it is not true that .*, as the film says: choose another input"):
        fs.film("kernel")
