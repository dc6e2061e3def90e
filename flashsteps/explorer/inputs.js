// Inputs: the heads that the page holds, numbers at random, and a matrix that is pasted; as numbers, tokens and words.

import { el, say } from "../player/player.js";
import { NUMBERS } from "./state.js";

/** Numbers at random, the same for a seed: mulberry32, made normal as Box and Muller do. */
function normal(seed, size) {
  let a = (seed + 0x9E3779B9) >>> 0;
  const uniform = () => {
    a = (a + 0x6D2B79F5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return Float32Array.from({ length: size }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}

export class Inputs {
  /** `held` are those with numbers of their own, by name; every other name is a seed. */
  constructor(held) { this.held = held; }

  /** Whether an input has so many tokens of this width. */
  fits(name, { n, d }) {
    const input = this.held[name];
    return !input || (n <= input.n && d === input.d);
  }

  /** The state's changes that an input asks for. */
  asked(name) {
    const input = this.held[name];
    return input ? { in: name, n: input.n, d: input.d } : { in: name };
  }

  tokensOf({ in: name, n, d }) {
    const input = this.held[name];
    return input?.tokens && this.fits(name, { n, d }) ? input.tokens.slice(0, n) : null;
  }

  /** Q, K, V and dO as flat arrays. */
  arrays({ in: name, n, d }) {
    const input = this.held[name], found = {};
    ["Q", "K", "V"].forEach((tensor, k) => { found[tensor] = input ? input[tensor].subarray(0, n * d) : normal(Number(name) * 4 + k, n * d); });
    found.dO = normal((Number(name) || 0) * 4 + 3, n * d);
    return found;
  }

  opening({ in: name, n, d }) {
    const size = `${n} ${n === 1 ? "token" : "tokens"}, d = ${d}.`, input = this.held[name];
    return input ? (n === input.n ? input.opening : `${input.short}, its first tokens: ${size}`) : `Queries, keys and values at random: ${size}`;
  }
}

/** The input that a text is, Q, K and V at once: a row a token. null for what is no such matrix. */
function matrix(text) {
  const rows = text.trim().split(/\n+/).map((line) => line.trim().split(/[\s,;]+/).map(Number)), n = rows.length, d = rows[0].length;
  const bad = rows.some((row) => row.length !== d || row.some((x) => !Number.isFinite(x)));
  if (!text.trim() || bad || n < 2 || n > NUMBERS || d > 256) return null;
  const data = Float32Array.from(rows.flat());
  return { title: `pasted, ${n} × ${d}`, short: "Pasted numbers", opening: `Pasted numbers as queries, keys and values: ${n} tokens, d = ${d}.`, n, d, tokens: null, Q: data, K: data, V: data };
}

/** A dialog in `root` that asks for a matrix: `use` takes the input that it is, `left` is called when it closes. */
export function askForMatrix(root, use, left) {
  const area = el("textarea", { rows: "8", cols: "48", "aria-label": "numbers, a row a line", placeholder: "0.1 0.5 -0.3\n1.2 0.0 0.7" }), wrong = el("p", { class: "dim", role: "status" });
  const take = () => {
    const input = matrix(area.value);
    if (!input) return say(wrong, `Give 2 to ${NUMBERS} rows of numbers, each as long as the first, at most 256.`);
    dialog.close();
    use(input);
  };
  const dialog = el("dialog", { "aria-label": "paste numbers", onclose: () => { dialog.remove(); left(); } }, el("h2", { text: "Paste a matrix" }),
    el("p", { class: "dim", text: "A row a token. It is Q, K and V at once. It stays in this page." }), area, wrong,
    el("p", { class: "row" }, el("button", { type: "button", class: "main", text: "use it", onclick: take }), el("button", { type: "button", text: "cancel", onclick: () => dialog.close() })));
  root.append(dialog);
  dialog.showModal();
}
