"""What every kernel here does with a tile: read it, score it, add it to the running softmax, write it.

A tile is so many tokens of one key-value head. Of Q, O and dO it holds all heads that share these keys and values,
packed as rows (token, head of the group), as `flashsteps.machine.heads` packs them: row r is head r % GROUP of token
r // GROUP. Names are those of the reference: q, k, v, s, p, acc, m_i, l_i, alpha. Exponents are of 2, because that is
what the hardware has: m_i and the scores carry a factor of log₂ e until LSE is stored.
"""

from __future__ import annotations

import triton
import triton.language as tl

#: whether Triton's interpreter runs what is decorated from here on: it is asked once, when Triton is first imported
INTERPRETED: tl.constexpr = tl.constexpr(bool(triton.knobs.runtime.interpret))

LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)
LN_2: tl.constexpr = tl.constexpr(0.6931471805599453)

#: what a tensor of one number for each score says: which of them count (not 0), or what is added to them; and the same
#: of a tensor of one number for each key, for all queries and heads alike, as one that hides padding is
BOOLEAN: tl.constexpr = tl.constexpr(1)
ADDED: tl.constexpr = tl.constexpr(2)
BOOLEAN_BY_KEY: tl.constexpr = tl.constexpr(3)
ADDED_BY_KEY: tl.constexpr = tl.constexpr(4)

#: nothing smaller is added to a score: where all keys of a row have the least number of float32, as models that hide
#: them so have it, exponents of 2 do not fall below all numbers, and the row is their mean, as torch has it
LEAST: tl.constexpr = tl.constexpr(-2.0e38)

#: an LSE below it is that of a row to all of whose keys so little was added, and does not tell any more how many they
#: were: P cannot be made again of it, and is 0
LOST: tl.constexpr = tl.constexpr(-1.0e30)


@triton.jit
def load_tile(X, strides, b, h, first, n, ROWS: tl.constexpr, TOKENS: tl.constexpr, GROUP: tl.constexpr,
              HEAD_DIM: tl.constexpr, D: tl.constexpr, RAGGED: tl.constexpr, TMA: tl.constexpr):  # fmt: skip
    """Tokens first … first + TOKENS − 1 of X (B, heads, n, HEAD_DIM), from head h on. Shape (ROWS, D).

    What lies past n, TOKENS or HEAD_DIM is 0, and is not read. RAGGED says that rows can do so. With TMA, X is a
    tensor descriptor: the copy engine fetches the tile and minds its edges.
    """
    if TMA:
        x = X.load([b, h, first, 0]).reshape([ROWS, D])
    else:
        at, inside = tile_at(X, strides, b, h, first, n, ROWS, TOKENS, GROUP, HEAD_DIM, D, RAGGED)
        if RAGGED or HEAD_DIM < D:  # noqa: SIM108
            x = tl.load(at, mask=inside, other=0.0)
        else:
            x = tl.load(at)
    if INTERPRETED and x.dtype == tl.bfloat16:
        x = x.to(tl.float32)  # the interpreter multiplies bfloat16 as if its bits were whole numbers
    return x


@triton.jit
def store_tile(X, strides, b, h, first, n, x, ROWS: tl.constexpr, TOKENS: tl.constexpr, GROUP: tl.constexpr,
               HEAD_DIM: tl.constexpr, D: tl.constexpr, TMA: tl.constexpr):  # fmt: skip
    """Write x (ROWS, D), rounded to X's type, to where `load_tile` would read it."""
    if TMA:
        X.store([b, h, first, 0], rounded(x, X.dtype).reshape([1, 1, ROWS, D]))
    else:
        at, inside = tile_at(X, strides, b, h, first, n, ROWS, TOKENS, GROUP, HEAD_DIM, D, True)
        tl.store(at, rounded(x, X.dtype.element_ty), mask=inside)


@triton.jit
def tile_at(X, strides, b, h, first, n, ROWS: tl.constexpr, TOKENS: tl.constexpr, GROUP: tl.constexpr,
            HEAD_DIM: tl.constexpr, D: tl.constexpr, RAGGED: tl.constexpr):  # fmt: skip
    """The addresses of a tile, and which of them are there. Shape (ROWS, D) each; the last dimension has stride 1."""
    columns = tl.arange(0, D)
    base = X + b.to(tl.int64) * strides[0] + h.to(tl.int64) * strides[1] + first.to(tl.int64) * strides[2]
    if GROUP == 1:
        rows = tl.arange(0, ROWS) * strides[2]
    else:
        r = tl.arange(0, ROWS)
        rows = r // GROUP * strides[2] + r % GROUP * strides[1]
    inside = (columns < HEAD_DIM)[None, :]
    if RAGGED:
        inside = inside & rows_inside(first, n, ROWS, TOKENS, GROUP)[:, None]
    return base + rows[:, None] + columns[None, :], inside


@triton.jit
def load_statistic(X, b, h, heads, first, n, size, ROWS: tl.constexpr, TOKENS: tl.constexpr, GROUP: tl.constexpr):
    """One number a row, of X (B, heads, size), contiguous; 0 where there is none: from n on. Shape (ROWS,)."""
    at = statistic_at(X, b, h, heads, first, size, ROWS, GROUP)
    return tl.load(at, mask=rows_inside(first, n, ROWS, TOKENS, GROUP), other=0.0)


@triton.jit
def store_statistic(X, b, h, heads, first, n, size, x, ROWS: tl.constexpr, TOKENS: tl.constexpr, GROUP: tl.constexpr):
    """Write x (ROWS,) to where `load_statistic` would read it."""
    at = statistic_at(X, b, h, heads, first, size, ROWS, GROUP)
    tl.store(at, x, mask=rows_inside(first, n, ROWS, TOKENS, GROUP))


@triton.jit
def statistic_at(X, b, h, heads, first, size, ROWS: tl.constexpr, GROUP: tl.constexpr):
    r = tl.arange(0, ROWS).to(tl.int64)
    return X + (b.to(tl.int64) * heads + h) * size + first + r // GROUP + r % GROUP * size


@triton.jit
def sequence(starts, b):
    """Where sequence b of packed tokens begins, and how many it has."""
    first = tl.load(starts + b)
    return first.to(tl.int64), tl.load(starts + b + 1) - first


@triton.jit
def load_bias(X, strides, b, h, first, start, n, m, ROWS: tl.constexpr, TOKENS: tl.constexpr, GROUP: tl.constexpr,
              BLOCK_N: tl.constexpr, MASK: tl.constexpr, TMA: tl.constexpr):  # fmt: skip
    """One number for each score of a tile, of X (B, heads, n, m) by its strides: 0 for what is broadcast.

    Shape (ROWS, BLOCK_N), or (1, BLOCK_N) where there is one for each key. With TMA, X is a tensor descriptor, and
    `strides` says by 1 or 0 whether it has a batch and heads.
    """
    if MASK > ADDED:
        at = X + b.to(tl.int64) * strides[0] + (start + tl.arange(0, BLOCK_N)).to(tl.int64) * strides[3]
        x = tl.load(at, mask=tl.arange(0, BLOCK_N) < m - start, other=0)[None, :]
    elif TMA:
        x = X.load([b * strides[0], h * strides[1], first, start]).reshape([ROWS, BLOCK_N])
    else:
        r = tl.arange(0, ROWS).to(tl.int64)
        columns = tl.arange(0, BLOCK_N)
        base = X + b.to(tl.int64) * strides[0] + h.to(tl.int64) * strides[1]
        rows = (first + r // GROUP) * strides[2] + r % GROUP * strides[1]
        inside = rows_inside(first, n, ROWS, TOKENS, GROUP)[:, None] & (columns < m - start)[None, :]
        at = base + rows[:, None] + ((start + columns).to(tl.int64) * strides[3])[None, :]
        x = tl.load(at, mask=inside, other=0)
    return x


@triton.jit
def first_scores(sinks, h, ROWS: tl.constexpr, GROUP: tl.constexpr):
    """The score that each row begins with, that of its head, as an exponent of 2: head r % GROUP of those from h on."""
    return tl.load(sinks + h + tl.arange(0, ROWS) % GROUP).to(tl.float32) * LOG2_E


@triton.jit
def rows_inside(first, n, ROWS: tl.constexpr, TOKENS: tl.constexpr, GROUP: tl.constexpr):
    """Which rows of a tile are there: ROWS is a power of two, TOKENS · GROUP need not be. Shape (ROWS,)."""
    return first + tl.arange(0, ROWS) // GROUP < tl.minimum(first + TOKENS, n)


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """x in the type that it is stored in, rounded to nearest even. (The interpreter would cut bfloat16 off.)"""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        even = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        x = tl.where(x == x, even.to(tl.float32, bitcast=True), x)
    return x.to(dtype)


@triton.jit
def part(heads_kv):
    """Which part of the problem this program is for: batch entry and key-value head. It is the grid's second axis.

    (And its third, where there are more parts than one axis may have.)
    """
    index = tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)
    return index // heads_kv, index % heads_kv


@triton.jit
def work(heads_kv, section, LAST_FIRST: tl.constexpr, TOGETHER: tl.constexpr):
    """Which block, batch entry and key-value head this program is for, such that what takes longest is begun first.

    Programs begin in the order of their numbers. With TOGETHER the blocks of `section` parts, which have their keys and
    values in L2 together, take turns: else the long blocks of the last part would begin when all others are done. With
    LAST_FIRST the last block of a part is the first. Without both a program is where the grid has it.
    """
    i, blocks = tl.program_id(0), tl.num_programs(0)
    index = tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)
    if TOGETHER:
        number = index * blocks + i
        start = number // (section * blocks) * section
        many = tl.minimum(section, tl.num_programs(1) * tl.num_programs(2) - start)
        number -= start * blocks
        index, i = start + number % many, number // many
    if LAST_FIRST:
        i = blocks - 1 - i
    return i, index // heads_kv, index % heads_kv


@triton.jit
def visited(first, last, n, m, left, right, BLOCK_N: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr):
    """Which tiles of m keys the tokens first … last of n see: (lo, full, cut, hi).

    From lo to full, and from cut to hi, a tile is cut by the mask or by the end of the keys; from full to cut it is
    seen whole. All others are hidden, and never read. Aligned to the bottom right: token i stands above key i + m − n.
    """
    low, high = first * 0, first * 0 + m  # keys that any of these tokens sees
    all_low, all_high = low, high  # keys that each of them sees
    if LEFT:
        low = tl.minimum(tl.maximum(first + m - n - left, 0), m)
        all_low = tl.maximum(last + m - n - left, 0)
    if RIGHT:
        high = tl.minimum(tl.maximum(last + m - n + right + 1, 0), m)
        all_high = tl.minimum(tl.maximum(first + m - n + right + 1, 0), m)
    lo = low // BLOCK_N
    hi = tl.where(low < high, (high + BLOCK_N - 1) // BLOCK_N, lo)
    full = tl.minimum(tl.maximum((all_low + BLOCK_N - 1) // BLOCK_N, lo), hi)
    cut = tl.minimum(tl.maximum(all_high // BLOCK_N, full), hi)
    return lo, full, cut, hi


@triton.jit
def seeing(first, last, n, m, left, right, BLOCK_Q: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr):
    """The same the other way round: which tiles of n tokens see the keys first … last of m: (lo, full, cut, hi)."""
    low, high = first * 0, first * 0 + n - 1  # tokens that see any of these keys: low … high
    all_low, all_high = low, high  # those that see all of them
    if LEFT:
        high = tl.minimum(last - (m - n) + left, n - 1)
        all_high = tl.maximum(tl.minimum(first - (m - n) + left, n - 1), -1)
    if RIGHT:
        low = tl.maximum(first - (m - n) - right, 0)
        all_low = tl.maximum(last - (m - n) - right, 0)
    lo = low // BLOCK_Q
    hi = tl.where(low <= high, high // BLOCK_Q + 1, lo)
    full = tl.minimum(tl.maximum((all_low + BLOCK_Q - 1) // BLOCK_Q, lo), hi)
    cut = tl.minimum(tl.maximum((all_high + 1) // BLOCK_Q, full), hi)
    return lo, full, cut, hi


@triton.jit
def seen_keys(tokens, start, n, m, left, right, BLOCK_N: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr):
    """Which of the keys start … start + BLOCK_N − 1 each token sees. Shape (tokens, BLOCK_N).

    Bounds are made a row, and what is compared a tile is the column's number: that takes fewest registers.
    """
    column = tl.arange(0, BLOCK_N)[None, :]
    stop = tokens * 0 + m  # the first key after those that a token sees
    if RIGHT:
        stop = tl.minimum(tokens + (m - n + right + 1), m)
    keep = column < (stop - start)[:, None]
    if LEFT:
        keep = keep & (column >= (tokens + (m - n - left) - start)[:, None])
    return keep


@triton.jit
def seeing_tokens(keys, first, n, m, left, right, BLOCK_M: tl.constexpr, GROUP: tl.constexpr, LEFT: tl.constexpr,
                  RIGHT: tl.constexpr):  # fmt: skip
    """Which rows of a tile that begins at token `first` see each of these keys. Shape (keys, BLOCK_M).

    It says nothing of rows and keys past the end: they are 0, or are not stored.
    """
    token = (tl.arange(0, BLOCK_M) // GROUP)[None, :]
    keep = token >= 0
    if RIGHT:
        keep = keep & (token >= (keys - (m - n + right) - first)[:, None])
    if LEFT:
        keep = keep & (token <= (keys - (m - n - left) - first)[:, None])
    return keep


@triton.jit
def tanh(y):
    """tanh y, to three units in the last place however small or large y is.

    From exp2, the one function that is fast: but near 0 that is 1 − (1 − y), which has few digits of a small y. There
    Lambert's continued fraction has them all: y / (1 + y² / (3 + y² / (5 + y² / (7 + y² / 9)))).
    """
    z = y * y
    near_0 = y * (945 + z * (105 + z)) / (945 + z * (420 + z * 15))
    return tl.where(tl.abs(y) < 0.75, near_0, 1 - 2 / (tl.math.exp2(y * (2 * LOG2_E)) + 1))


@triton.jit
def score_tile(a, b, scale, softcap, SOFTCAP: tl.constexpr, PRECISION: tl.constexpr):
    """The scores of one tile, a bᵀ, and the factor that makes exponents of 2 of them.

    With a softcap it is softcap · tanh(s · scale / softcap), without one they are not scaled yet.
    """
    s = tl.dot(a, b.T, input_precision=PRECISION)
    if SOFTCAP:
        s = softcap * tanh(s * (scale / softcap))
        factor = LOG2_E
    else:
        factor = scale * LOG2_E
    return s, factor


@triton.jit
def lost(x):
    """0 for each score, and NaN where it is −∞: then it fell below all of float32, and its row is lost.

    0 · x is one fused multiply-add a score, on a unit that waits for exponentials meanwhile, and no register: x is gone
    as soon as p is there. So a score that is −∞ is never taken for one that is hidden. (Where one grows past float32,
    ∞ − ∞ makes NaN of its row by itself.)
    """
    return x * 0.0


@triton.jit
def with_bias(s, factor, bias, scale, MASK: tl.constexpr, SOFTCAP: tl.constexpr):
    """The scores of one tile with what is added to them, the factor that makes exponents of 2 of them, and which count.

    A score that is hidden keeps its value: −∞ is what is added to it, or what it is not counted by.
    """
    if MASK == BOOLEAN or MASK == BOOLEAN_BY_KEY:  # noqa: SIM109 # what is compiled has no `in`
        seen = bias != 0
    else:
        bias = bias.to(tl.float32)
        seen = bias != float("-inf")
        if not SOFTCAP:
            s, factor = s * scale, LOG2_E
        s += tl.maximum(bias, LEAST, propagate_nan=tl.PropagateNan.ALL)
    return s, factor, seen


@triton.jit
def add_tile(acc, l_i, m_i, q, k, v, bias, tokens, start, N, M, scale, softcap, left, right, BLOCK_N: tl.constexpr,
             KEYS: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, MASK: tl.constexpr,
             CUT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """The step of the online softmax: take in the keys and values k, v (BLOCK_N, D) of one tile, KEYS of them there.

    factor · s is the exponent of 2. Only where a tile is CUT can a row have seen no key yet: its m_i is −∞, and
    −∞ − (−∞) must not make NaN of what is 0.
    """
    # One tile of scores, made on chip. It never goes to HBM.
    s, factor = score_tile(q, k, scale, softcap, SOFTCAP, PRECISION)
    if MASK:  # A number for each score says whether it counts, or is added to it.
        s, factor, seen = with_bias(s, factor, bias, scale, MASK, SOFTCAP)
    if CUT:
        inside = seen_keys(tokens, start, N, M, left, right, BLOCK_N, LEFT, RIGHT)
        if KEYS < BLOCK_N:
            inside = inside & (tl.arange(0, BLOCK_N) < KEYS)[None, :]
        seen = seen & inside if MASK else inside
    if CUT or MASK:  # Keys that a query may not see get −∞.
        s = tl.where(seen, s + lost(s * factor), float("-inf"))
    m_new = tl.maximum(m_i, tl.max(s, 1) * factor)  # The running max of each row, so far.
    m = m_new
    if CUT or MASK:
        m = tl.maximum(m_new, -3.0e38)
    x = s * factor - m[:, None]
    # Exponentials, taken against the max so far.
    p = tl.math.exp2(x) if CUT or MASK else tl.math.exp2(x) + lost(x)
    alpha = tl.math.exp2(m_i - m)  # α: how much all that was summed before must shrink.
    l_i = alpha * l_i + tl.sum(p, 1)  # Old sum and output shrink by α; this tile is added.
    acc = acc * alpha[:, None]
    acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION)
    return acc, l_i, m_new


@triton.jit
def one_over(l_i):
    """1 / ℓ of each row, by which its output is multiplied; 1 where it has seen no key: ℓ is 0, and so is the output.

    It is ℓ itself and not max(ℓ, 1), though the largest p is 2^0: where the compiler makes one fused step of
    s · factor − m, m is rounded and the product is not, so p may fall short of 1, and a row that one key dominates
    has to be divided by that.
    """
    return 1 / tl.where(l_i == 0, 1.0, l_i)


@triton.jit
def natural_lse(m_i, l_i):
    """LSE of each row, a natural logarithm: m_i is an exponent of 2. −∞ where a row has seen no key."""
    return (m_i + tl.math.log2(l_i)) * LN_2
