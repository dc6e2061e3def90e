// The source: the line that runs is marked, and each line that runs leads to its next step.

import { lastUpTo, nextIn } from "./run.js";
import { plainLabel, slotNames, times, whole } from "./words.js";
import { formula, meaning, tellingRow } from "./explain.js";
import { el } from "./draw.js";

/** Sizes of type, in px, of which the largest is chosen that shows all lines at once. */
const SIZES = [12.5, 12, 11.5, 11, 10.5, 10];

export class Source {
  constructor(run, host) {
    Object.assign(this, { run, host, at: -1 });
    const code = unfolded(run), starts = code.map(([, text]) => text.length - text.trimStart().length);
    const indent = Math.min(...starts);
    this.numbers = code.map(([number]) => number);
    this.rows = code.map(([number, text], n) => {
      const line = el("li", { role: "option", id: `flashsteps-line-${++rows}`, "aria-selected": "false", text: text.trimStart(),
        class: run.stepsOf.has(number) ? "runs" : "" });
      line.style.setProperty("--in", (starts[n] - Math.min(indent, 1e3)) / 2);
      line.addEventListener("pointerenter", () => this.tell(n, false));
      line.addEventListener("pointerleave", () => host.tip.hide(this));
      line.addEventListener("click", () => this.choose(n));
      return line;
    });
    this.list = el("ol", { class: "code", role: "listbox", tabindex: "0",
      "aria-label": "source: up and down choose a line, Enter goes to its next step" }, ...this.rows);
    this.list.addEventListener("mousedown", (event) => { event.preventDefault(); host.tip.root.focus({ preventScroll: true }); });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("blur", () => host.tip.hide(this));
    const folded = run.code.filter(([, text]) => text.trim()).length - code.length;
    this.element = el("section", { class: "panel source", "aria-label": "source" },
      el("h2", {}, "source", folded ? el("small", { text: `${times(folded, "line")} left out`,
        title: "lines that move and make nothing here: branches not taken, and what is set up" }) : null), this.list);
    new ResizeObserver(() => this.fit()).observe(this.list);
    document.fonts?.ready.then(() => this.fit()); // lines may break elsewhere in another font
  }

  show(step) {
    const n = step < 0 ? -1 : this.numbers.indexOf(this.run.columns.line[step]);
    if (n === this.lit) return;
    this.mark(this.rows[this.lit], false);
    this.lit = n;
    this.mark(this.rows[n], true);
    this.follow();
  }

  mark(line, on) {
    line?.classList.toggle("on", on);
    line?.setAttribute("aria-selected", String(on));
  }

  /** As large as lets all lines be seen. */
  fit() {
    for (const size of SIZES) {
      this.list.style.fontSize = `${size}px`;
      if (this.list.scrollHeight <= this.list.clientHeight + 1) break;
    }
    this.follow();
  }

  /** Scrolls as little as lets the line that runs be seen. */
  follow() {
    const line = this.rows[this.lit];
    if (!line) return;
    const { scrollTop, clientHeight } = this.list, top = line.offsetTop, end = top + line.offsetHeight;
    if (top < scrollTop) this.list.scrollTop = top;
    else if (end > scrollTop + clientHeight) this.list.scrollTop = end - clientHeight;
  }

  key(event) {
    const move = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || (!move && event.key !== "Enter")) return;
    if (move) {
      const from = this.at < 0 ? Math.max(0, this.lit ?? 0) - (this.lit >= 0 ? 0 : move) : this.at;
      this.at = Math.max(0, Math.min(this.rows.length - 1, from + move));
      this.list.setAttribute("aria-activedescendant", this.rows[this.at].id);
      this.rows[this.at].scrollIntoView({ block: "nearest" });
      this.tell(this.at, true);
    } else {
      this.choose(this.at < 0 ? this.lit : this.at);
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** To the next step of a line, or, from its last, the first. */
  choose(n) {
    const steps = this.run.stepsOf.get(this.numbers[n]);
    if (steps) this.host.seek(nextIn(steps, this.host.step) ?? steps[0]);
  }

  tell(n, aloud) {
    const { run, host, rows } = this, steps = run.stepsOf.get(this.numbers[n]);
    if (!steps) return host.tip.hide(this);
    const done = lastUpTo(steps, host.step), made = steps[Math.max(0, done)], slot = run.columns.slot[made] - 1;
    const of = slot >= 0 ? run.slots[slot] : null, row = run.values && of ? tellingRow(run, made) : 0;
    const how = done >= 0 ? formula(run, made, row, 0) : "";
    const lines = [run.captions[run.columns.caption[made + 1]], of ? meaning(of.name) : "",
      how ? `row ${slotNames(run, made)[0](row).name}: ${plainLabel(of.label)} = ${how}` : "",
      `runs ${times(steps.length, "time")}, ${whole(done + 1)} so far; click: next time`].filter(Boolean);
    const box = rows[n].getBoundingClientRect();
    host.tip.show(lines, { left: box.left + 24, top: box.top, width: 0, height: box.height }, aloud, this);
  }
}
let rows = 0;

/** The lines without blank ones, without branches of which no line ever runs, and without what stands before the first
 * and after the last line that moves or makes something. */
function unfolded(run) {
  const all = run.code.filter(([, text]) => text.trim()), runs = all.map(([number]) => run.stepsOf.has(number));
  const loop = all.findIndex(([, text]) => /^\s*(for|while|with)\b/.test(text)), kept = [];
  const from = Math.min(runs.indexOf(true) < 0 ? 0 : runs.indexOf(true), loop < 0 ? all.length : loop);
  const lines = all.slice(from, runs.lastIndexOf(true) < 0 ? all.length : runs.lastIndexOf(true) + 1);
  const depth = ([, text]) => text.length - text.trimStart().length;
  for (let n = 0; n < lines.length; n++) {
    let end = n + 1;
    while (end < lines.length && depth(lines[end]) > depth(lines[n])) end++;
    const branch = lines[n][1].trimStart().startsWith("if ") && end > n + 1;
    if (branch && !lines.slice(n + 1, end).some(([number]) => run.stepsOf.has(number))) n = end - 1;
    else kept.push(lines[n]);
  }
  return kept;
}
