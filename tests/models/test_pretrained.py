"""Models of transformers: real checkpoints of five kinds, each head against float64 and against what the model gave."""

from __future__ import annotations

import importlib
import json
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.models import pretrained
from flashsteps.models.calls import Calls
from flashsteps.models.maps import weights
from tests.cli.commands import refused, run
from tests.models import checkpoints


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five checkpoints, and GPT-2 in bfloat16."""
    folder = tmp_path_factory.mktemp("models")
    for kind in checkpoints.CONFIGS:
        checkpoints.write(folder / kind, kind)
    checkpoints.write(folder / "half", "gpt2", "bfloat16")
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing is asked for: neither a connection nor a name."""
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *name, **how: asked.append(name))
    monkeypatch.chdir(tmp_path)
    yield
    assert asked == []


def captured(path: Path, tensors: Any = "all", **options: Any) -> tuple[Calls, pretrained.Tokens]:
    model = pretrained.load(str(path))
    with fs.capture(tensors, **options) as calls:
        tokens = model.run(checkpoints.SENTENCE)
    return calls, tokens


ONE = {"gpt2": "causal", "llama": "causal", "bert": "none", "mistral": "window:4,0"}


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert", "t5", "mistral"])
def test_each_head_of_each_layer_is_the_models(folder: Path, kind: str) -> None:
    calls, tokens = captured(folder / kind)
    if kind == "t5":
        assert [call.mask for call in calls] == ["bias"] * 2 + ["causal + bias", "none"] * 2
        assert {call.scale for call in calls} == {1.0}
        assert tokens.of(calls[0]) == tokens.of(calls[3]) == checkpoints.TOKENS
        assert tokens.of(calls[2]) == ("[PAD]", *checkpoints.TOKENS[:-1])
    else:
        assert [call.mask for call in calls] == [ONE[kind]] * 2
        assert tokens.of(calls[0]) == checkpoints.TOKENS
    grouped = kind in ("llama", "mistral")
    for call in calls:
        assert (call.heads, call.kv_heads, call.queries, call.keys, call.d) == (4, 2 if grouped else 4, 17, 17, 8)
        for head in range(4):
            one = call.head(head, tokens=tokens.of(call))
            np.testing.assert_allclose(weights(one) @ one.v, one.o, atol=2e-6)  # float64
            trace = fs.record("flash2-forward", *one, **one.options, block_q=4, block_k=4)
            np.testing.assert_allclose(trace.outputs["O"], one.o, atol=2e-6)
            assert trace.meta["tokens"] == list(one.tokens or ())


def test_a_training_step_of_a_real_model_is_the_backward_pass_of_each_head(folder: Path) -> None:
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    model = transformers.LlamaForCausalLM.from_pretrained(folder / "llama", dtype=torch.float64)
    ids = checkpoints.tokenizer()(checkpoints.SENTENCE, return_tensors="pt")["input_ids"]
    made: list[Any] = []
    attend = model.model.layers[1].self_attn
    hook = transformers.models.llama.modeling_llama.apply_rotary_pos_emb

    def rotary(q: Any, k: Any, *rest: Any, **more: Any) -> Any:
        made.extend(x.retain_grad() or x for x in hook(q, k, *rest, **more))
        return made[-2], made[-1]

    attend.v_proj.register_forward_hook(lambda module, given, v: made.append(v.retain_grad() or v))
    transformers.models.llama.modeling_llama.apply_rotary_pos_emb = rotary
    try:
        with fs.capture(1, backward=True) as calls:
            model(ids, labels=ids).loss.backward()
    finally:
        transformers.models.llama.modeling_llama.apply_rotary_pos_emb = hook
    v = made[-3].grad.view(1, 17, 2, 8).transpose(1, 2)
    expected = {"dQ": made[-2].grad[0], "dK": made[-1].grad[0], "dV": v[0]}
    found = [
        fs.record("flash2-backward", *one, do=one.do, **one.options).outputs for one in map(calls[1].head, range(4))
    ]
    assert max(abs(outputs["dQ"]).max() for outputs in found) > 1e-4
    for head, outputs in enumerate(found):
        np.testing.assert_allclose(outputs["dQ"], expected["dQ"][head], atol=1e-12)
    for name in ("dK", "dV"):
        sums = [found[0][name] + found[1][name], found[2][name] + found[3][name]]
        np.testing.assert_allclose(sums, expected[name], atol=1e-12)


def test_while_it_decodes_each_query_has_its_heads(folder: Path) -> None:
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    for kind, masks in (("mistral", ["window:4,0", "none"]), ("llama", ["causal", "none"])):
        model = transformers.AutoModel.from_pretrained(folder / kind).eval()
        ids = torch.arange(4, 14)[None].repeat(2, 1)
        with fs.capture("all") as calls, torch.no_grad():
            cache = model(ids, use_cache=True).past_key_values
            model(ids[:, :1], cache=cache, attention_mask=torch.ones(2, 11))
        assert [call.mask for call in calls[::2]] == masks
        for call in calls:
            assert (call.heads, call.kv_heads) == (4, 2)
            for head in range(4):
                one = call.head(head, batch=1)
                found = fs.record("flash2-forward", *one, **one.options).outputs["O"]
                np.testing.assert_allclose(found, one.o, atol=2e-6)
        assert calls[2].queries == 1


def test_attention_that_transformers_writes_out_is_not_seen_until_it_asks_torch_for_it(folder: Path) -> None:
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")

    def seen(implementation: str) -> Calls:
        model = transformers.AutoModel.from_pretrained(folder / "llama", attn_implementation=implementation).eval()
        with fs.capture() as calls, torch.no_grad():
            model(torch.arange(4, 14)[None])
        return calls

    words = str(seen("eager"))
    assert words.startswith(
        "a softmax was taken in layers.0.self_attn, layers.1.self_attn: attention that is written out"
    )
    assert words.endswith('in transformers ask for attn_implementation="sdpa"')
    for implementation, function in (("sdpa", "sdpa"), ("flex_attention", "flex")):
        calls = seen(implementation)
        assert [(call.function, call.mask) for call in calls] == [(function, "causal")] * 2
        assert calls.unseen == []


# ---- the command


def test_the_command_lists_the_calls_and_keeps_a_head(folder: Path) -> None:
    name = str(folder / "llama")
    calls, _ = captured(folder / "llama")
    table = run("capture", name).decode().splitlines()
    assert len(table) == 3
    assert table[2].split() == [
        "1",
        "layers.1.self_attn",
        "sdpa",
        "1",
        "4/2",
        "17",
        "17",
        "8",
        "float32",
        "causal",
        "0.3536",
    ]
    said = run("capture", name, "--layer", "1", "--head", "2", "-o", "head.npz").decode()
    assert said.split("   ")[2] == "layers.1.self_attn, head 2 of 4, 17 tokens, d 8, causal\n"
    read, one = fs.load_qkv("head.npz"), calls[1].head(2)
    assert all(np.array_equal(*pair) for pair in zip(read, one, strict=True))
    assert (read.tokens, read.own) == (checkpoints.TOKENS, one.own)
    with np.load("head.npz") as kept:
        np.testing.assert_array_equal(kept["o"], one.o)
    run("record", "flash2-forward", "--input", "head.npz", "-o", "run.npz")
    np.testing.assert_allclose(fs.load("run.npz").outputs["O"], one.o, atol=2e-6)
    run("record", "flash2-forward", "--input", "head.npz", "-o", "run.npz", "--mask", "none", "--dtype", "float16")
    assert (fs.load("run.npz").meta["mask"], fs.load("run.npz").meta["dtype"]) == (None, "float16")
    run("capture", name, "--layer", "1", "-o", "heads.safetensors")
    assert np.array_equal(fs.load_qkv("heads.safetensors", head=2).k, one.k)
    run("record", "flash2-forward", "--input", "heads.safetensors", "--all-heads", "-o", "run.npz")
    np.testing.assert_allclose(fs.load("run.npz").outputs["O"][2], one.o, atol=2e-6)


def test_another_text_another_target_and_the_models_own_type(folder: Path) -> None:
    table = run("capture", str(folder / "t5"), "--text", "It was tired.", "--target", "It").decode().splitlines()
    sizes = [line.split()[5:7] for line in table[1:]]
    assert sizes == [["7", "7"]] * 2 + [["3", "3"], ["3", "7"]] * 2
    run(
        "capture",
        str(folder / "t5"),
        "--text",
        "It was tired.",
        "--target",
        "It",
        "--layer",
        "3",
        "--head",
        "0",
        "-o",
        "x.npz",
    )
    assert fs.load_qkv("x.npz").tokens == ("[CLS]", "it", "was", "tir", "##ed", ".", "[SEP]")
    run("capture", str(folder / "half"), "--layer", "0", "--head", "0", "-o", "x.npz")
    assert fs.load_qkv("x.npz").own["dtype"] == "bfloat16"


def test_all_heads_are_small_maps_on_the_terminal_or_in_a_file(folder: Path) -> None:
    name = str(folder / "gpt2")
    shown = run("capture", name, "--plot").decode()
    assert shown.count("head ") == 8
    first = shown.splitlines()[2]
    assert first.split()[0].startswith(("█", "▓"))  # the first queries see little else than the first key
    assert len(run("capture", name, "--plot", "--layer", "1").decode().splitlines()) == 11
    for file in ("maps.png", "maps.svg"):
        assert run("capture", name, "--plot", "-o", file, "--theme", "dark").decode().endswith("   8 heads\n")
        assert Path(file).stat().st_size > 10_000


NOWHERE = "no such folder, and no model of that name in the local cache: nothing is fetched"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("{gpt2} -o x.npz --head 0 --layer 2", "--layer 2, but '{gpt2}' has 2 calls of attention: give 0 to 1"),
        ("{gpt2} -o x.npz --layer 0 --head 4", "head 4 was asked for, but call 0 has 4 heads, from 0"),
        ("{gpt2} --target It", "'{gpt2}' has no decoder beside an encoder, which --target It is for: leave it out"),
        ("{gpt2} --text " + "it_" * 31, "cannot be run on this text (it has 33 tokens, and the model takes 1 to 32)"),
        ("{folder}", "'{folder}' has no config.json: give a folder that model.save_pretrained('{folder}') writes"),
        ("{gpt2}/config.json", "is a file: give the folder of a model"),
        ("./nowhere", f"'./nowhere': {NOWHERE}"),
        ("nobody/nothing", f"'nobody/nothing': {NOWHERE}"),
        ("a/b/c", f"'a/b/c': {NOWHERE}"),
        ("{gpt2} --layer 0", "--layer says what to keep: give -o FILE.npz, too"),
        ("{gpt2} -o x.npz", "'x.npz' is to hold the heads of one layer: give --layer (without -o all are listed)"),
        ("{gpt2} -o x.npz --layer -1", "--layer '-1': give a whole number, from 0"),
        ("{gpt2} --plot --head 1", "--plot shows all heads, and --head 1 is one of them"),
        ("{gpt2} --theme dark", "--theme dark is for a plot in a file: give --plot and -o FILE.png"),
        ("{gpt2} -o x.png --layer 0", "'x.png': its ending is to say what to make: use .npz or .safetensors"),
        ("{gpt2} -o x.npz --plot", "'x.npz': its ending is to say what to make: use .svg or .png"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(folder: Path, args: str, message: str) -> None:
    names = {"folder": str(folder), "gpt2": str(folder / "gpt2")}
    said = refused("capture", *(word.replace("_", " ") for word in args.format(**names).split()))
    assert message.format(**names) in said
    assert list(Path().iterdir()) == []


def test_a_bias_of_each_heads_own_is_saved_with_that_head_alone(folder: Path) -> None:
    said = refused("capture", str(folder / "t5"), "--layer", "0", "-o", "x.npz")
    assert "not all heads of calls[0] have one mask, bias and scale: save a single head of it" in said
    run("capture", str(folder / "t5"), "--layer", "0", "--head", "1", "-o", "x.npz")
    calls, _ = captured(folder / "t5", 0)
    np.testing.assert_array_equal(fs.load_qkv("x.npz").own["bias"], calls[0].head(1).bias)


def test_a_model_that_asks_for_no_attention_has_nothing_to_keep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.Pretrained, "run", lambda *given: pretrained.Tokens(("a",)))
    name = str(folder / "gpt2")
    for args in (("--plot",), ("--layer", "0", "-o", "x.npz")):
        assert f"'{name}': no call of attention was seen" in refused("capture", name, *args)
    assert run("capture", name).startswith(b"no call of attention was seen")


def test_no_code_and_no_pickle_of_strangers_is_run(folder: Path, tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    mine = tmp_path / "mine"
    shutil.copytree(folder / "gpt2", mine)
    (mine / "model.safetensors").unlink()
    torch.save({}, mine / "pytorch_model.bin")
    assert f"'{mine}' has no .safetensors, and no pickle is read" in refused("capture", str(mine))
    shutil.copy(folder / "gpt2" / "model.safetensors", mine)
    config = json.loads((mine / "config.json").read_text())
    auto = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}
    (mine / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": auto}))
    (mine / "mine.py").write_text("raise SystemExit('it ran')")
    said = refused("capture", str(mine))
    assert f"'{mine}' cannot be loaded (" in said
    assert "it ran" not in said
    (mine / "config.json").write_text(json.dumps(config | {"n_layer": 3}))
    assert "cannot be loaded (it lacks 12 weights, such as h.2.attn.c_attn.bias)" in refused("capture", str(mine))
    (mine / "config.json").write_text("{")
    assert "cannot be loaded (" in refused("capture", str(mine))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (mine / name).unlink()
    assert f"'{mine}' has no tokenizer: tokenizer.save_pretrained('{mine}') writes it" in refused("capture", str(mine))


def test_a_model_in_the_local_cache_is_found_by_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "models--some--gpt"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder / "gpt2", kept / "snapshots" / ("0" * 40))
    for module in ("constants", "file_download", "utils._cache_manager"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert run("capture", "some/gpt") == run("capture", str(folder / "gpt2"))
    said = "unknown model 'some/gpd': did you mean 'some/gpt'? known are some/gpt; nothing is fetched"
    assert said in refused("capture", "some/gpd")


def test_without_transformers_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert refused("capture", "x") == "flashsteps: error: transformers is missing: pip install 'flashsteps[models]'\n"
