"""Numbers as people read them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashsteps import units


@given(st.floats(1e-300, 0.03), st.floats(1 / units.ELSEWHERE, units.ELSEWHERE))
def test_what_is_said_to_be_the_most_is_so_on_any_processor_and_not_much_more(x, elsewhere):
    found = re.fullmatch(r"10\^\{−(\d+)\}", units.at_most(x))
    assert found
    said = 10.0 ** -int(found[1])
    assert x * elsewhere <= said * (1 + 1e-9)
    assert said <= 10 * units.ELSEWHERE * x * (1 + 1e-9)


def test_the_size_of_values_is_said_where_it_is_another():
    assert [units.head_of(64), units.head_of(64, 64), units.head_of(64, 32)] == ["d = 64"] * 2 + ["d = 64, v 32 wide"]


@pytest.mark.parametrize(("x", "words"), [(0.0, "0"), (9.5e-7, "10^{−5}"), (1.2e-6, "10^{−5}"), (2.4e-4, "10^{−3}")])
def test_how_it_is_written(x, words):
    assert units.at_most(x) == words
