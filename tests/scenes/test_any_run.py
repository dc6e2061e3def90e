"""The film of an algorithm's run: told from the run alone, and held to what every film is held to."""

import ast
import pickle
import re
from typing import Any

import numpy as np
import pytest

import flashsteps as fs
from flashsteps import algorithms
from flashsteps.filmkit import films
from flashsteps.filmkit.actors.code import Code
from flashsteps.filmkit.actors.course import Course, rails
from flashsteps.filmkit.actors.slots import Slots
from flashsteps.filmkit.actors.tile_map import TileMap
from flashsteps.filmkit.board import reading_time
from flashsteps.filmkit.line_by_line import sentence, told
from flashsteps.story.kernels import kernels
from flashsteps.trace import narration
from flashsteps.units import size_of
from tests.contributing import example
from tests.scenes import test_every_film as every
from tests.scenes.looking import Looker
from tests.scenes.seen import actor

#: the algorithms without a film of their own
RUNS = tuple(name for name in films.shown() if name in algorithms.names() and name not in films.names())
EACH = pytest.mark.parametrize("name", RUNS)


def of(name: str) -> fs.Trace:
    """The run that its film is of."""
    (run,) = every.reel(name).told.runs
    return run


# ---- what holds of every film


@EACH
def test_it_can_be_followed_and_read(name):
    """In all shapes; in each a part of what other films are held to, by turns: all are drawn by the same actors."""
    shapes = list(every.SIZES)
    for shape in shapes:
        for which in every.CUTS:
            every.test_it_is_told_so_that_it_can_be_followed(name, which, shape)
    every.test_its_first_words_come_at_once_and_all_its_chapters_speak(name)
    every.test_no_number_of_a_chart_is_on_its_way(name)
    turn = RUNS.index(name) % 3
    every.test_nothing_leaves_its_box(name, shapes[turn])
    every.test_all_that_is_written_can_be_read(name, shapes[(turn + 1) % 3], "dark")
    every.test_all_that_is_written_can_be_read(name, shapes[(turn + 2) % 3], "light")
    every.test_a_frame_alone_is_the_frame_in_sequence(name, shapes[turn], "light")


# ---- what it says


@EACH
def test_each_line_is_told_in_its_own_words_just_before_it_runs_first(name):
    trace, script = of(name), every.reel(name).script()
    first: dict[str, int] = {}
    for event in trace:
        if (words := narration.of(trace.meta)[event.line].caption) and event.op != "skip":
            first.setdefault(words, event.step)
    told_of = [caption for caption in script.captions if caption.name in first]
    assert len(told_of) == len({caption.name for caption in told_of}) >= min(5, len(first))
    for words, start, stop in told_of:
        assert start < script.steps[first[words]] <= stop, words
        assert first[words] == 0 or script.steps[first[words] - 1] <= start, words


@EACH
def test_what_it_says_was_moved_is_what_is_counted(name):
    """Here, and at a real size, by counting without any data; beside standard attention, whatever the mask."""
    meta = of(name).meta
    options = {of: meta[of] for of in ("block_mask", "splits") if of in meta}
    for_many = options | ({"splits": 8} if "splits" in options else {})  # as the algorithm has it; a toy has 2
    here: dict[str, Any] = {"n": meta["queries"], "n_keys": meta["keys"], "d": meta["d"]}
    real: dict[str, Any] = {"n": 1 if algorithms.algorithm(name).decodes else 4096, "n_keys": 4096, "d": 64}
    blocks: dict[str, Any] = {"block_q": meta["block_q"], "block_k": meta["block_k"]}
    tile = 64 if name in ("flash2-backward", "flash-backward") else 128  # the largest that fits an SM
    large: dict[str, Any] = {"block_q": tile, "block_k": 16 if name == "paged-decode" else tile}
    own = [fs.count(name, **here, **blocks, **options).total, fs.count(name, **real, **large, **for_many).total]
    others = [fs.count(f"standard-{of(name).direction}", **sizes).total for sizes in (here, real)]
    figures = re.findall(r"[\d.,]+ [KMG]?B", every.reel(name).captions[-1].name)
    pairs = zip(own, others, strict=True)
    expected = own if name.startswith("standard") else [n for pair in pairs for n in pair]
    assert figures == list(map(size_of, expected))


def test_how_exact_it_is_is_seen_beside_the_definition():
    trace = of("split-kv-decode")
    q, k, v = (trace.initial[name].astype(float) for name in "QKV")
    weights = np.exp(q @ k.T * trace.meta["scale"])
    apart = np.abs(trace.outputs["O"] - weights / weights.sum() @ v).max()
    (bound,) = re.findall(r"exact to 10\^\{−(\d)\}, beside", text_of("split-kv-decode"))
    assert 10 ** -(int(bound) + 2) < apart < 10 ** -int(bound)
    assert "4 of 16 tiles are left out" in text_of("block-sparse-forward")  # a butterfly of 4 × 4 blocks: 12 are kept


def text_of(name: str) -> str:
    """All small print of its last picture."""
    script = every.reel(name).script()
    shown = [one.actor for one in script.at(script.duration - 0.1) if type(one.actor).__name__ == "Text"]
    return "\n".join(str(one.words) for one in shown)


def test_words_that_are_too_many_are_dropped_but_never_a_kernels_first():
    trace = of("flash2-backward")
    parts = kernels(trace)
    everything, some, few = (told(trace, parts, seconds) for seconds in (1e9, 30.0, 0.0))
    assert [len(each) for each in few] == [1, 1, 1]
    assert [each[0] for each in few] == [each[0] for each in everything]
    assert 20 < sum(reading_time(one.words) for each in some for one in each) <= 30
    assert all(set(each) <= set(whole) for each, whole in zip(some, everything, strict=True))


def test_a_comment_that_is_too_long_is_cut_to_its_first_sentence():
    assert sentence("Short.") == "Short."
    assert sentence("First this. " + "then that " * 12) == "First this."
    assert sentence("no end " * 20) == ""
    assert "\n" not in sentence("a\nb")


# ---- what it shows


def test_kernels_are_the_parts_of_the_run_that_begin_at_one_line():
    assert [len(one.programs) for one in kernels(of("flash2-backward"))] == [4, 4, 4]
    assert [one.writes for one in kernels(of("flash2-backward"))] == [("D",), ("dK", "dV"), ("dQ",)]
    assert [one.writes for one in kernels(of("standard-forward"))] == [("S",), ("P",), ("O",)]
    assert len(kernels(of("flash-backward"))) == 1


def test_slots_are_those_of_the_kernel_that_runs_and_the_line_that_is_lit_is_the_one_that_ran():
    script, trace = every.reel("flash2-backward").script(), of("flash2-backward")
    for kernel, chapter in zip(kernels(trace), ("Kernel 1", "Kernel 2", "Kernel 3"), strict=True):
        places = actor(script, chapter, Slots).look.shown
        slots = {event.slot for event in trace[kernel.start : kernel.stop] if event.op != "store"}
        assert {slot for slot, _ in places} == slots
        assert trace[kernel.stop - 1].line in actor(script, chapter, Code).look
    course = actor(script, "Kernel 2", Course)
    assert [rail.times for rail in rails(course.run)] == [4, 4, 4]
    assert course.look[:1] == (4,)


def test_decoding_asks_one_query_unless_others_were_given():
    assert of("split-kv-decode").meta["queries"] == 1
    q, k, v = np.random.default_rng(0).standard_normal((3, 6, 8), dtype=np.float32)
    (run,) = fs.film("split-kv-decode", input=(q, k, v)).told.runs
    assert run.meta["queries"] == 6


def test_what_has_no_tokens_beside_it_has_none():
    """Keys of a pool lie anywhere: their rows are no tokens."""
    trace = of("paged-decode")
    assert len(trace.initial["K"]) > trace.meta["keys"]
    script = every.reel("paged-decode").script()
    looker = Looker(script, (1280, 720), "dark")
    looker.look(20.0)
    assert [one.words for one in looker.written if one.who == "Hbm"].count("[CLS]") == 0


# ---- one that somebody adds

SIGMOID = '''"""Sigmoid attention."""

import numpy as np

TITLE, DIRECTION = "sigmoid", "forward"


def attend(hbm, sram, Q, K, V, *, block_q, block_k, mask, scale):
    O = hbm.empty("O", Q.shape)
    for i in sram.programs("i", Q.blocks(block_q)):
        q = sram.load(Q[i])
        acc = sram["a_long_name"] = sram.full(q.shape, 1.0)
        for j in sram.loop("j", K.blocks(block_k), mask.row(i)):
            k, v = sram.load(K[j]), sram.load(V[j])
            w = sram["weights"] = 1 / (1 + np.exp(-(q @ k.T * scale)))  # 权重：每个分数的 S 形函数。
            acc = sram["a_long_name"] = acc + w @ v  # These words are too many for a caption{}
        sram.store(O[i], acc)
    return {{"O": O.data, "LSE": np.zeros(Q.shape[0])}}
'''.format(" and go on" * 9)


@pytest.fixture
def added(tmp_path, monkeypatch):
    """`my-attention`, as CONTRIBUTING.md has it, and one that is no softmax, and names its slots as it likes."""
    for file in algorithms.FOLDER.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "my_attention.py").write_text(example("Add an algorithm"), encoding="utf-8")
    (tmp_path / "sigmoid.py").write_text(SIGMOID, encoding="utf-8")
    monkeypatch.setattr(algorithms, "FOLDER", tmp_path)
    monkeypatch.setattr(algorithms, "__path__", [*algorithms.__path__, str(tmp_path)])


def test_its_run_is_a_film_like_others(added):
    for name, shape in (("my-attention", "square"), ("sigmoid", "wide")):
        for which in every.CUTS:
            every.test_it_is_told_so_that_it_can_be_followed(name, which, shape)
        every.test_nothing_leaves_its_box(name, shape)
        every.test_all_that_is_written_can_be_read(name, shape, "light")
        every.test_a_frame_alone_is_the_frame_in_sequence(name, shape, "dark")
    words = [caption.name for caption in fs.film("sigmoid").captions]
    assert words[:3] == ["Sigmoid attention.", "Q comes in.", "权重：每个分数的 S 形函数。"]
    assert not [one for one in words if one.startswith("These words")]
    far = max(np.abs(fs.film("sigmoid").told.runs[0].outputs["O"]).max() / 2, 1.0)
    (said,) = re.findall(r"^O: up to ([\d.]+) from exact attention", words[-1])
    assert float(said) > far  # a mean of values, and a sum of them: not rounding


def test_a_tile_of_scores_counts_once_they_are_made(added):
    """Not when its keys are there: these come in a loop of their own, and the scores after it."""
    film = fs.film("my-attention")
    run, script = film.told.runs[0], film.script()
    made = next(event.step for event in run if event.slot == "S")
    for t, done in ((script.steps[made - 1], 0), (script.steps[made] - 0.05, 0), (script.duration - 10, 4)):
        assert tiles_done(script, t) == done


def tiles_done(script, t: float) -> int:
    (shown,) = [one.actor for one in script.at(t) if isinstance(one.actor, TileMap)]
    return shown.run.done(shown.now)[0]


# ---- by name


def test_a_films_name_goes_first_and_what_is_near_either_is_advised():
    assert "Loops turned round" in [chapter.name for chapter in fs.film("flash2-forward").chapters]
    for given, meant in (("split-kv-decod", "split-kv-decode"), ("flash2-forwar", "flash2-forward")):
        with pytest.raises(ValueError, match=f"unknown film '{given}': did you mean '{meant}'") as error:
            fs.film(given)
        advised = ast.literal_eval(str(error.value).split("did you mean ")[1].split("?")[0])
        assert fs.film(advised)


def test_it_goes_to_other_processes_and_into_scenes():
    film = fs.film("flash2-backward", cut="short", mask="causal")
    again = pickle.loads(pickle.dumps(film))
    np.testing.assert_array_equal(again.frame(5.0, width=800, height=450), film.frame(5.0, width=800, height=450))
    assert film.picture().script is film.script()


def test_a_saved_run_and_its_own_options(tmp_path):
    fs.record("split-kv-decode", *fs.load_qkv("sample"), splits=2, block_k=4).save(tmp_path / "run.npz")
    film = fs.film("split-kv-decode", trace=tmp_path / "run.npz")
    assert film.told.runs[0].meta["splits"] == 2
    assert fs.film("split-kv-decode", splits=2, cut="short").told.runs[0].meta["splits"] == 2
    with pytest.raises(ValueError, match=r"^this film shows flash2-backward, and this is a trace of split-kv-decode"):
        fs.film("flash2-backward", trace=tmp_path / "run.npz")
    with pytest.raises(ValueError, match=r"doesn't take splits=2: leave it out$"):
        fs.film("flash2-backward", splits=2)
