// Where a player lives: in an element of a page, or in a notebook as anywidget has it.

import { unpack } from "./run.js";
import { Player } from "./player.js";

/**
 * A player in an element. `packed` is a list of one or two {header, data, values}, as pack.py has them; `options`: `hash` (the
 * address follows the step), `step` to start at, and `moved(step)` and `themed(name)`, which are told.
 */
export async function mount(element, packed, options = {}) {
  const runs = await Promise.all(packed.map(unpack));
  const player = new Player(element, runs, options);
  if (options.hash && location.hash) player.follow();
  else player.go(options.step === undefined ? 0 : player.find(0, options.step));
  return player;
}

/** How long a step has stood, in ms, before the still is drawn anew. */
const STANDS = 400;

/** What anywidget asks for: the player of a model with `header`, `data`, `kept` and `step`. */
export async function render({ model, el: host }) {
  const root = document.createElement("div"), key = model.get("key");
  // JupyterLab listens before the player does, and its x would cut the cell; Ctrl+S and the like stay its own
  const guard = (event) => root.toggleAttribute("data-lm-suppress-shortcuts", !(event.ctrlKey || event.metaKey || event.altKey));
  window.addEventListener("keydown", guard, true);
  const hidden = document.createElement("style"); // the still beside it is for where no player runs
  hidden.textContent = /^[0-9a-f]+$/.test(key) ? `.flashsteps-still[data-player="${key}"] { display: none; }` : "";
  document.head.append(hidden);
  host.append(root);
  const jupyter = document.body.dataset.jpThemeLight;
  if (jupyter) root.dataset.theme = jupyter === "true" ? "light" : "dark";
  const bytes = (name) => {
    const view = model.get(name);
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  };
  const packed = { header: model.get("header"), data: bytes("data"), values: bytes("kept") };
  let standing;
  const told = (name, step) => {
    if (model.get(name) === step) return;
    model.set(name, step);
    model.save_changes();
  };
  const player = await mount(root, [packed], {
    step: model.get("step"),
    moved: (step) => {
      clearTimeout(standing);
      standing = setTimeout(() => told("shown", step), STANDS);
      told("step", step);
    },
  });
  const follow = () => { if (model.get("step") !== player.step) player.go(player.find(0, model.get("step"))); };
  model.on("change:step", follow);
  return () => {
    hidden.remove();
    window.removeEventListener("keydown", guard, true);
    clearTimeout(standing);
    player.pause();
    model.off("change:step", follow);
  };
}
