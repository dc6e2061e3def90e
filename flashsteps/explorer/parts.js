// The parts of the page: the map of tiles, SRAM, HBM, meters, the strip of programs. Each has `show(state)`.

import { el, say, toggle, css, mix, labelled, labelParts, plainLabel, sizer, sizeOf, whole, times, ratioOf } from "../player/player.js";
import { counted, fitting, programsOf, standardOf, tileMap } from "./model.js";
import { DRAWN, NUMBERS } from "./state.js";

/** A panel that words can light up, and that lights up words. */
export class Part {
  constructor(page, name, title) {
    Object.assign(this, { page, name });
    this.said = el("small", {});
    this.element = el("section", { class: `panel part part-${name}`, "aria-label": title, "data-part": name }, el("h2", {}, title, this.said));
    this.element.addEventListener("pointerenter", () => page.light(name));
    this.element.addEventListener("pointerleave", () => page.light(null));
  }
}

const labelOf = (page, a, name) => page.words[a].names[name]?.label ?? name;
const hueOf = (page, a, name) => `var(--${page.words[a].names[name]?.hue ?? "stat"})`;

// ---- the map of tiles

export class MapPart extends Part {
  constructor(page) {
    super(page, "map", "Tiles of S");
    this.canvas = el("canvas", { role: "img" });
    this.rows = el("div", { class: "ticks rows", "aria-hidden": "true" });
    this.columns = el("div", { class: "ticks columns", "aria-hidden": "true" });
    this.note = el("p", { class: "dim" });
    this.element.append(el("div", { class: "square" }, el("span", { class: "axis keys", text: "keys →" }), el("span", { class: "axis queries", text: "queries ↓" }),
      this.columns, this.rows, this.canvas), this.note);
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => page.tip.hide(this));
    this.canvas.addEventListener("click", (event) => this.open(...this.at(event)));
    this.wide = 0; // in px, as it was last laid out: to ask while drawing would have it laid out again
    new ResizeObserver(([entry]) => { this.wide = entry.contentRect.width; if (page.state) this.show(page.state); }).observe(this.canvas);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect(), { rows, columns } = this.map;
    return [Math.floor((event.clientY - box.top) / box.height * rows), Math.floor((event.clientX - box.left) / box.width * columns)];
  }

  point(event) {
    const [i, j] = this.at(event), { rows, columns, kinds, each } = this.map, { page } = this, { n } = page.state;
    if (i < 0 || j < 0 || i >= rows || j >= columns) return page.tip.hide(this);
    const [q, k] = this.sizes, span = (at, size, one, many) => `${many} ${whole(at * size)}–${whole(Math.min(n, (at + 1) * size) - 1)}`;
    const kind = ["hidden by the mask: skipped, nothing moves", "cut by the mask: it comes in whole", "every query sees every key"][kinds[i * columns + j]];
    const box = this.canvas.getBoundingClientRect(), w = box.width / columns, h = box.height / rows;
    const several = each[0] * each[1] > 1 ? `${whole(each[0])} × ${whole(each[1])} tiles` : `tile i = ${i}, j = ${j}`;
    page.tip.show([several, `${span(i, q, "query", "queries")}; ${span(j, k, "key", "keys")}`, kind, n <= NUMBERS ? "click: step there" : ""].filter(Boolean),
      { left: box.left + j * w, top: box.top + i * h, width: w, height: h }, false, this);
  }

  open(i, j) {
    if (this.page.state.n <= NUMBERS) this.page.stepTo(i, j);
  }

  show(state) {
    const map = tileMap(state), { rows, columns, kinds, across, each, visited } = map, { colours } = this.page;
    this.map = map;
    this.sizes = [Math.min(state.bq, state.n) * each[0], Math.min(state.bk, state.n) * each[1]];
    const ratio = window.devicePixelRatio || 1, side = Math.round(this.wide * ratio);
    if (side && (this.canvas.width !== side || this.canvas.height !== side)) this.canvas.width = this.canvas.height = side;
    const context = this.canvas.getContext("2d"), { width } = this.canvas, w = width / columns, h = width / rows;
    const gap = Math.min(w, h) > 12 * ratio ? 3 * ratio : Math.min(w, h) > 5 * ratio ? ratio : 0;
    const [full, cut, none, line] = [css(mix(colours.bg, colours.S, 0.75)), css(mix(colours.bg, colours.S, 0.42)), css(mix(colours.bg, colours.faint, 0.22)), css(colours.faint)];
    const weights = this.weights(state);
    context.clearRect(0, 0, width, width);
    context.imageSmoothingEnabled = false;
    if (weights && !gap) context.drawImage(weights, 0, 0, width, width); // tiles too small to stand apart
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const kind = kinds[i * columns + j], [x, y] = [j * w, i * h], [wide, high] = [Math.max(1, w - gap), Math.max(1, h - gap)];
        context.fillStyle = kind === 2 ? full : kind ? cut : none;
        if (kind && weights && !gap) continue;
        if (kind && weights) {
          const [q, k] = this.sizes, from = [j * k, i * q], size = [Math.min(k, state.n - from[0]), Math.min(q, state.n - from[1])];
          context.drawImage(weights, ...from, ...size, x, y, wide, high);
        } else {
          context.fillRect(x, y, wide, high);
        }
        if (kind < 2 && gap && !(kind && weights)) this.hatch(context, x, y, wide, high, kind ? css(mix(colours.bg, colours.S, 0.75)) : line, kind ? 4 * ratio : 7 * ratio, !kind);
      }
    }
    const skipped = visited[1] - visited[0];
    say(this.said, `${whole(visited[0])} of ${whole(visited[1])} visited${skipped ? `, ${whole(skipped)} skipped` : ""}`);
    say(this.note, [each[0] * each[1] > 1 ? `Each cell stands for ${whole(each[0])} × ${whole(each[1])} tiles.` : "",
      weights ? "Brighter: a larger weight." : "", map.hides ? `${weights ? "" : "Lighter: cut by the mask. "}Hatched: skipped.` : "", standardOf(state.a) === state.a
        ? "Standard attention makes all of S at once, and stores it." : "One tile is on chip at a time; none is ever stored."].filter(Boolean).join(" "));
    this.canvas.setAttribute("aria-label", `${whole(across[0])} blocks of queries by ${whole(across[1])} blocks of keys: ${this.said.textContent}`);
    this.tick(this.rows, rows, this.sizes[0], state, "top");
    this.tick(this.columns, columns, this.sizes[1], state, "left");
  }

  /** The weights of attention as a picture, a pixel each; null where there are too many tokens to perform. */
  weights(state) {
    const { page } = this, { colours } = page, p = page.weightsOf(state);
    if (!p) return null;
    const key = [state.n, state.d, state.in, state.mask, colours.S].join();
    if (this.painted === key) return this.picture;
    this.painted = key;
    this.picture ??= document.createElement("canvas");
    this.picture.width = this.picture.height = state.n;
    const context = this.picture.getContext("2d"), image = context.createImageData(state.n, state.n);
    p.forEach((weight, n) => image.data.set([...mix(mix(colours.bg, colours.S, 0.22), colours.S, Math.sqrt(weight)), 255], n * 4));
    context.putImageData(image, 0, 0);
    return this.picture;
  }

  hatch(context, x, y, w, h, colour, every, down) {
    context.save();
    context.beginPath();
    context.rect(x, y, w, h);
    context.clip();
    context.strokeStyle = colour;
    context.lineWidth = (window.devicePixelRatio || 1) * 1.2;
    context.beginPath();
    for (let at = -h; at < w + h; at += every) {
      context.moveTo(x + at, down ? y + h : y);
      context.lineTo(x + at + h, down ? y : y + h);
    }
    context.stroke();
    context.restore();
  }

  /** Where blocks begin, as many as there is room for; with their token where the input has tokens. */
  tick(host, count, size, state, side) {
    const every = Math.max(1, Math.ceil(count / 8)), tokens = this.page.tokensOf(state);
    const wanted = Array.from({ length: Math.ceil(count / every) }, (_, k) => k * every);
    const texts = wanted.map((at) => tokens && side === "top" ? tokens[at * size] : whole(at * size));
    const key = `${wanted.join()}|${texts.join()}`;
    if (host.key === key) return;
    host.key = key;
    host.replaceChildren(...wanted.map((at, n) => {
      const tick = el("bdi", { text: texts[n] });
      tick.style[side] = `${at / count * 100}%`;
      return tick;
    }));
  }
}

// ---- SRAM: what is on chip where it is fullest

export class SramPart extends Part {
  constructor(page) {
    super(page, "sram", "SRAM");
    this.gauge = el("div", { class: "gauge", "aria-hidden": "true" });
    this.verdict = el("p", { class: "verdict", role: "status" });
    this.list = el("ul", { class: "slots-list" });
    this.element.append(this.gauge, this.verdict, this.list);
  }

  show(state) {
    const { page } = this, { fullest } = counted(state.a, state), { fits, ideal, place, need, room, title } = fitting(state, page.devices);
    const most = Math.max(room, need), size = (bytes) => bytes >= 1 << 20 ? `${(bytes / 1024 / 1024).toFixed(1)} MiB` : bytes >= 16384 ? `${whole(bytes / 1024)} KiB` : `${whole(bytes)} B`;
    const counting = fullest.filter(([, , loaded]) => place === "toy SRAM" || place === "SRAM" || loaded === (place === "shared memory"));
    say(this.said, title ?? (ideal ? "an ideal product: not held against it" : "a toy's size"));
    this.gauge.replaceChildren(...counting.map(([name, bytes]) => {
      const part = el("i", {});
      part.style.width = `${bytes / most * 100}%`;
      part.style.background = hueOf(page, state.a, name);
      return part;
    }), ...(need > room ? [limitMark(room / most)] : []));
    toggle(this.element, "full", !fits);
    say(this.verdict, fits ? `${size(need)} of ${size(room)} in use where it is fullest`
      : `Does not fit: ${size(need)} of ${size(room)} of ${place}.`);
    this.list.replaceChildren(...fullest.map(([name, bytes, loaded]) => {
      const dot = el("i", { class: loaded ? "dot" : "dot made" });
      dot.style.setProperty("--hue", hueOf(page, state.a, name));
      return el("li", { title: loaded ? "loaded: in shared memory" : "computed: in registers" }, dot, labelled(labelParts(labelOf(page, state.a, name))),
        el("b", { text: size(bytes) }));
    }));
  }
}

function limitMark(share) {
  const mark = el("u", {});
  mark.style.left = `${share * 100}%`;
  return mark;
}

// ---- HBM: what comes in how often

export class HbmPart extends Part {
  constructor(page) {
    super(page, "hbm", "HBM");
    this.body = el("tbody", {});
    const heads = ["tensor", "size", "read", "written", "comes in"].map((text) => el("th", { scope: "col", text }));
    this.element.append(el("table", { class: "numbers" }, el("thead", {}, el("tr", {}, ...heads)), this.body));
  }

  show(state) {
    const { page } = this, { by_tensor: moved, total } = counted(state.a, state), names = Object.keys(moved);
    const itemsize = (name) => (/^(m|l|LSE|D|LSE_s|O_s)$/.test(name) ? Math.max(4, page.itemsize[state.type]) : page.itemsize[state.type]);
    const square = (name) => /^d?[SP]$/.test(name), vector = (name) => /^(m|l|LSE|D)$/.test(name);
    const sizes = names.map((name) => (square(name) ? state.n * state.n : vector(name) ? state.n : state.n * state.d) * itemsize(name));
    const most = Math.max(...names.map((name) => Math.max(...moved[name])), 1), together = sizer(most);
    const size = (bytes) => bytes * 1000 < most ? sizeOf(bytes) : together(bytes); // what would be 0.0 GB has its own unit
    say(this.said, `${sizeOf(total)} over the bus`);
    this.body.replaceChildren(...names.map((name, n) => {
      const [read, written] = moved[name], often = read / sizes[n], label = labelled(labelParts(labelOf(page, state.a, name)));
      label.style.color = hueOf(page, state.a, name);
      return el("tr", {}, el("th", { scope: "row" }, label), el("td", { text: sizeOf(sizes[n]) }), el("td", { text: read ? size(read) : "–" }), el("td", { text: written ? size(written) : "–" }),
        el("td", { text: read ? `${often < 10 ? Number(often.toFixed(2)) : whole(often)}×` : "never" }));
    }));
  }
}

// ---- meters: this run, the one that is kept, and standard attention, on one scale

export class MeterPart extends Part {
  constructor(page) {
    super(page, "meters", "Bytes over the bus");
    this.rows = el("div", { class: "rows" });
    this.words = el("p", { class: "ratio" });
    this.element.append(this.rows, el("p", { class: "dim", text: "solid: read · hatched: written" }), this.words);
  }

  show(state) {
    const { page } = this, { pin } = state, plain = standardOf(state.a);
    const runs = [...(pin ? [["A", pin.a, { ...state, ...pin }]] : []), [pin ? "B" : "this run", state.a, state],
      ...(state.a === plain && !pin ? [] : [["standard", plain, state]])];
    const counts = runs.map(([, a, of]) => counted(a, of)), most = Math.max(...counts.map(({ total }) => total)), size = sizer(most);
    this.rows.replaceChildren(...runs.map(([name, a], n) => {
      const bar = el("div", { class: `bar${name === "standard" ? " plain" : ""}` });
      for (const [tensor, sides] of Object.entries(counts[n].by_tensor)) {
        sides.forEach((bytes, side) => {
          if (!bytes) return;
          const part = el("i", { class: side ? "written" : "" });
          part.style.width = `${bytes / most * 100}%`;
          part.style.setProperty("--hue", name === "standard" ? "var(--dim)" : hueOf(page, a, tensor));
          bar.append(part);
        });
      }
      return el("div", {}, el("span", { text: name, title: a }), bar, el("b", { text: size(counts[n].total) }));
    }));
    const own = counts[pin ? 1 : 0].total, level = counts.at(-1).total;
    say(this.words, state.a === plain ? `S and P are ${Math.round(100 * scores(counts[pin ? 1 : 0]) / own)} % of it.`
      : `${ratioOf(own / level)} what standard attention moves${pin ? `, and ${ratioOf(own / counts[0].total)} what A moves` : ""}.`);
  }
}

const scores = ({ by_tensor: moved }) => Object.entries(moved).filter(([name]) => /^d?[SP]$/.test(name)).reduce((sum, [, [r, w]]) => sum + r + w, 0);

// ---- the strip: one row a program

export class StripPart extends Part {
  constructor(page) {
    super(page, "strip", "Programs");
    this.rows = el("div", { class: "strip" });
    this.element.append(this.rows);
  }

  show(state) {
    const { page } = this, found = programsOf(state), most = 24;
    if (!found) {
      say(this.said, `one by one up to ${DRAWN} tokens`);
      this.rows.replaceChildren();
      return;
    }
    const totals = found.map(({ moved }) => Object.values(moved).flat().reduce((a, b) => a + b, 0)), largest = Math.max(1, ...totals);
    say(this.said, found.length === 1 ? "one, from first to last" : `${whole(found.length)}, sharing nothing on chip: a GPU runs many at once`);
    this.rows.replaceChildren(...found.slice(0, most).map(({ moved, loop }, n) => {
      const bar = el("div", { class: "bar" });
      for (const [tensor, sides] of Object.entries(moved)) {
        sides.forEach((bytes, side) => {
          if (!bytes) return;
          const part = el("i", { class: side ? "written" : "" });
          part.style.width = `${bytes / largest * 100}%`;
          part.style.setProperty("--hue", hueOf(page, state.a, tensor));
          bar.append(part);
        });
      }
      const [name, at] = loop[0] ?? ["", ""];
      return el("div", { title: `program ${n}: ${sizeOf(totals[n])}` }, el("span", { text: found.length === 1 || !name ? "" : `${name} = ${at}` }), bar);
    }), ...(found.length > most ? [el("p", { class: "dim", text: `… ${times(found.length - most, "more program")}` })] : []));
  }
}
