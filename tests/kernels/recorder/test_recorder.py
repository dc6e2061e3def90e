"""The recorder: what a kernel loads and stores, in the rows of its tensors' views; what it makes; what is refused."""

import re
import runpy
import sys
import textwrap
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
from hypothesis import given, settings
from hypothesis import strategies as st
from triton.runtime import interpreter
from triton.tools.tensor_descriptor import TensorDescriptor

from flashsteps.kernels import Argument, record_kernels
from flashsteps.kernels.recorder.interpreter import ELEMENTWISE
from flashsteps.kernels.recorder.trace_of import trace_of
from flashsteps.machine.arrays import Work
from flashsteps.trace import narration
from tests.kernels.recorder import small_kernels as small

WRAPPED = [
    *((interpreter.InterpreterBuilder, f"create_{name}") for name in ("masked_load", "masked_store", "dot")),
    *((interpreter.InterpreterBuilder, f"create_atomic_{name}") for name in ("rmw", "cas")),
    *((interpreter.InterpreterBuilder, f"create_{name}") for names in ELEMENTWISE.values() for name in names),
    *((interpreter.ReduceOps, name) for name in ("sum", "min_max")),
    (interpreter.GridExecutor, "__call__"),
]


@pytest.fixture(autouse=True)
def _nothing_stays_wrapped():
    before = [getattr(owner, name) for owner, name in WRAPPED]
    tracer = sys.gettrace()
    yield
    assert [getattr(owner, name) for owner, name in WRAPPED] == before
    assert sys.gettrace() is tracer


def steps(tape):
    return [str(step) for program in tape.programs() for step in program.steps]


# ---- what moves


@given(st.permutations(range(3)), st.tuples(*[st.integers(1, 4)] * 3), st.sampled_from((2, 4)), st.data())
@settings(max_examples=40)
def test_an_access_is_the_rows_that_it_touches_in_the_order_of_the_view(order, shape, itemsize, data):
    dtype = {2: torch.float16, 4: torch.float32}[itemsize]
    (x, y), size = (torch.zeros(shape, dtype=dtype).permute(order) for _ in range(2)), int(np.prod(shape))
    x.copy_(torch.arange(size).reshape(x.shape))
    columns = x.shape[2]
    rows = sorted(data.draw(st.sets(st.integers(0, size // columns - 1), min_size=1)))
    places = torch.arange(size).as_strided(x.shape, x.stride()).reshape(-1, columns)[rows].flatten()
    lanes = triton.next_power_of_2(size + 1)
    lane = data.draw(st.permutations(range(lanes)))[: len(places)]  # in any order, others masked off
    index, inside = torch.full((lanes,), 1 << 20), torch.zeros(lanes, dtype=torch.int32)
    index[lane], inside[lane] = places, 1
    with record_kernels(X=x, Y=y, index=index, inside=inside) as tape:
        small.gather[(1,)](x, y, index, inside, LANES=lanes)
    runs = [[row for _, row in run] for _, run in groupby(enumerate(rows), lambda pair: pair[1] - pair[0])]
    expected = [(f"X[{run[0]}:{run[-1] + 1}]", len(run) * columns * itemsize) for run in runs]
    found = [step for step in tape.programs()[0].steps if step.region.tensor in "XY"]
    loads, stores = (found[: len(runs)], found[len(runs) :])
    assert [(str(step), step.nbytes) for step in loads] == [(f"load {tile}", nbytes) for tile, nbytes in expected]
    assert [str(step) for step in stores] == [str(step).replace("load X", "store Y") for step in loads]
    values = np.arange(size).reshape(-1, columns)
    assert np.array_equal(np.concatenate([step.value for step in stores]), values[rows])


def test_lanes_that_are_masked_off_do_not_count_and_a_load_of_none_is_no_step():
    x, y, index = torch.ones(8), torch.zeros(8), torch.arange(4)
    with record_kernels(X=x, Y=y, index=index, inside=(inside := torch.zeros(4, dtype=torch.int32))) as tape:
        small.gather[(1,)](x, y, index, inside, LANES=4)
    assert steps(tape) == ["load index[0:4]", "load inside[0:4]"]


def test_programs_are_told_apart_by_launch_and_by_place_on_the_grid():
    x, y = torch.arange(24.0).reshape(6, 4), torch.empty(2, 4)
    with record_kernels(X=x, Y=y) as tape:
        small.sums[(2,)](x, y, 6, 4, ROWS=2, COLUMNS=4, D=4)
        small.doubled[(2,)](y, D=4, COLUMNS=4)
    assert [(p.launch, p.kernel, p.grid, list(map(str, p.steps))) for p in tape.programs()] == [
        (0, "sums", (0, 0, 0), ["load X[0:2]", "load X[4:6]", "store Y[0:1]"]),
        (0, "sums", (1, 0, 0), ["load X[2:4]", "store Y[1:2]"]),
        (1, "doubled", (0, 0, 0), ["load Y[0:1]", "store Y[0:1]"]),
        (1, "doubled", (1, 0, 0), ["load Y[1:2]", "store Y[1:2]"]),
    ]
    assert np.isnan(tape.before["Y"]).any() or (tape.before["Y"] != y.numpy()).any()
    assert np.array_equal(tape.programs()[3].steps[1].value, y[1:].numpy())


def test_descriptors_are_recorded_as_pointers_are():
    x, y = torch.randn(6, 8), torch.empty(6, 8)
    with record_kernels(X=Argument("X"), Y=Argument("Y")) as tape:
        small.by_descriptor[(2,)](*(TensorDescriptor.from_tensor(t, [4, 8]) for t in (x, y)), ROWS=4)
    assert steps(tape) == ["load X[0:4]", "store Y[0:4]", "load X[4:6]", "store Y[4:6]"]
    assert [step.nbytes for program in tape.programs() for step in program.steps] == [128, 128, 64, 64]
    assert torch.equal(x, y)


def test_a_tile_of_some_columns_is_a_box_which_no_trace_can_hold():
    x, y = torch.ones(4, 8), torch.empty(1, 4)
    with record_kernels(X=x, Y=y) as tape:
        small.sums[(1,)](x, y, 4, 8, ROWS=4, COLUMNS=4, D=4)
    assert steps(tape) == ["load X[0:4, 0:4]", "store Y[0:1]"]
    with pytest.raises(ValueError, match=r"program \(0, 0, 0\) of sums: load X\[0:4, 0:4\] is of some columns"):
        trace_of(tape, {"computing": "float32"}, {})


# ---- what is refused


def test_a_load_outside_of_every_tensor_names_the_nearest_one_the_program_and_the_line():
    x, y = torch.ones(6, 4), torch.zeros(2, 4)
    lines = Path(small.__file__).read_text(encoding="utf-8").splitlines()
    place = f"small_kernels.py, line {lines.index('    return tl.load(') + 1}: return tl.load("
    words = f"program (0, 0, 0) of sums loads up to 16 B past the end of X (5×4): {place}"
    seen = x[:5]  # the kernel thinks that there are 6
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"), record_kernels(slots={"x": ("x",)}, X=seen, Y=y):
        small.sums[(2,)](x, y, 6, 4, ROWS=2, COLUMNS=4, D=4)
    assert not y.any()


def test_what_lies_before_a_tensor_or_between_its_elements_is_outside_of_it():
    x, y = torch.ones(8, 4), torch.zeros(8)
    index, inside = torch.arange(4), torch.ones(4, dtype=torch.int32)
    for seen, words in ((x[1:], "loads from 16 B before the start of X (7×4)"),
                        (x[:, 2:], "loads from 8 B before the start of X (8×2)"),
                        (x[:, ::2], "loads between the elements of X, or across its ends (8×2)")):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(words)), record_kernels(X=seen, Y=y, index=index, inside=inside):
            small.gather[(1,)](x, y, index, inside, LANES=4)


def test_some_of_each_row_is_no_tile():
    x, y, inside = torch.ones(4, 4), torch.zeros(4, 4), torch.ones(4, dtype=torch.int32)
    twice = torch.tensor([0, 1, 1, 3])  # four elements of row 0, but not its four
    for index, words in ((torch.arange(4) * 5, "X[0:4] with other columns"), (twice, "of it twice")):
        with pytest.raises(ValueError, match=re.escape(words)), record_kernels(X=x, Y=y, index=index, inside=inside):
            small.gather[(1,)](x, y, index, inside, LANES=4)


def test_atomic_operations_are_refused():
    x = torch.zeros(1)
    words = r"an atomic operation, .*: small_kernels.py, line \d+: tl.atomic_add\(X, 1.0\)"
    with pytest.raises(ValueError, match=words), record_kernels(X=x):
        small.counted[(1,)](x)


def test_other_errors_of_a_kernel_are_passed_on():
    x = torch.ones(2, 2)
    with pytest.raises(interpreter.InterpreterError), record_kernels(slots={"x": ("x",)}, X=x):
        small.sums[(1,)](x, None, 2, 2, ROWS=2, COLUMNS=2, D=2)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "got no tensor"),
        ({"Q": np.zeros(3)}, "Q is ndarray: give a torch tensor"),
        ({"Q": torch.zeros(3, device="meta")}, "Q is on meta"),
        ({"Q": torch.zeros(1, 3).expand(2, 3)}, "Q has strides (0, 1): some of its elements share one address"),
        ({"Q": torch.zeros(8).as_strided((3, 3), (2, 1))}, "Q has strides (2, 1)"),
    ],
)
def test_what_cannot_be_registered(tensors, words):
    with pytest.raises(ValueError, match=re.escape(words)), record_kernels(**tensors):
        pass


def test_an_argument_is_one_tensor_in_all_launches():
    with record_kernels(Y=Argument("Y")):
        small.doubled[(1,)](torch.ones(1, 4), D=4, COLUMNS=4)
        with pytest.raises(ValueError, match="Y is another tensor in the second launch"):
            small.doubled[(1,)](torch.ones(1, 4), D=4, COLUMNS=4)


def test_an_argument_that_never_came_is_no_tensor():
    with pytest.raises(ValueError, match="loads from a tensor that is not registered"), record_kernels(X=Argument("Z")):
        small.doubled[(1,)](torch.ones(1, 4), D=4, COLUMNS=4)


def test_without_the_interpreter_there_is_nothing_to_record(monkeypatch):
    monkeypatch.setattr(triton.knobs.runtime, "interpret", False)
    with (
        pytest.raises(ValueError, match="set TRITON_INTERPRET=1 before triton is imported"),
        record_kernels(X=torch.ones(1)),
    ):
        pass


# ---- what is made

SLOTS = {"x": ("x",), "total": ("total", "d"), "top": ("top", "d")}
LOOPS = {"pid": ("i", 1), "start": ("j", 2)}


def test_watched_variables_are_steps_with_their_line_loops_and_values():
    x, y = torch.arange(15.0).reshape(5, 3), torch.empty(2, 3, dtype=torch.float16)
    with record_kernels(slots=SLOTS, loops=LOOPS, through=["block_at"], X=x, Y=y) as tape:
        small.sums[(2,)](x, y, 5, 3, ROWS=2, COLUMNS=4, D=3)
    trace = trace_of(tape, {"computing": "float32"}, {})
    lines = trace.meta["code"].split("\n")
    assert [
        (str(e).split("   ")[0].split("  ", 1)[1], lines[e.line - 1].strip().split(" = ")[0]) for e in trace[:9]
    ] == [
        ("i=0  compute  total", "total"),
        ("i=0 j=0  load  X[0:2] → x", "x"),
        ("i=0 j=0  compute  total", "total"),
        ("i=0 j=0  compute  top", "total, top"),
        ("i=0 j=2  load  X[4:5] → x", "x"),
        ("i=0 j=2  compute  total", "total"),
        ("i=0 j=2  compute  top", "total, top"),
        ("i=0  store  Y[0:1]", "tl.store("),
        ("i=1  compute  total", "total"),
    ]
    assert trace.values[5].tolist() == (x[:2].sum(0) + x[4]).tolist()
    assert [(n, line.caption) for n, line in narration.of(trace.meta).items() if line.caption] == [
        (lines.index(next(text for text in lines if code in text)) + 1, caption)
        for code, caption in (
            ("total = tl.zeros", "Sums start at 0."),
            ("x = block_at", "A block of rows comes in."),
            ("total = total", "One more block is added."),
        )
    ]
    assert "block_at(X, first" not in trace.meta["code"]


def test_dot_products_count_at_the_size_at_which_they_run():
    a, b, c = (torch.randn(4, 4) for _ in range(3))
    with record_kernels(slots={"c": ("c", "a", "b")}, A=a, B=b, C=c) as tape:
        small.product[(1,)](a, b, c, N=4)
    made = next(step for step in tape.programs()[0].steps if step.op == "compute")
    assert (made.slot, made.work) == ("c", Work(matmul=2 * 4**3))
    assert np.allclose(made.value, a @ b.T, atol=1e-5)


def test_what_is_added_and_compared_counts_where_it_is_of_floating_point_numbers():
    x, y = torch.ones(6, 4), torch.empty(1, 4)
    with record_kernels(slots=SLOTS, X=x, Y=y) as tape:
        small.sums[(1,)](x, y, 6, 4, ROWS=2, COLUMNS=4, D=4)
    made = [(step.op, step.slot, step.work.other) for step in tape.programs()[0].steps]
    tile = [("load", "x", 0), ("compute", "total", 4 + 4), ("compute", "top", 4)]  # folds, and the sum: 4 columns
    assert made == [("compute", "total", 0), *tile * 3, ("store", "", 0)]
    with record_kernels(Y=y) as tape:
        small.doubled[(1,)](y, D=4, COLUMNS=4)
    assert [step.work for step in tape.programs()[0].steps] == [Work(), Work(other=4)]


def test_a_variable_with_other_axes_than_said_is_refused():
    a, b, c = (torch.randn(4, 4) for _ in range(3))
    for axes, words in ((("a",), "slot c got an array of shape (4, 4)"), (("a", "z"), "has the axis 'z'")):
        with record_kernels(slots={"c": ("c", *axes)}, A=a, B=b, C=c) as tape:
            small.product[(1,)](a, b, c, N=4)
        with pytest.raises(ValueError, match=re.escape(words)):
            trace_of(tape, {"computing": "float32"}, {})


@pytest.mark.parametrize(
    ("variable", "spec", "words"),
    [
        ("total", "total", "slots['total'] is 'total': give (slot, axes…), as ('total',) or"),
        ("total", (), "slots['total'] is (): give (slot, axes…), as ('total',) or"),
        ("totl", ("total",), "slots has 'totl', which no kernel that ran sets: there are sums.pid, sums.total, sums."),
        ("add.pid", ("pid",), "slots has 'add.pid', which no kernel that ran sets: there are total"),
        ("sum.total", ("total",), "slots has 'sum.total', which no kernel that ran sets: there are sums.pid, "),
    ],
)
def test_a_slot_that_no_variable_would_fill_is_refused(variable, spec, words):
    x, y = torch.ones(6, 4), torch.empty(1, 4)
    with pytest.raises(ValueError, match=f"^{re.escape(words)}.*$"), record_kernels(slots={variable: spec}, X=x, Y=y):
        small.sums[(1,)](x, y, 6, 4, ROWS=2, COLUMNS=4, D=4)


def test_the_example_prints_what_it_says(tmp_path, capsys):
    blocks = re.findall(r"(?:^ {8}.*\n|^\n)+", record_kernels.__doc__, re.MULTILINE)
    program, printed = (textwrap.dedent(block).strip("\n") for block in blocks if block.strip())
    (tmp_path / "example.py").write_text(program)
    runpy.run_path(str(tmp_path / "example.py"))
    assert capsys.readouterr().out.strip() == printed
