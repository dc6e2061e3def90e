// Eight cards, each a saved state and a few sentences whose numbers the engine gives; then six questions to check oneself.
//
// In a text, [map:these words] light up the map when they are pointed at, and are lit up by it.

import { meaning, sizeOf, whole, ratioOf } from "../player/player.js";
import { LIMITS } from "./chart.js";
import { counted, crossover, fitting, ratio, tileMap } from "./model.js";

const SMALL = { a: "flash2-forward", bq: 4, bk: 4, mask: "none", n: 16, d: 32, type: "float16", on: "toy", in: "sample", pin: null };
const with_ = (more) => ({ ...SMALL, ...more });
const bytesOf = (a, state, names) => names.reduce((sum, name) => sum + (counted(a, state).by_tensor[name] ?? [0, 0]).reduce((x, y) => x + y, 0), 0);
const total = (a, state) => sizeOf(counted(a, state).total);

/** The cards: {title, state, text(state, page), step?: the step to see, as a question for the search}. */
export const CARDS = [
  { title: "S is never stored", state: with_({}), text: (s) => {
    const standard = counted("standard-forward", s).total, both = bytesOf("standard-forward", s, ["S", "P"]);
    return `Standard attention writes S and P to HBM and reads them back: ${sizeOf(both)} of the ${sizeOf(standard)} that it moves, [meters:the grey bar]. `
      + `FlashAttention makes [map:one tile of S] at a time, uses it on chip, and lets [sram:the next one] take its place: [hbm:no row of the table] is S.`
      + (ratio(s) > 1 ? ` This toy moves ${ratioOf(ratio(s))} as much all the same, for its tiles are tiny: card 7 tells when that turns.` : "");
  } },
  { title: "Why tiles", state: with_({}), text: (s, page) => {
    const [{ need }] = fitting(s, page.devices).places, scores = s.n * s.n * 4;
    return `A tile of S needs [hbm:a block of Q and a block of K], no more: on chip it all takes ${whole(need)} B, [sram:at its fullest], whatever N is. `
      + `All scores at once would take ${sizeOf(scores)} here, and ${sizeOf(4 * 65536 * 65536)} at 64K tokens: on chip they are fp32, 4 bytes each; in HBM, in fp16, half of that. All that a row must remember from tile to tile is its max m, its sum ℓ and its output.`;
  } },
  { title: "m moves, and α repairs", state: with_({}), find: "α < 1", text: (s, page) => {
    const found = page.firstShrink(s);
    if (!found) return "Exponentials are taken against the largest score so far. Where a tile brings a larger one, α = e^(old max − new max) shrinks what was summed before; in this input none does.";
    return `Exponentials are taken against the largest score so far, and a later tile may bring a larger one. ${found.caption} The larger score is that of query ${found.query}${found.tokens[0]} against key ${found.key}${found.tokens[1]}, [map:framed on the map]. `
      + `${found.formula ? `${found.formula}: ` : ""}a factor repairs the sum and the output, so that nothing has to be read again. Of the other values of α that this run made, ${whole(found.ones)} are 1, and ${whole(found.zeros)} are 0: there was nothing yet to shrink.`;
  } },
  { title: "The two orders", state: with_({ pin: { a: "flash-forward", bq: 4, bk: 4, mask: "none" } }), text: (s) => {
    const rows = (a) => counted(a, s).by_tensor;
    return `FlashAttention (A) keeps a block of keys and lets queries pass: O, ℓ and m come and go each time, ${sizeOf(bytesOf("flash-forward", s, ["O", "l", "m"]))}, [meters:hatched where they go]. `
      + `FlashAttention-2 (B) keeps a block of queries, and their O stays on chip until it is done: ${sizeOf(rows("flash2-forward").O[1])}, written once. It [hbm:reads K and V again] instead, and each [strip:block of queries is a program] of its own.`;
  } },
  { title: "A causal mask skips", state: with_({ mask: "causal", n: 64, bq: 8, bk: 8, in: "0", pin: { a: "flash2-forward", bq: 8, bk: 8, mask: "none" } }), text: (s) => {
    const { visited } = tileMap(s), less = counted(s.a, { ...s, mask: "none" }).total;
    return `No query sees a later key, so ${whole(visited[1] - visited[0])} of ${whole(visited[1])} tiles are [map:skipped]: ${sizeOf(counted(s.a, s).total)} instead of ${sizeOf(less)}. `
      + "The tiles that the diagonal cuts come in whole. [strip:Later programs] see more keys, so they work longer; standard attention saves nothing.";
  } },
  { title: "What a larger block costs", state: with_({ n: 64, bq: 16, bk: 16, in: "0", on: "16384", pin: { a: "flash2-forward", bq: 8, bk: 16, mask: "none" } }), text: (s, page) => {
    const [{ need, room }] = fitting(s, page.devices).places, smaller = counted(s.a, { ...s, bq: 8 }), larger = fitting({ ...s, bq: 32, bk: 32 }, page.devices);
    return `With blocks of 16 queries instead of 8, K and V come in half as often: ${total(s.a, s)} instead of ${sizeOf(smaller.total)}, [meters:B beside A]. `
      + `The price is room: q, S, P and acc grow, [sram:${whole(need)} of ${whole(room)} B]. At 32×32 it ${larger.fits ? "still fits" : `would take ${whole(larger.places[0].need)} B, and does not fit`}: SRAM is what limits the tile. A larger block of keys saves FlashAttention-2 no bytes at all.`;
  } },
  { title: "A real size", state: with_({ n: 65536, d: 64, bq: 128, bk: 64, in: "0", on: "a100-80gb" }), text: (s) => {
    const toy = { ...s, bq: 4, bk: 4 }, one = s.n * s.n * 2;
    return `64K tokens, d = 64, tiles of 128×64 on an A100: ${total(s.a, s)} instead of ${total("standard-forward", s)} (S and P, ${sizeOf(one)} each in fp16, go out and come back), ${ratioOf(ratio(s))}. `
      + `With the toy's 4×4 it would be ${ratioOf(ratio(toy))}. [chart:Both curves] grow with N²; [chart:the tile] decides, and of it the queries alone: it moves less from ${whole(crossover(s))} on. ${LIMITS[s.a](s)} In FlashAttention's order it is the keys that count: about ¾d + 2, in fp16.`;
  } },
  { title: "Backward makes P again", state: with_({ a: "flash2-backward", in: "sample" }), text: (s) => {
    const own = counted(s.a, s), plain = counted("standard-backward", s), real = { ...s, n: 4096, d: 64, bq: 128, bk: 128 };
    return `P was not kept. It is made again, tile by tile, from Q, K and [hbm:LSE], one number a row: P = e^(S − LSE), and no tile of P crosses the bus. `
      + `That is more work, ${whole(own.work.matmul / plain.work.matmul * 100)} % of standard's matrix products, but at 4K tokens with tiles of 128×128 ${ratioOf(ratio(real))} of its bytes.`;
  } },
];

const compare = (a, b) => a < b ? "fewer" : a > b ? "more" : "as many";

/** Questions: {ask, choices, right(): which one, by the engine's counts, state, because(): a sentence with numbers}. */
export const QUESTIONS = [
  { ask: "FlashAttention-2, and block_q is doubled. Bytes over the bus?", choices: ["fewer", "as many", "more"], state: with_({ n: 64, bq: 16, bk: 8, in: "0" }),
    right: (s) => compare(counted(s.a, s).total, counted(s.a, { ...s, bq: 8 }).total),
    because: (s) => `With 8 queries to a block ${total(s.a, { ...s, bq: 8 })}, with 16 ${total(s.a, s)}: K and V come in for half as many blocks of queries.` },
  { ask: "And block_k is doubled?", choices: ["fewer", "as many", "more"], state: with_({ n: 64, bq: 8, bk: 16, in: "0" }),
    right: (s) => compare(counted(s.a, s).total, counted(s.a, { ...s, bk: 8 }).total),
    because: (s) => `${total(s.a, { ...s, bk: 8 })} and ${total(s.a, s)}: all keys pass each block of queries, in larger pieces or smaller.` },
  { ask: "Twice the tokens, the same tile: what happens to flash's share of standard's bytes?", choices: ["it halves", "it hardly changes", "it doubles"],
    state: with_({ n: 4096, d: 64, bq: 64, bk: 64, in: "0" }),
    right: (s) => { const change = ratio({ ...s, n: 2 * s.n }) / ratio(s); return change < 0.75 ? "it halves" : change > 1.5 ? "it doubles" : "it hardly changes"; },
    because: (s) => `${ratioOf(ratio(s))} at 4K tokens, ${ratioOf(ratio({ ...s, n: 2 * s.n }))} at 8K: both move some four times as much.` },
  { ask: "A causal mask: what does it save standard attention in bytes?", choices: ["half", "a little", "nothing"], state: with_({ a: "standard-forward", mask: "causal" }),
    right: (s) => { const share = counted(s.a, s).total / counted(s.a, { ...s, mask: "none" }).total; return share < 0.6 ? "half" : share < 1 ? "a little" : "nothing"; },
    because: (s) => `${total(s.a, s)} with it and ${total(s.a, { ...s, mask: "none" })} without: S is stored whole, and −∞ takes as many bytes as any number.` },
  { ask: "How often does a row of FlashAttention-2's output travel over the bus?", choices: ["once, when it is done", "once for each block of keys", "never"], state: with_({}),
    right: (s) => { const [read, written] = counted(s.a, s).by_tensor.O; return !read && written === s.n * s.d * 2 ? "once, when it is done" : read ? "once for each block of keys" : "never"; },
    because: (s) => `O is read ${sizeOf(counted(s.a, s).by_tensor.O[0])} and written ${sizeOf(counted(s.a, s).by_tensor.O[1])}, its own size; in FlashAttention's order it is read ${sizeOf(counted("flash-forward", s).by_tensor.O[0])}.` },
  { ask: "What does the backward pass read of P?", choices: ["all of it", "the tiles on the diagonal", "nothing"], state: with_({ a: "flash2-backward" }),
    right: (s) => counted(s.a, s).by_tensor.P ? "all of it" : "nothing",
    because: (s) => `There is no P in HBM. LSE is read instead, ${sizeOf(counted(s.a, s).by_tensor.LSE[0])}; standard attention reads ${sizeOf(counted("standard-backward", s).by_tensor.P[0])} of P.` },
];

/** What a reader may not have met, in a line each; on chip as player/explain.js has it. */
export const TERMS = {
  HBM: "a GPU's large memory, and slow: what is counted here is what moves between it and the chip", SRAM: "small memory on the chip, and fast: shared memory and registers",
  tile: "a block of queries against a block of keys, worked on at once; block_q and block_k say its size", program: "what runs on one part of the GPU, with an SRAM of its own",
  ...Object.fromEntries(["S", "P", "m", "l", "alpha", "beta", "acc", "LSE", "D", "dP", "dS"].map((name) => {
    const [label, said] = /^([^:]*): (.*)$/.exec(meaning(name))?.slice(1) ?? [name, meaning(name)];
    return /^(α|β|ℓ|m|D)$/.test(label) ? [label, said] : [name, meaning(name)];
  })),
  "m_new, ℓ_new": "m and ℓ with this tile taken in; m_ij and ℓ_ij: of this tile alone",
};

/** Those that a text uses. */
export const termsIn = (text) => Object.keys(TERMS).filter((term) => new RegExp(`(^|[^\\p{L}\\d_])${term}s?(?![\\p{L}\\d_])`, "u").test(text));

/** A text as pieces: plain strings, and {part, words}. */
export function pieces(text) {
  return text.split(/(\[[a-z]+:[^\]]+\])/).filter(Boolean).map((piece) => {
    const found = /^\[([a-z]+):([^\]]+)\]$/.exec(piece);
    return found ? { part: found[1], words: found[2] } : piece;
  });
}
