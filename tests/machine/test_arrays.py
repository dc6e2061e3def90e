"""Arrays with numbers and without: the same shapes and the same work, or a count is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashsteps.machine.arrays import Meter, Shape, div_sum, exp_sub, on_chip

#: what an algorithm may write, of a (rows, columns) and r (rows,)
FOLLOWED = {
    "arithmetic": lambda a, r: (a * 2 - 1) / 3 + r[:, None],
    "a product": lambda a, r: a @ a.T,
    "exp, log, tanh": lambda a, r: np.exp(a) + np.log(a) + np.tanh(a),
    "the sum of rows": lambda a, r: a.sum(axis=1),
    "the sum of rows, counted from the end": lambda a, r: a.sum(axis=-1),
    "the max of columns": lambda a, r: a.max(axis=-2),
    "the sum of all": lambda a, r: a.sum(),
    "a sum that keeps its axis": lambda a, r: a / a.sum(axis=1, keepdims=True),
    "a reduction by its ufunc": lambda a, r: np.add.reduce(a, axis=1) - np.maximum.reduce(a, axis=0).max(),
    "a slice": lambda a, r: a[1:] * 2,
    "a slice of columns, from the end": lambda a, r: a[:, -2:] + 1,
    "every other row": lambda a, r: np.exp(a[::2]),
    "one row": lambda a, r: a[0] + a[-1],
    "a new axis": lambda a, r: a[..., None, :] * 1,
    "larger of two": lambda a, r: np.maximum(r, a.max(axis=1)),
    "safe powers": lambda a, r: exp_sub(a, r[:, None]),
    "a safe quotient": lambda a, r: div_sum(a, r[:, None]),
    "a comparison": lambda a, r: a * (a > 0.5),
    "how many": lambda a, r: a / len(r) / a.ndim,
}

#: what depends on numbers, or is no ufunc whose work is known
REFUSED = {
    "a mask as an index": lambda a, r: a[a > 0],
    "a list as an index": lambda a, r: a[[0, 1]],
    "a branch": lambda a, r: a if r.sum() > 0 else -a,
    "a number": lambda a, r: float(r.sum()),
    "a loop over rows": lambda a, r: list(iter(a)),
    "np.where": lambda a, r: np.where(a > 0, a, 0),
    "np.concatenate": lambda a, r: np.concatenate([a, a]),
    "np.sum": lambda a, r: np.sum(a, axis=1),
    "np.einsum": lambda a, r: np.einsum("ij,kj->ik", a, a),
    "an outer product": lambda a, r: np.multiply.outer(r, r),
    "running sums": lambda a, r: np.add.accumulate(a, axis=1),
    "only where": lambda a, r: np.add(a, a, where=np.ones(a.shape, bool)),
    "two results": lambda a, r: np.divmod(a, 2),
    "a product with a vector": lambda a, r: a.T @ r,
    "mean": lambda a, r: a.mean(axis=1),
    "argmax": lambda a, r: a.argmax(axis=1),
    "a new shape": lambda a, r: a.reshape(-1),
    "in place": lambda a, r: np.add(a, 1, out=a),
}


def both(rows: int, columns: int):
    numbers, shapes = Meter(), Meter()
    a, r = np.linspace(0.1, 1, rows * columns).reshape(rows, columns), np.linspace(1, 2, rows)
    with_numbers = on_chip(a, numbers), on_chip(r, numbers)
    return numbers, with_numbers, shapes, (Shape((rows, columns), shapes), Shape((rows,), shapes))


@pytest.mark.parametrize("what", FOLLOWED)
@given(rows=st.integers(2, 9), columns=st.integers(2, 9))
def test_a_count_follows_exactly_what_a_run_does(what, rows, columns):
    numbers, with_numbers, shapes, without = both(rows, columns)
    made, shape = FOLLOWED[what](*with_numbers), FOLLOWED[what](*without)
    assert shape.shape == np.shape(made)
    assert shapes.read() == numbers.read()


@pytest.mark.parametrize("what", REFUSED)
def test_a_count_refuses_what_it_cannot_follow_in_one_line(what):
    *_, without = both(4, 3)
    with pytest.raises(ValueError, match=r"^counting knows shapes, no numbers, and cannot follow [^\n]*$"):
        REFUSED[what](*without)


@given(st.floats(1e-30, 1e30), st.floats(-1e6, 1e6))
def test_a_row_is_divided_by_its_sum_whatever_that_is_unless_it_has_seen_no_key(l, x):
    assert div_sum(np.array([x]), np.array([l]))[0] == x / l
    assert div_sum(np.zeros(1, np.float32), np.zeros(1, np.float32))[0] == 0
