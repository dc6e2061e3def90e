// What an address says of a player: #step=40&keep=O,4,8&theme=dark; of two runs, #by=bytes&at=40.

import { tileKey } from "./run.js";

/** The address of what is shown: the step, the tiles that are kept, and the theme where it was chosen. */
export function toAddress({ views, runs, root, by, at, step }) {
  const kept = views.flatMap(({ run, selected }, n) => selected
    ? [`&keep=${[run.tensors[selected.tensor].name, ...tileKey(selected).split(/:(.*)/, 2), ...(n ? [n] : [])].map(encodeURIComponent).join(",")}`] : []);
  const theme = root.dataset.theme ? `&theme=${root.dataset.theme}` : "";
  return `${runs.length > 1 ? `#by=${by}&at=${at}` : `#step=${step}`}${kept.join("")}${theme}`;
}

/** {theme, keep, by, at, step}: null, or no tiles, where the address does not say, or says what makes no sense. */
export function fromAddress(hash) {
  const wanted = new URLSearchParams(hash.slice(1));
  const number = (name) => /^-?\d{1,9}$/.test(wanted.get(name) ?? "") ? Number(wanted.get(name)) : null;
  const one = (name, known) => known.includes(wanted.get(name)) ? wanted.get(name) : null;
  return { theme: one("theme", ["dark", "light"]), keep: wanted.getAll("keep").map((text) => text.split(",")), by: one("by", ["tile", "bytes"]),
    at: number("at"), step: number("step") };
}

/** The tile of run `n` among those to keep, [tensor, start, stop, which run]; null where there is none such. */
export function keptTile(run, keep, n) {
  const mine = keep.find((one) => (one[3] ?? "0") === String(n));
  const tensor = mine ? run.tensors.findIndex(({ name }) => name === mine[0]) : -1;
  return tensor < 0 ? null : run.tensors[tensor].tiles.get(`${mine[1]}:${mine[2]}`) ?? null;
}
