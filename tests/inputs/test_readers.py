"""Files from strangers: whatever their bytes, they are read or refused in one line, in little memory, and never run."""

import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flashsteps.inputs.qkv import load_qkv
from flashsteps.inputs.readers import READERS
from tests.inputs.input_files import (
    WORDS,
    K,
    Q,
    Trap,
    V,
    bomb,
    describe,
    grown,
    huge_bytearray,
    npy_bytes,
    npy_with,
    npz_bytes,
    npz_with,
    one_line,
    peak_below,
    pt_bytes,
    refused,
    rezipped,
    tensors,
    tensors_with,
    with_value,
)

STACKED = npy_bytes(np.stack([Q, K, V]))
WORDS_NPY = npy_bytes(np.array(WORDS))
#: a dict whose key is a pair of the same pair of the same pair …: its hash takes 2^40 steps
BOMB = b"\x80\x02})q\x00" + b"".join(b"h" + bytes([n, 0x86]) + b"q" + bytes([n + 1]) for n in range(40)) + b"K\x01s."
TRAPPED = npy_with(describe("(5, 4)", "'|O'"), data=pickle.dumps(Trap()))
GIGANTIC = npy_with(describe("(5, 4)"), version=b"\x02\x00", length=2**32 - 1, data=bytes(10**6))
LAYERS = {f"layer\n{i}": b"" for i in range(99)}

Table = list[tuple[bytes | Callable[[], bytes], str]]

NPY: Table = [
    (b"", "it is no .npy array: it starts with b''"),
    (b"version https://git-lfs", "it is no .npy array: it starts with b'version '"),
    (npy_bytes(Q), "one array of shape (5, 4): (3, N, d) is needed"),
    (npy_bytes(np.ones((2, 5, 4))), "one array of shape (2, 5, 4)"),
    (npy_bytes(np.ones((3, 0, 4))), "q has shape (0, 4)"),
    (STACKED[:-1], "its header declares 240 bytes where 239 are"),
    (npy_with(describe("(3, 1099511627776, 4)")), "its header declares 52,776,558,133,248 bytes where 0 are"),
    (npy_with(describe(f"(3, {2**62}, {2**62})")), "its header declares over 10^18 bytes"),
    (npy_with(describe(f"(3, {10**200}, 4)")), "its shape is impossible"),
    (npy_with(describe("(3, -5, 4)")), "its shape is impossible"),
    (npy_with(describe("(3, True, 4)"), data=bytes(48)), "its shape is impossible"),
    (TRAPPED, "Python objects, which are never loaded"),
    (npy_with(describe("(3, 5, 4)", "[('a', '<f4')]"), data=bytes(240)), "q holds void32"),
    (npy_with(describe("(3, 1, 4)", "'<U0'")), "q holds str"),
    (npy_with(describe("(3, 5, 4)", "'<f3'")), "its .npy header is damaged"),
    (npy_with("{'shape': (3, 5, 4)}\n"), "its .npy header is damaged"),
    (npy_with("(" * 900), "its .npy header is damaged"),
    (npy_with("-" * 900 + "1"), "its .npy header is damaged"),
    (npy_with("open('x', 'w')"), "its .npy header is damaged"),
    (GIGANTIC, "array header, expected 4294967295 bytes"),
    (npy_with(describe("(3, 5, 4)"), version=b"\x03\x00"), "version (3, 0)"),
]
NPZ: Table = [
    (b"", "it is no .npz file, or a damaged one"),
    (npy_bytes(Q), "it is no .npz file, or a damaged one"),
    (npz_with(npy_bytes(Q))[:-30], "it is no .npz file, or a damaged one"),
    (npz_bytes({}), "no q, k, v in it, but nothing: name the arrays q, k and v"),
    (npz_bytes({"x": b"", "q": b""}), "no k, v in it, but x, q:"),
    (npz_bytes(LAYERS), "but layer·0, layer·1, layer·2, layer·3, layer·4, layer·5, layer·6, layer·7, …:"),
    (npz_with(b"junk"), "q: it is no .npy array: it starts with b'junk'"),
    (npz_with(npy_bytes(Q)[:-1]), "q: its header declares 80 bytes where 79 are"),
    (npz_with(GIGANTIC, method=zipfile.ZIP_DEFLATED), "q: its .npy header is damaged"),
    (npz_with(npy_bytes(Q)).replace(Q.tobytes(), V.tobytes()), "q: it is damaged (Bad CRC-32"),
    (npz_with(npy_bytes(np.ones((999, 4)))).replace(b"\xf0?", b"\xf0@", 1), "its numbers cannot be read (Bad CRC-32"),
    (npz_with(npy_bytes(Q), method=zipfile.ZIP_LZMA), "compressed in a way that NumPy does not write"),
    (bomb(zipfile.ZIP_DEFLATED, 2**30), "q.npy claims to hold 1,073,741,824 bytes in"),
    (bomb(zipfile.ZIP_STORED, 2**30), "q.npy claims to hold 1,073,741,824 bytes in"),
    (bomb(zipfile.ZIP_DEFLATED, 40_000), "its numbers cannot be read"),
    (npz_with(TRAPPED), "q: it holds Python objects, which are never loaded"),
    (npz_with(npy_bytes(Q), tokens=TRAPPED), "tokens: it holds Python objects"),
    (npz_with(npy_bytes(Q), tokens=npy_bytes(np.array([WORDS]))), "tokens must be one row of str, not str"),
    (npz_with(npy_bytes(Q), tokens=npy_bytes(np.arange(5))), "tokens must be one row of str, not int64 of shape (5,)"),
    (npz_with(npy_bytes(Q), tokens=npy_bytes(np.array(WORDS[:3]))), "3 tokens for 5 keys"),
    (npz_with(npy_bytes(Q), tokens=npy_with(describe("(1,)", "'<U1'"), data=b"\xff" * 4)), "tokens cannot be read"),
    (npz_with(npy_bytes(Q), tokens=npy_with(describe("(9000000000,)", "'<U0'"))), "tokens cannot be read"),
    (
        lambda: npz_with(npy_bytes(Q), zipfile.ZIP_DEFLATED, tokens=npy_bytes(np.zeros(5, "U1000000"))),
        "tokens take 20,000,000 bytes, the limit is 16,777,216",
    ),
    (npz_with(npy_bytes(with_value(Q, 1, 3, np.nan))), "q[1, 3] is nan"),
    (npz_with(npy_bytes(Q[:, :3])), "q has d = 3"),
    (lambda: npz_bytes(dict.fromkeys(map(str, range(20_000)), b"")), "the limit is 1,048,576: save fewer arrays"),
]
SAFETENSORS: Table = [
    (b"", "a header of 0 bytes, a file of 0"),
    (b"\xff" * 8, "a header of 18,446,744,073,709,551,615 bytes, a file of 8"),
    (tensors_with(length=2**62), "it is no .safetensors file, or cut short"),
    (lambda: (2**24 + 1).to_bytes(8, "little") + bytes(2**24 + 1), "its header has 16,777,217 bytes, the limit is"),
    (tensors_with(length=20), "its safetensors header is damaged"),
    (b"\x02" + bytes(7) + b"[]", "its safetensors header is damaged"),
    (b"\x02" + bytes(7) + b"{}", "no q, k, v in it, but nothing"),
    ((10**5).to_bytes(8, "little") + b"[" * 10**5, "its safetensors header is damaged"),
    (tensors_with(data_offsets=[0, 10**6]), "its shape and its offsets disagree"),
    (tensors_with(data_offsets=[200, 280]), "its header declares 80 bytes where 40 are"),
    (tensors_with(data_offsets=[-8, 72]), "its shape is impossible"),
    (tensors_with(shape=[2**40, 4], data_offsets=[0, 2**44]), "declares 17,592,186,044,416 bytes where 240 are"),
    (tensors_with(shape=[10**300, 0]), "its shape is impossible"),
    (tensors_with(shape=[1] * 10**5), "its shape is impossible"),
    (tensors_with(shape="54"), "its shape is impossible"),
    (tensors_with(dtype="BOOL"), "q is BOOL: save it as one of F64, F32, F16, BF16"),
    (tensors_with(dtype=["F32"]), "q is ['F32']: save it as one of"),
    (tensors_with(tokens="the cat"), "its tokens are no JSON list of str"),
    (tensors_with(tokens="[1, 2, 3, 4, 5]"), "tokens[0] is of type int"),
    (tensors_with(tokens=json.dumps(WORDS[:2])), "2 tokens for 5 keys"),
]
PT: Table = [
    (b"", "torch.save since 1.6 writes a zip file, this is none"),
    (pickle.dumps(Trap()), "torch.save since 1.6 writes a zip file, this is none"),
    (pt_bytes(tensors(), _use_new_zipfile_serialization=False), "torch.save since 1.6 writes a zip file"),
    (pt_bytes(Trap()), "more than plain tensors (__builtin__ setattr), and none of that is run: torch.save a dict"),
    (pt_bytes(tensors() | {"tokens": Trap()}), "more than plain tensors (__builtin__ setattr)"),
    (pt_bytes(Trap(), pickle_protocol=4), "more than plain tensors"),
    (pt_bytes(tensors() | {"q": torch.storage.UntypedStorage(9)}), "q is a TypedStorage, not a tensor"),
    (rezipped(pt_bytes(tensors()), huge_bytearray), "more than plain tensors (__builtin__ bytearray)"),
    (rezipped(pt_bytes(tensors()), lambda pickled: pickled[:-1]), "its pickle is damaged"),
    (rezipped(pt_bytes(tensors()), lambda _: BOMB), "its pickle holds one tuple twice"),
    (rezipped(pt_bytes(tensors()), lambda _: b"\x80\x02}))2\x86s."), "its pickle holds one tuple twice"),
    (lambda: npz_bytes(dict.fromkeys(map(str, range(20_000)), b"")), "the limit is 1,048,576: save fewer arrays"),
    (pt_bytes([1, 2]), "it holds a list: save a dict of q, k and v"),
    (pt_bytes({"q": torch.ones(2), 3: torch.ones(2)}), "no k, v in it, but q:"),
    (pt_bytes(tensors() | {"q": [1.0]}), "q is a list, not a tensor"),
    (pt_bytes(tensors() | {"tokens": [1, 2]}), "tokens[0] is of type int"),
    (pt_bytes(torch.ones(5, 4)), "one array of shape (5, 4)"),
    (pt_bytes(tensors() | {"q": torch.ones(1).expand(2**20, 2**20)}), "bytes, the limit is 2,147,483,648: save fewer"),
    (npz_with(npy_bytes(Q)), "torch cannot read it"),
    (rezipped(pt_bytes(tensors()), grown), "torch cannot read it"),
    (rezipped(pt_bytes(tensors()), bytes, zipfile.ZIP_DEFLATED), "nothing that torch.save writes for plain tensors"),
]
WRONG = {".npy": NPY, ".npz": NPZ, ".safetensors": SAFETENSORS, ".pt": PT}
CASES = [pytest.param(end, file, words, id=f"{end}: {words}") for end, table in WRONG.items() for file, words in table]


@pytest.mark.parametrize(("ending", "content", "words"), CASES)
def test_a_wrong_file_gets_one_line_and_little_memory(
    tmp_path: Path, ending: str, content: bytes | Callable[[], bytes], words: str
) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content() if callable(content) else content)
    with peak_below(8 << 20):
        message = refused(path)
    assert message.startswith(f"{str(path)!r}: ")
    assert words in message
    assert not Trap.sprung


def test_the_trap_works() -> None:
    pickle.loads(pickle.dumps(Trap()))
    assert Trap.sprung
    Trap.sprung = False


def test_more_than_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(npy_with(describe("(3, 8, 16777216, 2)")))
        file.truncate((3 << 30) + 200)  # a hole, which takes no room on the disk
    with peak_below(1 << 20):
        assert "would take 3,221,225,472 bytes, the limit is 2,147,483,648" in refused(tmp_path / "a.npy", head=0)


def test_a_path_that_is_no_readable_file_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "animal.npz").write_bytes(npz_with(npy_bytes(Q)))
    (tmp_path / "loop.npz").symlink_to(tmp_path / "loop.npz")
    (tmp_path / "table.csv").touch()
    os.mkfifo(tmp_path / "pipe.npz")
    assert "no such file; did you mean 'animal.npz'?" in refused(tmp_path / "anmal.npz")
    assert "no such file: give 'sample', a file or random:N,d" in refused(tmp_path / "zzzzzzzz.npy")
    assert "did you mean 'sample'?" in refused("smaple")
    assert "no such file, and no folder" in refused(tmp_path / "nowhere" / "a.npz")
    assert "no such file" in refused(tmp_path / "animal.npz" / "a.npz")
    assert "this is a folder: give a file in it" in refused(tmp_path)
    assert "unknown ending '.csv': known are .npz, .npy, .safetensors, .pt, .pth" in refused(tmp_path / "table.csv")
    assert "this is no plain file" in refused(tmp_path / "pipe.npz")
    assert "cannot be read: Too many levels of symbolic links" in refused(tmp_path / "loop.npz")
    assert "cannot be read: File name too long" in refused("a" * 300 + ".npz").replace("a" * 300, "")
    assert "null" in refused("a\0.npz")
    assert refused(3).startswith("the input is of type int: give 'sample', a file or random:N,d")
    assert refused(np.zeros((3, 4, 2))).startswith("the input is of type ndarray: give 'sample', ")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # a mode would not stop root
    assert "cannot be read: Permission denied" in refused(tmp_path / "animal.npz")


def test_without_torch_a_pt_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pt").write_bytes(pt_bytes(tensors()))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "needs torch: pip install torch, or save .npz or .safetensors instead" in refused(tmp_path / "a.pt")


def test_both_versions_of_npy_that_plain_arrays_come_in_are_read(tmp_path: Path) -> None:
    for version in ((1, 0), (2, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, np.stack([Q, K, V]), version=version)
        np.testing.assert_array_equal(np.stack([*load_qkv(tmp_path / "a.npy")]), np.stack([Q, K, V]))


# ---- whatever the bytes are

WHOLE = {
    "npy": STACKED,
    "npz": npz_with(npy_bytes(Q), tokens=WORDS_NPY),
    "deflated.npz": npz_with(npy_bytes(Q), zipfile.ZIP_DEFLATED, tokens=WORDS_NPY),
    "safetensors": tensors_with(tokens=json.dumps(WORDS)),
    "pt": pt_bytes(tensors() | {"tokens": WORDS}),
}
PIECES = [b"", b"\0", b"\xff", b"\xff" * 8, b"(", b"'", b"9" * 9, b"-1", b"PK\x01\x02", b"\x80", b"J\xff\xff\xff\x7f"]
NPY_HEADER_SIGNS = "{}()[]'\":,-+*.0123456789<>|fOUVMdescrhapetin_od \n\\#LjJeTrue"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "BF16", "q"]) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` with up to four pieces taken out, put in or overwritten."""

    def apply(cuts: list[tuple[int, int, bytes]]) -> bytes:
        out = data
        for at, gone, new in cuts:
            out = out[:at] + new + out[at + gone :]
        return out

    gone = st.integers(0, 9) | st.integers(0, len(data))
    cut = st.tuples(st.integers(0, len(data)), gone, st.sampled_from(PIECES) | st.binary(max_size=9))
    return st.lists(cut, min_size=1, max_size=4).map(apply)


def read_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        qkv = load_qkv(path)
    except ValueError as error:
        one_line(error)
    else:
        assert all(a.ndim == 2 and np.isfinite(a).all() for a in qkv)
        if path.suffix == ".npy":
            np.testing.assert_array_equal(np.stack([*qkv]), np.load(path, allow_pickle=False).astype(qkv.q.dtype))
    assert not Trap.sprung


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=100, deadline=None)
@given(draw=st.data())
def test_a_damaged_file(folder: Path, name: str, draw: st.DataObject) -> None:
    read_or_refused(folder / f"a.{name}", draw.draw(damaged(WHOLE[name])))


@pytest.mark.parametrize("ending", READERS)
@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes(folder: Path, ending: str, data: bytes) -> None:
    read_or_refused(folder / f"any{ending}", data)


@settings(max_examples=100, deadline=None)
@given(data=damaged(npy_bytes(Q)))
def test_a_damaged_array_in_a_sound_npz(folder: Path, data: bytes) -> None:
    read_or_refused(folder / "q.npz", npz_with(data))
    read_or_refused(folder / "tokens.npz", npz_with(npy_bytes(Q), tokens=data))


@settings(max_examples=100, deadline=None)
@given(draw=st.data())
def test_a_damaged_pickle_in_a_sound_pt(folder: Path, draw: st.DataObject) -> None:
    read_or_refused(folder / "a.pt", rezipped(WHOLE["pt"], lambda pickled: draw.draw(damaged(pickled))))


@settings(max_examples=100, deadline=None)
@given(part=st.sampled_from(["dtype", "shape", "data_offsets", "tokens"]), value=JSON)
def test_any_entry_in_a_safetensors_header(folder: Path, part: str, value: object) -> None:
    read_or_refused(folder / "a.safetensors", tensors_with(**{part: value}))


@settings(max_examples=100, deadline=None)
@given(st.text(NPY_HEADER_SIGNS, max_size=120))
def test_any_text_as_an_npy_header(folder: Path, text: str) -> None:
    for header in (text, describe("(3, 1, 4)", text), describe(text)):
        read_or_refused(folder / "a.npy", npy_with(header, data=bytes(64)))
