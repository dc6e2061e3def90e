// For someone new: what this is in a sentence, what the signs mean, and all keys.

import { el } from "./draw.js";

const SIGNS = [["now", "moves now, or is made"], ["read", "is read, or in use"], ["dim", "no longer of use"],
  ["hatch", "not written yet; in the map: skipped"]];

/** One sentence, and the legend. */
export function intro() {
  const signs = SIGNS.map(([kind, text]) => el("span", {}, el("i", { class: `sign ${kind}`, "aria-hidden": "true" }), text));
  return el("p", { class: "intro" },
    el("span", { text: "Attention, tile by tile. HBM: large and slow; SRAM: small and fast, on chip." }), ...signs);
}

const KEYS = [["→  ←", "step on, step back"], ["space", "play, pause"], ["Home  End", "start, end"], ["L", "next load"],
  ["S", "next store"], ["N", "next tile of S"], ["P", "next program"], ["T", "next time this tile is touched"],
  ["Shift", "with L S N P T: the one before"], ["W", "who made this?"], ["U", "undo a jump"], ["/", "find a step"],
  ["−  +", "slower, faster"], ["M", "to the map of tiles"], ["F", "follow the tile that moves, keep none"]];

/** The keys' dialog. `letters` says whether single letters work, and is told when that is changed. */
export function keysDialog({ pair, link, letters, setLetters }) {
  const keys = [...KEYS, ...(pair ? [["B", "in step by tile, or by bytes"]] : []), ...(link ? [["C", "copy a link to this step"]] : []),
    ["D", "dark or light"], ["Esc", "close"], ["?", "these keys"]];
  const box = el("input", { type: "checkbox", "aria-label": "single letters and signs are keys", onchange: () => setLetters(box.checked) });
  box.checked = letters;
  const dialog = el("dialog", { class: "keys", "aria-label": "keys" }, el("h2", { text: "Keys" }),
    el("dl", {}, ...keys.flatMap(([key, does]) => [el("dt", { text: key }), el("dd", { text: does })])),
    el("p", { class: "dim", text: "In a tensor, a slot, the map or the source, reached with Tab, arrow keys go from place to place and Enter chooses." }),
    el("label", { class: "letters" }, box, " single letters and signs are keys"),
    intro(), el("button", { type: "button", text: "close", onclick: () => dialog.close() }));
  return dialog;
}

/** A setting that is remembered where the browser lets it be. */
export const remembered = {
  get(name) { try { return localStorage.getItem(`flashsteps.${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`flashsteps.${name}`, value); } catch { /* for this page, then */ } },
};
