// What a reader asks of a run: cards about one tile, about all of them, about tensors and about programs.

import { LOAD, STORE, COMPUTE, lastUpTo } from "./run.js";
import { MOST_SHOWN, besides, short, sizeOf, whole, times, labelParts, plainLabel, rowName, tileOrigin, tileName,
  tileRanges, visitName, stepWords } from "./words.js";
import { el, say, toggle, labelled } from "./draw.js";

// ---- one tile of S: before and after

export class VisitCard {
  constructor(run, host) {
    Object.assign(this, { run, host, visit: undefined });
    this.title = el("h3", {});
    this.said = el("p", { class: "dim" });
    this.table = el("table", { class: "numbers before" });
    this.note = el("p", { class: "dim" });
    this.element = el("section", { class: "panel card", "aria-label": "This tile of S: before and after" },
      this.title, this.said, el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "m, α and ℓ" }, this.table), this.note);
  }

  show(step) {
    const visit = this.run.visitAt(step) ?? this.run.visits[0] ?? null;
    if (visit === this.visit) return;
    this.visit = visit;
    this.table.replaceChildren();
    say(this.note, "");
    say(this.title, visit ? `Tile of S at ${visitName(visit)}: before and after` : "Tiles of S");
    if (!visit) return say(this.said, "This run makes no tiles of S.");
    const { run } = this, { queries, keys } = tileRanges(run, visit.i, visit.j);
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
  if (tile.right || tile.start % size || (tile.stop - tile.start > size) || (tile.stop - tile.start < size && tile.stop !== one.shape[0])) return "";
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
      el("h3", { text: "Bytes by tensor, so far" }), this.work, el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "bytes" }, el("table", { class: "numbers" },
        el("thead", {}, el("tr", {}, ...["", "read", "written"].map((text) => el("th", { scope: "col", text: text || "tensor" })))),
        el("tbody", {}, ...this.rows.map(({ row }) => row)))),
      el("p", { class: "dim", text: "counted between HBM and SRAM only" }));
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

// ---- by program

/** A row for each program: what it read and wrote, by tensor; programs that are alike look alike. */
export class ProgramCard {
  constructor(run, host) {
    this.run = run;
    const shown = run.programs.slice(0, MOST_SHOWN), most = Math.max(1, ...shown.map(({ moved }) => moved.flat().reduce((a, b) => a + b, 0)));
    const deepest = shown.map(({ first, last }) => run.loopsAt(last)[0] ?? run.loopsAt(first)[0]);
    this.rows = shown.map((program, n) => {
      const bar = el("div", { class: "bar" }), total = program.moved.flat().reduce((a, b) => a + b, 0);
      program.moved.forEach((sides, tensor) => sides.forEach((bytes, side) => {
        if (!bytes) return;
        const part = el("i", { class: side === STORE ? "written" : "" });
        part.style.setProperty("--hue", `var(--${run.tensors[tensor].hue})`);
        part.style.width = `${bytes / most * 100}%`;
        bar.append(part);
      }));
      const name = deepest[n] ? `${n} · ${deepest[n][0]} = ${deepest[n][1]}` : String(n);
      const button = el("button", { type: "button", class: "plain", text: name, "aria-label": `go to program ${name}`,
        onclick: () => host.seek(program.first) });
      return { program, row: el("tr", {}, el("td", {}, button), el("td", { class: "wide" }, bar), el("td", { text: sizeOf(total) })) };
    });
    const more = run.programs.length - shown.length;
    this.element = el("section", { class: "panel card", "aria-label": "What each program moves", hidden: run.programs.length < 2 },
      el("h3", { text: "What each program moves" }), el("p", { class: "dim", text: "A GPU runs them in any order, many at once." }),
      el("div", { class: "scroll" }, el("table", { class: "numbers" },
        el("thead", {}, el("tr", {}, ...["program", "read, written", "in all"].map((text) => el("th", { scope: "col", text })))),
        el("tbody", {}, ...this.rows.map(({ row }) => row),
          more > 0 ? el("tr", {}, el("td", { colspan: "3", text: `… ${whole(more)} more` })) : null))));
  }

  show(step) {
    for (const { program, row } of this.rows) {
      toggle(row, "on", program.first <= step && step <= program.last);
      toggle(row, "ahead", program.first > step);
    }
  }
}
