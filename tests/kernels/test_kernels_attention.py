"""flash_attention as an operation of torch: gradients, torch.compile, a model that uses it, and what it refuses."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from flashsteps.kernels import (
    backward,
    block_sparse,
    checks,
    csr,
    empty_log,
    flash_attention,
    forward,
    paged_decode,
    read_log,
)
from flashsteps.kernels import split_kv_decode as split_kv
from flashsteps.machine import heads
from tests.kernels.kernel_problems import Problem, attention, far

OPTIONS: list[dict[str, Any]] = [{}, {"causal": True}, {"window": (3, 1), "softcap": 5.0, "scale": 0.3}]
IDS = ["full", "causal", "window, softcap, scale"]


def inputs(
    heads: int = 4, kv_heads: int = 2, n: int = 6, m: int = 9, d: int = 16, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """q, k and v of one batch entry, as they come from one projection: slices of it, heads beside tokens."""
    torch.manual_seed(0)
    q = torch.randn(1, n, heads, d, dtype=dtype)
    k, v = torch.randn(1, m, 2 * kv_heads, d, dtype=dtype).chunk(2, dim=2)
    return [x.transpose(1, 2).requires_grad_() for x in (q, k, v)]


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
def test_gradients_are_those_of_float64(options: dict[str, Any]) -> None:
    """Through o and lse together."""
    q, k, v = inputs()
    o, lse = flash_attention(q, k, v, **options, return_lse=True)
    ours = torch.autograd.grad((o * o).sum() + lse.sin().sum(), (q, k, v))
    exact_inputs = [x.detach().double().requires_grad_() for x in (q, k, v)]
    o, lse = attention(Problem(6, 9, kv_heads=2, group=2, **options), exact_inputs)
    exact = torch.autograd.grad((o * o).sum() + lse.sin().sum(), exact_inputs)
    assert all(far(*each) < 1e-5 for each in zip(ours, exact, strict=True))


def test_only_lse_or_only_one_input_may_be_asked_for() -> None:
    q, k, v = inputs()
    _, lse = flash_attention(q, k, v, return_lse=True)
    (dk,) = torch.autograd.grad(lse.sum(), k)
    exact = k.detach().double().requires_grad_()
    _, exact_lse = attention(Problem(6, 9, kv_heads=2, group=2), (q.detach().double(), exact, v.detach().double()))
    assert far(dk, *torch.autograd.grad(exact_lse.sum(), exact)) < 1e-5


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
def test_torch_finds_nothing_wrong_with_the_operation(options: dict[str, Any]) -> None:
    """opcheck: schema, fake shapes and strides, autograd, and all that torch.compile asks of both passes."""
    q, k, v = inputs()
    left, right = options.get("window", (-1, 0 if options.get("causal") else -1))
    extra = (torch.randn(1, 4, 6, 9), torch.randn(4)) if "causal" in options else (None, None)
    v = v[..., :12] if "causal" in options else v
    rest = (*extra, None, None, 6, 9, left, right, options.get("scale", 0.25), options.get("softcap", 0.0))
    torch.library.opcheck(torch.ops.flashsteps.flash_attention.default, (q, k, v, *rest))
    q, k, v = (x.detach() for x in (q, k, v))
    o, lse = torch.ops.flashsteps.flash_attention(q, k, v, *rest)
    for dlse in (None, torch.ones_like(lse)):
        arguments = (torch.ones_like(o), dlse, q, k, v, o, lse, *rest)
        torch.library.opcheck(torch.ops.flashsteps.flash_attention_backward.default, arguments)


def test_torch_compile_sees_it_whole() -> None:
    """In one graph, forward and backward, for any number of tokens."""

    def loss(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        o, lse = flash_attention(q, k, v, causal=True, return_lse=True)
        return (o * o).sum() + lse.sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=True)
    for n in (3, 7):
        tensors = inputs(n=n, m=n)
        eager, fast = (torch.autograd.grad(one(*tensors), tensors) for one in (loss, compiled))
        assert all(torch.equal(*each) for each in zip(eager, fast, strict=True))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_it_agrees_with_torchs_own(causal: bool) -> None:
    q, k, v = inputs(n=8, m=8)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    torch.testing.assert_close(flash_attention(q, k, v, causal=causal), theirs, rtol=1e-5, atol=1e-5)


class Block(nn.Module):  # type: ignore[misc]
    """One layer of a small decoder with grouped queries, as such models are written."""

    def __init__(self, attend: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.attend = attend
        self.norm, self.second = nn.RMSNorm(32), nn.RMSNorm(32)
        self.q, self.kv, self.out = nn.Linear(32, 64), nn.Linear(32, 32), nn.Linear(64, 32)
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        q = self.q(y).unflatten(-1, (4, 16)).transpose(1, 2)
        k, v = self.kv(y).unflatten(-1, (2, 16)).transpose(1, 2).chunk(2, dim=1)
        x = x + self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.second(x))))


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
def test_a_model_trains_as_with_torchs_own(autocast: bool) -> None:
    """The same decoder, the same data, three steps: the same losses."""
    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.Embedding(11, 32),
        *(
            Block(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))
            for _ in "ab"
        ),
        nn.Linear(32, 11),
    )
    ours = copy.deepcopy(theirs)
    for layer in ours:
        if isinstance(layer, Block):
            layer.attend = partial(flash_attention, causal=True)
    tokens = torch.randint(11, (2, 10))
    losses = []
    for model in (theirs, ours):
        optimizer, found = torch.optim.AdamW(model.parameters(), lr=1e-2), []
        for _ in range(3):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1).float(), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(float(loss.detach()))
        losses.append(found)
    assert losses[0][2] < losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2 if autocast else 1e-5)


@pytest.mark.parametrize("empty", [(0, 6), (1, 0)], ids=["no batch", "no query"])
def test_where_there_is_nothing_gradients_flow_all_the_same(empty: tuple[int, int]) -> None:
    batch, n = empty
    q, k = torch.randn(batch, 4, n, 16, requires_grad=True), torch.randn(batch, 2, 6, 16, requires_grad=True)
    o, lse = flash_attention(q, k, k, return_lse=True)
    (o.sum() + lse.sum()).backward()
    assert q.grad is not None
    assert k.grad is not None
    assert (q.grad.shape, k.grad.shape) == (q.shape, k.shape)
    assert not k.grad.any()


def math_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """What the refusals tell to use."""
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


@pytest.mark.parametrize("mapped", [False, True], ids=["jvp", "jacfwd"])
def test_forward_mode_is_refused_and_what_is_told_instead_has_it(mapped: bool) -> None:
    q, k, _ = (x.detach() for x in inputs())

    def derivative(attend: Callable[..., torch.Tensor]) -> torch.Tensor:
        if mapped:
            return torch.func.jacfwd(lambda x: attend(x, k, k))(q)
        return torch.func.jvp(lambda x: attend(x, k, k), (q,), (torch.ones_like(q),))[1]

    with pytest.raises(ValueError, match=r"^flash_attention has no forward-mode derivatives .*SDPBackend.MATH\)$"):
        derivative(flash_attention)
    assert derivative(math_attention).any()
    with pytest.raises(ValueError, match="no forward-mode derivatives"):
        torch.func.jvp(torch.func.vmap(lambda x: flash_attention(x[None], k, k)[0]), (q,), (torch.ones_like(q),))
    with torch.autograd.forward_ad.dual_level(), pytest.raises(ValueError, match="no forward-mode derivatives"):
        flash_attention(q, k, torch.autograd.forward_ad.make_dual(k, torch.ones_like(k)))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_torch_func_takes_gradients_of_it_for_each_example_too() -> None:
    """As torch's own function under its MATH backend, which is the one that torch.func.vmap takes apart."""
    q, k = torch.randn(2, 2, 4, 8), torch.randn(2, 2, 5, 8)
    sinks, mask = torch.randn(2), torch.randn(4, 5)

    def plain(q: torch.Tensor, k: torch.Tensor, sinks: torch.Tensor) -> torch.Tensor:
        scores = torch.cat([q @ k.mT / 8**0.5 + mask, sinks[:, None, None].expand(2, 4, 1)], -1)
        return (scores.softmax(-1)[..., :-1] @ k).square().sum()

    def ours(q: torch.Tensor, k: torch.Tensor, sinks: torch.Tensor) -> torch.Tensor:
        return flash_attention(q, k, k, mask, sinks=sinks).square().sum()

    each = [torch.func.vmap(torch.func.grad(loss, (0, 1, 2)), (0, 0, None))(q, k, sinks) for loss in (ours, plain)]
    torch.testing.assert_close(*each, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"^flash_attention has no (second|forward-mode) derivatives"):
        torch.func.hessian(ours)(q[0], k[0], sinks)
    with pytest.raises(ValueError, match=r"^flash_attention has no second derivatives"):
        torch.func.grad(lambda q: torch.func.grad(ours)(q, k[0], sinks).sum())(q[0])


def test_second_derivatives_are_refused_and_what_is_told_instead_has_them() -> None:
    q, k, v = inputs()

    def second(attend: Callable[..., torch.Tensor]) -> torch.Tensor:
        (first,) = torch.autograd.grad(attend(q, k, v).square().sum(), q, create_graph=True)
        (again,) = torch.autograd.grad(first.sum(), q)
        return again

    with pytest.raises(ValueError, match=r"^flash_attention has no second derivatives .*SDPBackend.MATH\)$"):
        second(flash_attention)
    assert second(math_attention).any()


def test_keys_of_one_head_expanded_have_gradients_of_their_own() -> None:
    """A tensor that repeats itself in memory is read as it is; its gradient does not repeat itself."""
    q, _, _ = inputs()
    one = torch.randn(1, 1, 9, 16, requires_grad=True)
    repeated = flash_attention(q, one.expand(1, 4, 9, 16), one.expand(1, 4, 9, 16))
    shared = flash_attention(q, one, one)
    torch.testing.assert_close(repeated, shared)
    both = (torch.autograd.grad(o.sin().sum(), one)[0] for o in (repeated, shared))
    torch.testing.assert_close(*both, rtol=1e-5, atol=1e-5)


def test_rows_are_packed_as_the_reference_packs_them() -> None:
    """The log of a run: block i of part p is program p · blocks + i, and visits its tiles from first to last."""
    q, k, v = (x.detach() for x in inputs(heads=6, kv_heads=2, n=7, m=10))
    blocks: dict[str, Any] = {"block_q": 3, "block_k": 4, "causal": True}
    log = empty_log(q, k, v, **blocks)
    o, _ = forward(q, k, v, **blocks, trace=log)
    assert torch.equal(o, forward(q, k, v, **blocks)[0])
    entries = read_log(log)
    hi = [(min(3 * i + 3, 7) + 2) // 4 + 1 for i in range(3)]
    expected = [(3 * part + i, j) for part in range(2) for i in range(3) for j in range(hi[i])]
    assert list(zip(entries["program"].tolist(), entries["tile"].tolist(), strict=True)) == expected
    assert not entries["sm"].any()
    packed = heads.pack(list(o[0].numpy()), 3)
    assert packed.shape == (2 * 7 * 3, 16)
    assert np.array_equal(heads.unpack(packed, 6, 3), o[0].numpy())


def without_interpreter(code: str) -> str:
    """The last line on stderr of a Python of its own, where Triton's interpreter was not asked for."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1]


def test_on_a_cpu_the_interpreter_has_to_be_asked_for() -> None:
    said = without_interpreter(
        "import torch; from flashsteps.kernels import forward; x = torch.zeros(1, 1, 2, 16); forward(x, x, x)"
    )
    assert (
        said == "ValueError: q is on the CPU: move it to a GPU, or set TRITON_INTERPRET=1 before Python starts (slow)"
    )


def test_it_says_once_that_the_interpreter_runs() -> None:
    code = (
        "import os; os.environ['TRITON_INTERPRET'] = '1'; import torch; from flashsteps.kernels import flash_attention;"
        "x = torch.zeros(1, 1, 2, 16); flash_attention(x, x, x); flash_attention(x, x, x)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("run in Triton's interpreter: right, but slow") == 1


def test_importing_the_package_imports_neither_torch_nor_triton() -> None:
    code = "import sys, flashsteps.kernels; sys.exit(bool({'torch', 'triton', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


#: what is refused below
X = torch.zeros(1, 4, 6, 16)
K = torch.zeros(1, 2, 6, 16)
LSE = torch.zeros(1, 4, 6)
LISTS = torch.tensor([0, 1], dtype=torch.int32), torch.tensor([7], dtype=torch.int32)
POOL, TABLE = torch.zeros(3, 4, 2, 16), torch.zeros(1, 2, dtype=torch.int32)


@pytest.mark.parametrize("number", [int, np.int64, np.array, torch.tensor], ids=["int", "np.int64", "array", "tensor"])
def test_a_number_may_be_of_any_library(number):
    def options(two, half, window):
        blocks = checks.positive("block_q", two), checks.power_of_2("block_k", two)
        return *checks.options_of((1, 4, 9, 8), (1, 2, 9, 8), False, window, half, two), *blocks

    half = torch.tensor(0.5, requires_grad=True) if number is torch.tensor else np.float32(0.5)
    found = options(number(2), half, (number(2), number(0)))
    assert found == options(2, 0.5, (2, 0))
    assert [type(x) for x in found] == [int, int, float, float, int, int]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: flash_attention(np.zeros((1, 4, 6, 16)), K, K), "query is ndarray: give a torch.Tensor"),
        (lambda: flash_attention(X[0, 0, 0], K, K), r"query has shape \(16,\): give \(…, heads, tokens, head dim"),
        (lambda: flash_attention(X.int(), K, K), "query holds int32: give float16, bfloat16, float32"),
        (lambda: flash_attention(X, K.half(), K), "key holds float16, query float32: make them the same"),
        (lambda: flash_attention(X, K.to("meta"), K), "key is on meta: move it to a GPU that torch calls cuda"),
        (lambda: flash_attention(X, K[..., :8], K), "key has head dimension 8, query 16: make them the same"),
        (
            lambda: flash_attention(X, K, K[:, :, :5]),
            r"value has shape \(1, 2, 5, 16\), key \(1, 2, 6, 16\): give a",
        ),
        (
            lambda: flash_attention(X[:, :3], K, K),
            "key has 2 heads, query 3: those of query must be a multiple of those of key",
        ),
        (
            lambda: flash_attention(X.expand(2, 4, 6, 16), K.expand(3, 2, 6, 16), K),
            r"query \(2, 4, 6, 16\), key \(3, 2, 6, 16\), value \(1, 2, 6, 16\): axes before the heads are not",
        ),
        (lambda: flash_attention(X, K, K[:, :1].expand(1, 4, 6, 16)), "value has 4 heads, key 2: give as many of both"),
        (lambda: flash_attention(X[:, :0], K, K), "key has 2 heads, query 0: those of query must be a multiple"),
        (lambda: flash_attention(X, K, K, True), "attn_mask is bool: give a torch.Tensor of bool or float, or None"),
        (
            lambda: flash_attention(X, K, K, X > 0),
            r"attn_mask has shape \(1, 4, 6, 16\): give what can be broadcast to",
        ),
        (lambda: flash_attention(X, K, K, LSE.int()[..., None]), "attn_mask holds int32: give bool .True: may be seen"),
        (
            lambda: flash_attention(X, K, K, (X > 0).to("meta")[..., :1]),
            "attn_mask is on meta, query on cpu: move them",
        ),
        (
            lambda: flash_attention(X, K, K, sinks=[1.0]),
            "sinks is no tensor of float16, bfloat16, float32: give one num",
        ),
        (lambda: flash_attention(X, K, K, sinks=torch.zeros(2)), r"sinks has shape \(2,\): give \(4,\)"),
        (lambda: flash_attention(X, K, K, dropout_p=1.5), "dropout_p is 1.5: give a number from 0 to 1"),
        (lambda: flash_attention(X, K, K, is_causal=0), "is_causal is 0: give True or False"),
        (lambda: flash_attention(X, K, K, enable_gqa=1), "enable_gqa is 1: give True or False"),
        (lambda: flash_attention(X, K, K, is_causal=True, causal=True), "are both given: give one of them"),
        (
            lambda: flash_attention(X[:, :, :5], K, K, is_causal=True, window=(1, 1)),
            "is_causal is top left and window bottom right: give causal, which is bottom right, too",
        ),
        (lambda: forward(X[0], K, K), r"q has shape \(4, 6, 16\): give \(batch, heads, tokens, head dim"),
        (lambda: forward(X.double(), K, K), "q holds float64: give float16, bfloat16, float32"),
        (lambda: forward(X.transpose(2, 3), K, K), "q has stride 16 in its last dimension: call q.con"),
        (lambda: forward(X, K[:0], K[:0]), "k has batch 0, q 1: give as many of both"),
        (lambda: forward(*[torch.zeros(1, 1, 2, 257)] * 3), "q has head dimension 257: give 1 to 256"),
        (lambda: flash_attention(X, K, K, causal=1), "causal is 1: give True or False"),
        (lambda: flash_attention(X, K, K, window=(2, -2)), r"window is \(2, -2\): give \(left, right\), whole numbers"),
        (
            lambda: flash_attention(X, K, K, window=3),
            r"window is 3: give \(left, right\), whole numbers, 0 or more, or -1",
        ),
        (lambda: forward(X, K, K, scale=0), "scale is 0: give a finite number above 0, or None for 1/√d"),
        (lambda: flash_attention(X, K, K, scale=float("nan")), "scale is nan: give a finite number above 0"),
        (lambda: flash_attention(X, K, K, softcap=-1.0), "softcap is -1.0: give a finite number above 0, or None"),
        (lambda: flash_attention(X, K, K, return_lse="yes"), "return_lse is 'yes': give True or False"),
        (lambda: forward(X, K, K, block_q=0), "block_q is 0: give a whole number, 1 or more"),
        (lambda: forward(X, K, K, block_k=3), "block_k is 3: give a power of two"),
        (lambda: forward(X, K, K, trace=torch.zeros(3)), r"trace has shape \(3,\): give \(2, 1, 3\)"),
        (lambda: backward(X.half(), X, K, K, X, LSE), "do holds float16: give float32"),
        (lambda: backward(X, X, K, K, X[:, :2], LSE), r"o has shape \(1, 2, 6, 16\): give \(1, 4, 6, 16\)"),
        (lambda: backward(X, X, K, K, X, LSE.double()), "lse holds float64: give float32"),
        (lambda: backward(X, X, K, K, X, LSE, delta=LSE.mT), r"delta has shape \(1, 6, 4\): give \(1, 4, 6\)"),
        (lambda: block_sparse(X, K, K, np.ones((2, 2), bool), block_q=4, block_k=2), "block_mask has shape"),
        (lambda: block_sparse(X, K, K, (TABLE, TABLE), block_q=4, block_k=2), r"block_mask\[0\] has shape"),
        (
            lambda: block_sparse(X, K, K, LISTS, block_q=8, block_k=2),
            "block_mask lists tiles that are not there: there are 1 × 3",
        ),
        (lambda: split_kv(X, K, K, splits=0), "splits is 0: give a whole number, 1 or more"),
        (lambda: split_kv(X, K, K, partial=(LSE, LSE)), r"partial\[0\] has shape"),
        (lambda: paged_decode(X, POOL, POOL, TABLE, 9), "n_keys is 9, but table has room for 8: 2 pages of 4"),
        (lambda: paged_decode(X, POOL, POOL, TABLE + 3, 8), "table points outside the pool: its pages are 0 to 2"),
        (lambda: paged_decode(X, POOL, POOL, TABLE.long(), 8), "table holds int64: give int32"),
        (lambda: paged_decode(X, POOL, POOL[:, :2], TABLE, 8), "v_pool has shape"),
        (lambda: paged_decode(X, POOL, POOL, TABLE, 2.5), "n_keys is 2.5: give a whole number, or a tensor"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        call()
    assert "\n" not in str(refused.value)


def test_torch_compile_takes_the_decoding_kernels_too() -> None:
    """Whole, without a break in the graph, and with what it gives uncompiled."""
    q, k, v = torch.randn(2, 4, 1, 16), torch.randn(2, 2, 40, 16), torch.randn(2, 2, 40, 16)
    pool = torch.randn(12, 8, 2, 16)
    table = torch.randperm(12, dtype=torch.int32)[:10].view(2, 5)
    lengths = torch.tensor([40, 13], dtype=torch.int32)
    visited = torch.tensor([[True, False, True, True, False]])
    lists = csr(q, k, visited, block_q=4, block_k=8)
    steps: list[tuple[Any, Any]] = [
        (lambda q: split_kv(q, k, v, splits=3, causal=True, softcap=9.0), q),
        (lambda q: paged_decode(q, pool, pool, table, 33, window=(9, 0)), q),
        (lambda q: paged_decode(q, pool, pool, table, lengths, scale=0.3), q),
        (lambda q: block_sparse(q, k, v, "local:9", block_q=4, block_k=8, softcap=9.0), q),
        (lambda q: block_sparse(q, k, v, visited, block_q=4, block_k=8, causal=True), q),
        (lambda q: block_sparse(q, k, v, lists, block_q=4, block_k=8), q),
    ]
    for step, given in steps:
        compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
        for found, expected in zip(compiled(given), step(given), strict=True):
            assert torch.equal(found, expected)
