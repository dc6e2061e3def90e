// The parts of the page: the map of tiles, SRAM, HBM, meters, the strip of programs. Each has `show(state)`.

import { el, say, toggle, css, mix, labelled, labelParts, list, meaning, plainLabel, sizeOf, whole, times, ratioOf } from "../player/player.js";
import { counted, fitting, kernelsOf, standardOf, tileMap } from "./model.js";
import { DRAWN, NUMBERS, short } from "./state.js";
import { TERMS } from "./story.js";

/** A panel that words can light up, and that lights up words. */
export class Part {
  constructor(page, name, title) {
    Object.assign(this, { page, name });
    this.said = el("small", {});
    const known = TERMS[title] ?? (name === "map" ? TERMS.tile : null);
    this.element = el("section", { class: `panel part part-${name}`, "aria-label": title, "data-part": name }, el("h2", {}, el("span", { text: title, title: known }), this.said));
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
    const [i, j] = this.at(event), { rows, columns, kinds, each, strips, hides } = this.map, { page } = this, { n } = page.state;
    if (i < 0 || j < 0 || i >= rows || j >= columns) return page.tip.hide(this);
    const [q, k] = this.sizes, span = (at, size, one, many) => `${many} ${whole(at * size)}–${whole(Math.min(n, (at + 1) * size) - 1)}`;
    const kind = strips ? `made and stored whole${hides ? ", −∞ where the mask hides" : ""}`
      : ["hidden by the mask: skipped, nothing moves", "cut by the mask: it comes in whole", "every query sees every key"][kinds[i * columns + j]];
    const box = this.canvas.getBoundingClientRect(), w = box.width / columns, h = box.height / rows;
    const several = each[0] * each[1] > 1 ? `${whole(each[0])} × ${whole(each[1])} tiles` : strips ? `strip i = ${i}` : `tile i = ${i}, j = ${j}`;
    page.tip.show([several, `${span(i, q, "query", "queries")}; ${span(j, k, "key", "keys")}`, kind, n <= NUMBERS ? "click: step there" : ""].filter(Boolean),
      { left: box.left + j * w, top: box.top + i * h, width: w, height: h }, false, this);
  }

  open(i, j) {
    if (this.page.state.n <= NUMBERS) this.page.stepTo(i, j);
  }

  show(state) {
    const map = tileMap(state), { rows, columns, kinds, across, each, visited, strips } = map, { colours } = this.page;
    this.map = map;
    this.sizes = [map.size[0] * each[0], map.size[1] * each[1]];
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
    const mark = state.tab === "story" && this.page.off.hidden ? this.page.mark : null, cell = width / state.n;
    if (mark) {
      context.strokeStyle = css(colours.ink);
      context.lineWidth = 3 * ratio;
      context.strokeRect(mark.key * cell - ratio, mark.query * cell - ratio, cell, cell);
    }
    const skipped = visited[1] - visited[0];
    say(this.said, strips ? `all of it, in ${times(across[0], "strip")}` : `${whole(visited[0])} of ${whole(visited[1])} visited${skipped ? `, ${whole(skipped)} skipped` : ""}`);
    const several = each[0] * each[1] > 1 ? `Each cell stands for ${whole(each[0])} ${strips ? "strips" : `× ${whole(each[1])} tiles`}.` : "";
    say(this.note, [several, mark ? `Framed: query ${mark.query}, key ${mark.key}.` : "", weights ? "The stronger the colour, the larger the weight." : "", map.hides && !strips ? `${weights ? "" : "Paler: cut by the mask. "}${skipped ? "Hatched: skipped." : ""}` : "",
      strips ? `Each strip is made against all keys, and all of S is stored${map.hides ? ": what the mask hides as −∞, which saves nothing" : ""}.`
        : "One tile is on chip at a time; none is ever stored."].filter(Boolean).join(" "));
    this.canvas.setAttribute("aria-label", `${whole(across[0])} blocks of queries by ${times(across[1], "block")} of keys: ${this.said.textContent}`);
    this.tick(this.rows, rows, this.sizes[0], state, "top", 8);
    if (strips) this.tick(this.columns, Math.min(state.n, 4), state.n / Math.min(state.n, 4), state, "left", 4);
    else this.tick(this.columns, columns, this.sizes[1], state, "left", Math.max(1, Math.floor(this.wide / 50)));
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
  tick(host, count, size, state, side, most) {
    const every = 2 ** Math.ceil(Math.log2(Math.max(1, count / most))), tokens = this.page.inputs.tokensOf(state);
    const wanted = Array.from({ length: Math.ceil(count / every) }, (_, k) => k * every), wide = side === "left" ? Math.min(100, every / count * 100) : null;
    const texts = wanted.map((at) => tokens ? tokens[Math.floor(at * size)] : short(Math.floor(at * size)));
    const key = `${wanted.join()}|${texts.join()}|${count}`;
    if (host.key === key) return;
    host.key = key;
    host.replaceChildren(...wanted.map((at, n) => {
      const tick = el("bdi", { text: texts[n] });
      tick.style[side] = `${at / count * 100}%`;
      if (wide) tick.style.maxWidth = `calc(${wide}% - 4px)`;
      return tick;
    }));
  }
}

// ---- SRAM: what each memory on chip holds where it is fullest

/** Bytes as memories on chip are sold: 768 B, 163 KiB. `large` says that KiB are spoken of. */
export const onChip = (bytes, large = bytes >= 16384) => bytes >= 1 << 20 ? `${(bytes / 1024 / 1024).toFixed(1)} MiB` : large && bytes >= 103 ? `${Number((bytes / 1024).toFixed(1))} KiB` : `${whole(bytes)} B`;

export class SramPart extends Part {
  constructor(page) {
    super(page, "sram", "SRAM");
    this.body = el("div", { class: "places" });
    this.fix = el("button", { type: "button", onclick: () => page.change({ on: String(this.room) }) });
    this.note = el("p", { class: "dim grows" }, "This toy grows with the run, so all fits. ", this.fix);
    this.element.append(this.body, el("p", { class: "dim signs" }, el("i", { class: "dot" }), "loaded ", el("i", { class: "dot made" }), "made on chip"), this.note);
  }

  show(state) {
    const { page } = this, { fits, grows, ideal, title, places } = fitting(state, page.devices);
    say(this.said, ideal ? "an ideal product: no limit is held against it" : title ?? (grows ? "a toy that grows" : "a toy of a fixed size"));
    this.body.replaceChildren(...places.flatMap((one) => this.place(one, state, ideal, places.length > 1)));
    toggle(this.element, "full", !fits);
    this.room = places[0].room;
    this.note.hidden = !grows || ideal;
    say(this.fix, `fix it at ${onChip(this.room)}`);
  }

  /** One memory: its slots as a bar, with the limit marked where they are more, and as a list. */
  place({ place, need, room: most, slots, fits }, state, ideal, named) {
    const { page } = this, scale = ideal ? need : Math.max(most, need), gauge = el("div", { class: "gauge", "aria-hidden": "true" }), large = need >= 16384;
    for (const [name, bytes] of slots) {
      const part = el("i", {});
      part.style.width = `${bytes / scale * 100}%`;
      part.style.background = hueOf(page, state.a, name);
      gauge.append(part);
    }
    if (!fits) {
      const limit = el("u", {}, el("small", { text: onChip(most) }));
      limit.style.left = `${most / scale * 100}%`;
      toggle(limit, "far", most > scale / 2);
      gauge.append(limit);
    }
    const words = ideal ? `${onChip(need)} where it is fullest` : fits ? `${onChip(need)} of ${onChip(most)} in use where it is fullest` : `Does not fit: ${named ? `${place} would hold` : "it needs"} ${onChip(need)}, there are ${onChip(most)}.`;
    const list = el("ul", { class: "slots-list" }, ...slots.map(([name, bytes, loaded]) => {
      const dot = el("i", { class: loaded ? "dot" : "dot made" });
      dot.style.setProperty("--hue", hueOf(page, state.a, name));
      return el("li", { title: [meaning(name), loaded ? "loaded" : "made on chip"].filter(Boolean).join("; ") }, dot, labelled(labelParts(labelOf(page, state.a, name))), el("b", { text: onChip(bytes, large) }));
    }));
    return [gauge, el("p", { class: fits ? "verdict" : "verdict over", text: `${named && fits ? `${place}: ` : ""}${words}` }), list];
  }
}

// ---- HBM: what comes in how often

export class HbmPart extends Part {
  constructor(page) {
    super(page, "hbm", "HBM");
    this.body = el("tbody", {});
    const heads = ["tensor", "size", "read", "written", "how often"].map((text) => el("th", { scope: "col", text }));
    this.element.append(el("table", { class: "numbers" }, el("thead", {}, el("tr", {}, ...heads)), this.body));
  }

  show(state) {
    const { page } = this, { by_tensor: moved, total } = counted(state.a, state), names = Object.keys(moved);
    const itemsize = (name) => (/^(m|l|LSE|D|LSE_s|O_s)$/.test(name) ? Math.max(4, page.itemsize[state.type]) : page.itemsize[state.type]);
    const square = (name) => /^d?[SP]$/.test(name), vector = (name) => /^(m|l|LSE|D)$/.test(name);
    const sizes = names.map((name) => (square(name) ? state.n * state.n : vector(name) ? state.n : state.n * state.d) * itemsize(name));
    const often = (bytes, n) => { const many = bytes / sizes[n]; return `${many < 10 ? Number(many.toFixed(2)) : whole(many)}×`; };
    say(this.said, `${sizeOf(total)} over the bus`);
    this.body.replaceChildren(...names.map((name, n) => {
      const [read, written] = moved[name], label = labelled(labelParts(labelOf(page, state.a, name)));
      label.style.color = hueOf(page, state.a, name);
      label.title = meaning(name);
      return el("tr", {}, el("th", { scope: "row" }, label), el("td", { text: sizeOf(sizes[n]) }), el("td", { text: read ? sizeOf(read) : "–" }), el("td", { text: written ? sizeOf(written) : "–" }),
        el("td", { text: [read && `in ${often(read, n)}`, written && `out ${often(written, n)}`].filter(Boolean).join(", ") }));
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
    const counts = runs.map(([, a, of]) => counted(a, of)), most = Math.max(...counts.map(({ total }) => total));
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
      return el("div", {}, el("span", { text: name, title: a }), bar, el("b", { text: sizeOf(counts[n].total) }));
    }));
    const own = counts[pin ? 1 : 0].total, level = counts.at(-1).total;
    say(this.words, !fitting(state, page.devices).fits ? "It does not fit on chip: the bars say what it would move." : state.a === plain ? `S and P are ${Math.round(100 * scores(counts[pin ? 1 : 0]) / own)} % of it.`
      : `${ratioOf(own / level)} what standard attention moves${pin ? `, and ${ratioOf(own / counts[0].total)} what A moves` : ""}.`);
  }
}

const scores = ({ by_tensor: moved }) => Object.entries(moved).filter(([name]) => /^d?[SP]$/.test(name)).reduce((sum, [, [r, w]]) => sum + r + w, 0);

// ---- the strip: one row a program, kernel after kernel

export class StripPart extends Part {
  constructor(page) {
    super(page, "strip", "Programs");
    this.rows = el("div", { class: "strip" });
    this.element.append(this.rows);
  }

  show(state) {
    const kernels = kernelsOf(state), { page } = this;
    if (!kernels) {
      say(this.said, "");
      return this.rows.replaceChildren(el("p", { class: "dim", text: `They are drawn one by one for up to ${DRAWN} tokens; with ${whole(state.n)} there are too many.` }));
    }
    const totals = ({ moved }) => Object.values(moved).flat().reduce((a, b) => a + b, 0), [{ programs: [, second] }] = kernels;
    const largest = Math.max(1, ...kernels.flatMap(({ programs }) => programs.map(totals))), most = Math.floor(24 / kernels.length);
    say(this.said, kernels.length > 1 ? `in ${whole(kernels.length)} kernels, one after another`
      : second ? `${whole(kernels[0].programs.length)}, sharing nothing on chip: a GPU runs many at once` : "one, from first to last");
    const name = (tensor) => plainLabel(labelOf(page, state.a, tensor)), before = new Set();
    this.rows.replaceChildren(...kernels.flatMap(({ makes, programs }, n) => {
      const uses = [...new Set(programs.flatMap(({ moved }) => Object.keys(moved).filter((one) => moved[one][0] && before.has(one))))];
      for (const one of makes) before.add(one);
      const head = `${n + 1}: makes ${list(makes.map(name))}${uses.length ? ` from ${list(uses.map(name))}` : ""}, ${programs.length > 1 ? `${whole(programs.length)} programs side by side` : "one program"}`;
      return [...(kernels.length > 1 ? [el("p", { class: "kernel", text: head })] : []), ...programs.slice(0, most).map((one) => this.row(one, programs.length, totals(one), largest, state)),
        ...(programs.length > most ? [el("p", { class: "dim", text: `… ${times(programs.length - most, "more program")}` })] : [])];
    }));
  }

  row({ moved, loop }, many, total, largest, state) {
    const bar = el("div", { class: "bar" }), [name, at] = loop[0] ?? ["", ""];
    for (const [tensor, sides] of Object.entries(moved)) {
      sides.forEach((bytes, side) => {
        if (!bytes) return;
        const part = el("i", { class: side ? "written" : "" });
        part.style.width = `${bytes / largest * 100}%`;
        part.style.setProperty("--hue", hueOf(this.page, state.a, tensor));
        bar.append(part);
      });
    }
    return el("div", { title: sizeOf(total) }, el("span", { text: many === 1 || !name ? "" : `${name} = ${at}` }), bar);
  }
}
