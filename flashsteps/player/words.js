// What things are called, and what is said of them. All of it is text: names may come from a stranger's file.

import { LOAD, STORE, COMPUTE, lastUpTo } from "./run.js";
import { formula, meaning } from "./explain.js";

/** Whole numbers with a comma for thousands. */
export const whole = (n) => Math.abs(n) < 999.5 ? String(Math.round(n)) : grouped.format(Math.round(n));
const grouped = new Intl.NumberFormat("en-US");

/** With so many places, as Python rounds: of two numbers that are as near, the even one. */
function rounded(x, places = 0) {
  const tie = places ? x % 1 === 0.25 : x % 2 === 0.5; // of which toFixed takes the larger
  return (tie ? x - (places ? 0.05 : 0.5) : x).toFixed(places).replace(/\B(?=(\d{3})+\b)/g, ",");
}

/** Bytes as people read them, 6,144 B, 16.5 KB: as units.py has them. */
export function sizeOf(bytes) {
  if (bytes < 10000) return `${rounded(bytes)} B`;
  for (const unit of ["KB", "MB", "GB"]) {
    bytes /= 1000;
    if (bytes < 999.5) return `${rounded(bytes, bytes < 99.95 ? 1 : 0)} ${unit}`;
  }
  return `${rounded(bytes / 1000, 1)} TB`;
}

/** A value as short as a cell wants it: at most five signs; no minus zero. */
export function short(value, digits = 2) {
  if (Number.isNaN(value)) return "·";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  const size = Math.abs(value);
  if (size >= 9999.5) return value.toExponential(0).replace("e+", "e").replace("-", "−");
  const text = value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? Math.min(digits, 1) : digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

/** A value with five digits, for where there is room. */
export function exact(value) {
  if (Number.isNaN(value)) return "not written yet";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  return String(Number(value.toPrecision(5)) + 0).replace("-", "−");
}

/** Of very many tensors, slots or tiles, as only a stranger's trace has them, so many are shown. */
export const MOST_SHOWN = 60;

/** `m_{new}` as [name, subscript]. */
export function labelParts(label) {
  const found = /^(.*)_\{(.*)\}$/.exec(label);
  return found ? [found[1], found[2]] : [label, ""];
}

/** A label as plain text: m_new. */
export const plainLabel = (label) => labelParts(label).filter(Boolean).join("_");

/** `one step`, `2 steps`. */
export const times = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`;

/** Some of a list of numbers, and how many more there are. */
export function listed(numbers, most = 5) {
  const some = numbers.slice(0, most).map(whole).join(", ");
  return numbers.length > most ? `${some} … ${whole(numbers.at(-1))} (${whole(numbers.length)} in all)` : some;
}

// ---- rows and columns

/** What a query is called: its token, or its number; {name, index, head}. Fewer queries than keys are the last ones. */
export function queryName(run, query, head = 0) {
  const token = run.tokens?.[query + Math.max(0, run.keys - run.queries)];
  const many = run.heads > 1; // a row says whose it is
  return { name: `${token ?? query}${many ? ` · h${head}` : ""}`, index: `query ${query}${many ? `, head ${head}` : ""}` };
}

export function keyName(run, key) {
  const token = run.tokens?.[key + Math.max(0, run.queries - run.keys)];
  return { name: token ?? String(key), index: `key ${key}` };
}

/** What a row of a tensor, or a row of packed queries, is called. `axis` is what such rows stand for. */
export function rowName(run, axis, row) {
  const group = run.heads / run.kvHeads;
  if (axis === "queries") {
    const part = Math.floor(row / (run.queries * group)), within = row % (run.queries * group);
    return queryName(run, Math.floor(within / group), part * group + within % group);
  }
  if (axis === "keys") return keyName(run, row % run.keys);
  if (axis === "pool") {
    const within = row % (run.tensors.find((one) => one.rows === "pool").shape[0] / run.kvHeads);
    const page = Math.floor(within / run.blockK), key = logicalPage(run, page) * run.blockK + within % run.blockK;
    if (key < 0 || key >= run.keys) return { name: `row ${row}`, index: `page ${page}, in use by others` };
    const { name, index } = keyName(run, key);
    return { name, index: `${index}, in page ${page}` };
  }
  if (axis === "splits") {
    const rows = run.queries * run.heads, { name, index } = rowName(run, "queries", row % rows);
    return { name, index: `${index}, piece ${Math.floor(row / rows)} of the keys` };
  }
  if (axis === "pages") return { name: String(row), index: `keys ${row * run.blockK} on` };
  return { name: String(row), index: `row ${row}` };
}

/** Which block of keys lies in a page of the pool; far below 0 where none does. */
function logicalPage(run, page) {
  run.pageOf ??= new Map([...run.initial[run.tensors.findIndex((one) => one.name === "table")] ?? []]
    .map((at, index) => [at, index]));
  return run.pageOf.get(page) ?? -1e9;
}

/** The rows of the queries, and the keys, of the tile that a step works on: {query, key}, each the first row. */
export function tileOrigin(run, step) {
  const h = Math.max(0, run.loopAt("h", step)), group = run.heads / run.kvHeads;
  return {
    query: h * run.queries * group + Math.max(0, run.loopAt("i", step)) * run.blockQ * group,
    key: Math.max(0, run.loopAt("j", step)) * run.blockK,
  };
}

/** What row r and column c of a slot stand for, as `made` filled it: [name, name], either may be null. */
export function slotNames(run, made) {
  const { op, slot, tensor, start, left, row, columns } = run.columns;
  const one = run.slots[slot[made] - 1];
  if (op[made] === LOAD) {
    const of = run.tensors[tensor[made] - 1];
    return [(r) => rowName(run, of.rows, start[made] - row[made] + r), of.columns === "keys" ? (c) => keyName(run, left[made] + c) : null];
  }
  const { query, key } = tileOrigin(run, made);
  const ofKeys = columns[made] > 0 && one.hue !== "S" && /^d?[kv]/i.test(one.name);
  const rows = ofKeys ? (r) => keyName(run, (key + r) % run.keys) : (r) => rowName(run, "queries", query + r);
  return [rows, one.hue === "S" && columns[made] ? (c) => keyName(run, key + c) : null];
}

// ---- steps

/** `K[4:8]`, by the name that is on screen; `B[4:8, 0:4]` where it has not all columns. */
export const tileName = (run, { tensor, start, stop, left, right }) =>
  `${plainLabel(run.tensors[tensor].label)}[${start}:${stop}${right ? `, ${left}:${right}` : ""}]`;

/** A step in a few words: `load K[4:8] → k`. */
export function stepWords(run, step) {
  if (step < 0) return "start";
  const { op, slot, tensor } = run.columns;
  const name = slot[step] ? plainLabel(run.slots[slot[step] - 1].label) : "";
  const tile = tensor[step] ? tileName(run, run.placeAt(step)) : "";
  if (op[step] === LOAD) return `load ${tile} → ${name}`;
  if (op[step] === STORE) return `store ${name ? `${name} → ` : ""}${tile}`;
  return op[step] === COMPUTE ? `compute ${name}` : `skip ${tile}`;
}

export const loopWords = (run, step) => step < 0 ? "" : run.loopsAt(step).map(([name, at]) => `${name} = ${at}`).join("  ");

/** What step made a value: `made at step 117 from q, k`. */
export function madeWords(run, made) {
  if (run.columns.op[made] === LOAD) return `loaded at step ${whole(made)} from ${tileName(run, run.placeAt(made))}`;
  const from = run.readsAt(made).map((slot) => plainLabel(run.slots[slot].label));
  return `made at step ${whole(made)}${from.length ? ` from ${from.join(", ")}` : ""}`;
}

/** The lines of a tip about a value in a slot: what, where, who made it, who read it. */
export function slotTip(run, slot, made, value, r, c) {
  const one = run.slots[slot], name = plainLabel(one.label);
  if (made < 0) return [name, "empty"];
  const [rows, columns] = slotNames(run, made);
  const row = rows(r), column = columns ? columns(c) : null, width = value?.columns;
  const at = [row.name, column ? column.name : width ? `${c}` : ""].filter((part) => part !== "").join(", ");
  const number = value && r < value.rows && c < (width || 1) ? exact(value.data[r * (width || 1) + c]) : "";
  const readers = run.readers(made);
  const how = value && r < value.rows ? formula(run, made, r, c) : "";
  return [
    `${name}[${at}]${number ? ` = ${number}` : ""}`,
    [row.index, column ? column.index : width ? `column ${c}` : ""].filter(Boolean).join(", "),
    how ? `${name} = ${how}` : meaning(one.name),
    madeWords(run, made),
    readers.length ? `read at ${readers.length > 1 ? "steps" : "step"} ${listed(readers)}` : "read by no step",
  ].filter(Boolean);
}

/** The lines of a tip about a value in HBM. */
export function tensorTip(run, tensor, step, r, c) {
  const one = run.tensors[tensor], width = one.shape[1];
  const row = rowName(run, one.rows, r), column = one.columns === "keys" ? keyName(run, c) : null;
  const value = run.rowsAt(tensor, r, r + 1, step)[c];
  const store = run.storeOf(tensor, lastUpTo(one.cuts, r), step);
  const unknown = Number.isNaN(value) && store >= 0;
  const tile = run.tileOf(tensor, r);
  const lines = [
    `${plainLabel(one.label)}[${[row.name, column ? column.name : width ? `${c}` : ""].filter((part) => part !== "").join(", ")}] = ${unknown ? "value not kept" : exact(value)}`,
    [row.index, column ? column.index : width ? `column ${c}` : ""].filter(Boolean).join(", "),
    store >= 0 ? `stored at step ${whole(store)}` : Number.isNaN(value) ? "" : "there from the start",
  ];
  if (tile) {
    const [loads, stores] = tile.moves;
    lines.push(`${tileName(run, tile)}: loaded ${times(loads.length, "time")}${loads.length ? `, at ${listed(loads, 4)}` : ""}`);
    if (stores.length) lines.push(`stored ${times(stores.length, "time")}, at ${listed(stores, 4)}`);
    lines.push(besides(run, tile));
  }
  return lines.filter(Boolean);
}

/** How often rows of a tile move as part of others: `and stored once with O[0:16]`; "" where they never do. */
export function besides(run, tile) {
  const others = run.across(tile), of = others.length === 1 ? tileName(run, others[0]) : "other tiles";
  const counted = [[LOAD, "loaded"], [STORE, "stored"]].flatMap(([side, done]) => {
    const n = others.reduce((sum, other) => sum + other.moves[side].length, 0);
    return n ? [`${done} ${n === 1 ? "once" : times(n, "time")}`] : [];
  });
  return counted.length ? `and ${counted.join(", ")} with ${of}` : "";
}

/** A tile of S in a few words: `tile i 2, j 1`. */
export function visitName(visit) {
  const at = [visit.i >= 0 ? `i = ${visit.i}` : "", visit.j >= 0 ? `j = ${visit.j}` : ""].filter(Boolean).join(", ");
  return at || "tile";
}

/** The rows that a tile of S is about, in words. */
export function tileRanges(run, i, j) {
  const span = (one, many, block, size, most) => {
    const first = block * size, last = Math.min(first + size, most) - 1;
    return block < 0 ? `all ${many}` : last > first ? `${many} ${first}–${last}` : `${one} ${first}`;
  };
  return { queries: span("query", "queries", i, run.blockQ, run.queries), keys: span("key", "keys", j, run.blockK, run.keys) };
}
