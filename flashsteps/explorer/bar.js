// The bar: every setting of the run, each a control of its own that shows what it is at.

import { el, say, toggle, whole } from "../player/player.js";
import { MASKS, TILES, TOKENS, TYPES, WIDTHS, short } from "./state.js";

const TOYS = [1024, 2048, 4096, 8192, 16384, 32768, 65536];

export class Bar {
  /** `change(more)` merges into the state; `keep()` keeps it as A, or lets A go. */
  constructor(page, { change, keep }) {
    Object.assign(this, { page, change });
    const option = (value, text = value) => el("option", { value, text });
    this.a = this.select("algorithm", page.algorithms.map((name) => option(name, `${page.words[name].title}${name.endsWith("backward") ? ", backward" : ""}`)), (a) => change({ a }));
    this.mask = this.select("mask", MASKS.map((name) => option(name)), (mask) => change({ mask }));
    this.type = this.select("type", TYPES.map((name) => option(name)), (type) => change({ type }));
    this.on = this.select("on chip", [option("toy", "a toy that grows"), ...TOYS.map((bytes) => option(String(bytes), `a toy of ${bytes / 1024} KiB`)),
      ...Object.entries(page.devices).map(([name, { title }]) => option(name, title))], (on) => change({ on }));
    this.in = this.select("input", [...Object.entries(page.inputs.held).map(([name, { title }]) => option(name, title)),
      ...["0", "1", "2", "3"].map((seed) => option(seed, `random, seed ${seed}`)), option("paste", "paste numbers …")], (name) => name === "paste" ? page.paste() : change(page.inputs.asked(name)));
    this.bq = this.slider("block_q", () => TILES.filter((b) => b <= this.state.n), (bq) => change({ bq }));
    this.bk = this.slider("block_k", () => TILES.filter((b) => b <= this.state.n), (bk) => change({ bk }));
    this.n = this.slider("tokens N", () => TOKENS, (n) => change({ n }), short);
    this.d = this.slider("head d", () => WIDTHS, (d) => change({ d }));
    this.keep = el("button", { type: "button", class: "keep", onclick: keep });
    for (const { label } of [this.a, this.on, this.in]) label.classList.add("wide");
    this.fold = el("button", { type: "button", class: "fold", "aria-expanded": "true", onclick: () => this.setFolded(!this.folded) });
    this.swapped = el("p", { class: "dim swapped", role: "status" });
    this.back = el("button", { type: "button", onclick: () => change(page.inputs.asked(page.swapped)) });
    this.element = el("section", { class: "knobs", "aria-label": "settings" }, this.fold, el("div", { class: "dials" }, this.a.label, this.bq.label, this.bk.label, this.mask.label,
      this.n.label, this.d.label, this.type.label, this.on.label, this.in.label, this.keep), el("div", { class: "swap", hidden: true }, this.swapped, this.back));
  }

  select(name, options, act) {
    const input = el("select", { "aria-label": name, onchange: () => act(input.value) }, ...options);
    return { input, label: el("label", {}, el("span", { text: name }), input) };
  }

  /** An input to choose: a new one, or one that is called something else now. */
  offer(value, text) {
    const { input } = this.in, there = [...input.options].find((one) => one.value === value);
    say(there ?? input.appendChild(el("option", { value })), text);
  }

  slider(name, values, act, words = String) {
    const input = el("input", { type: "range", min: "0", step: "1", "aria-label": name, oninput: () => act(values()[Number(input.value)]) });
    const said = el("b", {});
    return { input, said, values, words, label: el("label", { class: "knob" }, el("span", {}, name, " ", said), input) };
  }

  /** On a narrow screen the controls can be folded away: Story and Step begin with them folded. */
  setFolded(folded) {
    this.folded = folded;
    toggle(this.element, "folded", folded);
    this.fold.setAttribute("aria-expanded", String(!folded));
  }

  show(state) {
    if (state.tab !== this.state?.tab) this.setFolded(state.tab !== "explore");
    this.state = state;
    say(this.fold, `settings: ${this.page.runName(state)}`);
    const { swapped, inputs } = this.page, lost = inputs.held[swapped];
    this.swapped.parentNode.hidden = !lost;
    say(this.swapped, lost ? `Random numbers now: “${lost.title}” has ${whole(lost.n)} tokens, ${whole(lost.d)} wide.` : "");
    say(this.back, lost ? `back to ${lost.title}` : "");
    for (const name of ["a", "mask", "type", "on", "in"]) {
      const { input } = this[name], value = String(state[name]);
      if (![...input.options].some((one) => one.value === value)) input.append(el("option", { value, text: name === "on" ? `a toy of ${whole(Number(value))} B` : `random, seed ${value}` }));
      input.value = value;
    }
    for (const name of ["bq", "bk", "n", "d"]) {
      const { input, said, values, words } = this[name], list = values(), wanted = Math.min(state[name], name[0] === "b" ? state.n : Infinity);
      const at = list.reduce((best, value, k) => Math.abs(value - wanted) < Math.abs(list[best] - wanted) ? k : best, 0);
      input.max = String(list.length - 1);
      input.value = String(at);
      input.style.setProperty("--done", `${list.length > 1 ? at / (list.length - 1) * 100 : 0}%`);
      input.setAttribute("aria-valuetext", words(wanted));
      say(said, words(wanted));
    }
    say(this.keep, state.pin ? "let A go" : "keep this as A");
    this.keep.setAttribute("aria-pressed", String(Boolean(state.pin)));
  }
}
