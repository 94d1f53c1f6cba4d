// One trade of a backtest on the candles of its symbol: where it began and where it ended, with both prices.

import { get, isRefused } from "./api.js";
import { Chart } from "./chart.js";
import { load, NO_LIBRARY } from "./chart_look.js";
import { fill, h, say } from "./dom.js";
import { count, money } from "./numbers.js";
import { price } from "./pattern_card.js";
import { barOf } from "./symbol_data.js";
import { isLong, SECONDS, secondsOf } from "./timeframes.js";
import { minute, zoneName } from "./times.js";

const BARS = 1_000; // the most that the API returns in one answer
const READS = 10; // of a trade that is longer than one answer
const AGAIN_MS = 3_000; // where a server did not answer
const LATER_BARS = 60; // after the exit
const LONG_SECONDS = { daily: 86_400, weekly: 7 * 86_400, monthly: 31 * 86_400 };
const SPREAD = 0.02; // slippage is at most 1 %
const MINUTE = "1min"; // a backtest makes its bars from these, so they may exist alone

/** element: hidden until a trade is drawn. */
export class TradeChart {
  #key = "";
  #trade = null;
  #bars = [];
  #timeframe;
  #hasAll = false;
  #reads = false;
  #chart = null;
  #timer = null;
  #abort = new AbortController();
  #words = h("p", { class: "note trade-words" });
  #read = h("p", { class: "note trade-read" });
  #message = h("p", { class: "message", role: "alert" });
  #canvas = h("div", { class: "canvas" });
  #box = h("div", { class: "drawn" }, this.#canvas);
  element;

  /** shut(): the user closes the trade. */
  constructor(shut) {
    this.element = h("section", { class: "trade", "aria-label": "The chosen trade", hidden: true },
      h("div", { class: "bar" }, h("h2", {}, "Trade on the candles"), h("button", { onclick: shut }, "Close the trade")), this.#words, this.#message, this.#box, this.#read);
  }

  /** Show a trade; null: none. job: of the backtest. The same trade is not read again. */
  draw(trade, job) {
    const key = trade ? `${job}|${trade.number}` : "";
    if (key === this.#key) return;
    this.close();
    this.#key = key;
    this.element.hidden = !trade;
    if (trade) this.#open(trade);
  }

  /** Bring the trade into view. */
  find() {
    this.element.scrollIntoView({ block: "center" });
  }

  close() {
    this.#key = "";
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#chart?.close();
    this.#chart = null;
  }

  #open(trade) {
    const mine = (this.#abort = new AbortController());
    Object.assign(trade, { entered: secondsOf(trade.entry_time), left: secondsOf(trade.exit_time) });
    this.#trade = trade;
    this.#reads = false;
    this.#begin(trade.timeframe);
    say(this.#message, "");
    say(this.#read, "");
    fill(this.#words, ...wordsOf(trade));
    this.find();
    this.#load(mine.signal);
  }

  async #load(signal) {
    try {
      this.#begin(this.#trade.timeframe);
      await this.#readBars();
      if (!this.#covers() && SECONDS[this.#timeframe]) {
        this.#begin(MINUTE);
        await this.#readBars();
      }
      if (!signal.aborted) await this.#show(signal);
    } catch (error) {
      if (signal.aborted) return;
      say(this.#message, `${error.message}.`);
      if (!isRefused(error)) this.#timer = setTimeout(() => this.#load(signal), AGAIN_MS);
    }
  }

  #begin(timeframe) {
    this.#timeframe = timeframe;
    this.#bars = [];
    this.#hasAll = false;
  }

  #covers() {
    return this.#bars.some((bar) => bar.time === this.#trade.entered);
  }

  async #readBars() {
    const step = SECONDS[this.#timeframe] ?? LONG_SECONDS[this.#timeframe];
    await this.#before(this.#trade.left + LATER_BARS * step);
    for (let reads = 1; reads < READS && !this.#hasAll && this.#bars[0].time > this.#trade.entered; reads++) await this.#before(this.#bars[0].time);
  }

  /** Read the bars before a time, in front of the others. */
  async #before(time) {
    const query = { symbol: this.#trade.symbol, timeframe: this.#timeframe, to: new Date(time * 1000).toISOString(), limit: BARS };
    const { bars } = await get("/api/bars", query, this.#abort.signal);
    this.#bars = [...bars.map(barOf), ...this.#bars];
    this.#hasAll = bars.length < BARS;
  }

  async #show(signal) {
    say(this.#message, this.#fault());
    if (!this.#bars.length) return;
    this.#tell(null);
    if (!(await load())) {
      this.#box.hidden = true;
      return say(this.#message, NO_LIBRARY);
    }
    if (signal.aborted) return;
    this.#chart = new Chart(this.#canvas, isLong(this.#timeframe), { pointed: (time) => this.#tell(time), chosen: () => {}, near: () => this.#older() });
    this.#chart.past();
    this.#chart.onRepaint(() => this.#paint());
    this.#paint();
    const { entered, left } = this.#trade;
    this.#chart.span(entered, left);
  }

  /** Return why the candles are not those of the trade. */
  #fault() {
    const { symbol, entered, entry_price: paid, timeframe } = this.#trade;
    const bar = this.#bars.find((one) => one.time === entered);
    if (!bar) return `The ${timeframe} bar of the entry is not in the database: ${symbol} has ${this.#bars.length ? "others" : "none"}.`;
    if (paid > bar.high * (1 + SPREAD) || paid < bar.low * (1 - SPREAD)) return "The prices of the trade differ from its candle: the backtest counts later splits, candles are as they were traded; or the bar has changed since.";
    return this.#timeframe === timeframe ? "" : `There are no ${timeframe} bars of these minutes in the database: these are the ${this.#timeframe} bars that the backtest has made them from.`;
  }

  #paint() {
    const { direction, pattern, entered, left, entry_price: from, exit_price: to, reason } = this.#trade;
    const isUp = direction === "long";
    this.#chart.bars(this.#bars);
    this.#chart.marks([
      { id: "entry", time: entered, kind: isUp ? "bullish" : "bearish", text: `${direction}: ${pattern}` },
      { id: "exit", time: left, kind: "left", text: `exit: ${reason.replaceAll("_", " ")}` },
    ]);
    this.#chart.levels([{ price: from, title: "entry" }, { price: to, title: "exit" }]);
  }

  async #older() {
    if (this.#reads || this.#hasAll) return;
    this.#reads = true;
    const [chart, oldest] = [this.#chart, this.#bars[0].time];
    try {
      await this.#before(oldest);
      if (chart === this.#chart) chart.still(oldest, () => this.#paint());
    } catch {
      return; // the header says that the API does not answer; the next scroll tries again
    } finally {
      this.#reads = false;
    }
  }

  #tell(time) {
    const bar = this.#bars.find((one) => one.time === (time ?? this.#trade.entered)) ?? this.#bars.at(-1);
    const write = ([name, value]) => ` ${name} ${price(value)}`;
    say(this.#read, `${whenOf(bar.time, this.#timeframe)}${[["O", bar.open], ["H", bar.high], ["L", bar.low], ["C", bar.close]].map(write).join("")} V ${count(bar.volume)}`);
  }
}

const whenOf = (seconds, timeframe) => (isLong(timeframe) ? new Date(seconds * 1000).toISOString().slice(0, 10) : `${minute(seconds * 1000)} ${zoneName()}`);

function wordsOf({ number, symbol, timeframe, direction, pattern, confidence, entered, left, entry_price: from, exit_price: to, reason, shares, profit, bars }) {
  return [
    h("strong", {}, symbol), ` ${timeframe}, trade ${count(number)}: ${direction} ${count(shares)} shares by ${pattern} (confidence ${confidence.toFixed(2)}), `,
    `in ${whenOf(entered, timeframe)} at ${money(from)}, out ${whenOf(left, timeframe)} at ${money(to)} (${reason.replaceAll("_", " ")}, bar ${count(bars)}); profit `,
    h("span", { class: profit > 0 ? "up" : "down" }, money(profit)), ".",
  ];
}
