"""Numbers as people read them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashsteps import units


@given(st.floats(1e-300, 0.9))
def test_what_is_said_to_be_the_most_is_no_less_and_hardly_more(x):
    found = re.fullmatch(r"(?:(\d)·)?10\^\{−(\d+)\}", units.at_most(x))
    assert found
    digit, exponent = found.groups()
    said = int(digit or 1) * 10.0 ** -int(exponent)
    assert x <= said * (1 + 1e-9)
    assert said <= 2.01 * x  # one digit, rounded up


def test_the_size_of_values_is_said_where_it_is_another():
    assert [units.head_of(64), units.head_of(64, 64), units.head_of(64, 32)] == ["d = 64"] * 2 + ["d = 64, v 32 wide"]


@pytest.mark.parametrize(("x", "words"), [(0.0, "0"), (9.5e-7, "10^{−6}"), (2.4e-4, "3·10^{−4}")])
def test_how_it_is_written(x, words):
    assert units.at_most(x) == words
