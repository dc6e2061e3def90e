"""What the film backward claims: against gradients in float64, the closed forms, and sums by hand."""

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.actors.areas import Areas
from flashsteps.filmkit.actors.cards import Panel, Text
from flashsteps.filmkit.actors.equation import Equation
from flashsteps.filmkit.actors.formula import Formula
from flashsteps.filmkit.actors.matrix import Matrix
from flashsteps.traffic import formulas
from flashsteps.units import at_most
from tests.scenes.seen import Told, actor, actors, said

SCRIPT = Told("backward")


def noted(script, when: str) -> str:
    """All that is written beside the captions."""
    return "\n".join(str(text.words) for text in actors(script, when, Text))


@pytest.fixture(scope="module")
def exact():
    """All of attention, forwards and backwards, in float64, by the chain rule."""
    q, k, v = (np.asarray(x, np.float64) for x in fs.load_qkv("sample"))
    dO = np.random.default_rng(0).standard_normal(q.shape).astype(np.float16).astype(float)
    S = q @ k.T / np.sqrt(q.shape[1])
    P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
    dP = dO @ v.T
    dS = P * (dP - (P * dP).sum(axis=1, keepdims=True))
    scale = q.shape[1] ** -0.5
    made = {"O": P @ v, "dV": P.T @ dO, "dQ": dS @ k * scale, "dK": dS.T @ q * scale}
    return made | {"S": S, "P": P, "dP": dP, "dS": dS, "dO": dO, "LSE": np.log(np.exp(S).sum(axis=1))}


TILE = slice(8, 12), slice(0, 4)  # "it" and "animal"


def test_p_is_made_of_scores_and_lse(exact):
    s, lse, p = actor(SCRIPT, "P, made again", Equation).tiles
    assert np.allclose(s.values, exact["S"][TILE], atol=5e-3)
    assert np.allclose(np.ravel(lse.values), exact["LSE"][TILE[0]], atol=5e-3)
    assert np.allclose(p.values, exact["P"][TILE], atol=5e-3)
    assert np.allclose(np.exp(np.array(s.values) - np.array(lse.values)), p.values, atol=1e-5)
    words = [text.words for text in actors(SCRIPT, "P, made again", Text)]
    assert "e^{3.83 − 4.22} = 0.68" in words
    assert "the weight of “animal” for “it”" in words


def test_d_is_the_sum_of_o_times_do(exact):
    d = next(m for m in actors(SCRIPT, "Kernel 1: D", Matrix) if m.title == "D")
    assert np.allclose(np.ravel(d.values), (exact["O"] * exact["dO"]).sum(axis=1), atol=0.02)
    assert np.allclose(np.ravel(d.values), (exact["P"] * exact["dP"]).sum(axis=1), atol=0.02)  # the same, of weights


def test_a_row_has_its_d_once_all_of_it_was_multiplied():
    begun, seen = SCRIPT.time("P, made again") + 1.5, set()
    for t in np.arange(begun, SCRIPT.time("Kernel 1: D") - 0.5, 0.3):
        product, d = (next(m for m in actors(SCRIPT, t, Matrix) if m.title == title) for title in ("O ∘ dO", "D"))
        assert d.seen == np.floor(product.seen)
        seen.add(product.seen)
    assert len(seen) > 5


def test_the_gradient_of_scores(exact):
    p, dp, _, ds = actor(SCRIPT, "From P to dS", Equation).tiles
    for tile, name in ((p, "P"), (dp, "dP"), (ds, "dS")):
        assert np.allclose(tile.values, exact[name][TILE], atol=0.02), name


def test_sums_end_as_the_gradients_and_two_kernels_never_hold_theirs_together(exact):
    start, stop = next((c.start, c.stop) for c in SCRIPT.chapters if c.name == "Kernels 2 and 3")
    last: dict[str, np.ndarray] = {}
    for t in np.arange(start + 1, stop, 0.1):
        held = {one.tensor: one.values for one in actors(SCRIPT, t, Matrix) if not np.isnan(one.values).all()}
        assert "dQ" not in held or set(held) == {"dQ"}
        last |= held
    assert set(last) == {"dQ", "dK", "dV"}
    for name, values in last.items():
        rows = TILE[0] if name == "dQ" else TILE[1]
        assert np.allclose(values, exact[name][rows], atol=0.01), name


def test_what_moves_at_a_real_size():
    standard, flash = (formulas.standard_backward(1024, 1024, 64), formulas.flash2_backward(1024, 1024, 64, 128, 64))
    words = [text.words for text in actors(SCRIPT, "What it saves", Text)]
    figures = [f"{form.nbytes() / 1e6:.1f} MB" for form in (standard, flash)]
    assert figures == ["15.7 MB", "7.6 MB"]
    assert "P twice (4.2 MB), dP twice, dS 3 times." in said(SCRIPT)
    assert f"{2 * 2 * 1024**2 / 1e6:.1f} MB" == "4.2 MB"
    assert set(figures) | {"4 matrix products", "7 matrix products"} <= set(words)
    for form, products in ((standard, 4), (flash, 7)):
        for seconds in (form.nbytes() / 2.039e12, formulas.backward_flops(1024, 1024, 64, products) / 312e12):
            assert f"in {seconds * 1e6:.2f} µs" in words


def test_what_programs_keep_and_what_comes_in_is_what_the_run_loads():
    q, k, v = fs.load_qkv("sample")
    trace = fs.record("flash2-backward", q, k, v, do=q, block_q=4, block_k=4)
    moved = [(e.op, e.tile.tensor, set(e.loop), e.step) for e in trace if e.tile]
    first, second = (max(step for *what, _, step in moved if what == ["store", name]) for name in ("D", "dV"))
    words, order = noted(SCRIPT, "Who owns what"), ["Q", "K", "V", "dO", "LSE", "D"]
    for own, after, until, makes in (("j", first, second, ["dK", "dV"]), ("i", second, len(trace), ["dQ"])):
        kernel = [(op, name, loop) for op, name, loop, step in moved if after < step <= until]
        assert {name for op, name, _ in kernel if op == "store"} == {*makes}
        loads = {(name, loop == {own}) for op, name, loop in kernel if op == "load"}
        kept, come = ([name for name in order if (name, once) in loads] for once in (True, False))
        assert f"keeps {', '.join(kept + makes)}; {', '.join(come)} come in" in words


def test_seven_products_of_which_five_differ():
    """Of standard attention 4, of the paper's Algorithm 2 (one kernel) 5: as many as Algorithm 1's kernel makes."""
    words = "\n".join(str(node) for one in actors(SCRIPT, "Who owns what", Formula) for node in one.node)
    each = {name: words.count(f"'{name}: ") for name in ("S", "dP", "dV", "dK", "dQ")}
    assert each == {"S": 2, "dP": 2, "dV": 1, "dK": 1, "dQ": 1}
    ways = {"flash2-backward": sum(each.values()), "flash-backward": len(each), "standard-backward": 4}
    for name, products in ways.items():
        assert fs.count(name, n=64, d=8, block_q=8, block_k=8).work.matmul == products * 2 * 64 * 64 * 8
    assert "4 + 3 products, not 5" in noted(SCRIPT, "Who owns what")


def test_only_one_kernel_runs_at_a_time():
    start, stop = next((c.start, c.stop) for c in SCRIPT.chapters if c.name == "Kernels 2 and 3")
    lit = [tuple(p.lit for p in actors(SCRIPT, t, Panel) if p.sram) for t in np.arange(start + 1, stop, 0.1)]
    assert list(dict.fromkeys(lit)) == [(True, False), (False, True), (False, False)]


def test_rectangles_are_what_was_moved():
    """Their areas, where 1 is N², are the elements of the closed forms; seven of them are whole N×N matrices."""
    for chart, form in zip(
        actors(SCRIPT, "What it saves", Areas),
        (formulas.standard_backward(1024, 1024, 64), formulas.flash2_backward(1024, 1024, 64, 128, 64)),
        strict=True,
    ):
        moved = [area for area in chart.areas if area.hue != "bg"]
        assert sum(area.w > 0.9 for area in moved) == (7 if form.statistics == 0 else 0)
        drawn = sum(area.w + min(0.014, 0.22 * 64 / 1024) for area in moved)  # each leaves a little to the next
        assert drawn == pytest.approx(form.nbytes() / 2 / 1024**2, rel=0.02)


def test_both_give_the_same_gradients_as_float64(exact):
    shown = [m for m in actors(SCRIPT, "The same gradients", Matrix) if "standard" in m.title or "Flash" in m.title]
    exact32 = {name: np.abs(exact[name]) for name in ("dQ", "dK", "dV")}
    for matrix in shown:
        assert np.allclose(matrix.values, exact32[matrix.tensor], atol=5e-3), matrix.title
    pairs = [[m.values for m in shown if m.tensor == name] for name in exact32]
    most = max(float(np.abs(np.subtract(*pair)).max()) for pair in pairs)
    assert f"the same gradients, to {at_most(most)}." in said(SCRIPT)
    toy = fs.count("flash2-backward", n=16, d=32, block_q=4, block_k=4).total / (2 * (8 * 16 * 32 + 7 * 16 * 16))
    assert f"move {toy:.1f}× standard’s bytes; real sizes move fewer" in noted(SCRIPT, "The same gradients")


def test_any_input_may_be_told():
    for of in ("random:12,8", "random:40,16"):
        film = fs.film("backward", input=of, block_q=5, block_k=4)
        assert film.frame(12, width=800, height=450).any()
    assert fs.film("backward", cut="short").duration <= 14


def test_where_tiles_are_tall_it_says_so():
    film = fs.film("backward", input="random:64,4", block_q=32, block_k=32)
    assert "they are large enough" in noted(film.script(), "The same gradients")


def test_it_is_no_film_of_a_kernel_or_a_saved_run():
    for option in ({"kernel": True}, {"trace": "x.npz"}, {"mask": "causal"}):
        with pytest.raises(ValueError, match="doesn't take"):
            fs.film("backward", **option).script()
