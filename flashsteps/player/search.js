// A search through a run's steps: `α < 1`, `store O[4:8]`, `compute P`, `program 3`, `step 40`.

import { OPS, COMPUTE, STORE, nextIn, lastUpTo } from "./run.js";
import { plainLabel, tileName, times, whole } from "./words.js";

/** An α below this is as good as 0: what it shrinks was nothing yet. */
const LEAST = 0.005;

const TESTS = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => a === b };

/** What can be asked, of this run, as suggestions. */
export function suggestions(run) {
  const named = (op, of) => of.slice(0, 4).map((name) => `${op} ${name}`);
  const stored = run.tensors.flatMap((one) => [...one.tiles.values()].filter((tile) => tile.moves[STORE].length)
    .slice(0, 2).map((tile) => tileName(run, tile)));
  return [...(run.values && run.slots.some(({ name }) => name === "alpha") ? ["α < 1"] : []), ...named("store", stored),
    ...named("compute", run.slots.filter((slot) => slot.writes.some((step) => run.columns.op[step] === COMPUTE))
      .map((slot) => plainLabel(slot.label))), ...(run.programs.length > 1 ? ["program 1"] : []), "step 40"];
}

/** All steps that a question is about, in order; null where it is none. */
export function stepsFor(run, question) {
  const asked = question.trim().replace(/^next\s+/i, "").replaceAll("−", "-").replace("≤", "<=").replace("≥", ">=");
  const { op, slot, tensor } = run.columns, all = Array.from({ length: run.steps }, (_, step) => step);
  const of = (found) => found.length ? found : null;
  let part = /^(?:step|program)\s+(\d{1,9})$/i.exec(asked);
  if (part) {
    if (/^s/i.test(asked)) return Number(part[1]) < run.steps ? [Number(part[1])] : null;
    return of(run.programs[Number(part[1])] ? [run.programs[Number(part[1])].first] : []);
  }
  part = /^(load|store|skip|compute|made?)(?:\s+(?:of\s+)?(\S+?)(?:\[(\d+):(\d+)(?:,\s*(\d+):(\d+))?\])?)?$/i.exec(asked);
  if (part) {
    const kind = /^ma/i.test(part[1]) ? COMPUTE : OPS.indexOf(part[1].toLowerCase()), [, , name, start, stop, left, right] = part;
    return of(all.filter((step) => {
      if (op[step] !== kind) return false;
      if (!name) return true;
      if (kind === COMPUTE) return isNamed(run.slots[slot[step] - 1], name);
      if (!isNamed(run.tensors[tensor[step] - 1], name)) return false;
      const of = run.placeAt(step), end = of.right || Infinity;
      return start === undefined || (of.start < Number(stop) && Number(start) < of.stop
        && (left === undefined || (of.left < Number(right) && Number(left) < end)));
    }));
  }
  part = /^(\S+?)\s*(<=|>=|<|>|=)\s*(-?\d*\.?\d+)$/.exec(asked);
  if (!part || !run.values) return null;
  const [, name, sign, number] = part;
  return of(all.filter((step) => {
    if (op[step] !== COMPUTE || !isNamed(run.slots[slot[step] - 1], name)) return false;
    const shrinks = run.slots[slot[step] - 1].name === "alpha" && sign === "<";
    return run.slotValue(step).data.some((x) => TESTS[sign](x, Number(number)) && !(shrinks && x <= LEAST));
  }));
}

/** The name in the code or the label on screen; α may be typed as a, alpha, α. */
function isNamed({ name, label }, typed) {
  const wanted = typed.toLowerCase(), known = { a: "alpha", α: "alpha", ℓ: "l" };
  const names = [name, plainLabel(label), name.replace(/_.*/, "")].map((one) => one.toLowerCase());
  return names.includes(wanted) || names.includes(known[wanted]);
}

/** The step to go to and what to say of it: {step, words}; step null where there is none. */
export function answer(run, question, from, back = false) {
  const steps = stepsFor(run, question);
  if (!steps) return { step: null, words: `no step is “${question}”: try ${suggestions(run).slice(0, 3).join(", ")}` };
  const step = nextIn(steps, from, back) ?? (back ? steps.at(-1) : steps[0]);
  return { step, words: `${whole(lastUpTo(steps, step) + 1)} of ${times(steps.length, "such step")}` };
}
