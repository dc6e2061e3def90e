// The card at a run's end: what it moved beside standard attention and why, where that turns, and how exact it is.

import { plainLabel, sizeOf, times, whole } from "./words.js";
import { el } from "./draw.js";

/** A ratio as it is written: 2.69×. */
export const ratioOf = (ratio) => `${ratio >= 0.01 ? ratio.toFixed(2) : ratio.toPrecision(1)}×`;

/** The sentences of the card, from `ending.py`'s numbers: {title, why, where, real, exact}, "" where there is nothing to say. */
export function endingWords(run) {
  const { own, standard, crossover, real, error } = run.ending;
  const direction = run.direction === "backward" ? "gradients" : "O";
  const words = { title: "", why: "", where: "", real: "", exact: "" };
  if (standard === null) {
    const scores = run.tensors.filter(({ columns }) => columns === "keys");
    const extra = scores.reduce((sum, one) => sum + run.movedTotal(one), 0);
    words.title = `${sizeOf(own)} moved: ${sizeOf(extra)} of it for ${list(scores.map(({ label }) => plainLabel(label)))}, which nobody asked for.`;
    words.why = `${list(scores.map(({ label }) => plainLabel(label)))} have a number for each query and key: they grow with N².`;
  } else {
    const less = own < standard;
    words.title = `${sizeOf(own)} moved: ${ratioOf(own / standard)} what standard attention moves at this size, ${sizeOf(standard)}.`;
    words.why = `${reason(run)} ${ratioOf(own / standard) === "1.00×" ? "That is as much as to write S and P and read them again."
      : less ? "That is still less than to write S and P and read them again." : "With tiles so small that costs more than S and P would."}`;
    if (crossover !== null) {
      words.where = crossover ? `At this N and d it moves less from tiles of ${crossover}×${crossover} on: the tile decides, not N.`
        : "At this N and d no tile makes it move less: S and P are small here.";
    }
  }
  if (real) {
    words.real = `A real head: ${whole(real.n)} tokens, d ${real.d}, tiles of ${real.tile}×${real.tile}`;
  }
  if (error) {
    words.exact = `${direction === "O" ? "O is" : "The gradients are"} within ${error.own.toPrecision(2)} of exact attention `
      + `(float64), standard attention in ${run.dtype} within ${error.standard.toPrecision(2)}: the same function, other rounding.`;
  }
  return words;
}

/** Which tensor comes in again and again, and how often: the one that was read most beyond its own size. */
function reason(run) {
  const again = run.tensors.map((one) => {
    const loads = Math.max(0, ...[...one.tiles.values()].map((tile) => tile.moves[0].length));
    return { name: plainLabel(one.label), loads, bytes: one.sums[0].sums.at(-1) ?? 0 };
  });
  const most = Math.max(...again.map(({ loads }) => loads));
  const names = again.filter(({ loads, bytes }) => loads === most && bytes).map(({ name }) => name);
  if (most < 2) return "Each tile is read just once.";
  const blocks = times(most, "time");
  return `Its tile is ${run.blockQ}×${run.blockK}, so ${list(names)} ${names.length > 1 ? "come" : "comes"} in ${blocks}.`;
}

export function list(names) {
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.join("");
}

export class Ending {
  constructor(run) {
    this.run = run;
    this.element = el("section", { class: "panel ending", "aria-label": "what this run came to", tabindex: "0", hidden: true });
  }

  show(step) {
    const { run, element } = this, on = step === run.last && Boolean(run.ending) && run.steps > 0;
    if (on === !element.hidden) return;
    element.hidden = !on;
    if (!on || element.firstChild) return;
    const words = endingWords(run), { own, standard, real } = run.ending;
    const para = (text) => text ? el("p", { text }) : null;
    const bars = (a, b) => {
      const most = Math.max(a, b, 1);
      return el("div", { class: "bars" }, ...[["this run", a, ""], ["standard", b, "plain"]].map(([name, bytes, kind]) => {
        const bar = el("i", { class: kind });
        bar.style.width = `${bytes / most * 100}%`;
        return el("div", {}, el("span", { text: name }), el("div", { class: "long" }, bar), el("b", { text: sizeOf(bytes) }));
      }));
    };
    element.append(...[el("h2", { text: words.title }), standard === null ? null : bars(own, standard), para(words.why), para(words.where),
      real ? el("h3", { text: words.real }) : null,
      real && standard !== null ? bars(real.own, real.standard) : null,
      real && standard !== null ? para(`${ratioOf(real.own / real.standard)} what standard attention moves${real.crossover
        ? `; it is less from tiles of ${real.crossover}×${real.crossover} on` : ""}.`) : null,
      real && standard === null ? para(`${sizeOf(real.own)} moved for one head.`) : null,
      para(words.exact), el("p", { class: "dim", text: "counted between HBM and SRAM only" })].filter(Boolean));
  }
}
