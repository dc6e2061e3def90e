// Running an algorithm: `record` writes each step down, `count` only adds up what would move. As runs/record.py and runs/counting.py.

import { HBM, SRAM, Dropout } from "./machine.js";
import { BlockMask, parseMask } from "./masks.js";
import { ALGORITHMS } from "./algorithms.js"; // by name {attend, tensors, …}, made from Python by translate.py

const OPS = ["load", "store", "compute", "skip"];
const ADDRESSES = ["table", "starts", "columns"];

/** Blocks, masks and scale as an algorithm takes them. `given` names what Python's `record` does, and n, n_keys, d. */
function options(given) {
  const { n, n_keys: keys = n, d } = given, block = (size, most) => Math.min(size ?? 64, most);
  const found = { block_q: block(given.block_q, n), block_k: block(given.block_k, keys), mask: parseMask(given.mask ?? null, n, keys),
    scale: given.scale ?? d ** -0.5, softcap: given.softcap ?? null, splits: given.splits ?? 8 };
  found.dropout = given.dropout ? new Dropout(given.dropout, given.seed ?? 0) : null;
  if (given.block_mask) found.block_mask = new BlockMask(given.block_mask, found.mask, found.block_q, found.block_k);
  return found;
}

/** What is in HBM before the run: what was given, what says where things lie, and what the forward pass saved. */
function initial(algorithm, hbm, given, taken) {
  const { tensors, needs, saved_by: savedBy } = ALGORITHMS[algorithm], { n, n_keys: keys = n, d } = given;
  const lists = taken.block_mask?.lists(), pool = given.table ? 2 * Math.ceil(keys / taken.block_k) * taken.block_k : keys;
  const shapes = { Q: [n, d], K: [pool, d], V: [pool, d], dO: [n, d] };
  const wanted = tensors.filter((name) => !needs[name] || taken[needs[name]] != null);
  for (const name of wanted) {
    if (ADDRESSES.includes(name)) {
      const list = name === "table" ? given.table : lists[name];
      hbm.tensor(name, [list.length], hbm.counting ? null : list, "int32");
    } else if (shapes[name]) {
      hbm.tensor(name, shapes[name], hbm.counting ? null : given[name]);
    }
  }
  if (savedBy) {
    const before = new HBM(hbm.storage, hbm.counting);
    initial(savedBy, before, given, taken);
    run(savedBy, before, new SRAM(before, { step() {} }, {}, taken.by_runs), taken);
    for (const name of wanted) if (!hbm.tensors.has(name)) hbm.tensors.set(name, before.tensors.get(name));
  }
  return wanted;
}

function run(algorithm, hbm, sram, taken) {
  const { attend, tensors } = ALGORITHMS[algorithm];
  const found = Object.fromEntries(tensors.map((name) => [name, hbm.tensors.get(name) ?? null]));
  attend(hbm, sram, { ...taken, ...found });
}

/** The room on chip: {shared, registers, total}. An algorithm whose products are ideal is never refused. */
function capacity(algorithm, { sram = null, device = null }) {
  if (ALGORITHMS[algorithm].ideal_products) return {};
  return device ? { shared: device.shared, registers: device.registers } : { total: sram };
}

/**
 * Runs an algorithm: Q, K, V (and dO) are flat arrays of numbers, row by row. Gives columns of events as pack.py has them,
 * values, HBM as it was found and as it is left, and the peak. Throws DoesNotFit, or an Error of one line.
 */
export function record(algorithm, given) {
  const taken = { ...options(given), by_runs: false }, dtype = given.dtype ?? "float16", hbm = new HBM(dtype, false);
  const tape = new Recorder();
  const sram = new SRAM(hbm, tape, capacity(algorithm, given), false);
  const wanted = initial(algorithm, hbm, given, taken), start = new Map(wanted.map((name) => [name, hbm.tensors.get(name).data.slice()]));
  run(algorithm, hbm, sram, taken);
  const tensors = [...hbm.tensors.values()].map(({ name, shape, dtype: kind, data }) => ({ name, shape, dtype: kind, data,
    initial: start.get(name) ?? data.slice().fill(NaN) }));
  return { algorithm, given: { ...given, n_keys: given.n_keys ?? given.n, block_q: taken.block_q, block_k: taken.block_k, scale: taken.scale, dtype,
    mask: taken.mask.name }, computing: hbm.computing, events: tape.events, values: tape.values, tensors, peak: sram.peak };
}

/** What `record` would move, without any data: {by_tensor: {Q: [read, written], …}, total, work, skipped, peak, fullest}. */
export function count(algorithm, given) {
  const taken = options(given), hbm = new HBM(given.dtype ?? "float16", true), tape = new Tally();
  taken.by_runs = !taken.block_mask;
  const sram = new SRAM(hbm, tape, capacity(algorithm, given), taken.by_runs);
  initial(algorithm, hbm, given, taken);
  run(algorithm, hbm, sram, taken);
  const byTensor = Object.fromEntries([...hbm.tensors.keys()].filter((name) => tape.moved.has(name)).map((name) => [name, tape.moved.get(name)]));
  const total = [...tape.moved.values()].reduce((sum, [read, written]) => sum + read + written, 0);
  return { by_tensor: byTensor, total, work: tape.work, skipped: tape.skipped, peak: sram.peak, fullest: sram.fullest };
}

/** What each program moves, without any data, one after another: [{kernel, loop, moved: {K: [read, written], …}}, …]. */
export function programs(algorithm, given) {
  const taken = { ...options(given), by_runs: true }, hbm = new HBM(given.dtype ?? "float16", true), found = [];
  const tape = { step({ op, program, kernel, loops, tile, nbytes }, value, times) {
    found[program] ??= { kernel, loop: [...loops], moved: {} };
    const side = OPS.indexOf(op);
    if (side <= 1) (found[program].moved[tile.tensor] ??= [0, 0])[side] += nbytes * times;
  } };
  initial(algorithm, hbm, given, taken);
  run(algorithm, hbm, new SRAM(hbm, tape, {}, "inside"), taken);
  return found;
}

/** A tape that keeps each event, and its value. */
class Recorder {
  constructor() {
    this.events = [];
    this.values = [];
  }

  step({ op, program, loops, slot, tile, shape, nbytes, work, line, row }, value) {
    this.events.push({ op, program, loop: [...loops], slot, tile, shape, nbytes, work, flops: work.matmul + work.exp + work.other, line, row });
    this.values.push(value);
  }
}

/** A tape that adds up, each event as many times as it happens. */
class Tally {
  constructor() {
    this.moved = new Map();
    this.work = { matmul: 0, exp: 0, other: 0 };
    this.skipped = 0;
  }

  step({ op, tile, nbytes, work }, value, times) {
    for (const kind of Object.keys(this.work)) this.work[kind] += work[kind] * times;
    const side = OPS.indexOf(op);
    if (op === "skip") this.skipped += times;
    if (side > 1) return;
    if (!this.moved.has(tile.tensor)) this.moved.set(tile.tensor, [0, 0]);
    this.moved.get(tile.tensor)[side] += nbytes * times;
  }
}
