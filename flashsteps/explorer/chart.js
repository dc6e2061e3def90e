// Charts on two logarithmic axes: bytes against N, and against the tile; with the reader on them, and the crossover marked.

import { el, say, sizeOf, whole } from "../player/player.js";
import { Part } from "./parts.js";
import { counted, crossover, overTiles, overTokens, sideOf, sidesThatCount, standardOf } from "./model.js";
import { short } from "./state.js";

const NAMES = { bq: "block_q", bk: "block_k" }, ROWS = { bq: "queries", bk: "keys" }, OTHER = { bq: "bk", bk: "bq" };

const BYTES = { float16: 2, bfloat16: 2, float32: 4, float64: 8 };

/** Where N is much larger than d, and nothing is masked: what the counts in the algorithms' first lines come to. */
export const LIMITS = {
  "flash2-forward": ({ d }) => `Without a mask, and with N much larger than d, that is at about d/2 = ${whole(d / 2)} queries.`,
  "flash-forward": ({ d, type }) => {
    const vectors = 4 * Math.max(4, BYTES[type]) / BYTES[type] / 4; // ℓ and m, in and out, in numbers of the type
    return `Without a mask, and with N much larger than d, that is at about ¾d + ${vectors} = ${whole(0.75 * d + vectors)} keys in ${type}.`;
  },
};

const NS = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export class ChartPart extends Part {
  constructor(page, name, title, kind) {
    super(page, name, title);
    this.element.dataset.part = "chart";
    this.kind = kind;
    this.host = el("div", { class: "plot" });
    this.note = el("p", { class: "dim" });
    this.element.append(this.host, this.note);
    this.size = [0, 0];
    new ResizeObserver(([{ contentRect: { width, height } }]) => { this.size = [width, height]; if (page.state) this.show(page.state); }).observe(this.host);
  }

  show(state) {
    const [width, height] = this.size;
    if (!width || !height) return;
    const plain = standardOf(state.a), over = this.kind === "tokens" ? overTokens : overTiles;
    const series = [["standard", over(plain, state), "plain"], ...(state.pin ? [["A", over(state.pin.a, { ...state, ...state.pin }), "kept"]] : []),
      ...(state.a === plain ? [] : [[state.pin ? "B" : "this run", over(state.a, state), "own"]])];
    const tokens = this.kind === "tokens", now = counted(state.a, state).total;
    const here = tokens ? state.n : Math.min(state[sideOf(state.a)], state.n);
    const all = series.flatMap(([, points]) => points);
    const [left, right, top, bottom] = [58, 62, 14, 30];
    const span = (values) => [Math.log2(Math.min(...values)), Math.log2(Math.max(...values)) + 1e-9];
    const [x0, x1] = span(all.map(([x]) => x)), [y0, y1] = span([...all.map(([, y]) => y), now]);
    const x = (value) => left + (Math.log2(value) - x0) / Math.max(1, x1 - x0) * (width - left - right);
    const y = (value) => height - bottom - (Math.log2(value) - y0) / Math.max(1, y1 - y0) * (height - top - bottom);
    const cross = crossover(state), place = { cx: x(Math.min(Math.max(here, 2 ** x0), 2 ** x1)), cy: y(now) };
    const key = JSON.stringify([width, height, series, y0, y1, cross]);
    if (key === this.drawn) { // only the reader has moved
      for (const [name, value] of Object.entries(place)) this.you.setAttribute(name, value);
      return this.tell(state, cross);
    }
    this.drawn = key;
    const parts = [];
    const text = (value, at, attributes) => { const one = svg("text", { x: at[0], y: at[1], ...attributes }); one.textContent = value; parts.push(one); };
    const few = y1 - y0 < 2 * Math.log2(10), ticks = [];
    for (let power = 10; power < 1e15; power *= 10) ticks.push(power, ...(few ? [2 * power, 5 * power] : []));
    for (const power of ticks) {
      if (Math.log2(power) < y0 || Math.log2(power) > y1) continue;
      parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(power), y2: y(power) }));
      text(sizeOf(power).replace(".0", ""), [left - 8, y(power) + 4], { "text-anchor": "end" });
    }
    const values = Array.from({ length: Math.floor(x1) - Math.ceil(x0) + 1 }, (_, n) => 2 ** (Math.ceil(x0) + n));
    const every = Math.max(1, Math.ceil(values.length / ((width - left - right) / 44)));
    values.forEach((value, n) => { if (n % every === 0) text(short(value), [x(value), height - 10], { "text-anchor": "middle" }); });
    for (const [, points, kind] of series) {
      parts.push(svg("polyline", { class: kind, points: points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ") }));
    }
    const labels = series.map(([name, points, kind]) => ({ name, kind, at: y(points.at(-1)[1]) })).sort((a, b) => a.at - b.at);
    labels.forEach((one, n) => { if (n) one.at = Math.max(one.at, labels[n - 1].at + 14); });
    for (const { name, kind, at } of labels) text(name, [width - right + 6, at + 4], { class: kind });
    if (!tokens && cross) {
      const at = x(cross);
      parts.push(svg("line", { class: "cross", x1: at, x2: at, y1: top, y2: height - bottom }));
      const room = width - right - at > 150, low = !room && at - left < 0.75 * (width - left - right); // where the curve is not
      text(`less from ${whole(cross)} ${ROWS[sideOf(state.a)]} on`, [at + (room ? 8 : -8), low ? height - bottom - 8 : top + 8], { class: "own", "text-anchor": room ? "start" : "end" });
    }
    this.you = svg("circle", { class: "you", r: 5.5, ...place });
    this.host.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.element.getAttribute("aria-label") }, ...parts, this.you));
    this.tell(state, cross);
  }

  tell(state, cross) {
    say(this.said, this.kind === "tokens" ? `at tiles of ${Math.min(state.bq, state.n)}×${Math.min(state.bk, state.n)}, d ${state.d}`
      : `at ${whole(state.n)} tokens, d ${state.d}${standardOf(state.a) === state.a ? "" : `, ${this.sides(state)}`}`);
    say(this.note, this.words(state, cross));
  }

  words(state, cross) {
    if (this.kind === "tokens") return cross === null ? "It grows with N²: S and P have a number for each query and key." : "Both grow with N²: with the tile as it is, more tokens change hardly anything about who moves less.";
    if (cross === null) return "Standard attention moves the same, whatever its blocks.";
    const side = sideOf(state.a), rows = ROWS[side], counts = sidesThatCount(state.a).map((one) => NAMES[one]);
    const which = counts.length > 1 ? `Both sides of the tile count; here ${NAMES[OTHER[side]]} stays ${state[OTHER[side]]}.` : `Only ${counts[0]} counts${state.mask === "none" ? "" : ", but for the mask's edge"}.`;
    return `${which} ${cross ? `From ${whole(cross)} ${rows} on it moves less than standard attention.` : `At this N and d no number of ${rows} makes it move less than standard attention.`} ${LIMITS[state.a]?.(state) ?? ""}`.trim();
  }

  /** What is varied along the axis, of each curve. */
  sides({ a, bq, bk, pin }) {
    const of = (one, tile) => `${NAMES[sideOf(one)]} with ${NAMES[OTHER[sideOf(one)]]} ${tile[OTHER[sideOf(one)]]}`;
    return pin && standardOf(pin.a) !== pin.a ? `B: ${of(a, { bq, bk })}; A: ${of(pin.a, pin)}` : of(a, { bq, bk });
  }
}
