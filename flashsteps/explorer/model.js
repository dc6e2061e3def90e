// What a state comes to: counts, tiles, slots, programs and curves, each worked out by the engine and kept. Nothing here draws.

import { engine } from "./engine.js"; // arrays.js … as_run.js, joined
import { TILES, DRAWN, maskFor } from "./state.js";

/** At most so many tiles a side are drawn; of more, each cell stands for a square of them. */
const CELLS = 64;

/** The tokens that a curve goes through, besides those at hand: straight lines between them hide nothing. */
const SHOWN = [16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576];

const kept = new Map();

/** Remembers what a function of plain data gave, for the last few hundred arguments. */
function once(name, given, make) {
  const key = `${name}${JSON.stringify(given)}`;
  if (!kept.has(key)) {
    if (kept.size > 4000) kept.clear();
    kept.set(key, make());
  }
  return kept.get(key);
}

/** An algorithm's settings as the engine takes them. */
export const settings = ({ bq, bk, mask, n, d, type }) => ({ n, n_keys: n, d, block_q: Math.min(bq, n), block_k: Math.min(bk, n), mask: maskFor(mask, n), dtype: type });

export const counted = (a, state) => once(a, settings(state), () => engine.count(a, settings(state)));

export const standardOf = (a) => `standard-${engine.ALGORITHMS[a].direction}`;

/** The tiles of S: {rows, columns, kinds} with 2 full, 1 cut, 0 hidden; `each` tiles a side to a cell, where there are too many. */
export function tileMap(state) {
  return once("map", settings(state), () => {
    const { n, block_q: q, block_k: k, mask } = settings(state), parsed = engine.parseMask(mask, n, n);
    const across = [Math.ceil(n / q), Math.ceil(n / k)], each = across.map((count) => Math.ceil(count / CELLS));
    const [high, wide] = [q * each[0], k * each[1]], [rows, columns] = [Math.ceil(n / high), Math.ceil(n / wide)];
    const visited = tilesVisited(parsed, n, q, k);
    return { rows, columns, kinds: parsed.grid(high, wide), across, each, visited, hides: parsed.hides };
  });
}

/** How many tiles are visited at all, and how many there are: runs of equal blocks, by arithmetic. */
function tilesVisited(mask, n, q, k) {
  const runs = (size) => {
    const whole = Math.floor(n / size), rest = n % size;
    return [...(whole ? [{ start: 0, stop: size, times: whole }] : []), ...(rest ? [{ start: n - rest, stop: n, times: 1 }] : [])];
  };
  let seen = 0;
  for (const i of runs(q)) for (const j of runs(k)) { const { full, cut } = mask.kinds(i, j); seen += full + cut; }
  return [seen, Math.ceil(n / q) * Math.ceil(n / k)];
}

/** What each program moves; null where that is too many to go through. */
export function programsOf(state) {
  const { n, a } = state;
  if (n > DRAWN) return null;
  return once(`programs ${a}`, settings(state), () => engine.programs(a, settings(state)));
}

/** Room on chip: {shared, registers} of a device, {total} of a toy; null where the toy is as large as is needed. */
export function room(state, devices) {
  const device = devices[state.on];
  if (device) return { shared: device.shared, registers: device.registers, title: device.title };
  return state.on === "toy" ? null : { total: Number(state.on) };
}

/** Whether it fits: {fits, place, need, room}; what is needed most beside what there is. */
export function fitting(state, devices) {
  const { peak } = counted(state.a, state), limit = room(state, devices), ideal = engine.ALGORITHMS[state.a].ideal_products;
  const least = 2 ** Math.ceil(Math.log2(Math.max(1, peak[2])));
  if (ideal) return { fits: true, ideal, place: "SRAM", need: peak[2], room: least };
  if (!limit) return { fits: true, place: "toy SRAM", need: peak[2], room: least };
  if (limit.total) return { fits: peak[2] <= limit.total, place: "toy SRAM", need: peak[2], room: limit.total };
  const parts = [["shared memory", peak[0], limit.shared], ["registers", peak[1], limit.registers]];
  const worst = parts.sort((x, y) => y[1] / y[2] - x[1] / x[2])[0];
  return { fits: worst[1] <= worst[2], place: worst[0], need: worst[1], room: worst[2], title: limit.title };
}

/** Bytes at all N, or at all tile sizes: [[x, bytes], …]; a tile is square there, so that one number says it. */
export const overTokens = (a, state) => [...new Set([...SHOWN, state.n])].sort((x, y) => x - y).map((n) => [n, counted(a, { ...state, n }).total]);
export const overTiles = (a, state) => TILES.filter((b) => b <= state.n).map((b) => [b, counted(a, { ...state, bq: b, bk: b }).total]);

/** The smallest tile b×b from which on it moves less than standard attention; 0 where there is none. As player/ending.py. */
export function crossover(state) {
  if (state.a === standardOf(state.a)) return null;
  const level = counted(standardOf(state.a), state).total, most = Math.min(state.n, 4096);
  const less = (b) => counted(state.a, { ...state, bq: b, bk: b }).total < level;
  return once("crossover", [state.a, settings({ ...state, bq: 1, bk: 1 })], () => {
    const powers = [];
    for (let b = 1; b < most; b *= 2) powers.push(b);
    powers.push(most);
    while (powers.length && less(powers.at(-1))) {
      let high = powers.pop(), low = powers.at(-1) ?? 0;
      if (low && less(low)) continue;
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (less(middle)) high = middle;
        else low = middle;
      }
      return high;
    }
    return 0;
  });
}

/** One number in words: what this run moves beside standard attention. */
export const ratio = (state) => counted(state.a, state).total / counted(standardOf(state.a), state).total;
