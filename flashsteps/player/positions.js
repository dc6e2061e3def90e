// Positions: the steps that one run, or two side by side, are at together, and the marks of a scrubber through them.

import { lastUpTo } from "./run.js";
import { el } from "./draw.js";

/** For one run, each of its steps. */
export const alone = (run) => [Int32Array.from({ length: run.steps + 1 }, (_, n) => n - 1)];

/** For two, the same share of their inner tiles, so that both end together; where they have equally many, the same one. */
export function byTile(runs) {
  const ends = [[-1], [-1]], counts = runs.map((run) => run.when.round.length), rounds = Math.max(...counts);
  for (let round = 0; round < rounds; round++) {
    const steps = runs.map((run, n) => { // the rounds of this run that fall into this one of the longer's
      const [from, to] = [round, round + 1].map((at) => Math.ceil(at * counts[n] / rounds));
      if (from === to) return [];
      const first = run.when.round[from], last = run.roundLast[to - 1];
      return Array.from({ length: last - first + 1 }, (_, k) => first + k);
    });
    const most = Math.max(...steps.map((list) => list.length));
    for (let n = 1; n <= most; n++) {
      steps.forEach((list, which) => ends[which].push(list.length ? list[Math.ceil(n * list.length / most) - 1] : ends[which].at(-1)));
    }
  }
  return ends.map((list) => Int32Array.from(list));
}

/** For two, as many bytes moved: each is as far as it gets with so many. */
export function byBytes(runs) {
  const amounts = new Set([0]);
  for (const run of runs) for (const moved of run.moved) amounts.add(moved);
  const sorted = [...amounts].sort((a, b) => a - b);
  return runs.map((run) => Int32Array.from([-1, ...sorted], (bytes, n) => n ? lastUpTo(run.moved, bytes) : -1));
}

/** A mark where the outermost loop comes round, with its index where there is room. `place` says where a step is. */
export function scrubberMarks(run, place, last, room) {
  const found = [];
  let was = "";
  for (let step = 0; step < run.steps; step++) {
    const names = run.header.loops[run.columns.loops[step]];
    const now = names.length ? `${names[0]} = ${run.loopAt(names[0], step)}` : "";
    if (now && now !== was) found.push([place(step), now]);
    was = now || was;
  }
  const every = Math.max(1, Math.ceil(found.length / (room / 12))), wanted = 62;
  let free = -1;
  return found.filter((_, n) => n % every === 0).flatMap(([at, text], n, all) => {
    const x = last ? at / last * room : 0, next = all[n + 1] ? all[n + 1][0] / last * room : room;
    const middle = (x + next) / 2, fits = next - x > wanted ? middle : x;
    const shown = fits >= Math.max(free, 20) && fits + 24 <= room;
    if (shown) free = fits + wanted;
    const mark = el("i", {}), label = shown ? el("span", { text }) : null;
    mark.style.left = `${x}px`;
    if (label) label.style.left = `${fits}px`;
    return label ? [mark, label] : [mark];
  });
}
