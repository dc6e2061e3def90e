// The page's state: one plain object that the address holds whole, #a=flash2&bq=4&bk=8&mask=causal&n=32&pin=flash,4,4.

/** Sizes that controls step through. */
export const TILES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];
export const TOKENS = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576];
export const WIDTHS = [4, 8, 16, 32, 64, 128, 256];

/** Up to how many tokens a run is performed, with its numbers, and up to how many its tiles are drawn one by one. */
export const NUMBERS = 64, DRAWN = 256;

export const TYPES = ["float16", "bfloat16", "float32", "float64"];

/** 64, 1K, 1M; as units.py. */
export function short(n) {
  for (const [size, name] of [[1 << 20, "M"], [1 << 10, "K"]]) if (n >= size && n % size === 0) return `${n / size}${name}`;
  return String(n);
}

/** What a mask is called in the address, where N is not fixed by it: the middle of two documents moves with N. */
export const MASKS = ["none", "causal", "window", "prefix", "documents"];

export const TABS = ["explore", "story", "step"];

/** The mask by Python's name for so many tokens. */
export function maskFor(kind, n) {
  const half = Math.floor(n / 2), quarter = Math.max(1, Math.floor(n / 4));
  if (kind === "window") return `window:${quarter},0`;
  if (kind === "prefix") return `prefix:${quarter}`;
  if (kind === "documents") return n > 1 ? `document:${half},${n - half}` : null;
  return kind === "none" ? null : kind;
}

const SHORT = { "flash-forward": "flash", "flash2-forward": "flash2", "standard-forward": "standard" };
const shortName = (name) => SHORT[name] ?? name;
const longName = (name, names) => names.find((one) => one === name || SHORT[one] === name);
const isWhole = (text, least, most) => /^-?\d{1,7}$/.test(text) && Number(text) >= least && Number(text) <= most;

/** The state as the address has it, only what differs from the page's own. */
export function toHash(state, defaults) {
  const parts = [["a", shortName(state.a)], ["bq", state.bq], ["bk", state.bk], ["mask", state.mask], ["n", state.n], ["d", state.d],
    ["type", state.type], ["on", state.on], ["in", state.in], ["tab", state.tab], ["card", state.card], ["step", state.step], ["theme", state.theme],
    ["pin", state.pin && `${shortName(state.pin.a)},${state.pin.bq},${state.pin.bk},${state.pin.mask}`]];
  const own = { ...defaults, a: shortName(defaults.a), pin: null };
  return `#${parts.filter(([name, value]) => value !== null && value !== undefined && value !== own[name]).map(([name, value]) => `${name}=${value}`).join("&")}`;
}

/** A state from an address: what makes no sense there is left as the page has it. `page` says which names there are. */
export function fromHash(hash, defaults, page) {
  const found = { ...defaults }, wanted = new URLSearchParams(hash.replace(/^#/, ""));
  const take = (name, fits, make = (text) => text) => { const text = wanted.get(name); if (text !== null && fits(text)) found[name] = make(text); };
  take("a", (text) => longName(text, page.algorithms), (text) => longName(text, page.algorithms));
  for (const name of ["bq", "bk"]) take(name, (text) => isWhole(text, 1, 256), Number);
  take("n", (text) => isWhole(text, 2, 1 << 20), Number);
  take("d", (text) => isWhole(text, 1, 256), Number);
  take("mask", (text) => MASKS.includes(text));
  take("type", (text) => TYPES.includes(text));
  take("on", (text) => text === "toy" || page.devices.includes(text) || isWhole(text, 64, 1 << 24));
  take("in", (text) => page.inputs.includes(text) || isWhole(text, 0, 999999));
  take("tab", (text) => TABS.includes(text));
  take("card", (text) => isWhole(text, 0, 99), Number);
  take("step", (text) => isWhole(text, -1, 9999999), Number);
  take("theme", (text) => text === "dark" || text === "light");
  const pin = (wanted.get("pin") ?? "").split(","), a = longName(pin[0], page.algorithms);
  if (a && isWhole(pin[1] ?? "", 1, 256) && isWhole(pin[2] ?? "", 1, 256)) {
    found.pin = { a, bq: Number(pin[1]), bk: Number(pin[2]), mask: MASKS.includes(pin[3]) ? pin[3] : "none" };
  }
  return found;
}
