// One symbol: its candles, volume, indicators, patterns, gaps; live.

import { get, isRefused } from "../parts/api.js";
import { barColumns, number } from "../parts/bar_columns.js";
import { Chart } from "../parts/chart.js";
import { library, load, NO_LIBRARY } from "../parts/chart_look.js";
import { fill, h, say } from "../parts/dom.js";
import { recall, remember } from "../parts/memory.js";
import { barSpan, barTime, direction, patternCard, price } from "../parts/pattern_card.js";
import * as place from "../parts/place.js";
import { patternKey, SymbolData } from "../parts/symbol_data.js";
import { symbolSearch } from "../parts/symbol_search.js";
import { table } from "../parts/table.js";
import { isLong, SECONDS, TIMEFRAMES } from "../parts/timeframes.js";
import { minute, minutesOf, zoneName } from "../parts/times.js";

const LAST = "tickstock-market";
const FLASH_MS = 1_600;
const MOST_TEXTS = 30; // the names of more marks would hide each other
const MOST_NOTES = 5;
const MOST_ROWS = 200;
const TABLE_BARS = 50;
const FEW_BARS = 120; // these are drawn over the whole width

/** Show the view. values: those in the address. Returns a function that ends the view. */
export function show(main, values, frame) {
  const view = new Market(main, values, frame);
  view.start();
  return () => view.close();
}

class Market {
  #main;
  #frame;
  #values;
  #timeframe;
  #shown; // names of the chosen indicators
  #rules = new Map();
  #data = null;
  #chart = null;
  #selected = null; // key of a pattern
  #hovered = null; // key of a pattern
  #hovers = false; // the mouse is on a bar
  #flashing = new Set();
  #notes = [];
  #closed = false;
  #frames = new Map();
  #read = h("p", { class: "read note" });
  #fault = h("p", { class: "message", role: "alert" }); // what did not work just now
  #message = h("p", { class: "message", role: "alert" }); // why there is nothing to see
  #drop = h("details", { class: "drop", onkeydown: (event) => event.key === "Escape" && this.#shut(true), onfocusout: (event) => event.relatedTarget && !this.#drop.contains(event.relatedTarget) && this.#shut() });
  #canvas = h("div", { class: "canvas", onpointerdown: () => this.#shut() });
  #card = h("div", { class: "card" }, h("p", { class: "note" }, "Point at a mark, or choose a pattern: its rule, confidence, base rate and levels."));
  #log = h("ul", { class: "notes", role: "log", "aria-label": "Changes" });
  #gaps = h("p", { class: "note" });
  #barRows = table("Bars, the newest first", barColumns(() => this.#timeframe));
  #details = h("details", { ontoggle: () => this.#soon("rows", () => this.#rows()) }, h("summary", {}, "Bars as a table"), this.#barRows.element);
  #patternRows;

  constructor(main, values, frame) {
    const last = recall(LAST);
    this.#main = main;
    this.#frame = frame;
    this.#values = { ...last, ...values };
    this.#timeframe = Object.hasOwn(SECONDS, this.#values.timeframe) ? this.#values.timeframe : "1min";
    this.#shown = (this.#values.show ?? "").split(",").filter(Boolean);
    this.#patternRows = table("Patterns, the newest first", [
      { title: "bar", cell: barSpan },
      { title: "pattern", cell: (pattern) => h("button", { class: pattern.gone ? "link gone" : "link", onclick: () => this.#choose(patternKey(pattern)) }, pattern.pattern) },
      { title: "direction", cell: (pattern) => (pattern.gone ? h("span", { class: "tag warn" }, "superseded") : direction(pattern)) },
      { title: "confidence", number: true, cell: (pattern) => pattern.confidence.toFixed(2) },
    ], "no patterns on these bars");
  }

  async start() {
    try {
      const [definitions, symbol] = await Promise.all([get("/api/definitions"), this.#symbol(), load()]);
      if (this.#closed) return;
      say(this.#message, library ? "" : NO_LIBRARY);
      definitions.patterns.forEach((one) => this.#rules.set(one.name, one.description));
      this.#shown = this.#shown.filter((name) => definitions.indicators.some((one) => one.name === name));
      this.#values.symbol = symbol;
      this.#lay(definitions.indicators);
      if (!symbol) return say(this.#message, "No symbol has a bar yet: they appear with the first ticks. Start a producer and a worker, or `tickstock demo`.");
      this.#keep();
      this.#open();
    } catch (error) {
      if (this.#closed) return;
      fill(this.#main, h("p", { class: "message", role: "alert" }, `${error.message}: trying again.`));
      setTimeout(() => this.#closed || this.start(), 2_000);
    }
  }

  async #symbol() {
    return this.#values.symbol ?? (await get("/api/symbols", { limit: 1 })).symbols[0]?.symbol;
  }

  close() {
    this.#closed = true;
    this.#data?.close();
    this.#chart?.close();
    this.#frames.forEach(cancelAnimationFrame);
  }

  /** Put the choices into the address. */
  #keep() {
    place.change(this.#chosen());
    document.title = `${this.#values.symbol} ${this.#timeframe} - TickStockPL`;
  }

  #chosen() {
    return { symbol: this.#values.symbol, timeframe: this.#timeframe, show: this.#shown.join(",") };
  }

  #lay(indicators) {
    const frames = h("fieldset", { class: "choice" }, h("legend", { class: "unseen" }, "Timeframe"), TIMEFRAMES.map((name) =>
      h("label", {}, h("input", { type: "radio", name: "timeframe", value: name, ".checked": name === this.#timeframe, onchange: () => this.#change({ timeframe: name }) }), h("span", {}, name))));
    const boxes = indicators.map((one) =>
      h("label", {}, h("input", { type: "checkbox", ".checked": this.#shown.includes(one.name), onchange: (event) => this.#toggle(one.name, event.target.checked) }),
        one.name, one.enabled ? "" : h("span", { class: "quiet" }, " (off: has no new values)")));
    fill(this.#drop, h("summary", {}, "Indicators"), h("div", {}, h("fieldset", {}, h("legend", { class: "unseen" }, "Indicators"), boxes)));
    fill(this.#main,
      h("div", { class: "tools bar" }, symbolSearch(this.#values.symbol ?? "", (symbol) => this.#change({ symbol })), frames, this.#drop,
        h("button", { onclick: () => this.#chart?.show(null) }, "Newest")),
      this.#read,
      h("section", { class: "chart", "aria-label": "Chart" }, h("div", { class: "says" }, this.#fault, this.#message), this.#canvas),
      h("div", { class: "below" }, this.#gaps, this.#log, this.#details),
      h("aside", { class: "side", "aria-label": "Patterns" }, this.#card, this.#patternRows.element));
  }

  /** Close the list of indicators. keyboard: its user goes on from the button that opens it. */
  #shut(keyboard = false) {
    this.#drop.open = false;
    if (keyboard) this.#drop.querySelector("summary").focus();
  }

  #toggle(name, on) {
    this.#shown = on ? [...this.#shown, name] : this.#shown.filter((one) => one !== name);
    this.#change({});
  }

  #change({ symbol, timeframe }) {
    this.#values.symbol = symbol ?? this.#values.symbol;
    this.#timeframe = timeframe ?? this.#timeframe;
    this.#values.bar = undefined;
    place.change({ bar: "" });
    this.#keep();
    this.#open();
  }

  #open() {
    this.#data?.close();
    this.#chart?.close();
    this.#selected = this.#hovered = null;
    this.#hovers = false;
    this.#notes = [];
    fill(this.#log);
    say(this.#gaps, "");
    say(this.#fault, "");
    const still = (draw) => (...given) => this.#closed || this.#data !== mine || draw(...given);
    const mine = (this.#data = new SymbolData(this.#values.symbol, this.#timeframe, this.#shown, {
      all: () => still(() => this.#all())(),
      bar: (...given) => still((bar, before) => this.#bar(bar, before))(...given),
      patterns: (...given) => still((changed) => this.#found(changed))(...given),
      lines: () => still(() => this.#soon("lines", () => this.#lines()))(),
      older: (...given) => still((oldest) => this.#older(oldest))(...given),
      failed: (...given) => still((error) => this.#failed(error))(...given),
      state: (...given) => still((word) => this.#frame.stream(word))(...given),
    }));
    this.#chart = library ? new Chart(this.#canvas, isLong(this.#timeframe), {
      pointed: (time, id) => this.#pointed(time, id),
      chosen: (id) => this.#choose(id),
      near: () => this.#data.older(),
    }) : null;
    this.#chart?.onRepaint(() => this.#paint());
    mine.start();
  }

  #failed(error) {
    say(this.#fault, error ? `${error.message}.` : "");
    if (error && isRefused(error)) this.#rows(); // nothing comes any more
  }

  // -- changes of the data --

  #all() {
    remember(LAST, this.#chosen()); // the API knows this symbol
    if (library) say(this.#message, this.#data.bars.length ? "" : `${this.#values.symbol} has no ${this.#timeframe} bars yet.`);
    this.#paint();
    this.#tellGaps();
    this.#rows();
    this.#tell(this.#data.bars.at(-1));
    const wanted = Number(this.#values.bar);
    if (!wanted) return this.#data.bars.length < FEW_BARS ? this.#chart?.fit() : undefined;
    this.#chart?.show(wanted);
    const pattern = [...this.#data.patterns.values()].find((one) => one.time === wanted && (one.pattern === this.#values.pattern || !this.#values.pattern));
    if (pattern) this.#choose(patternKey(pattern));
  }

  #paint() {
    if (!this.#chart || !this.#data) return;
    this.#chart.bars(this.#data.bars, this.#flashing);
    this.#chart.gaps(this.#data.gaps);
    this.#chart.lines(this.#data.lines);
    this.#marks();
  }

  #bar(bar, before) {
    const isLast = bar === this.#data.bars.at(-1);
    const isRevised = (bar.revision ?? 0) > 0;
    const names = before ? ["open", "high", "low", "close", "volume"].filter((name) => before[name] !== bar[name]) : [];
    if (names.length && (isRevised || !isLast)) this.#revised(bar, before, names);
    if (isLast) this.#chart?.bar(bar, this.#flashing.has(bar.time));
    else this.#soon("bars", () => this.#chart?.bars(this.#data.bars, this.#flashing));
    if (isRevised || bar.provenance === "partial") this.#soon("marks", () => this.#marks());
    if (isLast && this.#data.bars.length === 1 && library) say(this.#message, "");
    this.#soon("rows", () => this.#rows());
    if (isLast && !this.#hovers) this.#tell(bar);
  }

  #revised(bar, before, names) {
    const at = isLong(this.#timeframe) ? barTime({ ...bar, timeframe: this.#timeframe }) : minute(bar.time * 1000);
    this.#note(`bar ${at} revised: ${names.map((name) => `${name} ${number(before[name])} → ${number(bar[name])}`).join(", ")}`);
    this.#flashing.add(bar.time);
    setTimeout(() => {
      this.#flashing.delete(bar.time);
      if (!this.#closed) this.#soon("bars", () => this.#chart?.bars(this.#data.bars, this.#flashing));
    }, FLASH_MS);
  }

  #lines() {
    this.#chart?.lines(this.#data.lines);
    if (!this.#hovers) this.#tell(this.#data.bars.at(-1));
  }

  #found(changed) {
    for (const key of changed) {
      const pattern = this.#data.patterns.get(key);
      if (pattern.gone) this.#note(`${pattern.pattern} on bar ${barTime(pattern)} superseded: a late tick removed it`);
    }
    this.#soon("marks", () => this.#marks());
    this.#soon("rows", () => this.#rows());
    if (changed.has(this.#selected)) this.#show(this.#selected);
  }

  #older(oldest) {
    this.#chart?.still(oldest, () => this.#paint());
    this.#rows();
  }

  // -- the user's choices --

  #pointed(time, id) {
    this.#hovers = time !== null;
    this.#tell(time === null ? this.#data.bars.at(-1) : this.#data.bars.find((bar) => bar.time === time));
    const key = this.#data.patterns.has(id) ? id : null;
    if (key === this.#hovered) return;
    this.#hovered = key;
    this.#show(key ?? this.#selected);
  }

  #choose(key) {
    const pattern = this.#data.patterns.get(key);
    if (!pattern) return;
    this.#selected = key;
    this.#values.bar = String(pattern.time);
    place.change({ bar: pattern.time, pattern: pattern.pattern });
    this.#show(key);
    this.#chart?.show(pattern.time);
    this.#rows();
  }

  #show(key) {
    const pattern = key && this.#data.patterns.get(key);
    if (pattern) patternCard(this.#card, pattern, this.#rules);
    this.#chart?.levels((pattern?.levels ?? []).map((level) => ({ price: level, title: pattern.pattern })));
  }

  // -- texts --

  #marks() {
    const oldest = this.#data.bars[0]?.time ?? Infinity;
    const patterns = [...this.#data.patterns.values()].filter((one) => one.time >= oldest);
    const named = patterns.length <= MOST_TEXTS;
    const marks = patterns.map((one) => ({
      id: patternKey(one), time: one.time, kind: one.gone ? "gone" : one.direction ?? "neutral", text: one.gone ? "superseded" : named ? one.pattern : undefined,
    }));
    let before = "";
    for (const bar of this.#data.bars) {
      const words = [bar.revision ? `rev ${bar.revision}` : "", bar.provenance === "partial" ? "partial" : ""].filter(Boolean).join(", ");
      if (words) marks.push({ time: bar.time, kind: "note", text: words === before ? undefined : words }); // of neighbours once
      before = words;
    }
    this.#chart?.marks(marks.sort((a, b) => a.time - b.time));
  }

  #tell(bar) {
    if (!bar) return fill(this.#read);
    const words = [bar.provenance, bar.revision ? `revision ${bar.revision}` : ""].filter((word) => word && word !== "live");
    const tag = (word) => [h("span", { class: word === "partial" || bar.revision ? "tag warn" : "tag" }, word), " "];
    const values = [["O", bar.open], ["H", bar.high], ["L", bar.low], ["C", bar.close], ["VWAP", bar.vwap]].filter(([, value]) => value !== null && value !== undefined);
    fill(this.#read, h("strong", {}, this.#values.symbol), ` ${this.#timeframe} `, h("span", { class: "when" }, barTime({ ...bar, timeframe: this.#timeframe })), isLong(this.#timeframe) ? " " : ` ${zoneName()} `,
      values.map(([name, value]) => [` ${name} `, h("span", { class: bar.close < bar.open ? "down" : "up" }, price(value))]), ` V ${number(bar.volume)} `,
      bar.trades ? `${bar.trades.toLocaleString("en-US")} trades ` : "", words.map(tag), this.#outputs(bar.time).map(([name, value]) => `${name} ${number(value)} `));
  }

  /** Return the outputs of the chosen indicators on a bar: [name, value]. */
  #outputs(time) {
    const on = ([name, { points }]) => [name, points.findLast((point) => point.time === time)?.value];
    return [...this.#data.lines].map(on).filter(([, value]) => value !== undefined);
  }

  #tellGaps() {
    const words = this.#data.gaps.map((gap) => `${minutesOf(gap.first * 1000, gap.last * 1000)} ${gap.why} (${gap.state})`);
    say(this.#gaps, words.length ? `Gaps, where ticks may be missing: ${words.slice(0, 5).join("; ")}${words.length > 5 ? `; and ${words.length - 5} more` : ""}` : "");
  }

  #note(text) {
    this.#notes = [text, ...this.#notes].slice(0, MOST_NOTES);
    this.#log.prepend(h("li", { class: "flash" }, text));
    while (this.#log.childElementCount > MOST_NOTES) this.#log.lastElementChild.remove();
  }

  #rows() {
    const patterns = [...this.#data.patterns.values()].sort((a, b) => b.time - a.time || a.pattern.localeCompare(b.pattern)).slice(0, MOST_ROWS);
    this.#patternRows.rows(patterns, (pattern) => ({ "data-key": patternKey(pattern), "aria-selected": patternKey(pattern) === this.#selected ? "true" : null }));
    if (this.#details.open) this.#barRows.rows(this.#data.bars.slice(-TABLE_BARS).reverse(), (bar) => ({ "data-time": bar.time }));
  }

  // Draw once per frame, for any number of changes.
  #soon(name, draw) {
    if (this.#frames.has(name)) return;
    this.#frames.set(name, requestAnimationFrame(() => {
      this.#frames.delete(name);
      if (!this.#closed && this.#data) draw();
    }));
  }
}
