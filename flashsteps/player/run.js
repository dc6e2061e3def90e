// A run, replayed: columns of its events, and everything as it stood after any of them. Nothing here draws.
//
// No state is kept and no step is replayed from the start: lists say when each slot and each tile was written, and
// what stood there after a step is found by bisection. So any jump costs the same as a step.

export const LOAD = 0, STORE = 1, COMPUTE = 2, SKIP = 3;
export const OPS = ["load", "store", "compute", "skip"];

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array, float64: Float64Array };

/** A run from its header and its bytes (Uint8Array): `data` compressed as zlib does, `values` as they are. */
export async function unpack({ header, data, values }) {
  const inflated = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
  const aligned = values.byteOffset % 8 ? values.slice() : values; // typed arrays start at multiples of their size
  const parts = [new Uint8Array(await new Response(inflated).arrayBuffer()), aligned];
  return new Run(header, (name) => arrayOf(header.arrays, parts, name));
}

/** An array of a header by its name, from the run of bytes that it lies in; numbers of 16 bits widened. */
function arrayOf(arrays, parts, name) {
  const [type, at, count] = Object.hasOwn(arrays, name) ? arrays[name] : ["float32", 0, 0];
  const narrow = type === "float16" || type === "bfloat16";
  const { buffer, byteOffset } = parts[Number(name.startsWith("values."))];
  const raw = new (narrow ? Uint16Array : TYPES[type])(buffer, byteOffset + at, count);
  return narrow ? widened(raw, type) : raw;
}

/** Numbers of 16 bits as 32: IEEE halves, or bfloat16. */
function widened(bits, type) {
  const wide = new Float32Array(bits.length);
  if (type === "bfloat16") {
    const raw = new Uint32Array(wide.buffer);
    for (let n = 0; n < bits.length; n++) raw[n] = bits[n] << 16;
    return wide;
  }
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  });
  for (let n = 0; n < bits.length; n++) wide[n] = halves[bits[n]];
  return wide;
}
let halves;

/** The position of the last of some ascending numbers that is not above `most`; -1 if all are. */
export function lastUpTo(numbers, most) {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= most) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The first of some ascending numbers above `step`, or the last below it; undefined if there is none. */
export function nextIn(numbers, step, back = false) {
  return back ? numbers[lastUpTo(numbers, step - 1)] : numbers[lastUpTo(numbers, step) + 1];
}

/** What a tile goes by among those of its tensor: its rows, and its columns where it has not all. */
export const tileKey = ({ start, stop, left, right }) => `${start}:${stop}${right ? `;${left}:${right}` : ""}`;

export class Run {
  /** `array` gives an array by its name: a column of the events, `initial.Q`, `values.float32`, … */
  constructor(header, array) {
    Object.assign(this, header); // title, queries, keys, blockQ, tokens, slots, tensors, captions, …
    this.header = header;
    this.array = array;
    this.columns = {};
    for (const name of ["op", "program", "slot", "tensor", "start", "stop", "rows", "columns", "row", "bytes", "flops",
      "line", "loops", "round", "caption"]) this.columns[name] = this.array(name);
    for (const name of ["left", "right"]) this.columns[name] = header.parts ? this.array(name) : new Uint8Array(this.steps);
    const deepest = Math.max(0, ...header.loops.map((names) => names.length));
    this.indices = Array.from({ length: deepest }, (_, depth) => this.array(`index.${depth}`));
    this.initial = header.tensors.map((tensor) => this.array(`initial.${tensor.name}`));
    this.readsOf = new Map(header.code.map(([line, , reads]) => [line, reads.map((name) =>
      header.slots.findIndex((slot) => slot.name === name))]));
    this.shapeSlots();
    this.index();
    this.placeValues();
    this.findVisits();
    this.findReads();
  }

  get last() { return this.steps - 1; }

  /** The loops around a step, outermost first: [["j", 2], ["i", 1]]. */
  loopsAt(step) {
    return this.header.loops[this.columns.loops[step]].map((name, depth) => [name, this.indices[depth][step]]);
  }

  /** The index of one loop around a step; -1 outside of it. */
  loopAt(name, step) {
    const depth = this.header.loops[this.columns.loops[step]].indexOf(name);
    return depth < 0 ? -1 : this.indices[depth][step];
  }

  // ---- lists of when what happened

  shapeSlots() {
    const { slot, rows, columns, row, op } = this.columns;
    for (const one of this.slots) Object.assign(one, { rows: 0, columns: 0, writes: [], loads: false });
    for (let step = 0; step < this.steps; step++) {
      if (op[step] !== LOAD && op[step] !== COMPUTE) continue;
      const one = this.slots[slot[step] - 1];
      one.rows = Math.max(one.rows, row[step] + rows[step]);
      one.columns = Math.max(one.columns, columns[step]);
      one.writes.push(step);
    }
    for (const one of this.slots) if (one.columns && one.hue === "stat") one.hue = "S";
  }

  index() {
    const { op, tensor, start, stop, bytes, flops, program, round, line } = this.columns;
    this.moved = new Float64Array(this.steps);
    this.worked = new Float64Array(this.steps);
    this.when = { load: [], store: [], program: [], round: [] };
    this.stepsOf = new Map(); // of a line of the source, all its steps
    this.programs = []; // of each: its first step and its last, and what it reads and writes by tensor
    this.roundLast = [];
    for (const one of this.tensors) {
      one.tiles = new Map();
      one.sums = [{ steps: [], sums: [] }, { steps: [], sums: [] }]; // read, written
    }
    let moved = 0, worked = 0;
    for (let step = 0; step < this.steps; step++) {
      moved += bytes[step];
      worked += flops[step];
      this.moved[step] = moved;
      this.worked[step] = worked;
      if (!step || program[step] !== program[step - 1]) {
        this.when.program.push(step);
        this.programs.push({ first: step, last: step, moved: this.tensors.map(() => [0, 0]) });
      }
      const now = this.programs.at(-1);
      now.last = step;
      if (op[step] <= STORE) now.moved[tensor[step] - 1][op[step]] += bytes[step];
      if (!this.stepsOf.has(line[step])) this.stepsOf.set(line[step], []);
      this.stepsOf.get(line[step]).push(step);
      if (!step || round[step] !== round[step - 1]) this.when.round.push(step);
      this.roundLast[this.when.round.length - 1] = step;
      if (op[step] !== LOAD && op[step] !== STORE) continue;
      this.when[OPS[op[step]]].push(step);
      const one = this.tensors[tensor[step] - 1], at = this.placeAt(step);
      let tile = one.tiles.get(tileKey(at));
      if (!tile) {
        tile = { ...at, bytes: bytes[step], moves: [[], []] };
        one.tiles.set(tileKey(at), tile);
      }
      tile.moves[op[step]].push(step);
      const side = one.sums[op[step]];
      side.sums.push((side.sums.at(-1) ?? 0) + bytes[step]);
      side.steps.push(step);
    }
    for (const one of this.tensors) {
      const tiles = [...one.tiles.values()];
      const cuts = [...new Set([0, one.shape[0], ...tiles.flatMap((tile) => [tile.start, tile.stop])])];
      cuts.sort((a, b) => a - b);
      one.cuts = cuts;
      one.segments = cuts.slice(0, -1).map(() => []);
      for (const tile of tiles) {
        if (!tile.moves[STORE].length) continue;
        for (let n = lastUpTo(cuts, tile.start); cuts[n] < tile.stop; n++) one.segments[n].push(tile);
      }
    }
  }

  /** What a step moves: a tensor, rows start … stop − 1, and columns left … right − 1, or all of them where right is 0. */
  placeAt(step) {
    const { tensor, start, stop, left, right } = this.columns;
    return { tensor: tensor[step] - 1, start: start[step], stop: stop[step], left: left[step], right: right[step] };
  }

  /** Where the value of each step lies among all values of its type. */
  placeValues() {
    const { op, rows, columns, tensor } = this.columns;
    this.pools = new Map();
    this.at = new Float64Array(this.steps);
    if (!this.values) return;
    const next = new Map();
    for (let step = 0; step < this.steps; step++) {
      if (op[step] !== COMPUTE && op[step] !== STORE) continue;
      const kind = op[step] === COMPUTE ? this.computing : this.tensors[tensor[step] - 1].dtype;
      this.at[step] = next.get(kind) ?? 0;
      next.set(kind, this.at[step] + rows[step] * (columns[step] || 1));
    }
    for (const kind of next.keys()) this.pools.set(kind, this.array(`values.${kind}`));
  }

  /** The visits to tiles of S: steps of one round that make scores, or pass a tile over. i or j -1: all of them. */
  findVisits() {
    const { op, slot, columns, program, loops } = this.columns;
    const all = [];
    let visit = null;
    for (let step = 0; step < this.steps; step++) {
      const same = visit && op[step] !== SKIP && !visit.skipped && program[step] === program[step - 1]
        && loops[step] === loops[step - 1] && this.indices.every((column) => column[step] === column[step - 1]);
      if (!same) {
        visit = { first: step, last: step, h: Math.max(0, this.loopAt("h", step)), i: this.loopAt("i", step),
          j: this.loopAt("j", step), skipped: op[step] === SKIP, scores: false };
        all.push(visit);
      }
      visit.last = step;
      visit.scores ||= op[step] === COMPUTE && columns[step] > 0 && this.slots[slot[step] - 1].hue === "S";
    }
    this.visits = all.filter((one) => (one.scores || one.skipped) && (one.i >= 0 || one.j >= 0));
    this.mapRows = Math.ceil(this.queries / this.blockQ);
    this.mapColumns = Math.ceil(this.keys / this.blockK);
    this.visitsOf = new Map();
    for (const one of this.visits) {
      const name = `${one.h},${one.i},${one.j}`;
      if (!this.visitsOf.has(name)) this.visitsOf.set(name, []);
      this.visitsOf.get(name).push(one);
    }
    this.visitFirsts = this.visits.map((one) => one.first);
  }

  /** The visits to a tile of S, in order; those to its whole row or column, too. */
  visitsAt(h, i, j) {
    const found = [[i, j], [i, -1], [-1, j]].flatMap(([row, column]) => this.visitsOf.get(`${h},${row},${column}`) ?? []);
    return found.sort((a, b) => a.first - b.first);
  }

  /** For each step that fills a slot, the last step that reads what it put there. */
  findReads() {
    const { op, slot, program, line } = this.columns;
    this.lastRead = new Int32Array(this.steps).fill(-1);
    let holds = new Int32Array(this.slots.length).fill(-1);
    for (let step = 0; step < this.steps; step++) {
      if (step && program[step] !== program[step - 1]) holds.fill(-1);
      for (const read of this.readsAt(step)) if (holds[read] >= 0) this.lastRead[holds[read]] = step;
      if (op[step] === LOAD || op[step] === COMPUTE) holds[slot[step] - 1] = step;
    }
  }

  /** The slots (by index) that a step reads. */
  readsAt(step) {
    const { op, slot, line } = this.columns;
    if (op[step] === STORE) return slot[step] ? [slot[step] - 1] : [];
    return op[step] === COMPUTE ? this.readsOf.get(line[step]) ?? [] : [];
  }

  // ---- what stood where

  /** The step that made what a slot holds after `step`; -1 where it holds nothing. Programs share nothing. */
  holder(slot, step) {
    if (step < 0) return -1;
    const { writes } = this.slots[slot];
    const made = writes[lastUpTo(writes, step)] ?? -1;
    return made >= 0 && this.columns.program[made] === this.columns.program[step] ? made : -1;
  }

  /** What the step `made` put into its slot, {rows, columns, data}: columns 0 for a vector, `whole` for whole
   * numbers. null without values. */
  slotValue(made) {
    const { op, slot, rows, columns, row, tensor } = this.columns;
    if (!this.values && op[made] !== LOAD) return null; // what is loaded is known as far as nothing was stored there
    const width = columns[made] || 1;
    if (op[made] === COMPUTE) {
      const at = this.at[made];
      const data = this.pools.get(this.computing).subarray(at, at + rows[made] * width);
      return { rows: rows[made], columns: columns[made], data };
    }
    const whole = row[made] + rows[made];
    const data = new (this.computing === "float64" ? Float64Array : Float32Array)(whole * width);
    const { writes } = this.slots[slot[made] - 1];
    let filled = whole; // rows below are there already: a gather loads block below block
    for (let n = lastUpTo(writes, made); n >= 0 && filled > 0; n--) {
      const step = writes[n];
      if (op[step] !== LOAD) {
        const under = this.slotValue(step);
        if (under) data.set(under.data.subarray(0, filled * width), 0);
        else data.fill(NaN, 0, filled * width);
        break;
      }
      const tile = this.tileData(step);
      const wanted = Math.min(filled, row[step] + rows[step]) - row[step];
      data.set(tile.subarray(0, wanted * width), row[step] * width);
      filled = row[step];
    }
    return { rows: whole, columns: columns[made], data, whole: this.tensors[tensor[made] - 1].dtype === "int32" };
  }

  /** The step whose store is what stands in a segment of a tensor after `step`; -1 where it is as it was found. */
  storeOf(tensor, segment, step) {
    let found = -1;
    for (const tile of this.tensors[tensor].segments[segment]) {
      const steps = tile.moves[STORE];
      found = Math.max(found, steps[lastUpTo(steps, step)] ?? -1);
    }
    return found;
  }

  /** Rows start … stop − 1 of a tensor in HBM after `step`; NaN where nothing was written yet. */
  rowsAt(tensor, start, stop, step) {
    const one = this.tensors[tensor], width = one.shape[1] ?? 1, initial = this.initial[tensor];
    const found = new initial.constructor((stop - start) * width);
    for (let n = lastUpTo(one.cuts, start); one.cuts[n] < stop; n++) {
      const from = Math.max(start, one.cuts[n]), to = Math.min(stop, one.cuts[n + 1]);
      const store = this.storeOf(tensor, n, step);
      let source = initial, shift = 0;
      if (store >= 0) {
        if (!this.values) { found.fill(NaN, (from - start) * width, (to - start) * width); continue; }
        source = this.pools.get(one.dtype);
        shift = this.at[store] - this.columns.start[store] * width;
      }
      found.set(source.subarray(shift + from * width, shift + to * width), (from - start) * width);
    }
    return found;
  }

  /** What a step moves, as it stands after it: its rows, and of these its columns. */
  tileData(step) {
    const { tensor, start, stop, left, right } = this.placeAt(step), whole = this.rowsAt(tensor, start, stop, step);
    if (!right) return whole;
    const wide = this.tensors[tensor].shape[1], found = new whole.constructor((stop - start) * (right - left));
    for (let r = 0; r < stop - start; r++) found.set(whole.subarray(r * wide + left, r * wide + right), r * (right - left));
    return found;
  }

  /** The steps that read what `made` put into its slot. */
  readers(made) {
    const slot = this.columns.slot[made] - 1, found = [];
    for (let step = made + 1; step <= this.lastRead[made]; step++) if (this.readsAt(step).includes(slot)) found.push(step);
    return found;
  }

  /** Bytes on chip after `step`, [slot, bytes]: what was loaded takes what it takes in HBM. */
  onChip(step) {
    const held = [];
    this.slots.forEach((slot, n) => {
      const made = this.holder(n, step);
      if (made < 0) return;
      const { op, rows, columns, row, tensor, bytes } = this.columns;
      const size = op[made] === LOAD ? bytes[made] / rows[made] * (row[made] + rows[made])
        : rows[made] * (columns[made] || 1) * (this.computing === "float64" ? 8 : 4);
      held.push([n, size]);
    });
    return held;
  }

  /** Bytes of a tensor that were read (LOAD) or written (STORE) up to `step`. */
  movedOf(tensor, side, step) {
    const { steps, sums } = this.tensors[tensor].sums[side];
    return sums[lastUpTo(steps, step)] ?? 0;
  }

  /** All bytes of a tensor (as `tensors` has it), read and written. */
  movedTotal(one) { return (one.sums[LOAD].sums.at(-1) ?? 0) + (one.sums[STORE].sums.at(-1) ?? 0); }

  movedBy(step) { return step < 0 ? 0 : this.moved[step]; }

  /** The visit that a step is part of, or, around the inner loop, the one that comes next, or came last. */
  visitAt(step) {
    const n = lastUpTo(this.visitFirsts, step), visit = this.visits[n];
    if (visit && visit.last >= step) return visit;
    const next = this.visits[n + 1], { program } = this.columns;
    if (step < 0) return null;
    return next && (!visit || program[next.first] === program[step]) ? next : visit ?? null;
  }

  /** The tile that holds this row of a tensor; of several the smallest. null where the row is never moved. */
  tileOf(tensor, row) {
    let found = null;
    for (const tile of this.tensors[tensor].tiles.values()) {
      if (tile.start <= row && row < tile.stop && (!found || tile.stop - tile.start < found.stop - found.start)) found = tile;
    }
    return found;
  }

  /** The tile that a step moves, or null. */
  tileAt(step) {
    const { op, tensor } = this.columns;
    if (step < 0 || (op[step] !== LOAD && op[step] !== STORE)) return null;
    return this.tensors[tensor[step] - 1].tiles.get(tileKey(this.placeAt(step)));
  }

  /** All steps that move any row of a tile, in order. */
  touches(tile) {
    const found = [tile, ...this.across(tile)].flatMap((one) => [...one.moves[LOAD], ...one.moves[STORE]]);
    return found.sort((a, b) => a - b);
  }

  /** Other tiles of its tensor that share numbers with a tile. */
  across(tile) {
    const end = ({ right }) => right || Infinity;
    return [...this.tensors[tile.tensor].tiles.values()].filter((other) =>
      other !== tile && other.start < tile.stop && tile.start < other.stop && other.left < end(tile) && tile.left < end(other));
  }
}
