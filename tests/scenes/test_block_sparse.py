"""What the film block-sparse claims: against the mask, Algorithm 5's closed form, and the published times."""

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Card
from flashsteps.filmkit.actors.curve import Curve
from flashsteps.filmkit.actors.matrix import Matrix
from flashsteps.filmkit.actors.tile_map import TileMap
from tests.scenes.looking import Looker
from tests.scenes.seen import Told, actor, actors, said

SCRIPT = Told("block-sparse")


def visited() -> np.ndarray:
    """A butterfly of 8 × 8 blocks, by its definition: blocks whose numbers differ in one bit at most, in steps."""
    away = {0} | {1 << bit for bit in range(3)}
    return np.array([[(i ^ j) in away for j in range(8)] for i in range(8)])


def test_half_of_the_tiles_are_kept():
    left_out = {(int(r.top) // 2, int(r.left) // 2) for r in actor(SCRIPT, "A mask of blocks", Matrix).skipped}
    np.testing.assert_array_equal(~visited(), np.array([[(i, j) in left_out for j in range(8)] for i in range(8)]))
    assert "here 32 of 64" in said(SCRIPT)


def test_what_is_saved_is_algorithm_5s_closed_form():
    N, d, fp16, fp32 = 16, 32, 2, 4
    K_V, start = 2 * N * d * fp16, N * d * fp16 + 2 * N * fp32
    tile = 3 * 2 * d * fp16 + 4 * 2 * fp32  # Q and O in, O out; ℓ and m in and out
    dense, sparse, standard = actor(SCRIPT, "What it saves", Bars).bars
    assert dense.value == K_V + start + 64 * tile
    assert sparse.value == K_V + start + 32 * tile
    assert f"{sparse.value / dense.value:.0%} of the bytes" in said(SCRIPT)
    assert standard.value == (4 * N * d + 4 * N * N) * fp16
    assert standard.value < sparse.value
    assert "Standard moves less here: tiles of 2×2 fetch Q and O again for every 2 keys." in said(SCRIPT)


def test_bytes_are_a_straight_line_in_the_share_and_times_are_the_papers():
    counted, published = actors(SCRIPT, "By the share kept", Curve)
    shares, megabytes = np.array(counted.lines[0].points).T
    slope = (2 * 3 * 64 * 64 + 4 * 4 * 64) * (4096 // 64) * (4096 // 256) / 1e6  # all tiles, Q, O, O, ℓ, m
    start = (2 * 2 * 4096 * 64 + 2 * 4096 * 64 + 4 * 2 * 4096) / 1e6
    np.testing.assert_allclose(megabytes, start + slope * shares, rtol=1e-6)
    np.testing.assert_allclose(counted.lines[1].points[0], (0, start))
    assert [dot.y for dot in published.dots] == [27.2, 43.4, 60.3, 81.2, 99.4, 117.0, 135.6, 155.6, 175.6, 188.4]
    assert not published.lines  # dots that were read off, and no line of ours through them
    assert [dot.name for dot in published.dots if dot.name] == ["about 99 ms", "about 188 ms"]
    standard = 2 * (4 * 4096 * 64 + 4 * 4096**2) / 1e6
    assert f"all tiles move {megabytes[-1]:.1f} MB, standard {standard:.0f} MB" in said(SCRIPT)


def test_all_that_is_said_of_the_lost_score_has_room_in_every_shape():
    for shape, size in {"wide": (960, 540), "square": (600, 600), "tall": (540, 960)}.items():
        script = fs.film("block-sparse").script(shape)
        looker = Looker(script, size, "dark")
        looker.look(script.duration - 0.5)
        assert "its weight, by the mask" in {one.words for one in looker.written}


def test_a_column_brings_in_the_rows_that_are_kept():
    *some, last = (str(row) for row in np.flatnonzero(visited()[:, 3]))
    assert f"Column 3 keeps rows {', '.join(some)} and {last}" in said(SCRIPT)


def test_the_score_that_is_lost_is_the_highest_of_those_left_out():
    q, k, _ = fs.load_qkv("sample")
    q, k = (np.asarray(x, np.float64) for x in (q, k))
    scores = q @ k.T / np.sqrt(32)
    hidden = np.where(np.kron(visited(), np.ones((2, 2), bool)), -np.inf, scores)
    card = actor(SCRIPT, "Another function", Card)
    assert dict(card.figures)["its score"] == f"{hidden.max():.3f}"
    second = np.sort(hidden.ravel())[-2]
    assert second < hidden.max()
    assert dict(card.figures)["the next, “tired” for “[CLS]”"] == f"{second:.3f}"
    row, key = np.unravel_index(hidden.argmax(), hidden.shape)
    (frame,) = actor(SCRIPT, "Another function", Matrix).frames
    assert (frame.top, frame.left) == (row, key)


@pytest.mark.parametrize("options", [{"input": "random:12,8"}, {"block_q": 4, "block_k": 2}])
def test_other_inputs_and_blocks(options):
    film = fs.film("block-sparse", **options)
    assert film.frame(0.5 * film.duration, width=800, height=450).any()


def test_a_column_is_spoken_of_once_the_picture_is_there():
    (caption,) = (caption for caption in SCRIPT.captions if caption.name.startswith("Column 3 "))
    for share in (0.01, 0.5, 0.99):
        tiles = actor(SCRIPT, caption.start + share * (caption.stop - caption.start), TileMap)
        assert tiles.numbered
        _, on = tiles.run.done(tiles.now)
        assert {j for _, j in (*on.tiles, *on.hidden)} == {3}
