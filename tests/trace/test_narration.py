"""What the algorithms' own source says of each step: captions that fit, and which slots a line reads."""

from importlib import resources

import pytest
import uharfbuzz as hb

from flashsteps import algorithms
from flashsteps.filmkit import fonts
from flashsteps.trace import narration
from tests.problems import Problem

ALGORITHMS = pytest.mark.parametrize("name", algorithms.names())
FILMED = pytest.mark.parametrize("name", ["standard-forward", "flash-forward", "flash2-forward"])
LONGEST = 90  # characters that can be read while something moves

ALIASES = '''
def attend(sram, Q, K, V):
    """Not a # caption."""
    q = sram.load(Q[0])  # Queries come in.
    k = sram.gather(K, size)  # A # in a caption.
    text = "# no caption"
    first, second = q, k
    both = first + second
    s = t = sram["S"] = both @ text
    l_i = sram.load(L[0], "l_i")
    first = sram["a"] = l_i * s
    last = first + t
'''


def test_variables_stand_for_the_slots_that_they_were_made_from():
    lines = narration.read(ALIASES)
    assert {n: set(line.reads) for n, line in lines.items() if line.reads} == {
        7: {"q", "k"},
        8: {"q", "k"},
        9: {"q", "k"},
        11: {"l_i", "S"},
        12: {"a", "S"},
    }


def test_a_caption_is_a_lines_comment_and_code_is_the_rest():
    lines = narration.read(ALIASES)
    assert [lines[n].caption for n in (4, 5, 6)] == ["Queries come in.", "A # in a caption.", ""]
    assert lines[6].code == '    text = "# no caption"'
    assert set(lines) == set(range(4, 13))


@ALGORITHMS
def test_lines_are_the_source_below_its_docstring(name):
    source = algorithms.source(name).splitlines()
    lines = narration.read(algorithms.source(name))
    assert list(lines) == list(range(min(lines), len(source) + 1))
    for n, line in lines.items():
        assert (line.number, line.code + (f"  # {line.caption}" if line.caption else "")) == (n, source[n - 1])


@ALGORITHMS
def test_captions_are_short_sentences(name):
    captions = [line.caption for line in narration.read(algorithms.source(name)).values() if line.caption]
    for caption in captions:
        assert len(caption) <= LONGEST
        assert caption[0].isupper() or caption[0] in "αℓ", caption
        assert caption[-1] == ".", caption


def _missing(words: str) -> set[str]:
    """The characters that none of the bundled fonts has."""
    found = set(words)
    for files in fonts.FILES.values():
        for file in files.values():
            font = hb.Font(hb.Face((resources.files("flashsteps") / "fonts" / file).read_bytes()))
            found -= {c for c in found if font.get_nominal_glyph(ord(c))}
    return found


@FILMED
def test_the_fonts_have_every_character_that_is_said(name):
    lines = narration.read(algorithms.source(name)).values()
    assert not _missing("".join(line.code + line.caption for line in lines))


@FILMED
@pytest.mark.parametrize("mask", [None, "causal"])
def test_each_step_is_on_a_line_that_names_what_it_does(name, mask):
    trace = Problem(name, 7, 9, 4, 2, 3, mask=mask).record()
    lines = narration.read(trace.meta["code"])
    slots = {event.slot for event in trace}
    for event in trace:
        line = lines[event.line]
        assert line.reads <= slots
        if event.op == "compute":
            assert f'sram["{event.slot}"] = ' in line.code
        elif event.op == "skip":
            assert line.code.strip().startswith("for ")
        else:
            assert event.tile
            call = "gather" if "gather" in line.code else event.op
            assert f"sram.{call}({event.tile.tensor}" in line.code


# What the papers' formulas have on their right-hand side. `bias` is made from indices: it comes from no slot.
READS = {
    "standard-forward": {
        "S": {"q", "k"}, "m_i": {"S"}, "P": {"S", "m_i"}, "l_i": {"P"}, "O": {"P", "v"},
    },
    "flash-forward": {
        "S": {"q", "k"}, "m_ij": {"S"}, "P": {"S", "m_ij"}, "l_ij": {"P"}, "m_new": {"m_i", "m_ij"},
        "alpha": {"m_i", "m_new"}, "beta": {"m_ij", "m_new"}, "l_new": {"alpha", "l_i", "beta", "l_ij"},
        "o": {"alpha", "l_i", "o", "beta", "P", "v", "l_new"},
    },
    "flash2-forward": {
        "m_i": {"m_i", "S"}, "S": {"q", "k"}, "alpha": {"m_i"}, "P": {"S", "m_i"}, "l_i": {"alpha", "l_i", "P"},
        "acc": {"alpha", "acc", "P", "v"}, "LSE": {"m_i", "l_i"},
    },
}  # fmt: skip


@FILMED
def test_a_step_reads_what_its_formula_has_on_the_right(name):
    lines = narration.read(algorithms.source(name))
    trace = Problem(name, 6, 6, 4, 2, 2).record()
    reads: dict[str, set[str]] = {}
    for event in trace:
        if event.op == "compute" and lines[event.line].reads:
            reads.setdefault(event.slot, set(lines[event.line].reads))
    assert reads == READS[name]


def test_fa1_makes_its_output_from_the_old_one():
    lines = narration.read(algorithms.source("flash-forward"))
    line = next(line for line in lines.values() if line.code.strip().startswith('o = sram["o"]'))
    assert "old + new" in line.code
    assert {"alpha", "l_i", "o"} <= line.reads
