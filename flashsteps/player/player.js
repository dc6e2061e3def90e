// The player: one run or two, a position in them, and everything that moves it: buttons, keys, the scrubber, links.

import { LOAD, unpack, nextIn, lastUpTo } from "./run.js";
import { whole, stepWords, loopWords, tileName } from "./words.js";
import { el, say, toggle, palette, Tip } from "./draw.js";
import { Hbm, Bus, Sram, Source } from "./stage.js";
import { Meter, TileMap, VisitCard, TileCard, MostCard, TensorCard } from "./cards.js";

/** Steps a second at 1×, and the speeds to choose from. */
const PACE = 2, SPEEDS = [0.5, 1, 2, 4, 8, 16, 64, 256];

/** How long a tile takes over the bus, in ms, where there is time for it. */
const CROSSING = 280;

/** From which width on, in px, the meter and the map stand beside the controls (as player.css has it). */
const WIDE = 1000;

// ---- one run on screen

class View {
  constructor(run, player) {
    this.run = run;
    this.player = player;
    this.step = -1;
    this.selected = null;
    this.tip = player.tip;
    this.hbm = new Hbm(run, this);
    this.bus = new Bus(run, this);
    this.sram = new Sram(run, this);
    this.source = new Source(run);
    this.meter = new Meter(run, this);
    this.map = new TileMap(run, this);
    this.cards = [new VisitCard(run, this), new TileCard(run, this), new MostCard(run, this), new TensorCard(run)];
    this.caption = el("p", { class: "caption" });
    this.status = el("p", { class: "status" });
    this.stage = el("div", { class: "stage" }, this.hbm.element, this.bus.element, this.sram.element, this.source.element);
    this.aside = el("div", { class: "cards" }, ...this.cards.map((card) => card.element));
    this.title = el("div", { class: "title" }, el("h1", { text: run.title }), el("span", { text: run.subtitle }));
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
  }

  seek(step) { this.player.seekRun(this, step); }

  get colours() { return this.player.colours; }

  recolour() {
    for (const part of [this.hbm, this.sram, this.map]) part.recolour();
  }

  show(step, moving) {
    const { run } = this;
    this.step = step;
    for (const part of [this.hbm, this.sram, this.meter, this.map, ...this.cards]) part.show(step);
    say(this.caption, run.captions[run.columns.caption[step + 1]] || stepWords(run, step));
    const parts = [step < 0 ? "start" : `step ${whole(step)} of ${whole(run.last)}`, loopWords(run, step),
      run.when.program.length > 1 && step >= 0 ? `program ${run.columns.program[step]}` : "",
      `${whole(run.movedBy(step))} B moved so far`, step < 0 ? "" : stepWords(run, step),
      step < run.last ? `next: ${stepWords(run, step + 1)}` : "the end"];
    this.status.replaceChildren(...parts.filter(Boolean).map((text) => el("span", { text })));
    this.source.show(step); // these measure what is drawn, so they come last
    this.bus.show(step, moving);
    for (const part of [this.hbm, this.sram, this.map]) part.refresh();
  }
}

// ---- positions: the steps that one run, or two side by side, are at together

/** For one run, each of its steps. */
const alone = (run) => [Int32Array.from({ length: run.steps + 1 }, (_, n) => n - 1)];

/** For two, the same inner tile; within one, both come to its end together. */
function byTile(runs) {
  const ends = [[-1], [-1]], rounds = Math.max(...runs.map((run) => run.when.round.length));
  for (let round = 0; round < rounds; round++) {
    const steps = runs.map((run) => {
      const first = run.when.round[round];
      return first === undefined ? [] : Array.from({ length: run.roundLast[round] - first + 1 }, (_, n) => first + n);
    });
    const most = Math.max(...steps.map((list) => list.length));
    for (let n = 1; n <= most; n++) {
      steps.forEach((list, which) => ends[which].push(list.length ? list[Math.ceil(n * list.length / most) - 1] : ends[which].at(-1)));
    }
  }
  return ends.map((list) => Int32Array.from(list));
}

/** For two, as many bytes moved: each is as far as it gets with so many. */
function byBytes(runs) {
  const amounts = new Set([0]);
  for (const run of runs) for (const moved of run.moved) amounts.add(moved);
  const sorted = [...amounts].sort((a, b) => a - b);
  return runs.map((run) => Int32Array.from([-1, ...sorted], (bytes, n) => n ? lastUpTo(run.moved, bytes) : -1));
}

// ---- the player

class Player {
  constructor(root, runs, options) {
    Object.assign(this, { root, runs, options, at: 0, playing: null, speed: 1, by: "tile" });
    root.classList.add("flashsteps");
    root.tabIndex = -1;
    this.spoken = el("p", { class: "unseen", "aria-live": "polite", role: "status" });
    this.tip = new Tip(root, (text) => say(this.spoken, text));
    this.views = runs.map((run) => new View(run, this));
    this.align(runs.length > 1 ? byTile(runs) : alone(runs[0]));
    const parts = [this.header(), this.main(), this.dock()];
    if (!options.hash) parts.splice(1, 2, parts[2], parts[1]); // in a notebook nothing sticks to the window's edge
    root.append(...parts, this.help(), this.spoken);
    toggle(root, "embedded", !options.hash);
    toggle(root, "pair", runs.length > 1);
    this.place();
    this.paint();
    this.listen();
  }

  // ---- parts

  header() {
    const [view] = this.views, pair = this.runs.length > 1;
    this.themeButton = el("button", { type: "button", class: "plain", text: "theme", title: "Dark or light (D)", onclick: () => this.theme() });
    const link = this.options.hash ? el("button", { type: "button", class: "plain", text: "link", title: "Copy a link to this step (C)", onclick: () => this.link() }) : null;
    this.linkButton = link;
    this.keysButton = el("button", { type: "button", class: "plain", text: "keys", title: "All keys (?)", "aria-haspopup": "dialog", onclick: () => this.keys() });
    const title = pair ? el("div", { class: "title" }, el("h1", { text: "Two runs, side by side" })) : view.title;
    return el("header", {}, title, el("nav", { "aria-label": "page" }, link, this.themeButton, this.keysButton));
  }

  main() {
    if (this.runs.length === 1) {
      const [view] = this.views;
      this.sums = el("div", { class: "sums" });
      return el("main", {}, view.stage, this.sums, view.aside);
    }
    return el("main", { class: "runs" }, ...this.views.map((view) => el("article", { class: "run", "aria-label": view.run.title },
      view.title, view.caption, view.status, view.stage, el("div", { class: "sums" }, view.meter.element, view.map.element), view.aside)));
  }

  dock() {
    const last = this.last;
    this.slider = el("input", { type: "range", min: "0", max: String(last), step: "1", value: "0", "aria-label": "step",
      oninput: () => { this.pause(); this.go(Number(this.slider.value)); } });
    this.marks = el("div", { class: "marks", "aria-hidden": "true" });
    this.playButton = el("button", { type: "button", class: "main", text: "play", title: "Play or pause (space)", onclick: () => this.play() });
    this.pace = el("select", { "aria-label": "speed", title: "Speed (- and +)", onchange: () => this.setSpeed(Number(this.pace.value)) },
      ...SPEEDS.map((speed) => el("option", { value: String(speed), text: `${speed}×`, selected: speed === 1 })));
    const button = (text, title, act, label) => el("button", { type: "button", text, title, "aria-label": label ?? null, onclick: act });
    this.touchButton = button("next touch", "Next time this tile is touched (T)", () => this.next("touch"));
    this.whoButton = button("who made this?", "Go to the step that made the value pointed at, or the one that moves (W)", () => this.who());
    const transport = el("div", { class: "buttons", role: "group", "aria-label": "play" },
      button("|◀", "To the start (Home)", () => this.go(0), "to the start"),
      button("back", "One step back (←)", () => this.go(this.at - 1)), this.playButton,
      button("step", "One step on (→)", () => this.go(this.at + 1)),
      button("▶|", "To the end (End)", () => this.go(this.last), "to the end"), this.pace);
    const jumps = el("div", { class: "buttons jumps", role: "group", "aria-label": "jump" },
      button("next load", "Next load (L)", () => this.next("load")), button("next store", "Next store (S)", () => this.next("store")),
      button("next tile of S", "Next tile of S (N)", () => this.next("visit")),
      this.runs.some((run) => run.when.program.length > 1)
        ? button("next program", "Next program (P)", () => this.next("program")) : null,
      this.touchButton, this.whoButton);
    const pair = this.runs.length > 1, [view] = this.views;
    this.bySelect = pair ? el("select", { "aria-label": "in step by", onchange: () => this.setBy(this.bySelect.value) },
      el("option", { value: "tile", text: "by inner tile" }), el("option", { value: "bytes", text: "by bytes moved" })) : null;
    this.where = pair ? el("p", { class: "status" }) : null;
    const saying = pair ? el("div", { class: "row" }, el("label", {}, "in step ", this.bySelect), this.where)
      : el("div", { class: "saying" }, view.caption, view.status);
    const scrub = el("div", { class: "scrub" }, this.slider, this.marks);
    this.deck = el("section", { class: `dock${pair ? " pairing" : ""}`, "aria-label": "controls" },
      el("div", { class: "deck" }, saying, scrub, el("div", { class: "controls" }, transport, jumps)));
    return this.deck;
  }

  /** The meter and the map stand beside the controls where there is room, else below the stage. */
  place() {
    if (this.runs.length > 1) return;
    const [{ meter, map }] = this.views, home = this.root.clientWidth >= WIDE ? this.deck : this.sums;
    if (meter.element.parentNode !== home) home.append(meter.element, map.element);
  }

  help() {
    const keys = [["→  ←", "step on, step back"], ["space", "play, pause"], ["Home  End", "start, end"], ["L", "next load"], ["S", "next store"],
      ["N", "next tile of S"], ["P", "next program"], ["T", "next time this tile is touched"], ["Shift", "with L S N P T: the one before"],
      ["W", "who made this?"], ["−  +", "slower, faster"], ["M", "to the map of tiles"], ["F", "follow the tile that moves, keep none"],
      ...(this.runs.length > 1 ? [["B", "in step by tile, or by bytes"]] : []),
      ...(this.options.hash ? [["C", "copy a link to this step"]] : []), ["D", "dark or light"], ["Esc", "close"], ["?", "these keys"]];
    this.dialog = el("dialog", { class: "keys", "aria-label": "keys" }, el("h2", { text: "Keys" }),
      el("dl", {}, ...keys.flatMap(([key, does]) => [el("dt", { text: key }), el("dd", { text: does })])),
      el("p", { class: "dim", text: "In a tensor, a slot or the map, arrow keys go from cell to cell and Enter chooses." }),
      el("button", { type: "button", text: "close", onclick: () => this.dialog.close() }));
    return this.dialog;
  }

  // ---- where it is

  get last() { return this.positions[0].length - 1; }

  align(positions) {
    this.positions = positions;
    if (this.slider) this.slider.max = String(this.last);
  }

  setBy(by) {
    const steps = this.views[0].step;
    this.by = by;
    if (this.bySelect) this.bySelect.value = by;
    this.align(by === "bytes" ? byBytes(this.runs) : byTile(this.runs));
    this.mark();
    this.go(this.find(0, steps));
  }

  /** The first position at which a run is at this step, or past it. */
  find(which, step) {
    const steps = this.positions[which];
    return Math.min(this.last, lastUpTo(steps, step - 1) + 1);
  }

  seekRun(view, step) {
    this.pause();
    this.go(this.find(this.views.indexOf(view), step));
  }

  go(at, moving = CROSSING) {
    const to = Math.max(0, Math.min(this.last, at));
    const on = to === this.at + 1 && !this.still.matches ? moving : 0;
    this.at = to;
    this.draw(on);
    this.options.moved?.(this.step);
    this.remember();
  }

  /** The step of the first run. */
  get step() { return this.positions[0][this.at]; }

  draw(moving = 0) {
    this.views.forEach((view, n) => view.show(this.positions[n][this.at], moving));
    this.slider.value = String(this.at);
    this.slider.style.setProperty("--done", `${this.last ? this.at / this.last * 100 : 0}%`);
    this.slider.setAttribute("aria-valuetext", this.views.map((view) => view.status.firstChild.textContent).join("; "));
    if (this.where) say(this.where, `${whole(this.at)} of ${whole(this.last)}`);
    this.tell();
    if (!this.playing || this.speed <= 1) this.announce();
  }

  /** What is read out: the step, and its caption where that is new. */
  announce() {
    const said = this.views.map((view) => {
      const step = stepWords(view.run, view.step), caption = view.caption.textContent;
      const fresh = caption !== view.spoken && caption !== step ? ` ${caption}` : "";
      view.spoken = caption;
      return `${view.step < 0 ? "start" : `step ${view.step}, ${step}`}.${fresh}`;
    });
    say(this.spoken, said.join(" "));
  }

  /** The run whose tile the button goes on to: of two, that in which one was kept last, while it is; else the first. */
  get toucher() { return this.touching?.selected ? this.touching : this.views.find((view) => view.selected) ?? this.views[0]; }

  /** Names on buttons that depend on what is chosen. */
  tell() {
    const view = this.toucher, { tile } = view;
    const which = this.views.length > 1 ? `, ${view === this.views[0] ? "first" : "second"} run` : "";
    say(this.touchButton, tile ? `next ${tileName(view.run, tile)}${which}` : "next touch");
    toggle(this.whoButton, "idle", this.maker()[1] < 0);
  }

  // ---- going on

  play() {
    if (this.playing) return this.pause();
    if (this.at === this.last) this.at = -1;
    let due = performance.now();
    const tick = (now) => {
      if (!this.root.isConnected) return this.pause();
      const pause = 1000 / (PACE * this.speed);
      if (now >= due) {
        const steps = Math.max(1, Math.min(64, Math.floor((now - due) / pause) + 1));
        due = Math.max(due + steps * pause, now - 1000);
        this.go(this.at + steps, Math.min(CROSSING, pause > 60 ? pause * 0.8 : 0));
        if (this.at === this.last) return this.pause();
      }
      this.playing = requestAnimationFrame(tick);
    };
    this.playing = requestAnimationFrame(tick);
    say(this.playButton, "pause");
    this.playButton.setAttribute("aria-pressed", "true");
  }

  pause() {
    if (!this.playing) return;
    cancelAnimationFrame(this.playing);
    this.playing = null;
    say(this.playButton, "play");
    this.playButton.setAttribute("aria-pressed", "false");
    this.announce();
    this.remember();
  }

  setSpeed(speed) {
    this.speed = speed;
    this.pace.value = String(speed);
  }

  /** To the next (or, back, the one before) of what: load, store, visit, program, touch; in either run, but a tile is touched in its own. */
  next(what, back = false) {
    const found = this.views.flatMap((view, n) => {
      const { run } = view;
      if (what === "touch" && view !== this.toucher) return [];
      const steps = what === "visit" ? run.visitFirsts : what === "touch" ? (view.tile ? run.touches(view.tile) : []) : run.when[what];
      const step = nextIn(steps, view.step, back);
      return step === undefined ? [] : [this.find(n, step)];
    });
    if (!found.length) return;
    this.pause();
    this.go(back ? Math.max(...found) : Math.min(...found));
  }

  /** The view, and the step in it that made the value pointed at, or else what the step that is on reads; -1: none. */
  maker() {
    const { owner } = this.tip;
    if (owner?.maker) return [this.views.find((view) => view.stage.contains(owner.element)), owner.maker(...owner.at)];
    const [view] = this.views, { run, step } = view;
    const tile = run.tileAt(step);
    if (tile && run.columns.op[step] === LOAD) {
      const { cuts } = run.tensors[tile.tensor], stores = [];
      for (let n = lastUpTo(cuts, tile.start); cuts[n] < tile.stop; n++) stores.push(run.storeOf(tile.tensor, n, step));
      return [view, Math.max(...stores)];
    }
    return [view, Math.max(-1, ...(step < 0 ? [] : run.readsAt(step).map((slot) => run.holder(slot, step - 1))))];
  }

  who() {
    const [view, made] = this.maker();
    if (made < 0) return say(this.spoken, "made by no step: there from the start");
    this.tip.hide();
    this.seekRun(view, made);
  }

  // ---- links

  remember() {
    if (!this.options.hash || this.playing) return;
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      const hash = this.hash();
      if (location.hash !== hash) history.replaceState(null, "", hash);
    }, 150);
  }

  hash() { return this.runs.length > 1 ? `#by=${this.by}&at=${this.at}` : `#step=${this.step}`; }

  /** Goes where the address says: #step=40; of two runs, #by=bytes&at=40. */
  follow() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const by = wanted.get("by"), number = (name) => wanted.has(name) && /^-?\d{1,9}$/.test(wanted.get(name)) ? Number(wanted.get(name)) : null;
    if (this.bySelect && (by === "tile" || by === "bytes") && by !== this.by) this.setBy(by);
    const at = number("at"), step = number("step");
    if (at !== null && this.runs.length > 1) this.go(at);
    else if (step !== null) this.go(this.find(0, Math.min(step, this.runs[0].last)));
    else this.draw();
  }

  async link() {
    history.replaceState(null, "", this.hash());
    const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    say(this.linkButton, done ? "copied" : "see the address");
    setTimeout(() => say(this.linkButton, "link"), 1500);
  }

  // ---- keys

  listen() {
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => { this.paint(); this.draw(); };
    this.dark.addEventListener("change", recolour);
    const target = this.options.hash ? document : this.root;
    target.addEventListener("keydown", (event) => this.key(event));
    if (this.options.hash) window.addEventListener("hashchange", () => { if (location.hash !== this.hash()) this.follow(); });
    new ResizeObserver(() => { this.place(); this.mark(); }).observe(this.root);
  }

  key(event) {
    const typing = event.target.closest?.("input:not([type=range]), select, textarea, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || this.dialog.open || typing) return;
    const { shiftKey: back } = event, on = (act) => { act(); event.preventDefault(); event.stopPropagation(); };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const onButton = event.target.closest?.("button");
    const jump = { l: "load", s: "store", n: "visit", p: "program", t: "touch" }[key];
    if (jump) return on(() => this.next(jump, back));
    switch (key) {
      case "ArrowRight": case ".": return on(() => { this.pause(); this.go(this.at + 1); });
      case "ArrowLeft": case ",": return on(() => { this.pause(); this.go(this.at - 1); });
      case " ": return onButton ? undefined : on(() => this.play());
      case "Home": return on(() => { this.pause(); this.go(0); });
      case "End": return on(() => { this.pause(); this.go(this.last); });
      case "-": case "−": return on(() => this.faster(-1));
      case "+": case "=": return on(() => this.faster(1));
      case "w": return on(() => this.who());
      case "m": return on(() => this.views[0].map.pointed.hit.focus());
      case "f": case "Escape": return on(() => { for (const view of this.views) if (view.selected) view.select(null); });
      case "b": return this.bySelect ? on(() => this.setBy(this.by === "tile" ? "bytes" : "tile")) : undefined;
      case "c": return this.linkButton ? on(() => this.link()) : undefined;
      case "d": return on(() => this.theme());
      case "?": return on(() => this.keys());
    }
  }

  faster(by) {
    const n = SPEEDS.indexOf(this.speed) + by;
    if (SPEEDS[n]) this.setSpeed(SPEEDS[n]);
    say(this.spoken, `speed ${this.speed}×`);
  }

  keys() { this.dialog.showModal(); }

  // ---- colours

  theme() {
    const now = this.root.dataset.theme ?? (this.dark.matches ? "dark" : "light");
    this.root.dataset.theme = now === "dark" ? "light" : "dark";
    this.options.themed?.(this.root.dataset.theme);
    this.paint();
    this.draw();
  }

  paint() {
    this.colours = palette(this.root);
    for (const view of this.views) view.recolour();
  }

  // ---- the scrubber's marks

  /** A mark where the outermost loop comes round, with its index where there is room. */
  mark() {
    const room = this.slider.clientWidth - 20, run = this.runs[0], found = [];
    if (room <= 0) return;
    let was = "";
    for (let step = 0; step < run.steps; step++) {
      const names = run.header.loops[run.columns.loops[step]];
      const now = names.length ? `${names[0]} = ${run.loopAt(names[0], step)}` : "";
      if (now && now !== was) found.push([this.find(0, step), now]);
      was = now || was;
    }
    const every = Math.max(1, Math.ceil(found.length / (room / 12))), wanted = 62;
    let free = -1;
    const marks = found.filter((_, n) => n % every === 0).map(([at, text], n, all) => {
      const x = this.last ? at / this.last * room : 0, next = all[n + 1] ? all[n + 1][0] / this.last * room : room;
      const middle = (x + next) / 2, fits = next - x > wanted ? middle : x;
      const shown = fits >= free && fits + 24 <= room;
      if (shown) free = fits + wanted;
      const mark = el("i", {}), label = shown ? el("span", { text }) : null;
      mark.style.left = `${x}px`;
      if (label) label.style.left = `${fits}px`;
      return [mark, label];
    });
    this.marks.replaceChildren(...marks.flat().filter(Boolean));
  }
}

// ---- where it lives

/**
 * A player in an element. `packed` is a list of one or two {header, data, values}, as pack.py has them; `options`: `hash` (the
 * address follows the step), `step` to start at, and `moved(step)` and `themed(name)`, which are told.
 */
async function mount(element, packed, options = {}) {
  const runs = await Promise.all(packed.map(unpack));
  const player = new Player(element, runs, options);
  if (options.hash && location.hash) player.follow();
  else player.go(options.step === undefined ? 0 : player.find(0, options.step));
  return player;
}

/** What anywidget asks for: the player of a model with `header`, `data`, `kept` and `step`. */
async function render({ model, el: host }) {
  const root = document.createElement("div");
  host.append(root);
  const jupyter = document.body.dataset.jpThemeLight;
  if (jupyter) root.dataset.theme = jupyter === "true" ? "light" : "dark";
  const bytes = (name) => {
    const view = model.get(name);
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  };
  const packed = { header: model.get("header"), data: bytes("data"), values: bytes("kept") };
  const player = await mount(root, [packed], {
    step: model.get("step"),
    moved: (step) => {
      if (model.get("step") === step) return;
      model.set("step", step);
      model.save_changes();
    },
  });
  const follow = () => { if (model.get("step") !== player.step) player.go(player.find(0, model.get("step"))); };
  model.on("change:step", follow);
  return () => {
    player.pause();
    model.off("change:step", follow);
  };
}

export default { render };
