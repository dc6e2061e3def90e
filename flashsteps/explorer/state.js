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
const written = (pin) => pin ? `${shortName(pin.a)},${pin.bq},${pin.bk},${pin.mask}` : "none";

/** The state as the address has it, only what differs from `own`: what the page, or the card that is told, has by itself. */
export function toHash(state, own) {
  const parts = [["a", shortName], ["bq"], ["bk"], ["mask"], ["n"], ["d"], ["type"], ["on"], ["in"], ["tab"], ["card"], ["step"], ["theme"], ["pin", written]];
  const said = parts.map(([name, words = String]) => [name, words(state[name]), words(own[name])]);
  return `#${said.filter(([, now, was]) => now !== was).map(([name, now]) => `${name}=${now}`).join("&")}`;
}

const within = (least, most) => (text) => /^-?\d{1,7}$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) + 0 : undefined;
const oneOf = (names) => (text) => names.find((name) => name === text);
const side = within(1, 256), toy = within(64, 9999999), seed = within(0, 999999);

/** How each part of an address is read, where `page` says which names there are; undefined is what makes no sense. */
const READ = new Map(Object.entries({
  a: (text, page) => longName(text, page.algorithms),
  bq: side, bk: side, n: within(2, 1 << 20), d: within(1, 256), mask: oneOf(MASKS), type: oneOf(TYPES),
  on: (text, page) => oneOf(["toy", ...page.devices])(text) ?? toy(text)?.toString(),
  in: (text, page) => oneOf(page.inputs)(text) ?? seed(text)?.toString(),
  tab: oneOf(TABS), card: (text, page) => within(0, page.cards - 1)(text), step: within(-1, 9999999), theme: oneOf(["dark", "light"]),
  pin: (text, page) => {
    const [a, bq, bk, mask = "none", ...more] = text.split(",");
    const pin = { a: longName(a, page.algorithms), bq: side(bq), bk: side(bk), mask: oneOf(MASKS)(mask) };
    return text === "none" ? null : more.length || Object.values(pin).includes(undefined) ? undefined : pin;
  },
}));

/** What an address says: {given: of the state, left: what in it makes no sense, as it is written there}. */
export function fromHash(hash, page) {
  const given = {}, left = [];
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const value = Object.hasOwn(given, name) ? undefined : READ.get(name)?.(text, page);
    if (value === undefined) left.push(text ? `${name}=${text}` : name);
    else given[name] = value;
  }
  return { given, left };
}
