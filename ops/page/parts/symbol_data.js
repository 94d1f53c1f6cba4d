// The data of one symbol in one timeframe: bars, patterns, gaps, indicator values. History comes from the API, news come
// from the stream of results. `hear` is called at every change.

import { get, isRefused } from "./api.js";
import { Stream } from "./events.js";
import { isLong, SECONDS, secondsOf } from "./timeframes.js";

const BARS = 500;
const MOST = 1_000; // the most rows that the API returns in one answer
const SOON_MS = 250;
const LATER_MS = 3_000; // detections may come a moment after the change of their bar
const MOST_GAP_MINUTES = 1_440;

export class SymbolData {
  bars = []; // oldest first: { time, open, high, low, close, volume, vwap, trades, provenance, revision }
  patterns = new Map(); // by key: see patternKey
  gaps = []; // { times, words, state }
  lines = new Map(); // output -> { indicator, points }
  hasAll = false; // no older bars exist
  #symbol;
  #timeframe;
  #indicators;
  #hear;
  #stream;
  #abort = new AbortController();
  #timers = new Map();
  #dirty = Infinity; // the oldest bar to read again
  #loads = null;
  #fails = false;

  /**
   * hear: { all(): everything is new; bar(bar, before): one bar is new or changed; patterns(changed: a Set of keys);
   * lines(); older(); failed(error), null: the API answers again; state(word) }.
   */
  constructor(symbol, timeframe, indicators, hear) {
    this.#symbol = symbol;
    this.#timeframe = timeframe;
    this.#indicators = indicators;
    this.#hear = hear;
    const kinds = isLong(timeframe) ? "patterns,run" : "bars,patterns" + (indicators.length ? ",indicators" : "");
    this.#stream = new Stream({ kinds, symbol }, {
      result: (kind, body) => this.#result(kind, body),
      fresh: () => this.#read(),
      state: (word) => hear.state(word),
    });
  }

  start() {
    this.#stream.start();
  }

  close() {
    this.#stream.stop();
    this.#abort.abort();
    this.#timers.forEach(clearTimeout);
  }

  async #get(path, query) {
    const answer = await get(path, { symbol: this.#symbol, ...query }, this.#abort.signal);
    if (this.#fails) this.#hear.failed(null);
    this.#fails = false;
    return answer;
  }

  async #read() {
    const timeframe = this.#timeframe;
    try {
      const [bars, patterns, gaps, lines] = await Promise.all([
        this.#get("/api/bars", { timeframe, limit: BARS }),
        this.#getPatterns({}),
        this.#get("/api/gaps", { limit: 200 }),
        this.#getLines({}),
      ]);
      this.bars = bars.bars.map(barOf);
      this.hasAll = bars.bars.length < BARS;
      this.patterns = new Map(patterns.map((pattern) => [patternKey(pattern), pattern]));
      this.gaps = gaps.gaps.filter((gap) => gap.state !== "repaired").map((gap) => this.#gap(gap)).filter((gap) => gap.times.length);
      this.lines = lines;
      this.#hear.all();
    } catch (error) {
      this.#fail(error, () => this.#read());
    }
  }

  #fail(error, again) {
    if (this.#abort.signal.aborted) return;
    this.#fails = true;
    this.#hear.failed(error);
    if (!isRefused(error)) this.#soon("again", LATER_MS, again);
  }

  async #getPatterns(query) {
    const wanted = { timeframe: this.#timeframe, superseded: true, published: true, limit: MOST };
    return (await this.#get("/api/patterns", { ...wanted, ...query })).patterns.map(patternOf);
  }

  async #getLines(query) {
    const wanted = { timeframe: this.#timeframe, limit: MOST, ...query };
    const asked = this.#indicators.map((indicator) => this.#get("/api/indicators", { ...wanted, indicator }));
    const lines = new Map();
    for (const answer of await Promise.all(asked)) {
      for (const value of answer.indicators.reverse()) this.#value(lines, value.indicator, this.#startOf(value.time), value.values ?? { [value.indicator]: value.value });
    }
    return lines;
  }

  // The time of a value is the end of its bar.
  #startOf(end) {
    const seconds = SECONDS[this.#timeframe];
    if (seconds) return secondsOf(end) - seconds;
    const last = this.bars.findLast((bar) => bar.time <= secondsOf(end));
    return last?.time ?? secondsOf(end.slice(0, 10));
  }

  #value(lines, indicator, time, values) {
    for (const [output, value] of Object.entries(values)) {
      if (typeof value !== "number") continue;
      if (!lines.has(output)) lines.set(output, { indicator, points: [] });
      put(lines.get(output).points, { time, value });
    }
  }

  // Minutes of a gap get a place even without a bar; of a long gap only those of its first day.
  #gap(gap) {
    const first = secondsOf(gap.first_minute);
    const last = Math.min(secondsOf(gap.last_minute), first + MOST_GAP_MINUTES * 60);
    const step = SECONDS[this.#timeframe];
    const times = [];
    const oldest = this.bars[0]?.time ?? Infinity;
    if (step) for (let time = first - (first % step); time <= last; time += step) if (time >= oldest) times.push(time);
    return { id: gap.id, times, state: gap.state, why: gap.why, first, last, words: `gap: ${gap.why}` };
  }

  /** Read the rows before the oldest bar. */
  async older() {
    if (this.#loads || this.hasAll || !this.bars.length) return;
    const oldest = this.bars[0].time;
    const to = new Date(oldest * 1000).toISOString();
    try {
      this.#loads = this.#get("/api/bars", { timeframe: this.#timeframe, to, limit: BARS });
      const found = (await this.#loads).bars.map(barOf);
      const [patterns, lines] = await Promise.all([this.#getPatterns({ to }), this.#getLines({ to })]);
      this.hasAll = found.length < BARS;
      this.bars = [...found, ...this.bars.filter((bar) => bar.time >= oldest)];
      patterns.forEach((pattern) => this.patterns.has(patternKey(pattern)) || this.patterns.set(patternKey(pattern), pattern));
      lines.forEach((line, output) => line.points.forEach(({ time, value }) => this.#value(this.lines, line.indicator, time, { [output]: value })));
      this.#hear.older(oldest);
    } catch (error) {
      this.#fail(error, () => {});
    } finally {
      this.#loads = null;
    }
  }

  #result(kind, body) {
    if (kind === "bars") this.#minutes(body.bars);
    else if (kind === "patterns") this.#found(body);
    else if (kind === "indicators") this.#values(body);
    else if (kind === "run") this.#soon("run", LATER_MS, () => this.#read());
  }

  #minutes(bars) {
    for (const one of bars) {
      if (one.revision) this.#changed();
      if (this.#timeframe === "1min") this.#put({ ...one, time: one.timestamp, trades: one.trade_count, provenance: null });
      // The stream has only 1-minute bars, so longer bars are read from the API. The stream does not say whether a minute
      // is partial; the API says it a moment later.
      this.#again(one.timestamp, this.#timeframe === "1min" ? LATER_MS : SOON_MS);
    }
  }

  #again(time, after) {
    const step = SECONDS[this.#timeframe];
    this.#dirty = Math.min(this.#dirty, time - (time % step));
    this.#soon("bars", after, () => this.#readBars());
  }

  async #readBars() {
    if (this.#dirty === Infinity) return; // another reading took them meanwhile
    const from = new Date(this.#dirty * 1000).toISOString();
    this.#dirty = Infinity;
    try {
      const { bars } = await this.#get("/api/bars", { timeframe: this.#timeframe, from, limit: MOST });
      bars.map(barOf).forEach((bar) => this.#put(bar));
    } catch (error) {
      this.#dirty = Math.min(this.#dirty, secondsOf(from));
      this.#fail(error, () => this.#readBars());
    }
  }

  #put(bar) {
    const known = find(this.bars, bar.time);
    // A bar of the history may be newer than an event of the stream.
    if (known && (known.revision ?? 0) > (bar.revision ?? 0)) return;
    if (bar.time < (this.bars[0]?.time ?? 0)) return;
    const before = known && { ...known };
    const now = put(this.bars, { ...bar, provenance: bar.provenance ?? known?.provenance ?? null });
    if (!before || ["open", "high", "low", "close", "volume", "provenance"].some((name) => before[name] !== now[name])) this.#hear.bar(now, before);
  }

  // Patterns and values on this bar and on later bars may be superseded.
  #changed() {
    this.#soon("patterns", SOON_MS, () => this.#readPatterns());
    this.#soon("patterns later", LATER_MS, () => this.#readPatterns());
  }

  async #readPatterns() {
    try {
      const changed = new Set();
      for (const pattern of await this.#getPatterns({})) {
        const known = this.patterns.get(patternKey(pattern));
        if (!known || known.gone !== pattern.gone || known.confidence !== pattern.confidence) changed.add(patternKey(pattern));
        this.patterns.set(patternKey(pattern), pattern);
      }
      if (changed.size) this.#hear.patterns(changed);
    } catch (error) {
      this.#fail(error, () => this.#readPatterns());
    }
  }

  #found(list) {
    const mine = list.filter((one) => one.timeframe === this.#timeframe).map(liveOf);
    mine.forEach((pattern) => this.patterns.set(patternKey(pattern), pattern));
    if (mine.length) this.#hear.patterns(new Set(mine.map(patternKey)));
  }

  #values(list) {
    const mine = list.filter((one) => one.timeframe === this.#timeframe && this.#indicators.includes(one.indicator));
    mine.forEach((one) => this.#value(this.lines, one.indicator, one.minute * 60, one.values));
    if (mine.length) this.#hear.lines();
  }

  #soon(name, after, work) {
    if (this.#timers.has(name)) return;
    this.#timers.set(name, setTimeout(() => {
      this.#timers.delete(name);
      work();
    }, after));
  }
}

/** Return the key of a pattern within its symbol and timeframe. */
export const patternKey = (pattern) => `${pattern.pattern}|${pattern.time}`;

/** Convert a pattern of GET /api/patterns: times in Unix seconds, time: the bar's start. */
export function patternOf({ time, bar, superseded_at, ...others }) {
  return { ...others, time: secondsOf(bar ?? time), gone: superseded_at !== null };
}

const DIRECTIONS = { 1: "bullish", "-1": "bearish" };

/** Convert a pattern of the stream to the same form. */
export function liveOf(found) {
  const ended = found.minute * 60 + (SECONDS[found.timeframe] ?? 86_400)
  const { symbol, timeframe, pattern, confidence, levels, parameters, base_rate, volume } = found;
  return { ended, symbol, timeframe, pattern, confidence, levels: levels ?? [], parameters, base_rate, volume, time: found.minute * 60, price: found.close, direction: DIRECTIONS[found.direction] ?? "neutral", gone: false };
}

/** Convert a bar of GET /api/bars: time in Unix seconds. */
export const barOf = ({ time, ...bar }) => ({ ...bar, time: secondsOf(time) });

function find(list, time) {
  return list[place(list, time)]?.time === time ? list[place(list, time)] : undefined;
}

/** Insert an item into a list that is sorted by time; return the item. */
function put(list, item) {
  const at = place(list, item.time);
  list.splice(at, list[at]?.time === item.time ? 1 : 0, item);
  return item;
}

// Return the first index whose time is not before the given time; most often that is the end.
function place(list, time) {
  let low = 0;
  let high = list.length;
  if (high && list[high - 1].time < time) return high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].time < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
