// The page: one state, shown in three ways; every change is a new state, drawn at once and written into the address.

import { Player, Run, Tip, el, formula, list, palette, ratioOf, say, sizeOf, stepsFor, tileOrigin, toggle, unpack, whole } from "../player/player.js";
import { engine } from "./engine.js"; // arrays.js … as_run.js, joined
import { Bar } from "./bar.js";
import { ChartPart } from "./chart.js";
import { Inputs, askForMatrix } from "./inputs.js";
import { counted, fitting, settings, standardOf } from "./model.js";
import { HbmPart, MapPart, MeterPart, SramPart, StripPart, onChip } from "./parts.js";
import { NUMBERS, TABS, fromHash, short, toHash } from "./state.js";
import { CARDS, QUESTIONS, TERMS, pieces, termsIn } from "./story.js";

/** All that Story goes through, and the parts that can stand in a frame alone. */
const TOLD = [...CARDS, ...QUESTIONS], FRAMED = ["map", "sram", "story", "chart"];

/** What of the state a card speaks of, in words. */
const SAID = { a: "the algorithm", bq: "block_q", bk: "block_k", mask: "the mask", n: "N", d: "d", type: "the type", on: "the chip", in: "the input", pin: "A" };

/** Words and what they mean, to be unfolded. */
const glossary = (title, terms) => el("details", { class: "terms" }, el("summary", { text: title }), el("dl", {}, ...terms.flatMap((term) => [el("dt", { text: term }), el("dd", { text: TERMS[term] })])));

class Explorer {
  /** `data` is what page.py embeds: algorithms, words, devices, inputs, the first state, and a run that Python recorded. */
  constructor(root, data) {
    Object.assign(this, data, { root, algorithms: Object.keys(data.words), inputs: new Inputs(data.inputs) });
    this.itemsize = { float16: 2, bfloat16: 2, float32: 4, float64: 8 };
    root.classList.add("flashsteps");
    root.tabIndex = -1;
    this.embed = new URLSearchParams(location.search).get("embed");
    this.tip = new Tip(root, () => {});
    this.bar = new Bar(this, { change: (more) => this.change(more), keep: () => this.keep() });
    this.verdict = el("p", { class: "headline", role: "status" });
    this.newcomer = el("p", { class: "dim newcomer" }, "New here? ", el("button", { type: "button", class: "plain", text: "Begin with Story", onclick: () => this.change({ tab: "story", card: 0 }) }),
      ": eight cards, from why S is never stored to real sizes, where this toy's answer turns round.");
    this.parts = [new MapPart(this), new SramPart(this), new HbmPart(this), new MeterPart(this), new StripPart(this),
      new ChartPart(this, "tokens", "Bytes against N", "tokens"), new ChartPart(this, "tiles", "Bytes against the tile", "tiles")];
    this.layout();
    this.listen();
    this.paint();
    this.follow();
  }

  // ---- layout

  layout() {
    this.tabs = TABS.map((name) => el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, text: { explore: "Explore", story: "Story", step: "Step" }[name],
      onclick: () => this.change({ tab: name }), onkeydown: (event) => this.tabKey(event, name) }));
    this.check = el("span", { class: "check", role: "status" });
    this.link = el("button", { type: "button", class: "plain", text: "link", title: "Copy a link to exactly this", onclick: () => this.copy() });
    const theme = el("button", { type: "button", class: "plain", text: "theme", title: "Dark or light", onclick: () => this.change({ theme: this.look === "dark" ? "light" : "dark" }) });
    const header = el("header", {}, el("div", { class: "title" }, el("h1", { text: "FlashAttention, explored" }), this.check),
      el("div", { role: "tablist", class: "tabs", "aria-label": "views" }, ...this.tabs), el("nav", { "aria-label": "page" }, this.link, theme));
    this.grid = el("div", { class: "grid" }, ...this.parts.map(({ element }) => element));
    this.story = el("div", { class: "story" });
    this.stepHost = el("div", { class: "stepping" });
    this.offWords = el("span", {});
    this.off = el("p", { class: "off", role: "status", hidden: true }, this.offWords, el("button", { type: "button", text: "back to the card's run", onclick: () => this.change(this.card.state) }));
    this.panels = { explore: el("section", { role: "tabpanel", id: "panel-explore", "aria-labelledby": "tab-explore" }, this.newcomer, this.verdict, this.grid),
      story: el("section", { role: "tabpanel", id: "panel-story", "aria-labelledby": "tab-story" }),
      step: el("section", { role: "tabpanel", id: "panel-step", "aria-labelledby": "tab-step" }, this.stepHost) };
    this.footer = el("footer", { class: "dim foot" }, el("p", { text: "Two levels of memory, no L2, no overlap: bytes are counted, not timed." }), glossary("What the words mean", Object.keys(TERMS)));
    this.left = el("p", { class: "left", role: "status", hidden: true });
    this.root.append(header, this.left, this.bar.element, el("main", {}, ...Object.values(this.panels)), this.footer);
    if (this.embed) this.root.classList.add("embed", `embed-${FRAMED.includes(this.embed) ? this.embed : "map"}`);
  }

  tabKey(event, name) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    const to = TABS[(TABS.indexOf(name) + move + TABS.length) % TABS.length];
    this.change({ tab: to });
    this.tabs[TABS.indexOf(to)].focus();
    event.preventDefault();
    event.stopPropagation();
  }

  // ---- one state after another

  change(more, push = false) {
    const was = this.state, next = { ...was, ...more };
    if ("in" in more) this.swapped = null;
    this.left.hidden = true;
    this.fit(next);
    if ("n" in more || "a" in more || "bq" in more || "bk" in more || "in" in more) next.step = "step" in more ? more.step : -1;
    this.state = next;
    this.show();
    if (push || (more.tab && more.tab !== was.tab) || "card" in more) this.push();
  }

  /** An input has the numbers that it has: where more are wanted, or others, they are random ones, and the bar says so. */
  fit(state) {
    if (!this.inputs.fits(state.in, state)) [this.swapped, state.in] = [state.in, "0"];
  }

  /** To the state that an address has. What it does not say is as the page has it, or the card that it is about. */
  follow(hash = location.hash) {
    const names = { algorithms: this.algorithms, devices: Object.keys(this.devices), inputs: Object.keys(this.inputs.held), cards: TOLD.length };
    const { given, left } = fromHash(hash, names);
    if (this.embed && !FRAMED.includes(this.embed)) left.unshift(`embed=${this.embed}`);
    if (this.embed) given.tab = this.embed === "story" ? "story" : "explore";
    const own = this.own({ ...this.first, ...given }), alone = given.in && !("n" in given || "d" in given) && !this.inputs.fits(given.in, own);
    this.state = { ...own, ...(alone ? this.inputs.asked(given.in) : {}), ...given };
    this.swapped = null;
    this.fit(this.state);
    say(this.left, `Not understood, and left out: ${left.slice(0, 3).map((one) => one.length > 40 ? `${one.slice(0, 39)}…` : one).join(", ")}${left.length > 3 ? `, and ${left.length - 3} more` : ""}.`);
    this.left.hidden = !left.length;
    if (this.state.tab === "story") this.openCard(this.state);
    else this.show();
  }

  /** What a state is before anything is changed: the page's own, or, in Story, that of its card. */
  own({ tab, card }) { return tab === "story" ? { ...this.first, ...TOLD[card].state } : this.first; }

  keep() {
    const { pin, a, bq, bk, mask } = this.state;
    this.change({ pin: pin ? null : { a, bq, bk, mask } });
  }

  show() {
    const { state } = this;
    if (state.theme !== (this.root.dataset.theme ?? null)) this.retheme();
    if (state.tab === "story" && this.shownCard !== state.card) return this.openCard();
    this.bar.show(state);
    for (const [n, name] of TABS.entries()) {
      const on = name === (this.embed === "story" ? "story" : this.embed ? "explore" : state.tab);
      this.panels[name].hidden = !on;
      this.tabs[n].setAttribute("aria-selected", String(on));
      this.tabs[n].tabIndex = on ? 0 : -1;
    }
    toggle(this.root, "telling", state.tab === "story");
    const changed = Object.keys(SAID).filter((name) => this.card && JSON.stringify(state[name]) !== JSON.stringify(this.card.state[name]));
    this.off.hidden = !changed.length;
    if (changed.length) say(this.offWords, `You have changed ${list(changed.map((name) => SAID[name]))}: this card speaks of ${this.runName(this.card.state)}; the panels show yours.`);
    if (state.tab !== "step") {
      const home = state.tab === "story" ? this.panels.story : this.panels.explore;
      if (this.grid.parentNode !== home) home.append(this.verdict, this.grid);
      for (const part of this.parts) part.show(state);
      say(this.verdict, this.headline());
    } else if (this.player) { // as often as it can be drawn, and no more
      cancelAnimationFrame(this.stepping);
      this.stepping = requestAnimationFrame(() => { if (this.state.tab === "step") this.showSteps(); });
    } else {
      this.showSteps();
    }
    this.remember();
  }

  /** A run in a few words. */
  runName({ a, bq, bk, mask, n, d, pin }) {
    const { title, direction } = this.words[a];
    return `${title}${direction === "backward" ? ", backward" : ""}, ${Math.min(bq, n)}×${Math.min(bk, n)}, ${mask === "none" ? "no mask" : `mask ${mask}`}, N ${short(n)}, d ${d}${pin ? ", beside A" : ""}`;
  }

  /** What this comes to, in a sentence. */
  headline() {
    const { state } = this, { total } = counted(state.a, state), plain = standardOf(state.a), { title: name, direction } = this.words[state.a];
    const title = `${name}${direction === "backward" ? ", backward," : ""}`;
    const tile = `${Math.min(state.bq, state.n)}×${Math.min(state.bk, state.n)}`, fit = fitting(state, this.devices);
    const level = counted(plain, state).total, ratio = ratioOf(total / level), over = fit.places.find(({ fits }) => !fits);
    const counts = state.n > NUMBERS ? " Counted, not performed." : "";
    if (state.a === plain) return `${title[0].toUpperCase()}${title.slice(1)} moves ${sizeOf(total)} over the bus for ${whole(state.n)} tokens, whatever its blocks.${counts}`;
    if (over) return `${title} with tiles of ${tile} does not fit on chip: it needs ${onChip(over.need)} of ${over.place}, there are ${onChip(over.room)}. Take a smaller tile, or more room.`;
    const answer = ratio === "1.00×" ? "as much as" : total < level ? "less than" : "more than";
    return `${title} with tiles of ${tile} moves ${sizeOf(total)}, ${answer} the ${sizeOf(level)} of standard attention: ${ratio}.${counts}`;
  }

  // ---- runs

  /** The run of a state, performed once. Throws what the engine throws where it does not fit. */
  runOf(state) {
    const key = JSON.stringify([state.a, settings(state), state.on, state.in]);
    if (this.ran?.key === key) return this.ran.run;
    const device = this.devices[state.on], given = { ...settings(state), ...this.inputs.arrays(state), device, sram: device || state.on === "toy" ? null : Number(state.on) };
    const words = { ...this.words[state.a], tokens: this.inputs.tokensOf(state), opening: this.inputs.opening(state) };
    const { header, array } = engine.asRun(engine.record(state.a, given), words);
    const run = new Run({ ...header, ending: this.endingOf(state) }, array);
    this.ran = { key, run };
    return run;
  }

  /** The weights of attention, row by row, as standard attention makes them in float32; null of more tokens than are performed. */
  weightsOf(state) {
    if (state.n > NUMBERS) return null;
    const plain = { ...settings(state), dtype: "float32" }, key = JSON.stringify([plain.n, plain.d, plain.mask, state.in]);
    if (this.weighed?.key !== key) {
      const { tensors } = engine.record("standard-forward", { ...plain, block_q: state.n, block_k: state.n, ...this.inputs.arrays(state) });
      this.weighed = { key, weights: tensors.find(({ name }) => name === "P").data };
    }
    return this.weighed.weights;
  }

  endingOf(state) {
    const plain = standardOf(state.a), real = { ...state, n: 4096, d: 64, bq: 128, bk: 128, mask: state.mask === "causal" ? "causal" : "none" };
    const level = state.a === plain ? null : counted(plain, state).total;
    return { own: counted(state.a, state).total, standard: level, crossover: null, error: null,
      real: { n: 4096, d: 64, tile: 128, own: counted(state.a, real).total, standard: counted(plain, real).total } };
  }

  /** The first α that shrinks something: its step, query and key, caption and formula, and how many values of α are 1, or 0. */
  firstShrink(state) {
    const run = this.runOf(state), steps = stepsFor(run, "α < 1");
    if (!steps) return null;
    const [step] = steps, { least } = this.words[state.a], tokens = this.inputs.tokensOf(state), all = run.slots.find(({ name }) => name === "alpha").writes;
    const values = all.flatMap((at) => [...run.slotValue(at).data]), many = (value) => values.filter((x) => x === value).length;
    const row = run.slotValue(step).data.reduce((best, x, r, alpha) => x > least && !(x >= alpha[best]) ? r : best, -1);
    const how = formula(run, step, row, 0), from = tileOrigin(run, step), scores = run.slotValue(run.holder(run.slots.findIndex(({ name }) => name === "S"), step - 1));
    const own = scores.data.subarray(row * scores.columns, (row + 1) * scores.columns), [query, key] = [from.query + row, from.key + own.indexOf(Math.max(...own))];
    return { step, query, key, tokens: [query, key].map((n) => tokens ? ` (“${tokens[n]}”)` : ""), caption: run.captions[run.columns.caption[step + 1]], formula: how ? `Here α = ${how}` : "", ones: many(1), zeros: many(0) };
  }

  paste() {
    askForMatrix(this.root, (input) => {
      this.inputs.held.pasted = input;
      this.bar.offer("pasted", input.title);
      this.ran = this.weighed = null; // of a matrix of that name before
      this.change(this.inputs.asked("pasted"));
    }, () => this.bar.show(this.state));
  }

  // ---- the player

  showSteps() {
    const { state } = this;
    if (state.n > NUMBERS) return this.cannotStep(`Numbers are shown for up to ${NUMBERS} tokens; ${whole(state.n)} are counted, not performed.`, `take ${NUMBERS} tokens`, { n: NUMBERS });
    let run;
    try {
      run = this.runOf(state);
    } catch (error) {
      return this.cannotStep(`Does not fit: ${error.message}.`, "take a toy that grows with the run", { on: "toy" });
    }
    if (this.player?.runs[0] !== run) {
      this.drop();
      const host = el("div", {});
      if (state.theme) host.dataset.theme = state.theme;
      this.stepHost.replaceChildren(host);
      this.player = new Player(host, [run], { moved: (step) => { if (this.state.step !== step) { this.state = { ...this.state, step }; this.remember(); } } });
    }
    const at = this.player.find(0, Math.min(state.step, run.last));
    if (this.player.at !== at || !this.player.drawn) this.player.go(at);
    this.player.drawn = true;
  }

  drop() {
    this.player?.pause();
    this.player?.leaving.abort();
    this.player = null;
  }

  cannotStep(words, button, more) {
    this.drop();
    this.stepHost.replaceChildren(el("div", { class: "panel answer" }, el("p", { text: words }), el("button", { type: "button", text: button, onclick: () => this.change(more) })));
  }

  /** To the step that comes to a tile of S. */
  stepTo(i, j) {
    let step = -1;
    try {
      const run = this.runOf(this.state);
      step = run.visitsAt(0, i, j)[0]?.first ?? -1;
    } catch { /* the tab says why */ }
    this.change({ tab: "step", step });
  }

  // ---- the story

  /** Opens the card of the state, on the card's own run, or on what of it a link has changed. */
  openCard(changed = null) {
    const { state } = this, n = state.card, last = TOLD.length - 1, card = TOLD[n], question = n >= CARDS.length ? card : null;
    const told = { ...state, ...card.state };
    this.shownCard = n;
    if (!changed) this.swapped = null;
    this.state = changed ?? told;
    const move = (to, text, name) => el("button", { type: "button", text, disabled: to < 0 || to > last, "aria-label": name, onclick: () => this.change({ card: to }) });
    this.card = card;
    this.mark = card.find ? this.firstShrink(told) : null;
    const body = question ? this.question(question, told) : this.telling(card, told);
    this.story.replaceChildren(el("p", { class: "dim", text: question ? `Question ${n - CARDS.length + 1} of ${QUESTIONS.length}` : `${n + 1} of ${CARDS.length}` }),
      el("h2", { text: question ? question.ask : card.title }), this.off, ...body,
      el("p", { class: "row" }, move(n - 1, "◀ back", "card before"), move(n + 1, n + 1 === CARDS.length ? "check yourself ▶" : "next ▶", "next card")));
    this.panels.story.replaceChildren(this.story);
    this.show();
  }

  telling(card, state) {
    const text = el("p", { class: "text" }, ...pieces(card.text(state, this)).map((piece) => typeof piece === "string" ? piece : this.word(piece)));
    const see = this.mark ? el("button", { type: "button", text: "see that step", onclick: () => this.change({ ...card.state, tab: "step", step: this.mark.step }) }) : null;
    return [text, see, glossary("the words here", termsIn(`${card.title} ${text.textContent}`)), el("p", { class: "dim", text: "Change anything: the panels follow." })].filter(Boolean);
  }

  word({ part, words }) {
    const mark = el("mark", { "data-word": part, tabindex: "0", text: words });
    mark.addEventListener("pointerenter", () => this.light(part));
    mark.addEventListener("focus", () => this.light(part));
    const bring = () => { // a part may be off the screen
      this.light(part);
      [...this.grid.children].find((one) => one.dataset.part === part)?.scrollIntoView({ block: "nearest" });
    };
    mark.addEventListener("click", bring);
    mark.addEventListener("keydown", (event) => { if (event.key === "Enter") bring(); });
    mark.addEventListener("pointerleave", () => this.light(document.activeElement === mark ? part : null)); // a finger leaves at once
    mark.addEventListener("blur", () => this.light(null));
    return mark;
  }

  question({ choices, right, because }, state) {
    const said = el("p", { class: "text", role: "status" });
    const buttons = choices.map((choice) => el("button", { type: "button", text: choice, onclick: () => {
      const answer = right(state);
      buttons.forEach((one) => { toggle(one, "right", one.textContent === answer); toggle(one, "wrong", one.textContent === choice && choice !== answer); });
      say(said, `${choice === answer ? "Yes" : `No: ${answer}`}. ${because(state)}`);
    } }));
    return [el("p", { class: "choices" }, ...buttons), said];
  }

  /** Lights up a part, and the words about it. */
  light(part) {
    for (const one of this.root.querySelectorAll("[data-part]")) toggle(one, "lit", one.dataset.part === part && this.state.tab === "story");
    for (const one of this.root.querySelectorAll("[data-word]")) toggle(one, "lit", one.dataset.word === part);
  }

  // ---- the address, the theme, the frame around

  listen() {
    window.addEventListener("hashchange", ({ newURL }) => { // by now, what was shown may have been written over it
      const { hash } = new URL(newURL);
      if (hash !== this.address) this.follow(hash);
    });
    new ResizeObserver(() => this.tellHeight()).observe(this.root);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", () => { this.paint(); this.show(); });
    document.addEventListener("keydown", (event) => {
      if (this.state.tab === "step" && this.player && !event.defaultPrevented && !this.root.querySelector("dialog[open]") && !event.target.closest(".knobs, header, .stepping")) this.player.key(event);
    });
  }

  get look() { return this.root.dataset.theme ?? (this.dark.matches ? "dark" : "light"); }

  retheme() {
    const { theme } = this.state;
    for (const one of [this.root, document.documentElement, this.player?.root].filter(Boolean)) {
      if (theme) one.dataset.theme = theme;
      else delete one.dataset.theme;
    }
    this.paint();
    if (this.player) { this.player.paint(); this.player.draw(); }
  }

  paint() { this.colours = palette(this.root); }

  remember() {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => this.write("replaceState"), 150);
  }

  push() { this.write("pushState"); }

  get address() { return toHash(this.state, this.own(this.state)); }

  write(how) {
    const hash = this.address;
    try {
      if (location.hash !== hash) history[how](null, "", hash);
    } catch { /* a frame may keep no history of its own */ }
  }

  async copy() {
    this.write("replaceState");
    const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    say(this.link, done ? "copied" : "see the address");
    setTimeout(() => say(this.link, "link"), 1500);
  }

  /** In a frame of another page: how high it is. */
  tellHeight() {
    if (window.parent !== window) requestAnimationFrame(() => window.parent.postMessage({ flashsteps: { height: Math.ceil(this.root.getBoundingClientRect().height) } }, "*"));
  }

  // ---- is it the same as Python?

  /** Performs the run that Python recorded, and compares each event, each number and each caption. */
  async same(packed, state) {
    const theirs = await unpack(packed), mine = this.runOf({ ...this.first, ...state });
    const columns = Object.keys(theirs.columns), name = (run, step) => [run.slots[run.columns.slot[step] - 1]?.name, run.tensors[run.columns.tensor[step] - 1]?.name].join();
    const plain = columns.filter((one) => !["slot", "tensor", "caption", "loops"].includes(one));
    let good = 0;
    for (let step = 0; step < theirs.steps; step++) {
      const same = step < mine.steps && plain.every((one) => mine.columns[one][step] === theirs.columns[one][step]) && name(mine, step) === name(theirs, step)
        && String(mine.loopsAt(step)) === String(theirs.loopsAt(step)) && mine.captions[mine.columns.caption[step + 1]] === theirs.captions[theirs.columns.caption[step + 1]]
        && close(mine, theirs, step);
      good += Number(same);
    }
    const all = good === theirs.steps && mine.steps === theirs.steps;
    say(this.check, all ? `checked when opened, on one run: same as Python, ${good} of ${theirs.steps} events` : `not as Python has it: ${good} of ${theirs.steps} events. This page is broken.`);
    toggle(this.check, "wrong", !all);
    if (!all) this.root.querySelector("main").hidden = this.bar.element.hidden = true;
    return all;
  }
}

/** Whether a step's numbers are the same, but for a rounding. */
function close(mine, theirs, step) {
  if (theirs.columns.op[step] !== 2) return true;
  const [a, b] = [mine, theirs].map((run) => run.slotValue(step).data);
  return a.length === b.length && a.every((x, n) => x === b[n] || Math.abs(x - b[n]) <= 2e-3 * Math.max(1, Math.abs(b[n])));
}
