// Elements, colours and pixels: what every part of the player is drawn with. Text is only ever set as text.

/** An element with attributes (`on…` listens, `text` is its text) and children. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Sets a text only where it changes, so that nothing is laid out in vain. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function toggle(element, name, on) {
  if (element.classList.contains(name) !== on) element.classList.toggle(name, on);
}

/** A label such as `m_{new}` with its subscript. */
export function labelled(parts, attributes = {}) {
  return el("span", attributes, parts[0], parts[1] ? el("sub", { text: parts[1] }) : null);
}

// ---- colours

/** The colours of a theme as numbers, from the style sheet's variables. */
export function palette(root) {
  const style = getComputedStyle(root);
  const names = ["panel", "sram", "Q", "K", "V", "O", "S", "stat", "ink", "faint", "dim", "bg", "line"];
  return Object.fromEntries(names.map((name) => [name, numbers(style.getPropertyValue(`--${name}`).trim())]));
}

function numbers(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) || 0);
}

export const mix = (a, b, share) => a.map((from, n) => Math.round(from + (b[n] - from) * share));

export const css = (colour) => `rgb(${colour.join(" ")})`;

/** Black or white, whichever is easier to read on a colour. */
export function onto(colour) {
  const [r, g, b] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

/** Where a value lies in a range, 0 … 1; −∞ is its lowest. */
export function share(value, [low, high]) {
  if (value === Infinity) return 1;
  if (!(value > low)) return 0;
  return high > low ? Math.min(1, (value - low) / (high - low)) : 1;
}

/** 256 colours from `ground` to `hue` as bytes. */
export function ramp(ground, hue) {
  const made = new Uint8ClampedArray(256 * 3);
  for (let n = 0; n < 256; n++) made.set(mix(ground, hue, 0.12 + 0.88 * n / 255), n * 3);
  return made;
}

/** The most pixels that a canvas has each way; wider matrices are binned. */
const MOST_PIXELS = 512;

/**
 * A matrix as pixels, one a value, or one for `bins` values each way. Values that are NaN are left clear.
 * `paint(row, rows, data)` draws some of its rows.
 */
export class Texture {
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.bins = [rows, columns].map((size) => Math.max(1, Math.ceil(size / MOST_PIXELS)));
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.canvas.width = Math.max(1, Math.ceil(columns / this.bins[1]));
    this.canvas.height = Math.max(1, Math.ceil(rows / this.bins[0]));
    this.context = this.canvas.getContext("2d");
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  paint(row, rows, data, range, colours) {
    const [binR, binC] = this.bins, width = this.canvas.width;
    const top = Math.floor(row / binR), height = Math.ceil((row + rows) / binR) - top;
    const image = this.context.createImageData(width, height), pixels = image.data;
    const [low, high] = range, scale = high > low ? 255 / (high - low) : 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const r = Math.max(0, (top + y) * binR - row);
        let value = data[r * this.columns + x * binC];
        if (binR > 1 || binC > 1) value = this.mean(data, r, x * binC, rows);
        const at = (y * width + x) * 4;
        if (value !== value) continue;
        const n = scale ? Math.max(0, Math.min(255, Math.round((value - low) * scale))) : value > low ? 255 : 128;
        pixels[at] = colours[n * 3];
        pixels[at + 1] = colours[n * 3 + 1];
        pixels[at + 2] = colours[n * 3 + 2];
        pixels[at + 3] = 255;
      }
    }
    this.context.putImageData(image, 0, top);
  }

  mean(data, row, column, rows) {
    let sum = 0, count = 0;
    for (let r = row; r < Math.min(rows, row + this.bins[0]); r++) {
      for (let c = column; c < Math.min(this.columns, column + this.bins[1]); c++) {
        sum += data[r * this.columns + c];
        count++;
      }
    }
    return sum / count;
  }
}

// ---- what is pointed at

/**
 * A matrix that can be pointed at, touched, and walked through with the arrow keys: a grid of which one cell, the one
 * that is pointed at, is there for a screen reader. `tell(row, column)` gives the lines of its tip, the first of which is
 * what is read out first; `choose(row, column)` is what a click or Enter does.
 */
export class Pointed {
  constructor(element, { label, rows, columns, tip, tell, choose, maker }) {
    Object.assign(this, { element, rows, columns, tip, tell, choose, maker, at: null });
    this.cell = el("span", { role: "gridcell", id: `flashsteps-cell-${++cells}`, class: "unseen" });
    this.line = el("span", { role: "row" }, this.cell);
    this.cursor = el("i", { class: "cursor", hidden: true, "aria-hidden": "true" });
    this.hit = el("div", { class: "hit", role: "grid", tabindex: "0", "aria-label": label, "aria-rowcount": rows,
      "aria-colcount": columns, "aria-activedescendant": this.cell.id }, this.line);
    element.append(this.hit, this.cursor);
    this.hit.addEventListener("pointermove", (event) => this.point(event));
    this.hit.addEventListener("pointerdown", (event) => this.point(event));
    this.hit.addEventListener("mousedown", (event) => { // a click leaves the arrows to the steps
      event.preventDefault();
      tip.root.focus({ preventScroll: true });
    });
    this.hit.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.leave());
    this.hit.addEventListener("click", (event) => { this.point(event); this.at && this.choose?.(...this.at); });
    this.hit.addEventListener("focus", () => this.hit.matches(":focus-visible") && this.show(...(this.at ?? [0, 0]), true));
    this.hit.addEventListener("blur", () => this.leave());
    this.hit.addEventListener("keydown", (event) => this.key(event));
  }

  point(event) {
    const box = this.hit.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / box.height * this.rows);
    const column = Math.floor((event.clientX - box.left) / box.width * this.columns);
    if (row >= 0 && row < this.rows && column >= 0 && column < this.columns) this.show(row, column, false);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const [row, column] = this.at ?? [0, 0];
    if (move) {
      const to = [row + move[0], column + move[1]];
      if (to[0] >= 0 && to[0] < this.rows && to[1] >= 0 && to[1] < this.columns) this.show(...to, true);
    } else if (event.key === "Enter") {
      this.choose?.(row, column);
      this.show(row, column, true);
    } else if (event.key === "Escape" && this.at) {
      this.leave();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  show(row, column, byKey) {
    this.at = [row, column];
    const lines = this.tell(row, column);
    const box = this.hit.getBoundingClientRect();
    const w = box.width / this.columns, h = box.height / this.rows;
    this.line.setAttribute("aria-rowindex", row + 1);
    this.cell.setAttribute("aria-colindex", column + 1);
    say(this.cell, lines.join(". "));
    this.cursor.hidden = false;
    Object.assign(this.cursor.style, { left: `${column / this.columns * 100}%`, top: `${row / this.rows * 100}%`,
      width: `${100 / this.columns}%`, height: `${100 / this.rows}%` });
    this.tip.show(lines, { left: box.left + column * w, top: box.top + row * h, width: w, height: h }, byKey, this);
  }

  leave() {
    this.cursor.hidden = true;
    this.tip.hide(this);
  }

  /** Tells anew what is pointed at, after a step. */
  refresh() {
    if (this.tip.owner === this && this.at) this.show(...this.at, false);
  }
}
let cells = 0;

/** The one tip of a player, beside whatever is pointed at; keys have it read out as well. */
export class Tip {
  constructor(root, announce) {
    this.element = el("div", { class: "tip", role: "tooltip", hidden: true });
    this.root = root;
    this.announce = announce;
    this.owner = null;
    root.append(this.element);
  }

  show(lines, box, aloud, owner) {
    this.owner = owner;
    this.element.replaceChildren(...lines.map((line, n) => el(n ? "span" : "b", { text: line })));
    this.element.hidden = false;
    const mine = this.element.getBoundingClientRect(), frame = document.documentElement;
    const wide = frame.clientWidth, high = Math.min(frame.clientHeight, window.innerHeight);
    let left = box.left + box.width + 10, top = box.top + box.height + 6;
    if (left + mine.width > wide - 8) left = Math.max(8, Math.min(box.left - mine.width - 10, wide - mine.width - 8));
    if (top + mine.height > high - 8) top = Math.max(8, box.top - mine.height - 8);
    const root = this.root.getBoundingClientRect(), zoom = root.width / this.root.offsetWidth || 1;
    Object.assign(this.element.style, { left: `${(left - root.left) / zoom}px`, top: `${(top - root.top) / zoom}px` });
    if (aloud) this.announce(lines.join(". "));
  }

  hide(owner) {
    if (owner && owner !== this.owner) return;
    this.owner = null;
    this.element.hidden = true;
  }
}
