// Masks: which keys a query sees, and so which tiles are full, cut or hidden, by rows and by arithmetic. As machine/masks.py.

/** A whole number for each row: pieces that begin at `starts` with a value, which stays or rises by 1 a row. */
class Edge {
  constructor(starts, values, slopes) { Object.assign(this, { starts, values, slopes }); }

  /** The number of one row, and by how much the next is larger, while its piece lasts. */
  line(row) {
    let low = 0, high = this.starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] <= row) low = middle + 1;
      else high = middle;
    }
    const piece = low - 1;
    return [this.values[piece] + this.slopes[piece] * (row - this.starts[piece]), this.slopes[piece]];
  }

  at(row) { return this.line(row)[0]; }
}

const constant = (value) => new Edge([0], [value], [0]);

/** The key below each query, aligned to the bottom right, and so many on; from 0 to M. */
function diagonal(plus, N, M) {
  return merge(Math.min, merge(Math.max, new Edge([0], [M - N + plus], [1]), constant(0), N), constant(M), N);
}

/** The smaller or the larger of two edges in each row. */
function merge(choose, a, b, n = Number.MAX_SAFE_INTEGER) {
  const pieces = [], ends = [...new Set([...a.starts, ...b.starts, n])].sort((x, y) => x - y);
  for (let k = 0; k + 1 < ends.length; k++) {
    const start = ends[k], stop = ends[k + 1], [x, riseX] = a.line(start), [y, riseY] = b.line(start);
    const crossing = riseX !== riseY ? start + Math.abs(x - y) : stop;
    for (const row of [...new Set([start, Math.min(crossing, stop - 1)])].sort((p, q) => p - q)) {
      const [one, other] = [a.line(row), b.line(row)]; // of equal ones the one that is so in the next row, too
      const first = one[0] !== other[0] ? choose(one[0], other[0]) === one[0] : choose(one[1], other[1]) === one[1];
      const [value, rise] = first ? one : other, last = pieces.at(-1);
      if (!last || value !== last[1] + last[2] * (row - last[0]) || rise !== last[2]) pieces.push([row, value, rise]);
    }
  }
  return new Edge(...[0, 1, 2].map((part) => pieces.map((piece) => piece[part])));
}

export class Mask {
  constructor(name, n_queries, n_keys, first, stop) {
    Object.assign(this, { name, n_queries, n_keys, first, stop });
  }

  /** Whether anything is added to scores at all. */
  get hides() { return this.name !== null; }

  keep(query, key) { return this.first.at(query) <= key && key < this.stop.at(query); }

  /** How these queries see one block of keys after another; how these keys are seen by queries. */
  row(i) { return { mask: this, queries: i, keys: null }; }

  column(j) { return { mask: this, queries: null, keys: j }; }

  /** Tiles by kind, where i and j may each stand for a run of `times` equal blocks. */
  kinds(i, j) {
    const last = i.stop - 1;
    const touched = tiles([this.first, i.start], [this.stop, last], i, j, false);
    const full = tiles([this.first, last], [this.stop, i.start], i, j, true);
    return { full, cut: touched - full, hidden: i.times * j.times - touched };
  }

  /** All tiles at once, row by row: 2 where one is full, 1 where it is cut, 0 where it is hidden. */
  grid(block_q, block_k) {
    const [rows, columns] = [Math.ceil(this.n_queries / block_q), Math.ceil(this.n_keys / block_k)], found = new Uint8Array(rows * columns);
    for (let i = 0; i < rows; i++) {
      const start = i * block_q, last = Math.min(start + block_q, this.n_queries) - 1;
      const [from, fullFrom, fullTo, to] = [this.first.at(start), this.first.at(last), this.stop.at(start), this.stop.at(last)];
      for (let j = 0; j < columns; j++) {
        const keys = j * block_k, end = Math.min(keys + block_k, this.n_keys);
        found[i * columns + j] = Number(keys < to && end > from) + Number(keys >= fullFrom && end <= fullTo);
      }
    }
    return found;
  }

  get by_rule() { return true; }
}

/** How many blocks of keys of run j lie between two edges, whole or in part, for all blocks of queries of run i. */
function tiles(lower, upper, i, j, whole) {
  const height = i.stop - i.start, width = j.stop - j.start, ends = new Set([0, i.times]);
  if (i.times > 1) {
    for (const [edge, row] of [lower, upper]) {
      for (const start of edge.starts) {
        const n = -Math.floor(-(start - row) / height);
        if (n > 0 && n < i.times) ends.add(n);
      }
    }
  }
  const sorted = [...ends].sort((a, b) => a - b);
  let total = 0;
  for (let k = 0; k + 1 < sorted.length; k++) {
    const n = sorted[k], until = sorted[k + 1];
    const [[low, lowRise], [high, highRise]] = [lower, upper].map(([edge, row]) => edge.line(row + n * height));
    let begin = 0, end = until - n;
    if (whole) { // where there is room for one at all
      const room = high - low - width, more = (highRise - lowRise) * height;
      if (more > 0) begin = Math.min(Math.max(-Math.floor(room / more), 0), end);
      else if (more < 0) end = Math.min(Math.max(Math.floor(room / -more) + 1, 0), end);
      else if (room < 0) continue;
    }
    const [below, above] = whole ? [width - 1, 0] : [0, width - 1];
    for (const [sign, value, rise, plus] of [[1, high, highRise, above], [-1, low, lowRise, below]]) {
      const keys = value + rise * height * begin + plus - j.start;
      total += sign * wholeBlocks(keys, rise * height, end - begin, width, j.times);
    }
  }
  return total;
}

/** How many whole blocks of `width` fit into so many keys, so many + rise, … (`rows` terms), summed; at most `most` a row. */
function wholeBlocks(keys, rise, rows, width, most) {
  if (!rise) return rows * Math.min(Math.max(Math.floor(keys / width), 0), most);
  const begin = Math.min(Math.max(-Math.floor(keys / rise), 0), rows); // the first row with 0 keys or more
  const end = Math.min(Math.max(-Math.floor((keys - most * width) / rise), begin), rows); // the first that has them all
  return floors(end - begin, rise, keys + rise * begin, width) + most * (rows - end);
}

/** Σ ⌊(a·i + b) / m⌋ for i = 0 … n − 1, all numbers 0 or more, as Euclid's algorithm goes. */
function floors(n, a, b, m) {
  let total = 0;
  while (n) {
    total += Math.floor(a / m) * (n * (n - 1) / 2) + Math.floor(b / m) * n;
    [a, b] = [a % m, b % m];
    [n, b, m, a] = [Math.floor((a * n + b) / m), (a * n + b) % m, a, m];
  }
  return total;
}

// ---- from a user's words to a mask

const FORMS = { none: /^none$/, causal: /^causal$/, window: /^window:(-?\d{1,9}),(-?\d{1,9})$/, prefix: /^prefix:(\d{1,9})$/,
  document: /^document:(\d{1,9}(?:,\d{1,9})*)$/ };

/** The mask that a user named; names joined by + must all allow a key. Throws, one line, for a name that makes no sense. */
export function parseMask(name, N, M) {
  const parts = (name ?? "none").split("+").filter((part) => part !== "none");
  let first = constant(0), stop = constant(M);
  for (const part of parts) {
    const [a, b] = ends(part, N, M);
    first = merge(Math.max, first, a);
    stop = merge(Math.min, stop, b);
  }
  return new Mask(parts.join("+") || null, N, M, first, stop);
}

/** The first key that each query sees, and the first after these that it doesn't. */
function ends(rule, N, M) {
  const kind = rule.split(":")[0], known = Object.hasOwn(FORMS, kind), form = known ? FORMS[kind].exec(rule) : null;
  if (!known) throw new Error(`mask ${rule} is not known: give ${Object.keys(FORMS).join(", ")}`);
  const numbers = (rule.split(":")[1] ?? "").split(",").map(Number);
  if (!form) throw new Error(`mask ${rule} is not of its form: window:LEFT,RIGHT, prefix:LENGTH, document:LEN,LEN,…`);
  if (kind === "causal") return [constant(0), diagonal(1, N, M)];
  if (kind === "window") {
    const [left, right] = numbers;
    if (Math.min(left, right) < -1) throw new Error(`mask ${rule}: LEFT and RIGHT are 0 or more, or -1 for no bound`);
    return [left < 0 ? constant(0) : diagonal(-left, N, M), right < 0 ? constant(M) : diagonal(right + 1, N, M)];
  }
  if (kind === "prefix") {
    if (numbers[0] < 1 || numbers[0] > M) throw new Error(`mask ${rule}: there are ${M} keys, give a LENGTH from 1 to ${M}`);
    return [constant(0), merge(Math.max, diagonal(1, N, M), constant(numbers[0]))];
  }
  const sum = numbers.reduce((a, b) => a + b, 0);
  if (N !== M || Math.min(...numbers) < 0 || sum !== N) throw new Error(`mask ${rule}: its lengths add up to ${sum}, not to N = ${N}`);
  let at = 0;
  const stops = numbers.filter(Boolean).map((n) => { at += n; return at; }), starts = [0, ...stops.slice(0, -1)], flat = stops.map(() => 0);
  return [new Edge(starts, starts, flat), new Edge(starts, stops, flat)];
}

// ---- block masks: which tiles are visited at all

/** A block mask over a mask. `visited` is a list of rows, true where a tile is visited. As machine/block_masks.py. */
export class BlockMask {
  constructor(visited, mask, block_q, block_k) {
    this.mask = mask;
    const kinds = mask.grid(block_q, block_k);
    this.grid = visited.map((row, i) => row.map((there, j) => there ? kinds[i * row.length + j] : 0));
    const counts = this.grid.map((row) => row.filter(Boolean).length);
    this.starts = counts.reduce((sums, n) => [...sums, sums.at(-1) + n], [0]);
  }

  get n_keys() { return this.mask.n_keys; }

  get by_rule() { return false; }

  row(i) { return { mask: this, queries: i, keys: null }; }

  column(j) { return { mask: this, queries: null, keys: j }; }

  kinds(i, j) {
    const found = { full: 0, cut: 0, hidden: 0 };
    for (let r = i.index; r < i.index + i.times; r++) {
      for (let c = j.index; c < j.index + j.times; c++) found[["hidden", "cut", "full"][this.grid[r][c]]]++;
    }
    return found;
  }

  lists() { return { starts: this.starts, columns: this.grid.flatMap((row) => row.flatMap((kind, j) => kind ? [j] : [])) }; }

  /** Where `starts` says which part of the list is about these queries; where the list has this tile. */
  bounds(i) { return { start: i.index, stop: i.index + 2, index: i.index, times: i.times }; }

  entry(i, j) {
    const at = this.starts[i.index] + this.grid[i.index].slice(0, j.index).filter(Boolean).length;
    return { start: at, stop: at + 1, index: at, times: j.times };
  }
}
