// A run that the engine recorded, as the player takes it: columns, names, captions and ranges, as player/pack.py has them.

const SHORT = { float16: "fp16", bfloat16: "bf16", float32: "fp32", float64: "fp64" };
const OPERATIONS = ["load", "store", "compute", "skip"];

/** {header, array} for the player's Run. `words` says of the algorithm's code, names and captions what Python knows. */
export function asRun(recorded, words) {
  const { events, values, algorithm, given, computing, peak } = recorded, { n, n_keys: keys, d } = given;
  const tensors = inOrder(recorded.tensors, words), slots = [...new Set(events.map(({ slot }) => slot).filter(Boolean))];
  const loops = [...new Map(events.map(({ loop }) => { const names = loop.map(([name]) => name); return [names.join(), names]; })).values()];
  const index = (names) => new Map(names.map((name, k) => [name, k + 1]));
  const slotAt = index(slots), tensorAt = index(tensors.map(({ name }) => name)), loopAt = new Map(loops.map((names, k) => [names.join(), k]));
  const said = captions(recorded, words), sentences = [...new Set(said)], sentenceAt = new Map(sentences.map((one, k) => [one, k]));
  const column = (f) => Float64Array.from(events, f);
  const arrays = {
    op: column((e) => OPERATIONS.indexOf(e.op)), program: column((e) => e.program), slot: column((e) => slotAt.get(e.slot) ?? 0),
    tensor: column((e) => e.tile ? tensorAt.get(e.tile.tensor) : 0), start: column((e) => e.tile?.start ?? 0), stop: column((e) => e.tile?.stop ?? 0),
    rows: column((e) => e.shape[0] ?? 0), columns: column((e) => e.shape[1] ?? 0), row: column((e) => e.row), bytes: column((e) => e.nbytes),
    flops: column((e) => e.flops), line: column((e) => e.line), loops: column((e) => loopAt.get(e.loop.map(([name]) => name).join())),
    round: rounds(events), caption: Float64Array.from(said, (one) => sentenceAt.get(one)),
  };
  loops.forEach((names) => names.forEach((_, depth) => {
    arrays[`index.${depth}`] ??= column((e) => e.loop[depth]?.[1] ?? 0);
  }));
  for (const tensor of tensors) arrays[`initial.${tensor.name}`] = tensor.initial;
  Object.assign(arrays, pools(events, values, tensors, computing));
  const range = ranges(recorded);
  const header = {
    title: algorithm, subtitle: subtitle(given), note: "", queries: n, keys, d, blockQ: given.block_q, blockK: given.block_k, heads: 1, kvHeads: 1,
    computing, tokens: words.tokens, steps: events.length, values: true, direction: words.direction, dtype: SHORT[given.dtype],
    slots: slots.map((name) => ({ ...named(name, words), range: range.get(name) ?? [0, 1] })),
    tensors: tensors.map((one) => ({ ...tensorWords(one, tensors, given, words), range: range.get(one.name) ?? [0, 1] })),
    loops, captions: sentences, code: words.code.map(([line, text, reads]) => [line, text, reads.filter((name) => slots.includes(name))]),
    room: given.device ? { bytes: given.device.shared + given.device.registers, of: given.device.title }
      : { bytes: given.sram ?? 2 ** Math.ceil(Math.log2(Math.max(1, peak[2]))), of: "toy" },
  };
  return { header, array: (name) => arrays[name] ?? new Float32Array(0) };
}

const named = (name, words) => ({ name, label: words.names[name]?.label ?? name, hue: words.names[name]?.hue ?? "stat" });

/** As films order them: queries, keys, values, …, gradients after what they are of. */
function inOrder(tensors, words) {
  const place = ({ name }) => words.names[name]?.place ?? [1, 99];
  return [...tensors].sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]);
}

/** A tensor, with what its rows and columns stand for. */
function tensorWords({ name, shape, dtype }, all, { n, n_keys: keys }, words) {
  const base = name.split("_")[0].replace(/^d/, "").toUpperCase(), mine = named(name, words);
  let rows = shape[0] === n ? "queries" : shape[0] % n === 0 && name.includes("_") ? "splits" : "";
  if (base === "K" || base === "V") rows = all.some((one) => one.name === "table") ? "pool" : "keys";
  if (name === "table") rows = "pages";
  const columns = mine.hue === "S" && shape.length === 2 && shape[1] === keys ? "keys" : "";
  return { ...mine, shape, dtype, rows, columns, ...(name[0] === "d" ? { gradient: true } : {}) };
}

export function subtitle({ n, n_keys: keys, d, block_q: q, block_k: k, dtype, mask, scale, softcap, dropout }) {
  const many = (count, one, more) => `${count.toLocaleString("en-US")} ${count === 1 ? one : more}`;
  const rows = n === keys ? many(n, "token", "tokens") : `${many(n, "query", "queries")}, ${many(keys, "key", "keys")}`;
  const brief = (x) => String(Number(x.toPrecision(6)));
  return [rows, `d ${d}`, `tiles ${q}×${k}`, SHORT[dtype], ...(mask ? [mask] : []),
    ...(scale && scale.toPrecision(3) !== (d ** -0.5).toPrecision(3) ? [`scale ${Number(scale.toPrecision(3))}`] : []),
    ...(softcap ? [`softcap ${brief(softcap)}`] : []), ...(dropout ? [`dropout ${brief(dropout)}`] : [])].join(", ");
}

/** All values one after another, by type: what was computed, and what was stored. */
function pools(events, values, tensors, computing) {
  const parts = new Map(), kinds = new Map(tensors.map(({ name, dtype }) => [name, dtype]));
  events.forEach((event, step) => {
    if (event.op !== "compute" && event.op !== "store") return;
    const kind = event.op === "compute" ? computing : kinds.get(event.tile.tensor);
    if (!parts.has(kind)) parts.set(kind, []);
    parts.get(kind).push(values[step]);
  });
  return Object.fromEntries([...parts].map(([kind, list]) => {
    const all = new (kind === "float64" ? Float64Array : Float32Array)(list.reduce((size, one) => size + one.length, 0));
    let at = 0;
    for (const one of list) { all.set(one, at); at += one.length; }
    return [`values.${kind}`, all];
  }));
}

/** The lowest and highest finite value of each tensor and slot. As story/ranges.py. */
function ranges({ events, values, tensors }) {
  const found = new Map();
  const widen = (name, low, high) => {
    const was = found.get(name);
    found.set(name, was ? [Math.min(low, was[0]), Math.max(high, was[1])] : [low, high]);
  };
  const widenBy = (name, data) => {
    let low = Infinity, high = -Infinity;
    for (const x of data) if (Number.isFinite(x)) { if (x < low) low = x; if (x > high) high = x; }
    if (low <= high) widen(name, low, high);
  };
  for (const { name, initial } of tensors) widenBy(name, initial);
  events.forEach(({ tile, slot }, step) => { if (values[step]) widenBy(tile ? tile.tensor : slot, values[step]); });
  for (const { op, slot, tile } of events) if (op === "load" && found.has(tile.tensor)) widen(slot, ...found.get(tile.tensor));
  if (found.has("P")) found.set("P", [0, found.get("P")[1]]);
  return found;
}

/** Which inner tile each event belongs to: its own, or, around the inner loop, the next, or the last. As story/rounds.py. */
function rounds(events) {
  const depth = new Map(), numbers = new Map(), name = ({ program, loop }) => `${program}|${loop.join("|")}`;
  for (const { program, loop } of events) depth.set(program, Math.max(depth.get(program) ?? 0, loop.length));
  for (const event of events) {
    const inner = event.loop.length && event.loop.length === depth.get(event.program);
    if (inner && (event.op === "compute" || event.op === "skip") && !numbers.has(name(event))) numbers.set(name(event), numbers.size);
  }
  const own = events.map((event) => numbers.get(name(event)) ?? -1), found = new Float64Array(events.length);
  let following = -1, owner = -1;
  for (let n = events.length - 1; n >= 0; n--) {
    if (own[n] >= 0) [following, owner] = [own[n], events[n].program];
    found[n] = own[n] < 0 && following >= 0 && events[n].program === owner ? following : own[n];
  }
  let last = 0;
  for (let n = 0; n < found.length; n++) last = found[n] = found[n] < 0 ? last : found[n];
  return found;
}

/** What is said at the start and at each step. As story/captions.py. */
function captions({ events, values, given }, words) {
  const said = [words.opening];
  let standing = "", scores = null, owner = -1;
  events.forEach((event, step) => {
    const value = values[step];
    standing = words.captions[event.line] || standing;
    if (event.slot === "S" && value) [scores, owner] = [{ value, shape: event.shape }, event.program];
    const tile = owner === event.program ? scores : null;
    if (event.op === "skip") said.push(words.skipped);
    else if (event.slot === "alpha" && value && tile) said.push(shrunk(event, value, tile, given, words) || standing);
    else said.push(standing);
  });
  return said;
}

/** What to say where a max moved: that of the row that shrinks most. */
function shrunk({ loop }, alpha, { value, shape }, { n, n_keys: keys, block_q: q, block_k: k }, { tokens, least }) {
  let row = -1;
  alpha.forEach((x, r) => { if (x > least && x < 1 && (row < 0 || x < alpha[row])) row = r; });
  if (row < 0 || alpha.length !== shape[0]) return "";
  let best = 0;
  for (let c = 1; c < shape[1]; c++) if (value[row * shape[1] + c] > value[row * shape[1] + best]) best = c;
  const at = Object.fromEntries(loop), query = (at.i ?? 0) * q + row, key = (at.j ?? 0) * k + best;
  const token = (name, index, shift) => tokens && index + shift < tokens.length ? `“${tokens[index + shift]}”` : `${name} ${index}`;
  const ending = `its old sum and output shrink by α = ${alpha[row].toFixed(2)}.`;
  let told = `${token("key", key, Math.max(0, n - keys))} beats the old max of ${token("query", query, Math.max(0, keys - n))}: ${ending}`;
  if (told.length > 90) told = `A larger score in row ${query}: ${ending}`;
  return told[0].toUpperCase() + told.slice(1);
}
