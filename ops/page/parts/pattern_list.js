// The latest patterns of all symbols: first the stored ones, then each that is published. The caller gives the filters.

import { get, isRefused } from "./api.js";
import { Stream } from "./events.js";
import { liveOf, patternKey, patternOf } from "./symbol_data.js";

const MOST = 300;
const AGAIN_MS = 15_000; // read the table so often: the stream does not say which patterns were superseded

const { compare } = new Intl.Collator();

/** Return the key of a pattern among those of all symbols. */
export const listKey = (pattern) => `${pattern.symbol}|${pattern.timeframe}|${patternKey(pattern)}`;

export class PatternList {
  patterns = new Map(); // by listKey
  #filters;
  #hear;
  #abort = new AbortController();
  #stream;
  #timer;

  /** filters: { symbol, pattern, timeframe, confidence, direction }. hear: { all(), fresh(patterns), gone(), failed(error), state(word) }. */
  constructor(filters, hear) {
    this.#filters = filters;
    this.#hear = hear;
    this.#stream = new Stream({ kinds: "patterns", symbol: filters.symbol }, {
      result: (_, body, id) => this.#found(body, id),
      fresh: () => this.#read(),
      state: (word) => hear.state(word),
    });
  }

  start() {
    this.#stream.start();
    this.#timer = setInterval(() => document.hidden || this.#compare(), AGAIN_MS);
  }

  close() {
    this.#stream.stop();
    this.#abort.abort();
    clearInterval(this.#timer);
  }

  /** Return the patterns, the newest first, and forget the oldest ones if there are too many. */
  sorted() {
    const all = [...this.patterns.values()].sort((a, b) => b.ended - a.ended || compare(a.symbol, b.symbol) || compare(a.pattern, b.pattern));
    for (const old of all.splice(MOST)) this.patterns.delete(listKey(old));
    return all;
  }

  async #stored() {
    const { symbol, pattern, timeframe, confidence } = this.#filters;
    const query = { symbol, pattern, timeframe, min_confidence: confidence, published: true, limit: MOST };
    const answer = await get("/api/patterns", query, this.#abort.signal);
    return answer.patterns.map((one) => ({ ...patternOf(one), ended: Date.parse(one.time) / 1000 })).filter((one) => this.#wants(one));
  }

  async #read() {
    try {
      this.patterns = new Map((await this.#stored()).map((one) => [listKey(one), one]));
      this.#hear.all();
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.#hear.failed(error);
      if (!isRefused(error)) setTimeout(() => this.#abort.signal.aborted || this.#read(), 3_000);
    }
  }

  #found(list, id) {
    const fresh = list.map((one) => ({ ...liveOf(one), result: id })).filter((one) => this.#wants(one));
    for (const one of fresh) this.patterns.set(listKey(one), one);
    if (fresh.length) this.#hear.fresh(fresh);
  }

  // A listed pattern that is no longer in the table was superseded: a late tick removed it from its bar.
  async #compare() {
    try {
      const before = new Set(this.patterns.keys());
      const stored = await this.#stored();
      const keys = new Set(stored.map(listKey));
      const oldest = stored.at(-1)?.ended ?? -Infinity;
      const gone = [...this.patterns.values()].filter((one) => before.has(listKey(one)) && !one.gone && one.ended > oldest && !keys.has(listKey(one)));
      for (const one of gone) this.patterns.set(listKey(one), { ...one, gone: true });
      if (gone.length) this.#hear.gone();
    } catch {
      return; // the header says that the API does not answer
    }
  }

  #wants(one) {
    const { symbol, pattern, timeframe, confidence, direction } = this.#filters;
    const is = (wanted, given) => !wanted || wanted === given;
    return is(symbol, one.symbol) && is(pattern, one.pattern) && is(timeframe, one.timeframe) && is(direction, one.direction ?? "neutral") && one.confidence >= (Number(confidence) || 0);
  }
}
