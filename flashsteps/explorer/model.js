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

/**
 * The tiles of S that the run makes: {rows, columns, kinds} with 2 full, 1 cut, 0 hidden; `each` tiles a side to a cell, where
 * there are too many; `size` of a tile. Standard attention makes S in strips, each against all keys, and skips none.
 */
export function tileMap(state) {
  const strips = state.a === standardOf(state.a);
  return once(`map ${strips}`, settings(state), () => {
    const { n, block_q: q, block_k, mask } = settings(state), k = strips ? n : block_k, parsed = engine.parseMask(mask, n, n);
    const across = [Math.ceil(n / q), Math.ceil(n / k)], each = across.map((count) => Math.ceil(count / CELLS));
    const [high, wide] = [q * each[0], k * each[1]], [rows, columns] = [Math.ceil(n / high), Math.ceil(n / wide)];
    const visited = tilesVisited(parsed, n, q, k);
    return { rows, columns, kinds: strips ? new Array(rows).fill(2) : parsed.grid(high, wide), across, each, visited, hides: parsed.hides, size: [q, k], strips };
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

/** The kernels in their order: {makes: the tensors that it writes, programs: what each moves}; null where those are too many to go through. */
export function kernelsOf(state) {
  const { n, a } = state;
  if (n > DRAWN) return null;
  return once(`kernels ${a}`, settings(state), () => {
    const kernels = [];
    for (const one of engine.programs(a, settings(state))) {
      const kernel = kernels[one.kernel] ??= { makes: new Set(), programs: [] };
      kernel.programs.push(one);
      for (const [name, [, written]] of Object.entries(one.moved)) if (written) kernel.makes.add(name);
    }
    return kernels.map(({ makes, programs }) => ({ makes: [...makes], programs }));
  });
}

/** Room on chip: {shared, registers} of a device, {total} of a toy; null where the toy is as large as is needed. */
export function room(state, devices) {
  const device = devices[state.on];
  if (device) return { shared: device.shared, registers: device.registers, title: device.title };
  return state.on === "toy" ? null : { total: Number(state.on) };
}

/**
 * Whether it fits: {fits, grows, ideal, title, places: [{place, need, room, slots, fits}]}: each memory with what it holds when
 * it is fullest. A GPU has two, shared memory for what was loaded and registers for what was made; a toy has one.
 */
export function fitting(state, devices) {
  const { peak, fullest } = counted(state.a, state), limit = room(state, devices), ideal = engine.ALGORITHMS[state.a].ideal_products;
  const place = (name, n, most) => ({ place: name, need: peak[n], room: most, slots: fullest[n], fits: ideal || peak[n] <= most });
  const places = limit?.shared ? [place("shared memory", 0, limit.shared), place("registers", 1, limit.registers)]
    : [place("toy SRAM", 2, limit?.total ?? 2 ** Math.ceil(Math.log2(Math.max(1, peak[2]))))];
  return { fits: places.every(({ fits }) => fits), grows: !limit, ideal, title: limit?.title, places };
}

/** The sides of the tile that change what is moved, without a mask: block_q, block_k, both or neither; asked of the engine. */
export function sidesThatCount(a) {
  return once("sides", a, () => {
    const bytes = (bq, bk) => counted(a, { bq, bk, mask: "none", n: 64, d: 32, type: "float16" }).total;
    return [bytes(8, 4) !== bytes(4, 4) ? "bq" : "", bytes(4, 8) !== bytes(4, 4) ? "bk" : ""].filter(Boolean);
  });
}

/** The side that is tried: the first that counts. */
export const sideOf = (a) => sidesThatCount(a)[0] ?? "bq";

/** Bytes at all N, or at all sizes of the side that counts, the other side as it is: [[x, bytes], …]. */
export const overTokens = (a, state) => [...new Set([...SHOWN, state.n])].sort((x, y) => x - y).map((n) => [n, counted(a, { ...state, n }).total]);
export const overTiles = (a, state) => [...new Set([...TILES, Math.min(state[sideOf(a)], state.n)])].filter((b) => b <= state.n).sort((x, y) => x - y)
  .map((b) => [b, counted(a, { ...state, [sideOf(a)]: b }).total]);

/** The smallest size of the side that counts, the other as it is, from which on it moves less than standard attention; 0 where there is none. */
export function crossover(state) {
  if (state.a === standardOf(state.a)) return null;
  const side = sideOf(state.a), level = counted(standardOf(state.a), state).total, most = Math.min(state.n, 4096);
  const less = (b) => counted(state.a, { ...state, [side]: b }).total < level;
  return once("crossover", [state.a, settings({ ...state, [side]: 1 })], () => {
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
