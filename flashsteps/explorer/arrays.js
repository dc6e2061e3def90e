// What a program computes with on chip: numbers, or shapes alone; both count their FLOPs. As machine/arrays.py.
//
// An array without numbers (`data` null) is only its shape, so that a run over a million keys can be counted in no time.
// Numbers are kept in the computing type: sums and products are formed in double precision and rounded once.

export const product = (shape) => shape.reduce((a, b) => a * b, 1);

/** Adds up the work done since it was last read: matrix products, exp, log and tanh, all others. */
export class WorkMeter {
  constructor() { this.clear(); }

  clear() { this.matmul = this.exp = this.other = 0; }

  read() {
    const { matmul, exp, other } = this;
    this.clear();
    return { matmul, exp, other };
  }
}

export class OnChip {
  /**
   * `data` is a Float32Array or a Float64Array, row by row, or null when counting. `masked`: −∞ in it means that a key is
   * hidden, or that none was seen yet; in any other it is a number that grew too large.
   */
  constructor(shape, data, meter, masked = false) {
    Object.assign(this, { shape, data, meter, masked });
  }

  get dtype() { return this.data instanceof Float64Array ? "float64" : "float32"; }
}

export const len = (one) => one.length;

export function finfo(dtype) {
  return dtype === "float64" ? { min: -Number.MAX_VALUE, max: Number.MAX_VALUE, tiny: 2.2250738585072014e-308 }
    : { min: -3.4028234663852886e38, max: 3.4028234663852886e38, tiny: 1.1754943508222875e-38 };
}

// ---- elementwise

const isArray = (one) => one instanceof OnChip;

/** Broadcast, as NumPy does it, for what algorithms need: scalars, (n), (n, m), and (n, 1) beside (n, m). */
function elementwise(a, b, f, kind = "other") {
  if (!isArray(a) && !isArray(b)) return f(a, b);
  const like = isArray(a) ? a : b, { meter } = like;
  const [sa, sb] = [a, b].map((one) => isArray(one) ? one.shape : []);
  const rank = Math.max(sa.length, sb.length), full = (shape) => [...Array(rank - shape.length).fill(1), ...shape];
  const [fa, fb] = [full(sa), full(sb)];
  const shape = fa.map((n, axis) => {
    if (n !== fb[axis] && n !== 1 && fb[axis] !== 1) throw new Error(`shapes ${sa} and ${sb} do not go together`);
    return n === 1 ? fb[axis] : n;
  });
  const size = product(shape);
  meter[kind] += size;
  if (like.data === null) return new OnChip(shape, null, meter);
  const Type = like.data.constructor, made = new Type(size), round = Type === Float32Array ? Math.fround : (x) => x;
  const [rows, columns] = rank === 2 ? shape : [1, shape[0] ?? 1];
  const reader = (one, own) => { // [data, step from row to row, step from column to column]
    if (!isArray(one)) return [[round(one)], 0, 0];
    const [r, c] = rank === 2 ? own : [1, own[0]];
    return [one.data, r === 1 ? 0 : c, c === 1 ? 0 : 1];
  };
  const [da, ra, ca] = reader(a, fa), [db, rb, cb] = reader(b, fb);
  for (let r = 0, n = 0; r < rows; r++) {
    for (let c = 0, x = r * ra, y = r * rb; c < columns; c++, n++, x += ca, y += cb) made[n] = f(da[x], db[y], round);
  }
  return new OnChip(shape, made, meter, Boolean(a.masked || b.masked));
}

export const add = (a, b) => elementwise(a, b, a.masked || b.masked ? sumOrHidden : (x, y) => x + y);
export const sub = (a, b) => elementwise(a, b, (x, y) => x - y);
export const mul = (a, b) => elementwise(a, b, (x, y) => x * y);
export const div = (a, b) => elementwise(a, b, (x, y) => x / y);
export const pow = (a, b) => elementwise(a, b, (x, y) => x ** y);
export const maximum = (a, b) => elementwise(a, b, (x, y) => x > y || x !== x ? x : y);
export const exp = (a) => marked(elementwise(a, 0, Math.exp, "exp"), false);
export const log = (a) => marked(elementwise(a, 0, Math.log, "exp"), true);
export const tanh = (a) => elementwise(a, 0, Math.tanh, "exp");

const marked = (one, masked) => isArray(one) ? Object.assign(one, { masked }) : one;

/** x + y; two finite numbers do not make −∞: that they grew too large shows as +∞, which no slot takes. */
function sumOrHidden(x, y, round) {
  const sum = round(x + y);
  return sum === -Infinity && x > -Infinity && y > -Infinity ? Infinity : sum;
}

// ---- rows, columns, products

/** x[:, None] */
export const column = (x) => new OnChip([...x.shape, 1], x.data, x.meter, x.masked);

/** x.T, for a matrix product: its numbers stay where they are. */
export function transposed(x) {
  const turned = new OnChip([x.shape[1], x.shape[0]], x.data, x.meter, x.masked);
  turned.turned = !x.turned;
  return turned;
}

/** x @ y of two matrices. */
export function matmul(x, y) {
  const [m, k] = x.shape, [rows, n] = y.shape, { meter } = x;
  if (k !== rows) throw new Error(`cannot multiply ${x.shape} by ${y.shape}: the inner sizes differ`);
  meter.matmul += 2 * m * n * k;
  if (x.data === null) return new OnChip([m, n], null, meter);
  const a = x.turned ? turnedData(x.data, m, k) : x.data; // (m, k) row by row, and y's columns as rows
  const b = y.turned ? y.data : turnedData(y.data, n, k);
  const made = new a.constructor(m * n);
  for (let r = 0; r < m; r++) {
    for (let c = 0; c < n; c++) {
      let sum = 0;
      for (let s = r * k, t = c * k, end = s + k; s < end; s++, t++) sum += a[s] * b[t];
      made[r * n + c] = sum;
    }
  }
  return new OnChip([m, n], made, meter);
}

/** The (rows, columns) matrix whose transpose lies in `data`. */
function turnedData(data, rows, columns) {
  const made = new data.constructor(rows * columns);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) made[r * columns + c] = data[c * rows + r];
  return made;
}

function reduced(x, axis, start, f) {
  const [rows, columns] = x.shape.length === 2 ? x.shape : [1, x.shape[0]], { meter } = x;
  const shape = x.shape.filter((_, n) => n !== (axis < 0 ? axis + x.shape.length : axis));
  meter.other += product(x.shape) - product(shape);
  if (x.data === null) return new OnChip(shape, null, meter);
  const along = x.shape.length === 1 || axis === 1 || axis === -1; // along rows, or down columns
  const made = new x.data.constructor(along ? rows : columns);
  for (let n = 0; n < made.length; n++) {
    let value = start;
    for (let k = 0; k < (along ? columns : rows); k++) value = f(value, x.data[along ? n * columns + k : k * columns + n]);
    made[n] = value;
  }
  return new OnChip(shape, made, meter, x.masked);
}

export const sum = (x, axis) => reduced(x, axis, 0, (a, b) => a + b);
export const max = (x, axis) => reduced(x, axis, -Infinity, (a, b) => b > a || b !== b ? b : a);

// ---- number types

export const ITEMSIZE = { float16: 2, bfloat16: 2, float32: 4, float64: 8, int32: 4 };
export const LARGEST = { float16: 65504, bfloat16: 3.3895313892515355e38, float32: 3.4028234663852886e38, float64: Number.MAX_VALUE };

/** A number rounded to a type, to the nearest, of two to the even one. */
export function rounded(x, dtype) {
  if (dtype === "float64" || x === 0 || !Number.isFinite(x)) return x;
  if (dtype === "float32") return Math.fround(x);
  const [bits, least] = dtype === "float16" ? [10, -24] : [7, -133], size = Math.abs(x);
  const unit = 2 ** Math.max(Math.floor(Math.log2(size)) - bits, least); // log2 may round up at a power of two
  const exact = size / unit < 2 ** bits && unit > 2 ** least ? unit / 2 : unit;
  const scaled = size / exact, below = Math.floor(scaled), rest = scaled - below;
  const whole = below + (rest > 0.5 || (rest === 0.5 && below % 2) ? 1 : 0);
  const value = whole * exact;
  return Math.sign(x) * (value > LARGEST[dtype] ? Infinity : value);
}
