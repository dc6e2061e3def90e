// The stage: HBM and its tensors, the bus, SRAM and its slots. Each part has `show(step)`.

import { LOAD, STORE, COMPUTE, lastUpTo } from "./run.js";
import { MOST_SHOWN, short, sizeOf, whole, labelParts, plainLabel, rowName, slotNames, slotTip, tensorTip, tileName } from "./words.js";
import { formula, meaning, tellingRow } from "./explain.js";
import { el, say, toggle, labelled, mix, css, onto, share, ramp, Texture, Pointed } from "./draw.js";

/** A label of at least so many px of rows, so that labels never touch. */
const PITCH = 15;

/** Where a tile's frame begins and ends across its tensor: at its edges, or around some of its columns. */
const sides = ({ shape }, tile) => tile?.right
  ? { left: `calc(${tile.left / shape[1] * 100}% - 3px)`, right: `calc(${100 - tile.right / shape[1] * 100}% - 3px)` } : { left: "", right: "" };


/** A name tells what it stands for, to whoever points at it. */
function explained(name, host, tell) {
  name.addEventListener("pointerenter", () => {
    const box = name.getBoundingClientRect();
    host.tip.show(tell().filter(Boolean), { left: box.left, top: box.top, width: box.width, height: box.height }, false, name);
  });
  name.addEventListener("pointerleave", () => host.tip.hide(name));
}

/** The formula of what a slot holds, with the numbers of one of its rows: of α, the row that shrinks most. */
function filledIn(run, slot, step) {
  const made = run.holder(slot, step);
  if (made < 0 || !run.values || run.columns.op[made] !== COMPUTE) return "";
  const row = tellingRow(run, made), how = formula(run, made, row, 0);
  return how ? `row ${slotNames(run, made)[0](row).name}: ${how}` : "";
}

// ---- HBM

export class Hbm {
  constructor(run, host) {
    this.run = run;
    this.host = host;
    this.columns = run.tensors.slice(0, MOST_SHOWN).map((one, n) => this.column(one, n));
    const { names, all } = this.labels();
    this.names = names;
    this.tensors = el("div", { class: "tensors" }, ...all);
    this.note = el("small", {});
    this.element = el("section", { class: "panel hbm", "aria-label": "HBM" },
      el("h2", {}, "HBM", this.note), this.tensors);
    new ResizeObserver(() => this.measure()).observe(this.tensors);
  }

  column(one, n) {
    const { run, host } = this, rows = one.shape[0], width = one.shape[1] ?? 1;
    const texture = new Texture(rows, width);
    const above = el("i", { class: "veil" }), below = el("i", { class: "veil" }), frame = el("i", { class: "frame" }), kept = el("i", { class: "frame kept" });
    const matrix = el("div", { class: "matrix" }, texture.canvas, above, below, frame, kept);
    const head = labelled(labelParts(one.label), { class: "name" });
    explained(head, host, () => [`${plainLabel(one.label)} in HBM, ${one.shape.join(" × ")}, ${one.dtype}`, meaning(one.name)]);
    const element = el("figure", { class: `tensor${one.gradient ? " gradient" : ""}${one.shape.length > 1 ? "" : " vector"}` },
      el("figcaption", {}, head), matrix);
    element.style.setProperty("--hue", `var(--${one.hue})`);
    element.hidden = !rows; // a list of nothing
    if (one.shape.length > 1) element.style.flexGrow = one.columns === "keys" ? 1.6 : 1;
    else element.style.flexBasis = `${Math.max(18, 9 * plainLabel(one.label).length)}px`;
    const pointed = new Pointed(matrix, {
      label: `${one.name} in HBM, ${one.shape.join(" × ")}, ${one.dtype}. Arrow keys read its values, Enter keeps its tile`,
      rows, columns: width, tip: host.tip,
      tell: (r, c) => tensorTip(run, n, host.step, r, c),
      choose: (r) => host.select(run.tileOf(n, r)),
      maker: (r) => run.storeOf(n, lastUpTo(one.cuts, r), host.step),
    });
    return { one, texture, matrix, above, below, frame, kept, element, pointed, shown: one.segments.map(() => -2) };
  }

  /** Row labels: one column for the queries, another for the keys where those are not the same rows. */
  labels() {
    const names = [], all = [], seen = new Set();
    for (const column of this.columns) {
      const { rows } = column.one, length = column.one.shape[0];
      const kind = rows === "keys" && this.run.keys === this.run.queries && this.run.heads === this.run.kvHeads ? "queries" : rows;
      if ((kind === "queries" || kind === "keys" || kind === "pool" || kind === "splits") && !seen.has(`${kind}${length}`)) {
        seen.add(`${kind}${length}`);
        const list = el("div", { class: "labels", "aria-hidden": "true" });
        names.push({ rows: length, axis: kind, list, spans: [] });
        all.push(list);
      }
      all.push(column.element);
    }
    return { names, all };
  }

  /** Row heights and labels for the room there is. */
  measure() {
    const room = this.tensors.clientHeight - 26;
    if (room < 20) return;
    const most = Math.max(...this.columns.map(({ one }) => one.shape[0]));
    const pitch = Math.min(room / most, 40), height = (rows) => Math.max(rows * pitch, Math.min(room, rows * 20, 20));
    for (const { one, matrix } of this.columns) matrix.style.height = `${height(one.shape[0])}px`;
    for (const label of this.names) {
      const high = height(label.rows), every = Math.max(1, Math.ceil(PITCH / (high / label.rows)));
      label.list.style.height = `${high}px`;
      label.spans = [];
      for (let row = 0; row < label.rows; row += every) {
        const span = el("bdi", { text: rowName(this.run, label.axis, row).name });
        span.style.top = `${(row + 0.5) / label.rows * 100}%`;
        label.spans.push([row, span]);
      }
      label.list.replaceChildren(...label.spans.map(([, span]) => span));
    }
    const d = this.columns.find(({ one }) => one.shape.length > 1);
    const bins = d?.texture.bins[1] ?? 1;
    say(this.note, bins > 1 ? `d ${this.run.d}, ${bins} to a cell` : "");
    this.fitNames();
    this.frames();
  }

  /** Names as large as their narrow columns let them be; where that is too small to read, every other one stands lower. */
  fitNames() {
    const shown = this.columns.filter(({ element }) => !element.hidden), all = { size: 15, low: false };
    for (const { one, element } of shown) {
      if (one.shape.length < 2) continue; // a list is as wide as its name
      const fits = (element.clientWidth + 2) / (0.62 * plainLabel(one.label).length);
      all.size = Math.max(10, Math.min(all.size, fits));
      all.low ||= fits < 10;
    }
    shown.forEach(({ element }, n) => {
      element.firstChild.style.fontSize = all.size < 15 ? `${all.size}px` : "";
      element.firstChild.style.lineHeight = all.low ? n % 2 ? "34px" : "12px" : "";
    });
  }

  recolour() {
    for (const column of this.columns) {
      column.ramp = ramp(this.host.colours.panel, this.host.colours[column.one.hue]);
      column.shown.fill(-2);
    }
  }

  show(step) {
    const { run } = this;
    this.columns.forEach((column, n) => {
      const { one, texture, shown } = column;
      for (let s = 0; s < shown.length; s++) {
        const store = run.storeOf(n, s, step);
        if (store === shown[s]) continue;
        shown[s] = store;
        const from = one.cuts[s], to = one.cuts[s + 1], bin = texture.bins[0];
        const top = from - from % bin, end = Math.min(one.shape[0], Math.ceil(to / bin) * bin);
        texture.paint(top, end - top, run.rowsAt(n, top, end, step), one.range, column.ramp);
      }
    });
    this.frames();
  }

  /** Frames what is on chip now, or on its way; dims the rest of its tensor. */
  frames() {
    const { run } = this, step = this.host.step, now = run.tileAt(step), lit = new Map();
    const { op, round } = run.columns;
    const used = run.slots.flatMap((_, n) => { // what is still of use, or came in this round
      const made = run.holder(n, step);
      const on = made >= 0 && op[made] === LOAD && (run.lastRead[made] >= step || round[made] === round[step]);
      return on ? [[made, run.tileAt(made)]] : [];
    });
    used.sort((a, b) => a[0] - b[0]);
    for (const [made, tile] of used) {
      const gathered = run.columns.row[made] > 0;
      lit.set(tile.tensor, [gathered ? 0 : tile.start, tile.stop, tile]);
    }
    if (now) lit.set(now.tensor, [now.start, now.stop, now]);
    const { selected } = this.host;
    this.columns.forEach(({ one, above, below, frame, kept, matrix }, n) => {
      const rows = one.shape[0], tile = lit.get(n);
      const top = tile ? tile[0] / rows * 100 : 100, end = tile ? tile[1] / rows * 100 : 100;
      above.style.height = `${top}%`;
      below.style.height = `${100 - end}%`;
      frame.hidden = !tile;
      Object.assign(frame.style, { top: `${top}%`, height: `${end - top}%`, ...sides(one, tile?.[2]) });
      kept.hidden = selected?.tensor !== n;
      if (!kept.hidden) Object.assign(kept.style, { top: `${selected.start / rows * 100}%`, height: `${(selected.stop - selected.start) / rows * 100}%`, ...sides(one, selected) });
      toggle(frame, "now", Boolean(now && now.tensor === n));
      toggle(matrix, "used", Boolean(tile));
    });
    for (const label of this.names) {
      const of = run.tensors.findIndex((one, n) => one.rows === label.axis && lit.has(n) && one.shape[0] === label.rows
        && (label.axis !== "queries" || one.name !== "K"));
      const tile = of >= 0 ? lit.get(of) : null;
      for (const [row, span] of label.spans) toggle(span, "on", Boolean(tile && tile[0] <= row && row < tile[1]));
    }
  }

  refresh() { for (const { pointed } of this.columns) pointed.refresh(); }
}

// ---- the bus

export class Bus {
  constructor(run, host) {
    this.run = run;
    this.host = host;
    this.bytes = el("b", {});
    this.name = el("span", {});
    this.tile = el("div", { class: "tile" });
    this.arrow = el("i", { class: "arrow" });
    this.track = el("div", { class: "track" }, this.tile);
    this.element = el("div", { class: "bus", "aria-hidden": "true" }, this.bytes, this.track, this.arrow, this.name);
  }

  show(step, moving) {
    const { run } = this, { op, tensor, start, stop, columns, bytes } = run.columns;
    const busy = step >= 0 && op[step] <= STORE;
    this.element.className = `bus${busy ? op[step] === LOAD ? " in" : " out" : ""}`;
    if (!busy) {
      say(this.bytes, "");
      say(this.name, "");
      this.tile.hidden = true;
      return;
    }
    const one = run.tensors[tensor[step] - 1];
    say(this.bytes, sizeOf(bytes[step]));
    say(this.name, tileName(run, run.placeAt(step)));
    this.element.style.setProperty("--hue", `var(--${one.hue})`);
    this.tile.hidden = false;
    const texture = new Texture(stop[step] - start[step], columns[step] || 1);
    texture.paint(0, stop[step] - start[step], run.tileData(step), one.range,
      ramp(this.host.colours.panel, this.host.colours[one.hue]));
    this.tile.replaceChildren(texture.canvas);
    if (!moving) return;
    const across = getComputedStyle(this.element).flexDirection === "column";
    const [from, to] = across ? ["translateX(-120%)", "translateX(120%)"] : ["translateY(-90%)", "translateY(90%)"];
    const path = op[step] === LOAD ? [from, "none"] : [to, "none"];
    this.tile.animate([{ transform: path[0], opacity: 0.2 }, { transform: path[1], opacity: 1 }],
      { duration: moving, easing: "ease-in-out" });
  }
}

// ---- SRAM

/** How wide a cell with a number is, in px: as it should be, and at least; how many rows are still told in numbers. */
const CELL = 46, NARROW = 24, MOST_ROWS = 32;

/** How much is left of a cell's colour once no step reads it any more: little, for its digits to be read. */
const FADED = 0.15;

/** How wide row labels are, in px, also where columns are many, and the gap between two slots. */
const SIDE_LABELS = 58, SIDE_SHORT = 30, GAP = 14;

export class Sram {
  constructor(run, host) {
    this.run = run;
    this.host = host;
    this.slots = run.slots.slice(0, MOST_SHOWN).map((slot, n) => new Slot(run, host, slot, n));
    const group = (name) => el("div", { class: `group ${name}` }, ...this.slots.filter((slot) => slot.kind === name)
      .map((slot) => slot.element));
    this.said = el("small", {});
    this.gauge = el("div", { class: "gauge", "aria-hidden": "true" });
    this.body = el("div", { class: "slots" }, group("tiles"), group("scores"), group("stats"));
    this.element = el("section", { class: "panel sram", "aria-label": "SRAM" }, el("h2", {}, "SRAM", this.said),
      this.gauge, this.body);
    this.parts = run.slots.map((slot) => {
      const part = el("i", {});
      part.style.background = `var(--${slot.hue})`;
      return part;
    });
    this.gauge.append(...this.parts);
    this.width = 0;
    new ResizeObserver(([entry]) => {
      if (Math.abs(entry.contentRect.width - this.width) < 1) return;
      this.width = entry.contentRect.width;
      this.measure();
    }).observe(this.body);
  }

  measure() {
    if (!this.width) return;
    const scores = this.slots.filter((slot) => slot.kind === "scores"), columns = Math.max(1, ...scores.map((slot) => slot.columns));
    let abreast = Math.max(1, scores.length), cell;
    for (; abreast; abreast--) { // as many side by side as there is room for with numbers in their cells
      cell = Math.floor((this.width - sideLabels(columns) - (abreast - 1) * GAP) / (abreast * columns));
      if (cell >= (this.host.player.runs.length > 1 ? NARROW : 34) || abreast === 1) break; // better below each other than small
    }
    scores.forEach((slot, n) => slot.fit(this.width, cell, n % abreast === 0));
    const stats = this.slots.filter((slot) => slot.kind === "stats");
    const narrow = Math.floor((this.width - 4 * (stats.length - 1)) / Math.max(1, stats.length));
    for (const slot of stats) slot.fit(this.width, narrow >= 41 ? Math.min(CELL, narrow) : CELL, false);
    for (const slot of this.slots) if (slot.kind === "tiles") slot.fit(this.width, 0, false);
    if (this.host.colours) this.show(this.host.step);
  }

  recolour() { for (const slot of this.slots) slot.recolour(); }

  show(step) {
    const { run } = this, held = run.onChip(step), used = held.reduce((sum, [, bytes]) => sum + bytes, 0);
    const { bytes, of } = run.room;
    say(this.said, `${whole(used)} of ${whole(bytes)} B${of === "toy" ? ", a toy's size" : `, ${of}`}`);
    const shares = new Map(held);
    this.parts.forEach((part, n) => { part.style.width = `${(shares.get(n) ?? 0) / bytes * 100}%`; });
    const made = step >= 0 && (run.columns.op[step] === LOAD || run.columns.op[step] === COMPUTE) ? run.columns.slot[step] - 1 : -1;
    const read = step >= 0 ? run.readsAt(step) : [];
    const newest = {}; // of each group: what a slot was filled with last says whose rows stand there
    this.slots.forEach(({ kind }, n) => { newest[kind] = Math.max(newest[kind] ?? -1, run.holder(n, step)); });
    this.slots.forEach((slot, n) => slot.show(step, n === made, read.includes(n), newest[slot.kind]));
  }

  refresh() { for (const slot of this.slots) slot.pointed.refresh(); }
}

const sideLabels = (columns) => columns > 12 ? SIDE_SHORT : SIDE_LABELS;

/** One slot: a table of numbers where there is room for them, else a texture. */
class Slot {
  constructor(run, host, slot, n) {
    Object.assign(this, { run, host, slot, n, made: -2 });
    this.kind = !slot.columns ? "stats" : slot.hue === "S" ? "scores" : "tiles";
    this.matrix = el("div", { class: "matrix" });
    const name = labelled(labelParts(slot.label), { class: "name" });
    this.element = el("figure", { class: "slot" }, el("figcaption", {}, name), this.matrix);
    explained(name, host, () => [plainLabel(slot.label), meaning(slot.name), filledIn(run, n, host.step)]);
    this.element.style.setProperty("--hue", `var(--${slot.hue})`);
    this.pointed = new Pointed(this.matrix, {
      label: `${plainLabel(slot.label)} in SRAM, ${slot.columns ? `${slot.rows} × ${slot.columns}` : slot.rows}. Arrow keys read its values`,
      rows: slot.rows, columns: slot.columns || 1, tip: host.tip,
      tell: (r, c) => {
        const made = run.holder(n, host.step);
        return slotTip(run, n, made, made < 0 ? null : run.slotValue(made), r, c);
      },
      maker: () => run.holder(n, host.step),
    });
  }

  get columns() { return this.slot.columns || 1; }

  /** Chooses how it is drawn for the width of the panel, with cells of `room` px, and with or without row labels. */
  fit(width, room, first) {
    const { slot, columns } = this, rows = slot.rows;
    const numbers = this.run.values && this.kind !== "tiles" && rows <= MOST_ROWS && room >= NARROW;
    this.matrix.querySelector(":scope > table, :scope > canvas")?.remove();
    this.cells = null;
    this.texture = null;
    this.made = -2;
    if (numbers) {
      this.digits = room >= 40 ? 2 : 1;
      toggle(this.element, "small", room < 34);
      this.table(rows, columns, Math.min(CELL, room), this.kind === "scores", first);
      return;
    }
    this.texture = new Texture(rows, columns);
    const most = this.kind === "tiles" ? Math.min(260, width / 2 - 50) : Math.min(columns > 32 || rows < 8 ? 400 : 200, width / 2 - GAP);
    const cell = this.kind === "stats" ? Math.max(2, Math.min(12, 200 / rows)) : Math.min(24, most / columns);
    const tall = this.kind === "tiles" ? Math.max(14, this.host.player.runs.length > 1 ? Math.min(rows * 7, 36) : Math.min(rows * 9, 110)) : Math.max(Math.min(14, rows * 24), Math.min(rows * cell, 200));
    Object.assign(this.matrix.style, { width: `${this.kind === "stats" ? 22 : this.kind === "tiles" ? most : columns * cell}px`,
      height: `${tall}px`, marginLeft: "", marginTop: "" });
    this.matrix.prepend(this.texture.canvas);
  }

  table(rows, columns, width, named, first) {
    const pair = this.host.player.runs.length > 1, high = rows > 16 || (pair && rows > 4) ? 16 : rows > 8 ? 20 : pair ? 22 : 28;
    this.heads = named ? Array.from({ length: columns }, () => el("th", { scope: "col", role: "cell" })) : [];
    this.sides = first ? Array.from({ length: rows }, () => el("th", { scope: "row", role: "cell" })) : [];
    this.cells = Array.from({ length: rows * columns }, () => el("td", {}));
    const body = Array.from({ length: rows }, (_, r) => el("tr", {}, this.sides[r] ?? null,
      ...this.cells.slice(r * columns, (r + 1) * columns)));
    const head = named ? el("thead", {}, el("tr", {}, first ? el("td", {}) : null, ...this.heads)) : null;
    const table = el("table", { "aria-label": plainLabel(this.slot.label) }, head, el("tbody", {}, ...body));
    table.style.setProperty("--side", `${sideLabels(columns)}px`);
    table.style.setProperty("--cell", `${width}px`);
    table.style.setProperty("--high", `${high}px`);
    this.wide = width;
    Object.assign(this.matrix.style, { width: `${width * columns}px`, height: `${high * rows}px`,
      marginLeft: first ? `${sideLabels(columns)}px` : "", marginTop: named ? "20px" : "" });
    this.matrix.prepend(table);
  }

  recolour() {
    const { sram } = this.host.colours, hue = this.host.colours[this.slot.hue];
    this.ramp = ramp(sram, hue);
    this.tint = (value) => mix(sram, hue, 0.15 + 0.85 * share(value, this.slot.range));
    this.made = -2;
  }

  /** Shows what it holds; `newest` made what was put into any slot of its group last. */
  show(step, made, read, newest) {
    const { run, element } = this, holder = run.holder(this.n, step);
    toggle(element, "empty", holder < 0);
    toggle(element, "made", made);
    toggle(element, "read", read);
    const stale = holder >= 0 && run.lastRead[holder] < step && holder !== step;
    toggle(element, "stale", stale);
    toggle(element, "unknown", holder >= 0 && !run.values && run.columns.op[holder] === COMPUTE);
    // numbers that nothing reads any more would be taken for those of the rows that stand beside them
    const others = Boolean(this.cells) && stale && firstRow(run, holder) !== firstRow(run, newest);
    if (this.cells && (stale !== this.stale || others !== this.others)) this.made = -2;
    Object.assign(this, { stale, others });
    toggle(element, "others", others);
    if (holder === this.made || (!this.cells && !this.texture)) return;
    this.made = holder;
    const value = holder < 0 || others ? null : run.slotValue(holder);
    if (this.texture) {
      this.texture.clear();
      if (value) this.texture.paint(0, value.rows, value.data, this.slot.range, this.ramp);
      return;
    }
    this.fill(holder, value);
  }

  fill(holder, value) {
    const { run, columns } = this, rows = value?.rows ?? 0, width = value ? value.columns || 1 : 0;
    const scores = this.kind === "scores";
    this.cells.forEach((cell, n) => {
      const r = Math.floor(n / columns), c = n % columns, there = r < rows && c < width;
      const number = there ? value.data[r * width + c] : NaN;
      say(cell, there ? short(number, value.whole ? 0 : this.digits) : "");
      toggle(cell, "none", !there);
      const tint = there && scores ? this.tint(number) : null;
      cell.style.background = tint ? css(this.stale ? mix(this.host.colours.sram, tint, FADED) : tint) : "";
      cell.style.color = tint && !this.stale ? onto(tint) : "";
    });
    if (!this.heads.length) return;
    const [nameRow, nameColumn] = holder < 0 ? [null, null] : slotNames(run, holder);
    this.sides.forEach((side, r) => head(side, r < rows ? nameRow(r).name : ""));
    this.heads.forEach((one, c) => head(one, c < width && nameColumn ? nameColumn(c).name : ""));
    const longest = Math.max(1, ...this.heads.map((one) => [...one.textContent].length)); // it fits, where it can be read so small
    this.matrix.style.setProperty("--label", `${Math.max(9, Math.min(12, (this.wide - 3) / (0.58 * longest)))}px`);
  }
}

/** Names a row or a column; one without a name is no header, or it would be read out as one. */
function head(element, name) {
  say(element, name);
  if (name) element.removeAttribute("role");
  else element.setAttribute("role", "cell");
}

/** Which row a slot begins with, as `made` filled it. */
function firstRow(run, made) {
  const { name, index } = slotNames(run, made)[0](0);
  return `${index}: ${name}`;
}
