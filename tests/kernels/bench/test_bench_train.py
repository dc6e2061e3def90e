"""`bench --train`: the same seed, text and order, so that only the attention differs; and what goes wrong."""

import itertools
from pathlib import Path

import pytest
import torch

from flashsteps.kernels.bench import backends, corpus, gpt, machine, train
from flashsteps.kernels.bench.schedule import Deadline
from tests.kernels.bench.bench_machine import FakeMachine

PLAN = train.Plan(sizes=(16,), tokens=32, layers=1, heads=2, head=8, steps=14)
TEXT = corpus.encoded("".join(f"def f_{n}(x): return x + {n}\n" for n in range(200)))
FOREVER = Deadline(None)


@pytest.fixture(autouse=True)
def one_thread():
    """Several only wait for each other in models as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows_of(plan=PLAN, names=("standard", "sdpa"), fake=None, deadline=FOREVER, seed=0):
    made = list(train.run(fake or FakeMachine(), plan, TEXT, deadline=deadline, names=names, seed=seed))
    return [row for rows in made for row in rows]


# ---- the text


def test_the_text_is_pythons_own_library_and_the_same_each_time():
    said = corpus.text(most=200_000)
    assert len(said) == 200_000
    assert said == corpus.text(most=200_000)
    assert "def " in said
    assert said.startswith(sorted(Path(abc_file()).parent.glob("*.py"))[0].read_text(encoding="utf-8")[:1000])
    tokens = corpus.encoded(said)
    assert tokens.max() < corpus.SIGNS
    assert corpus.about(tokens) == corpus.about(corpus.encoded(said))
    assert corpus.about(tokens) != corpus.about(tokens[1:])


def abc_file() -> str:
    import abc

    return str(abc.__file__)


def test_signs_outside_ascii_become_one():
    assert bytes(corpus.encoded("aé→b").tolist()) == b"a??b"


def test_without_a_library_it_is_said(tmp_path):
    with pytest.raises(ValueError, match="no text to train on"):
        corpus.text(tmp_path)


def test_batches_are_the_same_for_the_same_seed_and_y_is_what_follows_x():
    def first(seed):
        return list(itertools.islice(corpus.batches(TEXT, 16, 3, seed), 4))

    for (x, y), (x_again, y_again), (x_other, _) in zip(first(1), first(1), first(2), strict=True):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)
        assert not torch.equal(x, x_other)
        assert x.shape == (3, 16)
        assert torch.equal(x[:, 1:], y[:, :-1])
    with pytest.raises(ValueError, match="give a smaller one"):
        next(corpus.batches(TEXT[:16], 16, 1, 0))


# ---- the model


@pytest.mark.parametrize("name", ["standard", "sdpa"])
def test_no_character_sees_what_comes_after_it(name):
    torch.manual_seed(0)
    model = gpt.GPT(PLAN.architecture(16), train.attention(name, 16, torch.device("cpu")))
    x, y = torch.arange(16)[None], torch.full((1, 16), -100)  # −100 does not count
    y[0, :4] = 5
    other = x.clone()
    other[0, 4:] = 7
    assert float(model(x, y).detach()) == pytest.approx(float(model(other, y).detach()), rel=1e-5)
    other[0, 3] = 7
    assert float(model(x, y).detach()) != pytest.approx(float(model(other, y).detach()), rel=1e-5)


def test_the_attention_is_all_that_differs():
    models = []
    for name in ("standard", "sdpa"):
        torch.manual_seed(7)
        models.append(gpt.GPT(PLAN.architecture(16), train.attention(name, 16, torch.device("cpu"))))
    first, second = (dict(model.named_parameters()) for model in models)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert train.parameters(PLAN, 16) == sum(x.numel() for x in first.values())


# ---- training


def test_losses_lie_on_each_other_and_fall():
    standard, sdpa = rows_of(plan=PLAN._replace(steps=40), fake=machine.Cpu())
    assert (standard["status"], sdpa["status"]) == ("ok", "ok")
    assert len(standard["losses"]) == 40
    assert max(abs(a - b) for a, b in zip(standard["losses"], sdpa["losses"], strict=True)) < 1e-4
    assert standard["losses"][-1] < standard["losses"][0] - 0.5
    assert standard["runs"] == 40 - train.WARM - 1
    assert standard["peak_bytes"] > 0


def test_another_attention_gives_other_losses(monkeypatch):
    wrong = backends.Backend(lambda n, causal, device: lambda q, k, v: backends.standard(q, k, 2 * v))
    right = rows_of()[0]["losses"]
    monkeypatch.setitem(backends.BACKENDS, "standard", wrong)
    assert max(abs(a - b) for a, b in zip(rows_of()[0]["losses"], right, strict=True)) > 1e-4


def test_the_same_seed_gives_the_same_losses_whoever_else_trains():
    alone = rows_of(names=("sdpa",))
    assert rows_of(names=("standard", "sdpa"))[1]["losses"] == alone[0]["losses"]
    assert rows_of(names=("sdpa",), seed=1)[0]["losses"] != alone[0]["losses"]


def test_torchs_own_seed_neither_matters_nor_changes():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    losses = rows_of()[0]["losses"]
    assert torch.equal(torch.rand(2), expected)
    assert rows_of()[0]["losses"] == losses


@pytest.mark.parametrize("at", [1, train.WARM, train.WARM + 1, train.WARM + 4])
def test_one_that_runs_out_of_memory_does_not_stop_the_other(at, monkeypatch):
    calls = [0]

    def make(n, causal, device):
        right = backends.BACKENDS["math"].make(n, causal, device)

        def attention(q, k, v):
            calls[0] += 1
            if calls[0] >= at:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return right(q, k, v)

        return attention

    monkeypatch.setitem(backends.BACKENDS, "standard", backends.Backend(make))
    short, other = rows_of()
    assert (short["status"], short["losses"], short["seconds"]) == ("out of memory", [], None)
    assert (other["status"], len(other["losses"])) == ("ok", PLAN.steps)


def test_a_loss_that_is_no_number_is_wrong(monkeypatch):
    never = backends.Backend(lambda n, causal, device: lambda q, k, v: q * float("nan"))
    monkeypatch.setitem(backends.BACKENDS, "standard", never)
    wrong, other = rows_of()
    assert (wrong["status"], wrong["why"]) == ("wrong", "a loss on the way is nan")
    assert other["status"] == "ok"


def test_what_cannot_run_here_says_why():
    row = rows_of(names=("flashsteps", "sdpa"))[0]
    assert row["status"] == "not available"
    assert "interpreter" in row["why"]


def test_the_time_that_is_over_is_said():
    fake = FakeMachine()
    deadline = Deadline(1, fake.clock)
    plan = PLAN._replace(sizes=(16, 8))
    fake.spend(61)
    assert {row["status"] for row in rows_of(plan, fake=fake, deadline=deadline)} == {"not run"}
    fake.now = 0.0
    made = train.run(fake, plan, TEXT, deadline=deadline, names=("sdpa",))
    assert [row["n"] for row in next(made)] == [8]
    fake.spend(61)
    (row,) = next(made)
    assert (row["n"], row["status"], row["why"]) == (16, "not run", "the time was over")


def test_when_the_machine_fails_all_that_is_left_is_not_run(monkeypatch):
    fake = FakeMachine()

    def make(n, causal, device):
        fake.broken = "an illegal memory access"
        raise RuntimeError("CUDA error")

    monkeypatch.setitem(backends.BACKENDS, "standard", backends.Backend(make))
    rows = rows_of(PLAN._replace(sizes=(8, 16)), fake=fake)
    assert {row["status"] for row in rows} == {"not run"}
    assert {row["why"] for row in rows} == {"the machine failed: in standard, an illegal memory access"}
