// Performs the runs and counts of a file of settings with the engine of another, and writes down what came of them.
// node run_engine.mjs ENGINE.js SETTINGS.json OUT.json
import { readFileSync, writeFileSync } from "node:fs";

const [engineFile, settingsFile, out] = process.argv.slice(2);
const engine = (0, eval)(readFileSync(engineFile, "utf8"));
const { runs, counts, words } = JSON.parse(readFileSync(settingsFile, "utf8"));
const numbers = (array) => array && Array.from(array, (x) => Number.isFinite(x) ? x : String(x));
const told = (f) => { try { return f(); } catch (error) { return { error: error.message }; } };

writeFileSync(out, JSON.stringify({
  runs: runs.map(({ algorithm, given, opening }) => told(() => {
    const recorded = engine.record(algorithm, given), { events, values, tensors, peak } = recorded;
    const { header, array } = engine.asRun(recorded, { ...words[algorithm], tokens: null, opening });
    header.round = Array.from(array("round"));
    header.caption = Array.from(array("caption"));
    return { events: events.map((e) => [e.op, e.program, e.loop, e.slot, e.tile && [e.tile.tensor, e.tile.start, e.tile.stop], e.shape, e.nbytes,
      [e.work.matmul, e.work.exp, e.work.other], e.line, e.row]), values: values.map(numbers), peak, header,
    tensors: Object.fromEntries(tensors.map(({ name, data }) => [name, numbers(data)])) };
  })),
  counts: counts.map(({ algorithm, given }) => told(() => engine.count(algorithm, given))),
}));
