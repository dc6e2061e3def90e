// What a run adds up to: the traffic meter, the map of tiles, and cards about one tile and about all of them.

import { LOAD, STORE, COMPUTE, lastUpTo } from "./run.js";
import { MOST_SHOWN, besides, short, sizeOf, whole, times, labelParts, plainLabel, rowName, tileOrigin, tileName,
  visitName, stepWords } from "./words.js";
import { el, say, toggle, labelled, css, mix, Pointed } from "./draw.js";

// ---- the traffic meter

export class Meter {
  constructor(run, host) {
    this.run = run;
    const all = host.player.runs.flatMap((one) => [one.movedBy(one.last), one.standard?.bytes ?? 0]);
    this.scale = 100 / Math.max(1, ...all); // one scale for two runs
    this.sofar = el("b", {});
    this.parts = [];
    const bar = el("div", { class: "bar" });
    const most = run.movedBy(run.last) * this.scale;
    if (most < 99) { // where the bar will end, once all has moved
      const end = el("i", { class: "end", title: "where this run ends" });
      end.style.left = `${most}%`;
      bar.append(end);
    }
    run.tensors.slice(0, MOST_SHOWN).forEach((one, n) => {
      for (const side of [LOAD, STORE]) {
        const part = el("i", { class: side === STORE ? "written" : "" });
        part.style.setProperty("--hue", `var(--${one.hue})`);
        bar.append(part);
        this.parts.push([part, n, side]);
      }
    });
    const ghost = run.standard ? el("div", { class: "bar ghost" }, el("i", {})) : null;
    if (ghost) ghost.firstChild.style.width = `${run.standard.bytes * this.scale}%`;
    this.element = el("div", { class: "meter" },
      el("p", {}, el("span", { text: "HBM traffic so far" }), this.sofar), bar,
      run.standard ? el("p", { class: "dim" }, el("span", { text: "standard, in all" }), el("b", { text: sizeOf(run.standard.bytes) })) : null,
      ghost,
      el("p", { class: "dim key" }, el("span", { text: "solid: read · hatched: written" })));
  }

  show(step) {
    say(this.sofar, `${sizeOf(this.run.movedBy(step))} of ${sizeOf(this.run.movedBy(this.run.last))}`);
    for (const [part, tensor, side] of this.parts) part.style.width = `${this.run.movedOf(tensor, side, step) * this.scale}%`;
  }
}

// ---- the map of tiles

/** The side of the map, in px, and of a tile in it, at most. */
const SIDE = 128, TILE = 32;

export class TileMap {
  constructor(run, host) {
    Object.assign(this, { run, host });
    const { mapRows: rows, mapColumns: columns } = run;
    const cell = Math.min(TILE, SIDE / Math.max(rows, columns));
    this.size = [columns * cell, rows * cell];
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.matrix = el("div", { class: "matrix" }, this.canvas);
    Object.assign(this.matrix.style, { width: `${Math.max(10, this.size[0])}px`, height: `${Math.max(10, this.size[1])}px` });
    this.said = el("b", {});
    const hidden = run.visits.some((visit) => visit.skipped) ? "hatched: skipped" : "";
    this.element = el("div", { class: "map", hidden: !run.visits.length }, el("p", {}, el("span", { text: "tiles of S" }), this.said,
      el("span", { class: "dim", text: "click: jump" }), hidden ? el("span", { class: "dim", text: hidden }) : null), this.matrix);
    this.pointed = new Pointed(this.matrix, {
      label: `Map of the tiles of S: ${rows} blocks of queries by ${columns} blocks of keys. Arrow keys choose, Enter jumps there`,
      rows, columns, tip: host.tip, tell: (i, j) => this.tell(i, j), choose: (i, j) => this.jump(i, j),
    });
    this.done = el("canvas", {});
    this.painted = [-1, 0]; // on `done`: of which head, and how many visits
    this.reached = { steps: [], sums: [] }; // how many tiles were visited by when
    const seen = new Set();
    for (const visit of run.visits) {
      const name = `${visit.h},${visit.i},${visit.j}`, { steps, sums } = this.reached;
      if (visit.skipped || seen.has(name)) continue;
      seen.add(name);
      steps.push(visit.first);
      sums.push((sums.at(-1) ?? 0) + (visit.i < 0 ? rows : 1) * (visit.j < 0 ? columns : 1));
    }
  }

  get h() { return this.run.visitAt(this.host.step)?.h ?? 0; }

  at(i, j) { return this.run.visitsAt(this.h, i, j); }

  tell(i, j) {
    const { run } = this, visits = this.at(i, j), { queries, keys } = ranges(run, i, j);
    const lines = [`tile i = ${i}, j = ${j}`, `${queries}; ${keys}`];
    if (!visits.length) return [...lines, "never visited"];
    if (visits[0].skipped) return [...lines, `skipped at step ${whole(visits[0].first)}: hidden by the mask`];
    const when = visits.map((visit) => `${whole(visit.first)}–${whole(visit.last)}`);
    return [...lines, `visited ${times(visits.length, "time")}, at steps ${when.slice(0, 4).join(", ")}${when.length > 4 ? " …" : ""}`];
  }

  /** To the next visit of this tile, or, from the last one, the first. */
  jump(i, j) {
    const visits = this.at(i, j);
    if (!visits.length) return;
    const next = visits.find((visit) => visit.first > this.host.step) ?? visits[0];
    const here = visits.find((visit) => visit.first <= this.host.step && this.host.step <= visit.last);
    this.host.seek((here && visits.length > 1 || !here ? next : here).first);
  }

  recolour() { this.painted = [-1, 0]; }

  show(step) {
    const { run, host, done, h } = this, ratio = window.devicePixelRatio || 1;
    const { S, faint, bg, dim } = host.colours, { steps, sums } = this.reached;
    const [wide, high] = this.size.map((side) => Math.max(1, Math.round(side * ratio)));
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      for (const canvas of [this.canvas, done]) [canvas.width, canvas.height] = [wide, high];
      this.recolour();
    }
    const begun = lastUpTo(run.visitFirsts, step) + 1, painter = done.getContext("2d");
    if (this.painted[0] !== h || this.painted[1] > begun) {
      painter.clearRect(0, 0, wide, high);
      this.paint(painter, { i: -1, j: -1 }, css(mix(bg, faint, 0.45)));
      this.painted = [h, 0];
    }
    for (const visit of run.visits.slice(this.painted[1], begun)) {
      if (visit.h === h) this.paint(painter, visit, css(visit.skipped ? mix(bg, faint, 0.2) : mix(bg, S, 0.38)), css(faint));
    }
    this.painted[1] = begun;
    const context = this.canvas.getContext("2d"), now = run.visitAt(step);
    context.clearRect(0, 0, wide, high);
    context.drawImage(done, 0, 0);
    if (now && step >= now.first) this.paint(context, now, css(now.skipped ? mix(bg, faint, 0.2) : S), css(dim));
    const many = run.kvHeads > 1 ? `, keys' head ${h}` : "";
    say(this.said, `${whole(sums[lastUpTo(steps, step)] ?? 0)} of ${whole(sums.at(-1) ?? 0)}${many}`);
  }

  /** Paints the tiles of a visit; where i or j is -1, all of its row or column. */
  paint(context, { i, j, skipped }, colour, lines) {
    const { mapRows: rows, mapColumns: columns } = this.run, { width, height } = context.canvas;
    const w = width / columns, h = height / rows, gap = w >= 12 ? 3 : w >= 5 ? 1 : 0;
    const [top, bottom] = i < 0 ? [0, rows] : [i, i + 1], [left, right] = j < 0 ? [0, columns] : [j, j + 1];
    context.fillStyle = colour;
    if (!gap) return context.fillRect(left * w, top * h, Math.max(1, (right - left) * w), Math.max(1, (bottom - top) * h));
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        context.fillStyle = colour;
        context.fillRect(x * w, y * h, w - gap, h - gap);
        if (skipped) this.hatch(context, x * w, y * h, w - gap, h - gap, lines);
      }
    }
  }

  hatch(context, x, y, w, h, colour) {
    context.save();
    context.beginPath();
    context.rect(x, y, w, h);
    context.clip();
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.beginPath();
    for (let at = -h; at < w; at += 6) {
      context.moveTo(x + at, y + h);
      context.lineTo(x + at + h, y);
    }
    context.stroke();
    context.restore();
  }

  refresh() { this.pointed.refresh(); }
}

/** The rows that a tile of S is about, in words. */
function ranges(run, i, j) {
  const span = (one, many, block, size, most) => {
    const first = block * size, last = Math.min(first + size, most) - 1;
    return block < 0 ? `all ${many}` : last > first ? `${many} ${first}–${last}` : `${one} ${first}`;
  };
  return { queries: span("query", "queries", i, run.blockQ, run.queries), keys: span("key", "keys", j, run.blockK, run.keys) };
}

// ---- one tile of S: before and after

export class VisitCard {
  constructor(run, host) {
    Object.assign(this, { run, host, visit: undefined });
    this.title = el("h3", {});
    this.said = el("p", { class: "dim" });
    this.table = el("table", { class: "numbers before" });
    this.note = el("p", { class: "dim" });
    this.element = el("section", { class: "panel card", "aria-label": "This tile of S: before and after" },
      this.title, this.said, el("div", { class: "scroll" }, this.table), this.note);
  }

  show(step) {
    const visit = this.run.visitAt(step) ?? this.run.visits[0] ?? null;
    if (visit === this.visit) return;
    this.visit = visit;
    this.table.replaceChildren();
    say(this.note, "");
    say(this.title, visit ? `Tile of S at ${visitName(visit)}: before and after` : "Tiles of S");
    if (!visit) return say(this.said, "This run makes no tiles of S.");
    const { run } = this, { queries, keys } = ranges(run, visit.i, visit.j);
    const moved = `${sizeOf(run.movedBy(visit.first - 1))} → ${sizeOf(run.movedBy(visit.last))} moved`;
    say(this.said, visit.skipped ? `${queries}, ${keys}: skipped at step ${whole(visit.first)}`
      : `${queries}, ${keys} · steps ${whole(visit.first)}–${whole(visit.last)} · ${moved}`);
    if (visit.skipped) return;
    const stats = statistics(run, visit);
    if (!run.values) return say(this.note, "This file holds no values.");
    if (!stats.length) return say(this.note, "The running statistics m and ℓ are not changed here.");
    const rows = Math.max(...stats.map(({ after }) => after.rows));
    const name = (r) => rowName(run, "queries", tileOrigin(run, visit.first).query + r).name;
    const head = (text, more = {}) => el("th", { scope: "col", text, ...more });
    this.table.append(el("thead", {},
      el("tr", {}, head("row", { rowspan: 2, class: "first" }), ...stats.map(({ label, before }) =>
        before === undefined ? head(label, { rowspan: 2 }) : head(label, { colspan: 2, scope: "colgroup" }))),
      el("tr", {}, ...stats.flatMap(({ before }) => before === undefined ? [] : [head("before"), head("after")]))));
    const number = (value, r) => el("td", { text: value ? short(value.data[r]) : "–" });
    this.table.append(el("tbody", {}, ...Array.from({ length: rows }, (_, r) => el("tr", {},
      el("th", { scope: "row" }, el("bdi", { text: name(r) })),
      ...stats.flatMap(({ before, after }) => before !== undefined ? [number(before, r), number(after, r)] : [number(after, r)])))));
  }
}

/** m, α and ℓ around a visit: {label, before (undefined where there is none such, null where nothing was there), after}. */
function statistics(run, visit) {
  const { op, slot, program } = run.columns, index = (name) => run.slots.findIndex((one) => one.name === name);
  const made = (slots, kind) => {
    const found = [];
    for (let step = visit.first; step <= visit.last; step++) if (op[step] === kind && slots.includes(slot[step] - 1)) found.push(step);
    return found;
  };
  const found = [];
  for (const [label, held, fresh] of [["m", "m_i", "m_new"], ["α", "", "alpha"], ["ℓ", "l_i", "l_new"]]) {
    const after = made([index(held), index(fresh)].filter((n) => n >= 0), COMPUTE).at(-1);
    if (after === undefined || !run.values) continue;
    let before;
    if (held) {
      const loaded = made([index(held)], LOAD)[0];
      const stood = visit.first && program[visit.first - 1] === program[visit.first] ? run.holder(index(held), visit.first - 1) : -1;
      const from = loaded ?? stood;
      before = from >= 0 ? run.slotValue(from) : null;
    }
    found.push({ label, before, after: run.slotValue(after) });
  }
  return found;
}

// ---- one tile of HBM: its events

export class TileCard {
  constructor(run, host) {
    Object.assign(this, { run, host, tile: undefined });
    this.title = el("h3", {});
    this.said = el("p", { class: "dim" });
    this.body = el("tbody", {});
    this.scroll = el("div", { class: "scroll" }, el("table", { class: "numbers steps" },
      el("thead", {}, el("tr", {}, ...["step", "what", "moved by then"].map((text) => el("th", { scope: "col", text })))), this.body));
    this.keep = el("button", { type: "button", class: "plain", text: "follow", title: "Show the tile that moves, again",
      onclick: () => host.select(null) });
    this.element = el("section", { class: "panel card", "aria-label": "One tile of HBM: when it moves" },
      el("div", { class: "row" }, this.title, this.keep), this.said, this.scroll);
  }

  show(step) {
    const { host } = this, tile = host.tile;
    this.keep.hidden = !host.selected;
    if (tile !== this.tile) this.about(tile);
    if (!tile) return;
    const now = Math.max(0, lastUpTo(this.touches, step));
    if (now < this.from || now >= this.from + this.rows.length) this.list(now);
    this.rows.forEach((row, n) => {
      toggle(row, "on", this.touches[this.from + n] === step);
      toggle(row, "ahead", this.touches[this.from + n] > step);
    });
    if (now === this.now) return;
    this.now = now;
    this.scroll.scrollTop = Math.max(0, this.rows[now - this.from].offsetTop - this.scroll.clientHeight / 2);
  }

  about(tile) {
    const { run } = this;
    this.tile = tile;
    this.rows = [];
    this.from = this.now = 0;
    this.touches = tile ? run.touches(tile) : [];
    this.body.replaceChildren();
    say(this.title, tile ? `${tileName(run, tile)}: when it moves` : "Tiles of HBM");
    if (!tile) return say(this.said, "Click a tensor in HBM to keep one of its tiles here.");
    const [loads, stores] = tile.moves;
    say(this.said, [blockWords(run, tile), `${whole(tile.bytes)} B`, `loaded ${times(loads.length, "time")}`,
      `stored ${times(stores.length, "time")}`, besides(run, tile)].filter(Boolean).join(" · "));
  }

  /** Lists its moves; of very many, those around the one that is on. */
  list(now) {
    const { run, host, touches } = this;
    this.from = Math.max(0, Math.min(now - MOST_SHOWN / 2, touches.length - MOST_SHOWN));
    const shown = touches.slice(this.from, this.from + MOST_SHOWN), more = touches.length - this.from - shown.length;
    this.rows = shown.map((at) => el("tr", {},
      el("td", {}, el("button", { type: "button", class: "plain", text: whole(at), "aria-label": `go to step ${whole(at)}`, onclick: () => host.seek(at) })),
      el("td", { text: stepWords(run, at) }), el("td", { text: `${whole(run.movedBy(at))} B` })));
    const note = (n, words) => n > 0 ? [el("tr", {}, el("td", { colspan: "3", text: `… ${whole(n)} ${words}` }))] : [];
    this.body.replaceChildren(...note(this.from, "before"), ...this.rows, ...note(more, "more"));
  }
}

/** `2nd of 4 blocks of O`, where the tile is one of equal blocks. */
function blockWords(run, tile) {
  const one = run.tensors[tile.tensor], size = one.rows === "keys" || one.rows === "pool" ? run.blockK : run.blockQ * run.heads / run.kvHeads;
  if (tile.start % size || (tile.stop - tile.start > size) || (tile.stop - tile.start < size && tile.stop !== one.shape[0])) return "";
  const n = tile.start / size + 1, last = n % 100 > 10 && n % 100 < 14 ? 0 : n % 10;
  return `${whole(n)}${["th", "st", "nd", "rd"][last] ?? "th"} of ${times(Math.ceil(one.shape[0] / size), "block")} of ${plainLabel(one.label)}`;
}

// ---- all tiles: which are loaded most often

export class MostCard {
  constructor(run, host) {
    Object.assign(this, { run, host });
    const tiles = run.tensors.flatMap((one) => [...one.tiles.values()]);
    const order = (a, b) => b.moves[LOAD].length - a.moves[LOAD].length || a.tensor - b.tensor || a.start - b.start;
    tiles.sort(order);
    this.rows = tiles.slice(0, MOST_SHOWN).map((tile) => {
      const loads = el("td", {}), stores = el("td", {});
      const name = el("button", { type: "button", class: "plain hued", text: tileName(run, tile), onclick: () => host.select(tile),
        "aria-label": `keep ${tileName(run, tile)}` });
      name.style.setProperty("--hue", `var(--${run.tensors[tile.tensor].hue})`);
      return { tile, loads, stores, row: el("tr", {}, el("td", {}, name), loads, stores) };
    });
    const more = tiles.length > MOST_SHOWN ? el("tr", {}, el("td", { colspan: "3", text: `… ${whole(tiles.length - MOST_SHOWN)} more tiles` })) : null;
    this.element = el("section", { class: "panel card", "aria-label": "Which tiles move most often" },
      el("h3", { text: "Loaded most often" }), el("p", { class: "dim", text: mostWords(run, tiles) }),
      el("div", { class: "scroll" }, el("table", { class: "numbers" },
        el("thead", {}, el("tr", {}, ...["tile", "loads", "stores"].map((text) => el("th", { scope: "col", text })))),
        el("tbody", {}, ...this.rows.map(({ row }) => row), more))));
  }

  show(step) {
    const count = (steps) => steps.length ? `${whole(lastUpTo(steps, step) + 1)} of ${whole(steps.length)}` : "–";
    const now = this.run.tileAt(step);
    for (const { tile, loads, stores, row } of this.rows) {
      say(loads, count(tile.moves[LOAD]));
      say(stores, count(tile.moves[STORE]));
      toggle(row, "on", tile === now);
    }
  }
}

/** The answer in a sentence; where many tie, which tensors they are of. */
function mostWords(run, tiles) {
  const most = tiles[0]?.moves[LOAD].length ?? 0;
  if (!most) return "Nothing is loaded.";
  const top = tiles.filter((tile) => tile.moves[LOAD].length === most);
  if (top.length <= 4) return `${top.map((tile) => tileName(run, tile)).join(", ")}: ${times(most, "time")}${top.length > 1 ? " each" : ""}.`;
  const tensors = [...new Set(top.map((tile) => tile.tensor))].map((n) => {
    const of = [...run.tensors[n].tiles.values()].filter((tile) => tile.moves[LOAD].length);
    const mine = top.filter((tile) => tile.tensor === n).length;
    return `${mine === of.length && mine > 1 ? "all" : whole(mine)} ${mine > 1 ? "tiles" : "tile"} of ${plainLabel(run.tensors[n].label)}`;
  });
  return `${whole(top.length)} tiles tie, ${times(most, "time")} each: ${tensors.join(", ")}.`;
}

// ---- by tensor

export class TensorCard {
  constructor(run) {
    this.run = run;
    this.rows = run.tensors.slice(0, MOST_SHOWN).map((one, n) => {
      const read = el("td", {}), written = el("td", {}), name = labelled(labelParts(one.label));
      name.style.color = `var(--${one.hue})`;
      return { n, read, written, row: el("tr", {}, el("th", { scope: "row" }, name), read, written) };
    });
    this.work = el("p", { class: "dim" });
    this.element = el("section", { class: "panel card", "aria-label": "Traffic by tensor" },
      el("h3", { text: "Bytes by tensor, so far" }), this.work, el("div", { class: "scroll" }, el("table", { class: "numbers" },
        el("thead", {}, el("tr", {}, ...["", "read", "written"].map((text) => el("th", { scope: "col", text: text || "tensor" })))),
        el("tbody", {}, ...this.rows.map(({ row }) => row)))),
      el("p", { class: "dim", text: "two levels, no L2, no overlap" }));
  }

  show(step) {
    const { run } = this;
    const flops = step < 0 ? 0 : run.worked[step];
    say(this.work, `${whole(run.movedBy(step))} B moved, ${whole(flops)} floating-point operations done`);
    for (const { n, read, written } of this.rows) {
      say(read, `${whole(run.movedOf(n, LOAD, step))} B`);
      say(written, `${whole(run.movedOf(n, STORE, step))} B`);
    }
  }
}
