"""What the film causal claims: against the mask itself, torch's own causal attention, and sums by hand."""

import numpy as np
import torch

import flashsteps as fs
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.kinds import Kinds
from flashsteps.filmkit.actors.matrix import Matrix
from flashsteps.filmkit.actors.table import Table
from flashsteps.filmkit.actors.tile_map import TileMap
from tests.scenes.looking import Looker
from tests.scenes.seen import Told, actor, actors, said

SCRIPT = Told("causal")


def shown(matrix: Matrix) -> np.ndarray:
    """True where a score is shown."""
    seen = np.ones((len(matrix.values), len(matrix.values[0])), bool)
    for part in matrix.skipped:
        seen[int(part.top) : int(part.bottom), int(part.left) : int(part.right)] = False
    there: np.ndarray = seen & np.array([[x is not None and x > -np.inf for x in row] for row in matrix.values])
    return there


def test_no_score_after_its_query_is_shown():
    np.testing.assert_array_equal(shown(actor(SCRIPT, "No looking ahead", Matrix)), np.tri(16, dtype=bool))


def test_tiles_are_of_three_kinds():
    kinds, matrix = (actor(SCRIPT, "Three kinds of tiles", kind) for kind in (Kinds, Matrix))
    assert [kind.title for kind in kinds.kinds] == ["6 tiles full", "4 tiles cut by the diagonal", "6 tiles skipped"]
    skipped = {(int(r.top) // 4, int(r.left) // 4) for r in matrix.skipped}
    assert skipped == {(i, j) for i in range(4) for j in range(4) if j > i}
    assert {(int(r.top) // 4, int(r.left) // 4) for r in matrix.frames} == {(i, i) for i in range(4)}


def test_what_comes_in_of_k_and_v():
    toy, real = actor(SCRIPT, "Three kinds of tiles", Bars).bars
    assert (toy.name, real.name) == ("this toy: 10 of 16 tiles", "N = 8K: 2,080 of 4,096 tiles of 128×128")
    assert sum(i >= j for i in range(64) for j in range(64)) == 2080
    assert toy.note == "5,120 B of 8,192 B"  # 10 of 16 tiles, each 2 × 4 × 32 numbers of 2 B
    assert 10 * 2 * 4 * 32 * 2 == 5120
    assert real.value == (64 * 65 / 2) / 64**2  # 64 blocks: 1 + 2 + … + 64 of 64²
    assert real.note == "68.2 MB of 134 MB"


def test_each_program_does_one_tile_more_than_the_one_before():
    assert [bar.value for bar in actor(SCRIPT, "Program by program", Bars).bars] == [1, 2, 3, 4]


def test_standard_attention_saves_nothing():
    standard, flash2 = actor(SCRIPT, "What standard saves", Bars).bars
    assert standard.value == standard.whole == 2 * (4 * 8192 * 64 + 4 * 8192**2)
    assert flash2.value < 0.55 * flash2.whole


def test_the_diagonal_ends_where_flash_attn_and_torch_have_it():
    here, torch_has = map(shown, actors(SCRIPT, "Where the diagonal ends", Matrix))
    q, k, v = (torch.randn(1, n, 8) for n in (2, 5, 5))
    attention = torch.nn.functional.scaled_dot_product_attention
    torch.testing.assert_close(
        attention(q, k, v, is_causal=True), attention(q, k, v, attn_mask=torch.from_numpy(torch_has)[None])
    )
    run = fs.record("flash2-forward", *(x[0].numpy() for x in (q, k, v)), mask="causal", dtype="float32")
    expected = attention(q, k, v, attn_mask=torch.from_numpy(here)[None])[0]
    np.testing.assert_allclose(run.outputs["O"], expected.numpy(), atol=1e-5)


def test_rows_that_see_no_key():
    table = actor(SCRIPT, "More queries than keys", Table)
    assert [row[1:] for row in table.rows][:3] == [("0", "0.00", "−∞")] * 3
    assert [row[1] for row in table.rows][3:] == ["1", "2"]
    assert "the first 3 see nothing" in said(SCRIPT)


def test_nothing_of_what_is_told_is_left_out_in_any_shape():
    told = {
        "Three kinds of tiles": {"no mask needed", "mask from indices, on chip: 0 bytes", "this toy: 10 of 16 tiles"},
        "Where the diagonal ends": {"aligned at the bottom right", "aligned at the top left"},
    }
    for shape, size in {"wide": (960, 540), "square": (600, 600), "tall": (540, 960)}.items():
        script = fs.film("causal").script(shape)
        looker = Looker(script, size, "dark")
        for chapter, words in told.items():
            looker.look(script.time(chapter) - 0.1)
            assert words <= {one.words for one in looker.written}, (shape, chapter)


def test_any_input_may_be_masked():
    for of, at in (("random:12,8", 5), ("random:40,16", 20)):
        film = fs.film("causal", input=of, block_q=5, block_k=4)
        assert film.frame(at, width=800, height=450).any()
    assert "Where the diagonal ends" not in [chapter.name for chapter in fs.film("causal", input="random:4,8").chapters]


def test_scores_have_one_scale_in_all_pictures_and_minus_infinity_one_look():
    chapters = ("No looking ahead", "Three kinds of tiles", "Where the diagonal ends", "More queries than keys")
    found = [matrix for chapter in chapters for matrix in actors(SCRIPT, chapter, Matrix)]
    assert len(found) == 5
    assert len({(matrix.low, matrix.high) for matrix in found}) == 1
    assert not any(x is None or np.isnan(x) for matrix in found for row in matrix.values for x in row)


def test_tiles_that_the_diagonal_cuts_keep_their_frame_and_each_program_is_told_of():
    assert set(actor(SCRIPT, "Program by program", TileMap).marked) == {(i, i) for i in range(4)}
    assert "the first sees one block of keys." in said(SCRIPT)
    (caption,) = (c for c in SCRIPT.captions if c.name.startswith("The last one sees all 4"))
    bars = actor(SCRIPT, caption.start + 0.1, Bars).bars
    assert [(bar.value, bar.whole) for bar in bars] == [(1, 1), (2, 2), (2, 3), (2, 4)]  # the first are done
