// What a run adds up to: the traffic meter and the map of tiles.

import { LOAD, STORE, lastUpTo } from "./run.js";
import { MOST_SHOWN, sizeOf, tileRanges, times, whole } from "./words.js";
import { el, say, css, mix, Pointed } from "./draw.js";

// ---- the traffic meter

export class Meter {
  constructor(run, host) {
    this.run = run;
    const all = host.player.runs.flatMap((one) => [one.movedBy(one.last), one.ending?.standard ?? 0]);
    const largest = Math.max(1, ...all), standard = run.ending?.standard ?? 0; // one scale for two runs
    this.scale = 100 / largest;
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
    const ghost = standard ? el("div", { class: "bar ghost" }, el("i", {})) : null;
    if (ghost) ghost.firstChild.style.width = `${standard * this.scale}%`;
    this.element = el("div", { class: "meter" },
      el("p", {}, el("span", { text: "HBM traffic so far" }), this.sofar), bar,
      standard ? el("p", { class: "dim" }, el("span", { text: "standard, in all" }), el("b", { text: sizeOf(standard) })) : null,
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
    const cell = Math.min(TILE, (host.player.runs.length > 1 ? SIDE * 0.75 : SIDE) / Math.max(rows, columns));
    this.size = [columns * cell, rows * cell];
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.matrix = el("div", { class: "matrix" }, this.canvas);
    Object.assign(this.matrix.style, { width: `${Math.max(10, this.size[0])}px`, height: `${Math.max(10, this.size[1])}px` });
    this.said = el("b", {});
    const hidden = run.visits.some((visit) => visit.skipped) ? "hatched: skipped" : "";
    this.element = el("div", { class: "map", hidden: !run.visits.length }, el("p", {}, el("span", { text: "tiles of S" }), this.said,
      el("span", { class: "dim", text: "queries ↓ keys →" }), el("span", { class: "dim", text: "click: jump" }), hidden ? el("span", { class: "dim", text: hidden }) : null), this.matrix);
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
    const { run } = this, visits = this.at(i, j), { queries, keys } = tileRanges(run, i, j);
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
