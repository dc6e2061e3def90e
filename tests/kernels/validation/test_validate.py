"""validate: the kernels do what the traces say; a kernel that does not is caught, and said to be what it is."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from flashsteps.cli import main
from flashsteps.kernels import checks, flash2_forward, trace_log
from flashsteps.kernels.targets import configs, target, tuned
from flashsteps.kernels.validation import compare, standard, subjects, validate
from flashsteps.kernels.validation.cases import TWINS, Case, Shape, cases, shape
from tests.problems import Problem, attention, gradients

FOLDER = Path(flash2_forward.__file__).parent
FORWARD = Case("forward", Shape(1, 4, 2, 24, 40, 16), "float32", block_q=8, block_k=8)


def run(case):
    return next(validate.validate([case])).comparison


# ---- the kernels as they are


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_kernel_does_what_the_trace_says(case):
    of = run(case)
    assert of.first == ""
    assert of.loads[0] == of.loads[1] > 0
    assert of.stores[0] == of.stores[1] > 0
    assert all(ours == theirs for ours, theirs in of.moved.values())
    assert of.errors
    assert all(error.holds for error in of.errors.values())


def test_all_kernels_and_what_they_can_do_are_among_the_cases():
    tried = cases()
    assert {case.kernel for case in tried} == set(TWINS)
    for kernel in ("forward", "backward"):
        of = [case for case in tried if case.kernel == kernel]
        assert {case.causal for case in of} == {True, False}
        assert {case.dtype for case in of} == {"float16", "float32"}
        assert any(case.window for case in of)
        assert len({case.softcap for case in of}) > 2
        assert any(case.shape.group > 1 for case in of)
        assert any(case.shape.m % case.block_k for case in of)
        assert any(case.shape.d & (case.shape.d - 1) for case in of)
    assert {case.dtype for case in cases(device="cuda")} == {"float16", "bfloat16", "float32"}
    assert {case.kernel for case in cases(device="cuda")} == set(TWINS)


def own_tile(case: Case) -> configs.Config | None:
    """The tile of a kernel of Hopper's own that a case runs on the GPU that is pretended, or None."""
    shape, dtype = case.shape, getattr(torch, case.dtype)
    q = torch.empty(shape.batch, shape.heads, shape.n, shape.d, dtype=dtype)
    k = torch.empty(shape.batch, shape.kv_heads, shape.m, shape.d, dtype=dtype)
    options = {"causal": case.causal, "window": case.window, "scale": case.scale, "softcap": case.softcap}
    problem = checks.problem(q, k, k, **options)._replace(device=torch.device("cuda"))
    found = configs.shipped("forward", problem) if case.kernel == "forward" else configs.of_hopper("backward", problem)
    return found if found and found.hopper else None


def test_what_a_hopper_gpu_is_shipped_with_is_among_the_cases(monkeypatch):
    """Each of Hopper's own kernels and tiles that some GPU runs."""
    monkeypatch.setattr(configs, "target", lambda device: target.Target("cuda", 90))
    tried = [case for case in cases(("forward", "backward"), device="cuda") if not (case.bias or case.sinks)]
    assert all(case.block_q is None for case in tried)
    found = [(key, tile) for key, tile in tuned.found().items() if tile["hopper"]]
    assert found
    for (gpu, kernel, d, causal, _), tile in found:
        monkeypatch.setattr(tuned, "name", lambda device, gpu=gpu: gpu)
        own = [case for case in tried if case.kernel == kernel and case.causal == causal and not case.window]
        tiles = [own_tile(case) for case in own if configs.head_dim(case.shape.d) == d]
        assert configs.Config(**tile) in tiles, (gpu, kernel, d, causal)
    assert ("backward", 256) in {(case.kernel, case.shape.d) for case in tried}  # where tuning will find it faster


# ---- kernels with one fault each


@pytest.fixture
def mutant(tmp_path, monkeypatch):
    """Makes `validate` run a kernel whose source has one text instead of another."""

    def make(module, old, new, function="forward"):
        changed = {module} | ({"flash2_forward"} if module == "tile" else set())
        for name in sorted(changed, key=lambda name: name != "tile"):
            text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
            if name == module:
                assert text.count(old) == 1, f"{name}.py has {text.count(old)} of these: {old}"
                text = text.replace(old, new)
            for other in changed - {name}:
                text = text.replace(f"from .{other} import", f"from .mutant_{other} import")
            path = tmp_path / f"mutant_{name}.py"
            path.write_text(text, encoding="utf-8")
            full = f"flashsteps.kernels.mutant_{name}"
            spec = importlib.util.spec_from_file_location(full, path)
            assert spec
            assert spec.loader
            loaded = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, full, loaded)
            spec.loader.exec_module(loaded)
            if hasattr(loaded, function):
                monkeypatch.setattr(subjects, function, getattr(loaded, function))

    return make


LOAD_V = "v = load_tile(V, v_strides, b, h, start, M, BLOCK_N"
LOOP = "    for j in tl.range(lo, hi):\n        start = j * BLOCK_N\n"
RESCALE = "    acc = acc * alpha[:, None]\n"


def test_a_wrong_tile_index_is_caught(mutant):
    mutant("flash2_forward", LOAD_V, LOAD_V.replace("start", "tl.minimum(start + BLOCK_N, M - BLOCK_N)"))
    said = run(FORWARD).first
    assert said == "program 0 (h=0 i=0): step 2: loads V[8:16] (512 B) where the trace loads V[0:8] (512 B)"


def test_a_tile_that_is_visited_twice_is_caught(mutant):
    mutant("flash2_forward", LOOP, LOOP.replace("j in", "n in").replace("hi)", "hi + 1)").replace(
        "        start", "        j = tl.minimum(n, hi - 1)\n        start"))  # fmt: skip
    said = run(FORWARD).first
    assert said == "program 0 (h=0 i=0): step 11: one more load: it loads K[32:40] (512 B) 2 times, the trace once"


def test_a_tile_that_is_left_out_is_caught(mutant):
    mutant("flash2_forward", LOOP, LOOP.replace("tl.range(lo, hi)", "tl.range(lo, hi - 1)"))
    said = run(FORWARD).first
    assert said == "program 0 (h=0 i=0): step 9: one load too few, the trace loads K[32:40] (512 B) here"


def test_a_forgotten_rescale_is_caught(mutant):
    mutant("tile", RESCALE, "")
    of = run(FORWARD)
    assert of.loads[0] == of.loads[1]
    assert all(ours == theirs for ours, theirs in of.moved.values())
    assert of.first.startswith("program 0 (h=0 i=0): numbers differ though all loads and stores agree: row ")
    assert " of O[0:16] is off by " in of.first
    assert not of.errors["O"].holds
    assert of.errors["LSE"].holds


def test_a_tanh_that_has_no_digits_of_small_numbers_is_caught(mutant):
    (case,) = (case for case in cases(["forward"]) if case.softcap == 1e6)
    mutant("tile", "tl.abs(y) < 0.75", "tl.abs(y) < 0")
    said = run(case).first
    assert said.startswith("program 0 (i=0): numbers differ though all loads and stores agree: row ")


def test_a_store_to_the_wrong_place_is_caught(mutant):
    mutant("flash2_forward", "store_statistic(LSE, b, h * GROUP, heads_kv * GROUP, first,",
           "store_statistic(LSE, b, h * GROUP, heads_kv * GROUP, first * 0,")  # fmt: skip
    said = run(FORWARD).first
    assert said == "program 1 (h=0 i=1): step 12: stores LSE[0:16] (64 B) where the trace stores LSE[16:32] (64 B)"


def test_rows_that_are_not_there_are_caught(mutant):
    mutant("tile", "return first + tl.arange(0, ROWS) // GROUP < tl.minimum(first + TOKENS, n)",
           "return first + tl.arange(0, ROWS) // GROUP < tl.maximum(first + TOKENS, n)")  # fmt: skip
    case = Case("forward", Shape(1, 1, 1, 24, 1000, 16), "float32", block_q=8, block_k=64)
    of = run(case)
    assert of.first.startswith("program (0, 0, 0) of forward_kernel loads up to 1,536 B past the end of K (1000×16): ")
    assert of.first.endswith(", BLOCK_N, BLOCK_N, 1, HEAD_DIM, D, CUT, TMA)")
    assert (of.loads, of.stores, of.errors) == (None, None, {})


@pytest.mark.parametrize(
    ("kernel", "module", "function", "old", "new", "words"),
    [
        ("backward", "flash2_backward", "backward", "dk * scale, BLOCK_N", "dk, BLOCK_N", "numbers differ"),
        ("backward", "flash2_backward", "backward", "first = i * BLOCK_Q\n        ragged",
         "first = lo * BLOCK_Q\n        ragged", "loads Q[0:16] (1,024 B) where the trace loads Q[16:32]"),
        ("block-sparse", "flash2_block_sparse", "block_sparse", "tl.load(columns + n)", "tl.load(columns + n) * 0",
         "where the trace loads K["),
        ("split-kv-decode", "split_kv", "split_kv_decode", "(s + 1) * per_piece)", "(s + 1) * per_piece + 1)",
         "one more load"),
        ("split-kv-decode", "split_kv", "split_kv_decode", "acc = alpha[:, None] * acc + w", "acc = acc + w",
         "numbers differ though all loads and stores agree"),
        ("paged-decode", "paged", "paged_decode", "table_stride + j)", "table_stride + hi - 1 - j)",
         "where the trace loads table[0:1]"),
    ],
)  # fmt: skip
def test_a_fault_in_another_kernel_is_caught(mutant, kernel, module, function, old, new, words):
    mutant(module, old, new, function)
    case = Case(kernel, Shape(1, 4, 2, 24, 40, 16), "float32", block_q=8, block_k=8)
    assert words in run(case).first


# ---- the yardsticks


@pytest.mark.parametrize("mask", [None, "causal", "window:3,1"])
def test_exact_attention_is_attention_by_its_definition(mask):
    problem = Problem("flash2-forward", 9, 7, 5, 4, 4, mask, "float64")
    q, k, v = problem.inputs()
    given = standard.Tensors(*(torch.from_numpy(x)[None, None] for x in (q, k, v, problem.gradient())))
    keep = torch.from_numpy(problem.kept())
    found = standard.attention(given, keep, scale=5**-0.5, softcap=None, dtype=torch.float64)
    O, LSE = attention(problem)
    for name, right in {"O": O, "LSE": LSE, **gradients(problem)}.items():
        assert np.allclose(found[name][0, 0], right), name


def test_pieces_of_keys_are_expected_as_the_reference_has_them_in_float64():
    case = Case("split-kv-decode", Shape(2, 4, 2, 3, 21, 8), "float32", causal=True, block_q=2, block_k=4)
    given = subjects.tensors(case)
    exact, _ = validate.expected(case, given)
    q, k, v = (x.flatten(0, 1).numpy() for x in given[:3])
    options = {"block_q": 2, "block_k": 4, "splits": 3, "mask": "causal", "dtype": "float64"}
    right = compare.written(importlib.import_module("flashsteps").record("split-kv-decode", q, k, v, **options))
    assert set(right) == {"O", "LSE", "O_s", "LSE_s"}
    for name, values in right.items():
        assert np.allclose(exact[name], values), name


def test_the_fields_rule():
    exact = np.array([1.0, -np.inf, 2.0])
    assert compare.error(np.array([1.0, -np.inf, 2.5]), exact) == 0.5
    assert compare.error(np.array([1.0, -1e9, 2.0]), exact) == np.inf
    assert compare.error(np.array([np.nan, -np.inf, 2.0]), exact) == np.inf
    assert compare.allowed(np.array([1.25, -np.inf, 2.0]), exact) == 0.5 + 1e-5


# ---- what a GPU's run is held against, tried where there is none


@pytest.mark.parametrize("case", [*cases(["forward"])[2:], *cases(["paged-decode"])[:1]], ids=str)
def test_the_kernels_own_log_is_the_traces_order(case):
    programs, of, visits = validate.on_a_gpu(case, "cpu")
    assert of.first == ""
    assert all(error.holds for error in of.errors.values())
    assert (visits is not None) == (case.kernel == "forward") == bool(programs)


def test_the_cases_of_a_gpu_run_and_hold():
    tried = [case for case in cases(shapes=[Shape(1, 4, 2, 20, 70, 16)], device="cuda") if case.dtype == "float16"]
    assert {case.kernel for case in tried} == set(TWINS)
    for case in tried:
        programs, of, visits = validate.on_a_gpu(case, "cpu")
        assert of.first == "", case
        assert of.errors
        assert (visits is not None) == bool(programs) == (case.kernel == "forward")


def test_tiles_in_another_order_are_caught():
    given = subjects.tensors(FORWARD)
    visits = validate.visited(FORWARD, given)
    reference = subjects.reference(FORWARD, given, 8, 8)
    assert compare.first_visit(visits, reference) == ""
    swapped = visits.copy()
    swapped[[1, 2]] = visits[[2, 1]]
    assert compare.first_visit(swapped, reference) == "program 0: visit 1 is of tile 2 where the trace's is of 1"
    assert compare.first_visit(visits[:-1], reference).endswith("visit 4 is of tile no more where the trace's is of 4")


def test_the_order_on_each_sm_is_kept(tmp_path):
    entries = [(0, 0, 7, 90), (0, 1, 7, 95), (1, 0, 3, 80), (1, 1, 3, 99)]
    visits = np.array(entries, trace_log.ENTRY)
    none = compare.Comparison(None, None, {}, {}, "")
    results = [validate.Result(FORWARD, 2, none, 0.0, visits), validate.Result(FORWARD, 0, none, 0.0)]
    assert validate.save_visits(tmp_path / "order.npz", results, "a GPU") == 4
    with np.load(tmp_path / "order.npz", allow_pickle=False) as saved:
        assert saved["gpu"] == "a GPU"
        assert saved["cases"].tolist() == [str(FORWARD)]
        rows = zip(*(saved[name].tolist() for name in ("case", "sm", "time", "program", "tile")), strict=True)
        assert list(rows) == [(0, 3, 0, 1, 0), (0, 3, 19, 1, 1), (0, 7, 10, 0, 0), (0, 7, 15, 0, 1)]


# ---- the command


def flashsteps(*words):
    return CliRunner().invoke(main, ["validate", "--device", "cpu", *words])


def test_tables_and_exit_code_0_where_all_is_the_same():
    done = flashsteps("--kernel", "paged-decode", "--kernel", "forward", "--shapes", "1,2/1,5/9,8")
    lines = done.output.splitlines()
    assert done.exit_code == 0, done.output
    assert lines[0].split()[:2] == ["kernel", "B,H,N,d"]
    assert {line.split()[0] for line in lines[1 : lines.index("")]} == {"forward", "paged-decode"}
    assert any(line.split() == ["paged-decode", "table", "8", "B", "8", "B"] for line in lines)
    count = len(cases(["forward", "paged-decode"]))
    assert lines[-1] == f"all {count} cases: every load and store is the trace's, every number as close as it has to be"


def test_json_has_all_numbers():
    done = flashsteps("--kernel", "backward", "--shapes", "1,1,6,8", "--json")
    found = json.loads(done.stdout)
    assert (found["device"], found["gpu"], found["differ"]) == ("cpu", None, 0)
    for case in found["cases"]:
        assert case["algorithm"] == "flash2-backward"
        assert [case[name] for name in ("batch", "heads", "kv_heads", "queries", "keys", "d")] == [1, 1, 1, 6, 6, 8]
        loads = 14 + 2 * bool(case["bias"])  # a tile of it for each of two kernels
        assert case["loads"] == {"kernel": loads, "trace": loads}
        itemsize = {"float16": 2, "float32": 4}[case["dtype"]]
        written = {"kernel": 48 * itemsize, "trace": 48 * itemsize}
        assert case["bytes"]["dQ"] == {"read": {"kernel": 0, "trace": 0}, "written": written}
        assert all(0 <= one["error"] <= one["allowed"] for one in case["errors"].values())
        assert set(case["errors"]) == {"D", "dQ", "dK", "dV"}
        assert case["first"] == ""


def test_exit_code_1_and_the_first_difference_where_anything_differs(mutant):
    mutant("tile", RESCALE, "")
    done = flashsteps("--kernel", "forward", "--shapes", "1,1,40,8")
    assert done.exit_code == 1
    tried = cases(["forward"])
    count = sum(case.softcap != 1e-3 for case in tried)  # with that cap all scores are alike, and α is 1
    assert done.output.count(compare.NUMBERS) == count == len(tried) - 1
    assert done.output.splitlines()[-1] == f"{count} of {len(tried)} cases differ"
    assert json.loads(flashsteps("--kernel", "forward", "--shapes", "1,1,40,8", "--json").stdout)["differ"] == count


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kernel", "forwrd"], "unknown kernel 'forwrd': did you mean 'forward'?"),
        (["--shapes", "1,2,3"], "shape '1,2,3' makes no sense: give BATCH,HEADS,N,D"),
        (["--shapes", "1,3/2,4,8"], "3 heads are no multiple of 2"),
        (["--shapes", "0,2,4,8"], "has a 0"),
        (["--shapes", "2,2,4,8"], "paged-decode is held against one cache: give a batch of 1"),
        (["--save", "x.npz"], "only a GPU has SMs and a clock"),
        (["--device", "cuda", "--kernel", "backward", "--save", "x.npz"], "only the forward kernel keeps a log"),
        (["--device", "cuda", "--save", "x.txt"], "its ending is to say what to make: use .npz"),
        (["--device", "cuda"], "there is no GPU that torch can use here"),
        (["--device", "tpu"], "unknown device 'tpu'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, message):
    done = flashsteps(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("missing", ["torch", "triton"])
def test_it_says_what_to_install(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    done = flashsteps("--kernel", "forward")
    assert (done.exit_code, done.stderr) == (
        2, f"flashsteps: error: {missing} is missing: pip install 'flashsteps[kernels]'\n",
    )  # fmt: skip


def test_it_asks_for_the_interpreter_itself_and_help_needs_nothing():
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "flashsteps", "validate", "--kernel", "paged-decode", "--shapes", "1,1,4,8"]
    if not torch.cuda.is_available():
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
    asked = "import sys; from flashsteps.cli import main; main(['validate', '--help'], standalone_mode=False); "
    asked += "print({'torch', 'triton', 'numpy', 'manim'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("text", ["1,4/2,20/33,24", "2,3,16,64", "1,1,1/75,8"])
def test_a_shape_is_read_as_it_is_written(text):
    assert str(shape(text)) == text


def test_cases_come_one_by_one_and_what_is_done_is_kept_when_it_is_cut_off(monkeypatch):
    right = validate.validate

    def cut(cases, device):
        for at, result in enumerate(right(cases, device)):
            if at == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(validate, "validate", cut)
    done = flashsteps("--kernel", "paged-decode", "--kernel", "forward", "--shapes", "1,1,5,8")
    assert done.exit_code == 130
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["kernel", "forward", "forward"]
    assert f"stopped: 2 of {len(cases(['paged-decode', 'forward']))} cases are done" in done.stderr
    found = json.loads(flashsteps("--kernel", "forward", "--shapes", "1,1,5,8", "--json").stdout)
    assert len(found["cases"]) == 2
