// HBM and SRAM: the only way bytes move. As machine/memory.py and machine/tiling.py; an algorithm is performed on these.

import { OnChip, WorkMeter, finfo, product, rounded, ITEMSIZE, LARGEST } from "./arrays.js";

const grouped = new Intl.NumberFormat("en-US");

/** Rows start … stop − 1, or, when counting, the first of `times` such blocks that follow each other. */
export class Block {
  constructor(start, stop, index = 0, times = 1, cut = false) { Object.assign(this, { start, stop, index, times, cut }); }

  get length() { return this.stop - this.start; }

  blocks(size) { return new Blocks(this.stop, size, this.start); }

  below(rows) { return new Block(this.start + rows, this.stop + rows, this.index, this.times, this.cut); }
}

/** `first` … n − 1 cut into blocks of `size`; the last may be shorter. */
export class Blocks {
  constructor(n, size, first = 0) { Object.assign(this, { n, size, first }); }

  * each() {
    for (let start = this.first; start < this.n; start += this.size) {
      yield new Block(start, Math.min(start + this.size, this.n), Math.floor(start / this.size));
    }
  }

  /** The first block, the other whole ones as one run, the ragged tail. */
  runs() {
    const { n, size, first } = this, whole = Math.floor((n - first) / size), rest = (n - first) % size, index = Math.floor(first / size);
    return [...(whole ? [new Block(first, first + size, index)] : []),
      ...(whole > 1 ? [new Block(first + size, first + 2 * size, index + 1, whole - 1)] : []),
      ...(rest ? [new Block(n - rest, n, index + whole)] : [])];
  }
}

/** 0 … n − 1 cut into pieces, gone through one by one even when counting: each is cut further. */
export class Pieces {
  constructor(n, size) { Object.assign(this, { n, size }); }

  get length() { return Math.ceil(this.n / this.size); }

  get all() { return new Blocks(this.n, this.size); }

  each() { return this.all.each(); }
}

/** A named array in HBM; `data` is null when counting. */
export class Tensor {
  constructor(name, shape, dtype, data) { Object.assign(this, { name, shape, dtype, data }); }

  at(block) { return { tensor: this, start: block.start, stop: block.stop, shape: [block.stop - block.start, ...this.shape.slice(1)] }; }

  get all() { return this.at({ start: 0, stop: this.shape[0] }); }

  blocks(size) { return new Blocks(this.shape[0], Math.min(size, this.shape[0])); }

  pieces(most, size) {
    const blocks = Math.ceil(this.shape[0] / size);
    return new Pieces(this.shape[0], Math.ceil(blocks / most) * size);
  }
}

export class HBM {
  constructor(storage, counting) {
    this.storage = storage;
    this.computing = storage === "float64" ? "float64" : "float32";
    this.counting = counting;
    this.tensors = new Map();
  }

  /** A tensor that is there before the run, rounded to the storage type. */
  tensor(name, shape, data, dtype = this.storage) {
    const stored = data && roundTo(data, dtype, name);
    this.tensors.set(name, new Tensor(name, shape, dtype, stored));
  }

  empty(name, shape, dtype = this.storage) {
    if (!this.tensors.has(name)) {
      const data = this.counting ? null : arrayOfType(dtype, product(shape)).fill(NaN);
      this.tensors.set(name, new Tensor(name, shape, dtype, data));
    }
    return this.tensors.get(name);
  }

  empty_statistics(name, shape) { return this.empty(name, shape, this.computing); }
}

const arrayOfType = (dtype, size) => dtype === "float64" ? new Float64Array(size) : dtype === "int32" ? new Int32Array(size) : new Float32Array(size);

/** What does not fit on chip: the place, its room, what is needed, and by which slots. */
export class DoesNotFit extends Error {
  constructor(place, room, need, held) {
    const listed = held.map(([name, nbytes]) => `${name} ${grouped.format(nbytes)}`).join(", ");
    super(`${place} holds ${grouped.format(room)} bytes but this step needs ${grouped.format(need)} (${listed}): choose smaller blocks`);
    Object.assign(this, { place, room, need });
  }
}

/** On-chip memory, one program at a time: named slots, and the loops that a program runs. */
export class SRAM {
  /**
   * `tape` is told of each step; `capacity` is {shared, registers, total}, in bytes, null where there is no limit.
   * `byRuns`: equal blocks as one, multiplied; "inside": but each program for itself.
   */
  constructor(hbm, tape, capacity = {}, byRuns = hbm.counting) {
    Object.assign(this, { hbm, tape, byRuns, meter: new WorkMeter(), slots: new Map(), program: 0, kernel: 0, launched: false, times: 1 });
    this.limits = [["shared memory", capacity.shared ?? null], ["the register file", capacity.registers ?? null],
      ["this toy SRAM", capacity.total ?? null]];
    this.loops = new Map();
    this.held = [0, 0, 0];
    this.peak = [0, 0, 0]; // shared, registers, both
    this.fullest = [[], [], []]; // the slots then, of each: [name, bytes, whether loaded]
  }

  // ---- programs and loops

  clear() {
    this.slots.clear();
    this.held = [0, 0, 0];
  }

  /** A program begins: in a kernel of its own, or one of many that the same kernel runs. */
  launch(kernel = this.kernel + Number(this.launched)) {
    this.clear();
    this.program += Number(this.launched);
    this.kernel = kernel;
    this.launched = true;
  }

  * programs(line, name, blocks) {
    const kernel = this.kernel + Number(this.launched);
    for (const block of this.loop(line, name, blocks, null, this.byRuns === true)) {
      this.launch(kernel);
      yield block;
    }
  }

  * loop(line, name, blocks, seen = null, byRuns = Boolean(this.byRuns)) {
    const { times } = this;
    for (const block of byRuns && blocks instanceof Blocks ? runsToCount(blocks, seen) : blocks.each()) {
      this.loops.set(name, block.index);
      if (!seen) {
        this.times = times * block.times;
        yield block;
        continue;
      }
      const around = Math.floor(times / (seen.queries ?? seen.keys ?? block).times);
      const kinds = seen.mask.kinds(seen.queries ?? block, seen.keys ?? block);
      for (const kind of ["full", "cut", "hidden"]) {
        this.times = around * kinds[kind];
        if (!kinds[kind]) continue;
        if (kind === "hidden") {
          const keys = seen.keys ?? block;
          this.tell("skip", "", { tensor: "K", start: keys.start, stop: keys.stop }, [], 0, line);
        } else {
          yield new Block(block.start, block.stop, block.index, block.times, kind === "cut");
        }
      }
    }
    this.loops.delete(name);
    this.times = times;
  }

  // ---- what moves, what is made

  load(line, view, slot = view.tensor.name.toLowerCase()) { return this.read(line, view, slot, null); }

  /** All of a tensor, block by block, into one slot. */
  gather(line, tensor, size) {
    let value = null;
    for (const j of this.loop(line, "j", tensor.blocks(size))) {
      value = this.read(line, tensor.at(j), tensor.name.toLowerCase(), value, j.start + j.length * j.times);
    }
    return value;
  }

  /** One entry of a block table: where this page lies in a pool of pages of so many rows. */
  lookup(line, table, page, size) {
    const number = this.read(line, table.at({ start: page.index, stop: page.index + 1 }), "page", null);
    if (this.hbm.counting) return page;
    const start = number.data[0] * size;
    return new Block(start, start + page.length, page.index, page.times, page.cut);
  }

  full(shape, fill) {
    return new OnChip(shape, this.hbm.counting ? null : arrayOfType(this.hbm.computing, product(shape)).fill(fill), this.meter, fill === -Infinity);
  }

  /** 0 where these queries see these keys, −∞ where not: made from indices on chip, so it moves no bytes. */
  bias(mask, i, j) { return Object.assign(this.made(i, j, (query, key) => mask.keep(query, key) ? 0 : -Infinity), { masked: true }); }

  /** 0 where a weight is dropped, 1 / (1 − rate) where not. */
  kept(dropout, i, j) { return this.made(i, j, (query, key) => dropout.kept(query, key)); }

  made(i, j, f) {
    const shape = [i.stop - i.start, j.stop - j.start];
    if (this.hbm.counting) return new OnChip(shape, null, this.meter);
    const data = arrayOfType(this.hbm.computing, product(shape));
    for (let r = 0, n = 0; r < shape[0]; r++) for (let c = 0; c < shape[1]; c++, n++) data[n] = f(i.start + r, j.start + c);
    return new OnChip(shape, data, this.meter);
  }

  /** Names a result: from here on it takes up registers, and it can be stored. */
  set(line, slot, value) {
    this.hold(slot, value, product(value.shape) * ITEMSIZE[this.hbm.computing], false);
    if (value.data) finite(value, slot, this.hbm);
    this.tell("compute", slot, null, value.shape, 0, line, 0, value.data);
    return value;
  }

  /** Writes a slot's value (or a constant) to HBM, rounded to the tensor's type. */
  store(line, view, value) {
    const { tensor, start, stop, shape } = view, size = product(shape), constant = typeof value === "number";
    const slot = constant ? "" : [...this.slots].find(([, held]) => held.value === value)?.[0] ?? "";
    let stored = null;
    if (tensor.data) {
      const width = product(tensor.shape.slice(1));
      stored = roundTo(constant ? new Float64Array(size).fill(value) : value.data, tensor.dtype, `${tensor.name}[${start}:${stop}]`);
      tensor.data.set(stored, start * width);
    }
    const tile = { tensor: tensor.name, start, stop };
    this.tell("store", slot, tile, shape, size * ITEMSIZE[tensor.dtype], line, 0, stored);
  }

  /** Loads below what the slot holds already (`above`), so that it comes to `rows` rows. */
  read(line, view, slot, above, rows = view.shape[0]) {
    const { tensor, start, stop } = view, width = product(tensor.shape.slice(1)), shape = [rows, ...tensor.shape.slice(1)];
    let data = null;
    if (tensor.data) {
      data = arrayOfType(this.hbm.computing, product(shape));
      if (above) data.set(above.data);
      data.set(tensor.data.subarray(start * width, stop * width), (above?.shape[0] ?? 0) * width);
    }
    const value = new OnChip(shape, data, this.meter, data?.includes(-Infinity) ?? false), size = ITEMSIZE[tensor.dtype];
    this.hold(slot, value, product(shape) * size, true);
    const tile = { tensor: tensor.name, start, stop };
    this.tell("load", slot, tile, view.shape, product(view.shape) * size, line, above?.shape[0] ?? 0);
    return value;
  }

  hold(slot, value, nbytes, loaded) {
    const was = this.slots.get(slot);
    if (was) {
      this.held[was.loaded ? 0 : 1] -= was.nbytes;
      this.held[2] -= was.nbytes;
    }
    this.slots.set(slot, { value, nbytes, loaded });
    this.held[loaded ? 0 : 1] += nbytes;
    this.held[2] += nbytes;
    const of = (loads) => [...this.slots].filter(([, held]) => held.loaded === loads);
    this.limits.forEach(([place, room], n) => {
      if (this.held[n] > this.peak[n]) {
        this.peak[n] = this.held[n];
        this.fullest[n] = [...this.slots].filter(([, held]) => n === 2 || held.loaded === (n === 0)).map(([name, held]) => [name, held.nbytes, held.loaded]);
      }
      if (room === null || this.held[n] <= room) return;
      const those = [...(n !== 1 ? of(true) : []), ...(n !== 0 ? of(false) : [])];
      throw new DoesNotFit(place, room, this.held[n], those.map(([name, held]) => [name, held.nbytes]));
    });
  }

  tell(op, slot, tile, shape, nbytes, line, row = 0, value = null) {
    this.tape.step({ op, program: this.program, kernel: this.kernel, loops: this.loops, slot, tile, shape, nbytes, work: this.meter.read(), line, row }, value, this.times);
  }
}

/** The runs of blocks to count, in an order that leaves on chip the largest tiles that any of the loops leaves. */
function runsToCount(blocks, seen) {
  const runs = blocks.runs();
  if (seen) {
    const hidden = (block) => seen.mask.kinds(seen.queries ?? block, seen.keys ?? block).hidden;
    if (hidden(runs.at(-1)) > hidden(new Block(blocks.first, blocks.n))) return [runs.at(-1), ...runs.slice(0, -1)];
  }
  return runs;
}

/** The values of a slot hold no NaN and no infinity, but −∞ as a mask leaves it. */
function finite({ data, masked }, slot, { computing, tensors }) {
  for (const value of data) {
    if (!(value < Infinity) || (value === -Infinity && !masked)) {
      const given = tensors.has("dO") ? "q, k, v and dO" : "q, k and v";
      const most = finfo(computing).max.toPrecision(2);
      throw new Error(`${slot} grew past the largest ${computing} (${most}): scale ${given} down`);
    }
  }
}

function roundTo(data, dtype, name) {
  const stored = arrayOfType(dtype, data.length);
  for (let n = 0; n < data.length; n++) {
    stored[n] = rounded(data[n], dtype);
    if (Math.abs(stored[n]) === Infinity && Number.isFinite(data[n])) {
      throw new Error(`${name} holds ${data[n].toPrecision(6)}, past the largest ${dtype} (${grouped.format(LARGEST[dtype])})`);
    }
  }
  return stored;
}

// ---- dropout: which weights are dropped follows from a seed and their place (machine/dropout.py)

const WORD = (1n << 64n) - 1n;

function mixed(x) { // SplitMix64
  x = (x + 0x9E3779B97F4A7C15n) & WORD;
  x = ((x ^ (x >> 30n)) * 0xBF58476D1CE4E5B9n) & WORD;
  x = ((x ^ (x >> 27n)) * 0x94D049BB133111EBn) & WORD;
  return x ^ (x >> 31n);
}

export class Dropout {
  constructor(rate, seed) {
    this.rate = rate;
    this.start = mixed(mixed(BigInt(seed) & WORD));
  }

  kept(row, key) {
    const uniform = Number(mixed((mixed((this.start + BigInt(row)) & WORD) + BigInt(key)) & WORD) >> 11n) * 2 ** -53;
    return uniform < this.rate ? 0 : 1 / (1 - this.rate);
  }
}
