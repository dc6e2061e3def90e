// The player: one run or two, a position in them, and everything that moves it: buttons, keys, the scrubber, links.

import { LOAD, nextIn, lastUpTo } from "./run.js";
import { whole, stepWords, tileName } from "./words.js";
import { el, say, toggle, palette, Tip } from "./draw.js";
import { alone, byTile, byBytes, scrubberMarks } from "./positions.js";
import { answer, suggestions } from "./search.js";
import { intro, keysDialog, remembered } from "./help.js";
import { fromAddress, keptTile, toAddress } from "./address.js";
import { View } from "./view.js";

/** Steps a second at 1×, and the speeds to choose from. */
const PACE = 2, SPEEDS = [0.5, 1, 2, 4, 8, 16, 64, 256];

/** How long a tile takes over the bus, in ms, where there is time for it. */
const CROSSING = 280;

/** From which width on, in px, meter and map stand beside the controls, up to which height they don't (as player.css has it). */
const WIDE = 1000, LOW = "(max-height: 560px)";

/** How long a position has stood, in ms, before the address, and whoever else is told, follows. */
const REST = 150;

// ---- the player

export class Player {
  constructor(root, runs, options) {
    Object.assign(this, { root, runs, options, at: 0, playing: null, speed: 1, by: "tile", leaving: new AbortController() });
    root.classList.add("flashsteps");
    root.tabIndex = -1;
    this.low = matchMedia(LOW);
    this.letters = remembered.get("letters") !== "no";
    this.past = []; // where jumps set out from, where the browser keeps no history of them
    this.spoken = el("p", { class: "unseen", "aria-live": "polite", role: "status" });
    this.tip = new Tip(root, (text) => say(this.spoken, text));
    this.views = runs.map((run) => new View(run, this));
    this.align(runs.length > 1 ? byTile(runs) : alone(runs[0]));
    const parts = [this.header(), this.main(), this.dock()];
    if (!options.hash) parts.splice(1, 2, parts[2], parts[1]); // in a notebook nothing sticks to the window's edge
    this.dialog = keysDialog({ pair: runs.length > 1, link: options.hash, letters: this.letters, setLetters: (on) => this.setLetters(on) });
    const skip = el("button", { type: "button", class: "skip", text: "to the controls", onclick: () => this.playButton.focus() });
    root.append(skip, ...parts, this.dialog, this.spoken);
    if (runs.length > 1) {
      this.views.forEach((view, n) => { // of two parts that are called the same, each says whose it is
        for (const part of view.caption.parentNode.querySelectorAll("section[aria-label]")) {
          part.setAttribute("aria-label", `${part.getAttribute("aria-label")}, ${n ? "second" : "first"} run`);
        }
      });
    }
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
    return el("header", {}, title, el("nav", { "aria-label": this.options.hash ? "page" : "player" }, link, this.themeButton, this.keysButton), intro());
  }

  main() {
    if (this.runs.length === 1) {
      const [view] = this.views;
      view.stage.append(view.source.element);
      this.sums = el("div", { class: "sums" });
      return el(this.options.hash ? "main" : "div", { class: "body" }, view.stage, this.sums, view.aside);
    }
    return el("main", { class: "runs" }, ...this.views.map((view) => el("article", { class: "run", "aria-label": view.run.title },
      view.title, view.caption, view.status, view.stage, el("div", { class: "sums" }, view.meter.element, view.map.element),
      view.source.element, view.aside)));
  }

  dock() {
    const last = this.last;
    this.slider = el("input", { type: "range", min: "0", max: String(last), step: "1", value: "0", "aria-label": "step",
      onpointerdown: () => this.leave(), oninput: () => { this.pause(); this.go(Number(this.slider.value)); } });
    this.marks = el("div", { class: "marks", "aria-hidden": "true" });
    this.playButton = el("button", { type: "button", class: "main", text: "play", title: "Play or pause (space)", onclick: () => this.play() });
    this.pace = el("select", { "aria-label": "speed", title: "Speed (- and +)", onchange: () => this.setSpeed(Number(this.pace.value)) },
      ...SPEEDS.map((speed) => el("option", { value: String(speed), text: `${speed}×`, selected: speed === 1 })));
    const button = (text, title, act, label) => el("button", { type: "button", text, title, "aria-label": label ?? null, onclick: act });
    this.touchButton = button("next touch", "Next time this tile is touched (T)", () => this.next("touch"));
    this.whoButton = button("who made this?", "Go to the step that made the value pointed at, or the one that moves (W)", () => this.who());
    const transport = el("div", { class: "buttons", role: "group", "aria-label": "play" },
      button("|◀", "To the start (Home)", () => this.jump(0), "to the start"),
      button("back", "One step back (←)", () => this.go(this.at - 1)), this.playButton,
      button("step", "One step on (→)", () => this.go(this.at + 1)),
      button("▶|", "To the end (End)", () => this.jump(this.last), "to the end"), this.pace);
    const jumps = el("div", { class: "buttons jumps", role: "group", "aria-label": "jump" },
      button("next load", "Next load (L)", () => this.next("load")), button("next store", "Next store (S)", () => this.next("store")),
      button("next tile of S", "Next tile of S (N)", () => this.next("visit")),
      this.runs.some((run) => run.when.program.length > 1)
        ? button("next program", "Next program (P)", () => this.next("program")) : null,
      this.touchButton, this.whoButton, this.finder());
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

  /** A field that finds steps: Enter goes to the next that is meant, Shift and Enter to the one before. */
  finder() {
    const asked = suggestions(this.runs[0]), list = el("datalist", { id: `flashsteps-asked-${++finders}` }, ...asked.map((value) => el("option", { value })));
    this.find_ = el("input", { type: "text", class: "find", placeholder: `find ${asked[0]}`, "aria-label": `find a step, such as ${asked.slice(0, 3).join(", ")}`,
      title: "Find a step (/): Enter for the next, Shift and Enter for the one before", list: list.id, spellcheck: "false", autocomplete: "off",
      onkeydown: (event) => {
        if (event.key === "Escape") { this.find_.blur(); this.root.focus({ preventScroll: true }); }
        if (event.key === "Enter") this.search(this.find_.value || asked[0], event.shiftKey);
        event.stopPropagation();
      } });
    this.found = el("span", { class: "found" });
    return el("span", { class: "finder" }, this.find_, list, this.found);
  }

  search(question, back) {
    const found = this.views.map((view, n) => ({ n, ...answer(view.run, question, view.step, back) }));
    const there = found.filter(({ step }) => step !== null), best = there.find(({ n, step }) => step !== this.views[n].step) ?? there[0];
    say(this.found, (best ?? found[0]).words);
    this.find_.setAttribute("aria-invalid", String(!best));
    if (best) this.seekRun(this.views[best.n], best.step);
    say(this.spoken, `${this.found.textContent}. ${best ? this.views[best.n].status.firstChild.textContent : ""}`);
  }

  /** The meter and the map stand beside the controls where there is room, else below the stage. */
  place() {
    if (this.runs.length > 1) return;
    const [{ meter, map }] = this.views, low = this.options.hash && this.low.matches;
    const home = this.root.clientWidth >= WIDE && !low ? this.deck : this.sums;
    if (meter.element.parentNode !== home) home.append(meter.element, map.element);
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

  seekRun(view, step) { this.jump(this.find(this.views.indexOf(view), step)); }

  /** To a position that need not be the next one: Back leads back here. */
  jump(at) {
    this.pause();
    if (at !== this.at) this.leave();
    this.go(at);
    if (this.options.hash) this.write();
    this.sight();
  }

  /** Keeps where it is, to come back to. */
  leave() {
    this.past.push(this.at);
    if (!this.options.hash) return;
    this.write();
    try {
      history.pushState(null, "", this.hash());
    } catch { /* none of its own */ }
  }

  undo() {
    const at = this.past.pop();
    if (at === undefined) return say(this.spoken, "no jump to undo");
    this.pause();
    this.go(at);
  }

  /** Scrolls to where the action is, if it is out of sight, and no further: the part of the stage that has something framed. */
  sight() {
    if (!this.options.hash) return;
    const [{ stage }] = this.views, lit = stage.querySelector(".ending:not([hidden])") ?? stage.querySelector(".slot.made, .frame.now:not([hidden])") ?? stage;
    const box = lit.getBoundingClientRect(), end = this.deck.getBoundingClientRect().top;
    if (box.top < 0 || box.height > end) scrollBy(0, box.top);
    else if (box.bottom > end) scrollBy(0, box.bottom - end);
  }

  go(at, moving = CROSSING) {
    const to = Math.max(0, Math.min(this.last, at));
    const on = to === this.at + 1 && !this.still.matches ? moving : 0;
    this.at = to;
    this.draw(on);
    this.options.moved?.(this.step);
    this.remember();
  }

  get step() { return this.positions[0][this.at]; } // of the first run

  draw(moving = 0) {
    this.views.forEach((view, n) => view.show(this.positions[n][this.at], moving));
    this.slider.value = String(this.at);
    this.slider.style.setProperty("--done", `${this.last ? this.at / this.last * 100 : 0}%`);
    this.slider.setAttribute("aria-valuetext", this.views.map((view) => view.status.firstChild.textContent).join("; "));
    if (this.where) say(this.where, this.at ? `place ${whole(this.at - 1)} of ${whole(this.last - 1)}` : "start");
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
    if (found.length) this.jump(back ? Math.max(...found) : Math.min(...found));
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
    this.writing = setTimeout(() => this.write(), REST);
  }

  /** The address says where it is. */
  write() {
    const hash = this.hash();
    try {
      if (location.hash !== hash) history.replaceState(null, "", hash);
    } catch { /* a frame may keep no history of its own */ }
  }

  hash() { return toAddress(this); }

  follow() { // where the address says
    const { theme, keep, by, at, step } = fromAddress(location.hash);
    if (theme && theme !== this.root.dataset.theme) this.setTheme(theme);
    this.views.forEach((view, n) => {
      const tile = keptTile(view.run, keep, n);
      if (tile && tile !== view.selected) view.select(tile);
    });
    if (this.bySelect && by && by !== this.by) this.setBy(by);
    if (at !== null && this.runs.length > 1) this.go(at);
    else if (step !== null) this.go(this.find(0, Math.min(step, this.runs[0].last)));
    else this.draw();
    const laid = () => requestAnimationFrame(() => requestAnimationFrame(() => this.sight()));
    if (step !== null || at !== null) document.fonts.ready.then(laid);
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
    this.dark.addEventListener("change", recolour, this.leaving);
    this.low.addEventListener("change", () => this.place(), this.leaving); // whoever takes it down aborts `leaving`
    if (this.options.hash) this.printing();
    const target = this.options.hash ? document : this.root;
    target.addEventListener("keydown", (event) => this.key(event));
    if (this.options.hash) window.addEventListener("hashchange", () => { if (location.hash !== this.hash()) this.follow(); });
    const sized = new ResizeObserver(() => { this.place(); this.mark(); });
    for (const one of [this.root, this.slider]) sized.observe(one); // the slider: what stands beside it has a width of its own
  }

  key(event) {
    const typing = event.target.closest?.("input:not([type=range]), textarea, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || this.dialog.open || typing) return;
    if (event.target.closest?.("select") && event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    if (!this.letters && event.key.length === 1 && event.key !== " ") return;
    const { shiftKey: back } = event, on = (act) => { act(); event.preventDefault(); event.stopPropagation(); };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const onButton = event.target.closest?.("button");
    const jump = { l: "load", s: "store", n: "visit", p: "program", t: "touch" }[key];
    if (jump) return on(() => this.next(jump, back));
    switch (key) {
      case "ArrowRight": case ".": return on(() => { this.pause(); this.go(this.at + 1); });
      case "ArrowLeft": case ",": return on(() => { this.pause(); this.go(this.at - 1); });
      case " ": return onButton ? undefined : on(() => this.play());
      case "Home": return on(() => this.jump(0));
      case "End": return on(() => this.jump(this.last));
      case "u": case "Backspace": return on(() => this.undo());
      case "/": return on(() => this.find_.focus());
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

  setLetters(on) {
    this.letters = on;
    remembered.set("letters", on ? "yes" : "no");
  }

  // ---- colours

  theme() {
    const now = this.root.dataset.theme ?? (this.dark.matches ? "dark" : "light");
    this.setTheme(now === "dark" ? "light" : "dark");
    this.remember();
  }

  setTheme(name) {
    if (name) this.root.dataset.theme = name;
    else delete this.root.dataset.theme;
    this.options.themed?.(name);
    this.paint();
    this.draw();
  }

  /** On paper it is light, whatever it is on screen. */
  printing() {
    let was = null;
    window.addEventListener("beforeprint", () => { was = this.root.dataset.theme; this.setTheme("light"); });
    window.addEventListener("afterprint", () => this.setTheme(was));
  }

  paint() {
    this.colours = palette(this.root);
    for (const view of this.views) view.recolour();
  }

  mark() {
    const room = this.slider.clientWidth - 20;
    if (room > 0) this.marks.replaceChildren(...scrubberMarks(this.runs[0], (step) => this.find(0, step), this.last, room));
  }
}

let finders = 0;
