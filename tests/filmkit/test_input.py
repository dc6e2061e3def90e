"""What a film is of: a window of the tokens, which it says on screen; wide heads; the type that numbers came in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.filmkit import films
from flashsteps.filmkit.board import Board
from flashsteps.filmkit.input import MOST_COLUMNS, MOST_ROWS, window
from flashsteps.inputs.qkv import check_qkv
from tests.scenes.looking import Looker, moments
from tests.scenes.test_every_film import SIZES


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_window_has_the_queries_and_the_keys_of_its_tokens(n: int, m: int, data: st.DataObject) -> None:
    """Where there are fewer of one, they are the last ones, as masks align them."""
    most = max(n, m)
    start = data.draw(st.integers(0, most - 1))
    stop = data.draw(st.integers(start + 1, most))
    q, k = (np.arange(most - count, most, dtype=float)[:, None].repeat(2, 1) for count in (n, m))
    named = data.draw(st.booleans())
    qkv = check_qkv(q[None], k[None], k[None], [f"t{i}" for i in range(most)] if named else None)
    there = [[float(i) for i in range(start, stop) if i >= most - count] for count in (n, m)]
    if not all(there):
        with pytest.raises(ValueError, match=rf"^rows='{start}:{stop}': no (query|key) is there, they begin at \d$"):
            window(qkv, (start, stop))
        return
    cut = window(qkv, f"{start}:{stop}")
    assert [cut.q[:, 0].tolist(), cut.k[:, 0].tolist()] == there
    assert cut.tokens == tuple(f"t{i}" if named else str(i) for i in range(start, stop))
    trace = fs.record("flash2-forward", *cut, tokens=cut.tokens, mask="causal")
    assert len(trace.outputs["O"]) == len(there[0])


@pytest.mark.parametrize("rows", [(0, np.int64(64)), "0:64", [0, 64]])
def test_more_tokens_than_there_is_room_for_are_drawn_as_a_window(rows) -> None:
    with pytest.raises(
        ValueError, match=rf"^70 queries are too many to draw, {MOST_ROWS} is the most: give rows='0:64'"
    ):
        fs.film("flash2-forward", input="random:70,4")
    film = fs.film("flash2-forward", input="random:70,4", rows=rows)
    assert film.told.runs[0].meta["queries"] == 64
    assert film.told.runs[0].meta["input"]["rows"] == [0, 64]


@pytest.mark.parametrize("rows", ["0-64", "a:b", (1,), 5, (0.5, 3), "-1:4", (-1, 4), (3, 2), (0, 17)])
def test_what_is_no_window_is_refused_in_one_line(rows) -> None:
    with pytest.raises(ValueError, match=r"^rows='.*': (give the first token and|there are 16 tokens, give two)"):
        fs.film("flash2-forward", rows=rows)


@pytest.mark.parametrize("shape", SIZES)
def test_a_window_is_said_on_screen_under_every_title(shape: str) -> None:
    for name in films.names():
        options = {"input": "random:1000,4", "rows": (936, 1000)}
        board = Board(shape, films.load(name)().title, options=options)
        assert len(board.input.q) == 64
        with board.chapter("A chapter with a name that is long"):
            board.say("Words.")
        script = board.script()
        for size in SIZES[shape]:
            looker = Looker(script, size, "dark")
            for t in (0.0, script.duration):
                looker.look(t)
                assert "tokens 936 to 999 of 1,000" in {one.words for one in looker.written}, name
            assert not looker.elided, name


@pytest.mark.parametrize(
    ("name", "shape"), [("standard", "wide"), ("online-softmax", "square"), ("flash-forward", "tall")]
)
def test_a_head_may_be_as_wide_as_any(name: str, shape: str) -> None:
    """Nothing leaves its box, no text lies on another, and what is said holds."""
    script = fs.film(name, input=f"random:16,{MOST_COLUMNS}").script(shape)
    looker = Looker(script, SIZES[shape][0], "dark")
    for t in moments(script, 3, seed=3):
        looker.look(t)
        assert not any(one.lies_on(other) for one in looker.written for other in looker.written if one is not other)
        for shown in script.at(t):
            assert not looker.leaves(shown), type(shown.actor).__name__
    assert not looker.elided
    with pytest.raises(ValueError, match=rf"^d = {MOST_COLUMNS + 1} is too wide to draw, {MOST_COLUMNS} is the most"):
        fs.film(name, input=f"random:16,{MOST_COLUMNS + 1}")


def test_a_film_is_of_the_type_that_its_input_has() -> None:
    q = np.random.default_rng(0).standard_normal((3, 2, 8, 4)).astype(np.float32)
    film = fs.film("flash2-forward", input=tuple(q), head=1)
    assert film.told.runs[0].meta["dtype"] == "float32"
    laid = fs.film("flash2-forward", input=tuple(q.swapaxes(1, 2)), head=1, layout="shd")
    assert np.array_equal(laid.told.runs[0].outputs["O"], film.told.runs[0].outputs["O"])
    assert fs.film("flash2-forward").told.runs[0].meta["dtype"] == "float16"
