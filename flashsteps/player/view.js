// One run on screen: all its parts, at a step.

import { lastUpTo } from "./run.js";
import { whole, stepWords, loopWords } from "./words.js";
import { el, say } from "./draw.js";
import { Hbm, Bus, Sram } from "./stage.js";
import { Source } from "./source.js";
import { Meter, TileMap } from "./sums.js";
import { VisitCard, TileCard, MostCard, TensorCard, ProgramCard } from "./cards.js";
import { Ending } from "./ending.js";

export class View {
  constructor(run, player) {
    this.run = run;
    this.player = player;
    this.step = -1;
    this.selected = null;
    this.tip = player.tip;
    this.hbm = new Hbm(run, this);
    this.bus = new Bus(run, this);
    this.sram = new Sram(run, this);
    this.source = new Source(run, this);
    this.meter = new Meter(run, this);
    this.map = new TileMap(run, this);
    this.ending = new Ending(run);
    this.cards = [new VisitCard(run, this), new TileCard(run, this), new MostCard(run, this), new TensorCard(run), new ProgramCard(run, this)];
    this.caption = el("p", { class: "caption" });
    this.status = el("p", { class: "status" });
    this.stage = el("div", { class: "stage" }, this.hbm.element, this.bus.element, this.sram.element, this.ending.element);
    this.aside = el("div", { class: "cards" }, ...this.cards.map((card) => card.element));
    this.title = el("div", { class: "title" }, el(player.runs.length > 1 ? "h2" : "h1", { text: run.title }), el("span", { text: run.subtitle }));
    if (run.note) this.title.append(el("span", { class: "note", text: run.note }));
    if (!run.values) this.title.append(el("strong", { text: "movement only: this file holds no values" }));
  }

  /** The tile of HBM that is told of: the one kept, else the one that moves, or moved last. */
  get tile() {
    if (this.selected) return this.selected;
    const { load, store } = this.run.when;
    const last = Math.max(load[lastUpTo(load, this.step)] ?? -1, store[lastUpTo(store, this.step)] ?? -1);
    return this.run.tileAt(last >= 0 ? last : load[0] ?? -1);
  }

  select(tile) {
    this.selected = tile && this.selected === tile ? null : tile;
    if (this.selected) this.player.touching = this;
    this.hbm.frames();
    this.cards[1].show(this.step);
    this.player.tell();
    this.player.remember();
  }

  seek(step) { this.player.seekRun(this, step); }

  get colours() { return this.player.colours; }

  recolour() {
    for (const part of [this.hbm, this.sram, this.map]) part.recolour();
  }

  show(step, moving) {
    const { run } = this;
    this.step = step;
    for (const part of [this.hbm, this.sram, this.meter, this.map, this.ending, ...this.cards]) part.show(step);
    say(this.caption, run.captions[run.columns.caption[step + 1]] || stepWords(run, step));
    const parts = [step < 0 ? "start" : `step ${whole(step)} of ${whole(run.last)}`, loopWords(run, step),
      run.programs.length > 1 && step >= 0 ? `program ${run.columns.program[step]}` : "",
      `${whole(run.movedBy(step))} B moved so far`, step < 0 ? "" : stepWords(run, step),
      step < run.last ? `next: ${stepWords(run, step + 1)}` : "the end"];
    this.status.replaceChildren(...parts.filter(Boolean).map((text) => el("span", { text })));
    this.source.show(step); // these measure what is drawn, so they come last
    this.bus.show(step, moving);
    for (const part of [this.hbm, this.sram, this.map]) part.refresh();
  }
}
