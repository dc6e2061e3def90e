// What a symbol means, and how one of its numbers came about: a formula with the run's own numbers in it.

import { COMPUTE } from "./run.js";
import { short } from "./words.js";

/** What is said of a slot or a tensor by its name in the code; gradients and others are told by `made at step …`. */
const MEANING = {
  q: "queries: what each row looks for", k: "keys: what each row can be found by", v: "values: what each row has to give",
  S: "scores: how well each query matches each key", P: "weights: e^(score − max), before they are divided by ℓ",
  m: "m: the largest score of each row so far", m_ij: "the largest score of each row in this tile alone",
  l: "ℓ: the sum of each row's exponentials so far", l_ij: "the sum of this tile's exponentials alone",
  bias: "the bias: what is added to each score", sinks: "sinks: a logit a head, which takes its share and has no value",
  alpha: "α: by how much all that was summed before must shrink", beta: "β: by how much this tile's own sums must shrink",
  o: "the output: values, weighted", acc: "the output so far, not divided by ℓ yet",
  lse: "LSE = m + ln ℓ: the one number a row from which a backward pass makes P again",
  D: "D: the sum of each row's output times its gradient", dP: "how the loss changes with each weight",
  dS: "how the loss changes with each score", dq: "the gradient of the queries", dk: "the gradient of the keys",
  dv: "the gradient of the values", do: "the gradient of the output", w: "how much each piece weighs",
};
const ALSO = { sink: "sinks", m_i: "m", m_new: "m", l_i: "l", l_new: "l", LSE: "lse", LSE_s: "lse", O: "o", O_s: "acc", Q: "q", K: "k", V: "v",
  dQ: "dq", dK: "dk", dV: "dv", dO: "do" };

export function meaning(name) {
  const known = Object.hasOwn(ALSO, name) ? ALSO[name] : name;
  return Object.hasOwn(MEANING, known) ? MEANING[known] : "";
}

/**
 * How one number that a step computed came about: `α = e^(3.46 − 4.47) = 0.36`. "" where that is not known, or where these
 * numbers would not give it, as those of a kernel may not.
 */
export function formula(run, made, row, column) {
  const { op, slot } = run.columns;
  if (!run.values || made < 0 || op[made] !== COMPUTE) return "";
  const { name } = run.slots[slot[made] - 1], result = at(run.slotValue(made), row, column);
  for (const { words, value } of candidates(run, name, made, row, column)) {
    if (value === result || Math.abs(value - result) <= 2e-3 * Math.max(1, Math.abs(result))) return `${words} = ${short(result)}`;
  }
  return "";
}

/** A number of a slot's value; a vector has one column. */
function at(value, row, column) {
  return value.data[row * (value.columns || 1) + (value.columns ? column : 0)];
}

function candidates(run, name, made, row, column) {
  const step = (slot, before = made) => { // the step that made what a slot held before another step
    const n = run.slots.findIndex((one) => one.name === slot);
    return n < 0 ? -1 : run.holder(n, before - 1) >= 0 && run.columns.program[before - 1] === run.columns.program[before]
      ? run.holder(n, before - 1) : -1;
  };
  const number = (from, c = column) => from < 0 ? NaN : at(run.slotValue(from), row, c);
  const rowOf = (from) => {
    if (from < 0) return [];
    const { columns, data } = run.slotValue(from);
    return Array.from(data.subarray(row * columns, (row + 1) * columns));
  };
  const held = (slot) => number(step(slot)), sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const exp = (a, b) => a === -Infinity ? 0 : Math.exp(a - b), f = (x) => short(x);
  const less = (b) => b < 0 ? `+ ${f(-b)}` : `− ${f(b)}`; // never `− −1.2`
  const older = (slot) => number(step(slot, Math.max(0, step(slot)))); // what it held before what it holds
  const found = [], try_ = (words, value) => { if (!Number.isNaN(value)) found.push({ words, value }); };
  switch (name) {
    case "S": {
      const [q, k] = [step("q"), step("k")].map((from) => from < 0 ? null : run.slotValue(from));
      if (q && k && column * k.columns < k.data.length) {
        let dot = 0;
        for (let n = 0; n < q.columns; n++) dot += q.data[row * q.columns + n] * k.data[column * k.columns + n];
        try_(`q·k / √d = ${f(dot)} / ${f(Math.sqrt(run.d))}`, dot / Math.sqrt(run.d));
      }
      break;
    }
    case "P":
      for (const m of ["m_ij", "m_i", "lse", "LSE"]) try_(`e^(${f(held("S"))} ${less(held(m))})`, exp(held("S"), held(m)));
      try_(`${f(held("P"))} / ${f(held("l_i"))}`, held("P") / held("l_i"));
      break;
    case "m_ij": try_("the largest of this row's scores", Math.max(...rowOf(step("S")))); break;
    case "m_i": case "m_new": {
      const own = name === "m_new" ? held("m_ij") : Math.max(...rowOf(step("S")));
      if (held("m_i") === held("m_i")) try_(`the larger of ${f(held("m_i"))} and ${f(own)}`, Math.max(held("m_i"), own));
      break;
    }
    case "alpha":
      try_(`e^(${f(held("m_i"))} ${less(held("m_new"))})`, exp(held("m_i"), held("m_new")));
      try_(`e^(${f(older("m_i"))} ${less(held("m_i"))})`, exp(older("m_i"), held("m_i")));
      break;
    case "beta": try_(`e^(${f(held("m_ij"))} ${less(held("m_new"))})`, exp(held("m_ij"), held("m_new"))); break;
    case "l_ij": try_("the sum of this row of P", sum(rowOf(step("P")))); break;
    case "l_i": {
      const p = sum(rowOf(step("P")));
      try_(`α·ℓ + ΣP = ${f(held("alpha"))}·${f(held("l_i"))} + ${f(p)}`, held("alpha") * held("l_i") + p);
      break;
    }
    case "l_new":
      try_(`α·ℓ + β·ℓ_ij = ${f(held("alpha"))}·${f(held("l_i"))} + ${f(held("beta"))}·${f(held("l_ij"))}`,
        held("alpha") * held("l_i") + held("beta") * held("l_ij"));
      break;
    case "LSE": try_(`m + ln ℓ = ${f(held("m_i"))} + ${f(Math.log(held("l_i")))}`, held("m_i") + Math.log(held("l_i"))); break;
  }
  return found;
}

/** The row of a value whose formula is worth showing: that of the smallest α, else the first. */
export function tellingRow(run, made) {
  const value = run.slotValue(made);
  if (!value || value.columns) return 0;
  let best = 0;
  value.data.forEach((x, n) => { if (x > 0 && x < value.data[best]) best = n; });
  return best;
}
