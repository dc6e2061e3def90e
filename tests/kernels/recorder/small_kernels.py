"""Small Triton kernels, each of which does one thing that the recorder has to see, or to refuse."""

import triton
import triton.language as tl


@triton.jit
def gather(X, Y, index, inside, LANES: tl.constexpr):
    """Load and store elements by a list of places, where `inside` says so."""
    lane = tl.arange(0, LANES)
    at = tl.load(index + lane)
    there = tl.load(inside + lane) != 0
    x = tl.load(X + at, mask=there, other=0.0)
    tl.store(Y + at, x, mask=there)


@triton.jit
def block_at(X, first, n, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr, D: tl.constexpr):
    """Rows first … of X, as far as they are there. Shape (ROWS, COLUMNS)."""
    rows, columns = first + tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    return tl.load(
        X + rows[:, None] * stride + columns[None, :], mask=(rows[:, None] < n) & (columns[None, :] < D), other=0.0
    )


@triton.jit
def add(total, x):
    total = total + tl.sum(x, 0)  # One more block is added.
    return total, tl.max(x, 0)


@triton.jit
def sums(X, Y, n, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr, D: tl.constexpr):
    """Y (programs, D): the sum over blocks of rows of X (n, D), shared out to programs."""
    pid = tl.program_id(0)
    # Sums start at 0.
    total = tl.zeros([COLUMNS], tl.float32)
    for start in tl.range(pid * ROWS, n, tl.num_programs(0) * ROWS):
        x = block_at(X, start, n, stride, ROWS, COLUMNS, D)  # A block of rows comes in.
        total, top = add(total, x)
    columns = tl.arange(0, COLUMNS)
    tl.store(
        Y + pid * D + columns,
        total.to(Y.dtype.element_ty),
        mask=columns < D,
    )


@triton.jit
def doubled(Y, D: tl.constexpr, COLUMNS: tl.constexpr):
    """Y, each number twice as large."""
    columns = tl.arange(0, COLUMNS)
    at = Y + tl.program_id(0) * D + columns
    y = tl.load(at, mask=columns < D)
    tl.store(at, y * 2, mask=columns < D)


@triton.jit
def by_descriptor(X, Y, ROWS: tl.constexpr):
    first = tl.program_id(0) * ROWS
    x = X.load([first, 0])
    Y.store([first, 0], x)


@triton.jit
def counted(X):
    tl.atomic_add(X, 1.0)


@triton.jit
def product(A, B, C, N: tl.constexpr):
    n = tl.arange(0, N)
    a = tl.load(A + n[:, None] * N + n[None, :])
    b = tl.load(B + n[:, None] * N + n[None, :])
    c = tl.dot(a, b.T)
    tl.store(C + n[:, None] * N + n[None, :], c)
