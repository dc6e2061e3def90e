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

/** What anywidget asks for: the player of a model with `header`, `data`, `kept` and `step`. */
export async function render({ model, el: host }) {
  const root = document.createElement("div");
  host.append(root);
  const jupyter = document.body.dataset.jpThemeLight;
  if (jupyter) root.dataset.theme = jupyter === "true" ? "light" : "dark";
  const bytes = (name) => {
    const view = model.get(name);
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  };
  const packed = { header: model.get("header"), data: bytes("data"), values: bytes("kept") };
  const player = await mount(root, [packed], {
    step: model.get("step"),
    moved: (step) => {
      if (model.get("step") === step) return;
      model.set("step", step);
      model.save_changes();
    },
  });
  const follow = () => { if (model.get("step") !== player.step) player.go(player.find(0, model.get("step"))); };
  model.on("change:step", follow);
  return () => {
    player.pause();
    model.off("change:step", follow);
  };
}
