// The patterns of all symbols as they are published, the newest first.

import { get } from "../parts/api.js";
import { fill, h, say } from "../parts/dom.js";
import { recall, remember } from "../parts/memory.js";
import { barSpan, direction, price } from "../parts/pattern_card.js";
import { listKey, PatternList } from "../parts/pattern_list.js";
import * as place from "../parts/place.js";
import { table } from "../parts/table.js";
import { TIMEFRAMES } from "../parts/timeframes.js";

const FILTERS = ["symbol", "pattern", "timeframe", "direction", "confidence", "quiet"];
const KEPT = "tickstock-patterns";
const FLASH_MS = 1_600; // a new row stands out so long
const DRAW_MS = 100; // draw at once, but at most so often: a close of the whole market comes in many pieces

/** Show the view. values: those in the address. Returns a function that ends the view. */
export function show(main, values, frame) {
  const view = new Patterns(main, values, frame);
  view.start();
  return () => view.close();
}

class Patterns {
  #main;
  #frame;
  #filters;
  #list = null;
  #closed = false;
  #timer = null;
  #next = 0; // when the list may be drawn again, in ms of performance.now()
  #fresh = new Set(); // keys that were not drawn yet
  #flashing = new Set(); // keys of the rows that stand out
  #shown = []; // the patterns that are drawn in quiet mode
  #message = h("p", { class: "message", role: "alert" });
  #more = h("button", { class: "more", hidden: true, onclick: () => this.#ask() });
  #rows = table("Patterns, the newest first", COLUMNS, "no pattern fits these filters yet");

  constructor(main, values, frame) {
    const kept = recall(KEPT);
    this.#main = main;
    this.#frame = frame;
    // Use the filters of the address; if it has none, those of the last visit.
    const given = FILTERS.some((name) => name in values) ? values : kept;
    this.#filters = Object.fromEntries(FILTERS.map((name) => [name, given[name] ?? ""]));
  }

  async start() {
    const definitions = await get("/api/definitions").catch(() => ({ patterns: [] }));
    if (this.#closed) return;
    this.#lay(definitions.patterns.map((one) => one.name));
    this.#open();
  }

  close() {
    this.#closed = true;
    this.#list?.close();
    clearTimeout(this.#timer);
  }

  #lay(names) {
    const choose = (name, title, options) =>
      h("label", { class: "inline" }, title, h("select", { onchange: (event) => this.#filter(name, event.target.value) },
        h("option", { value: "" }, "all"), options.map((value) => h("option", { value, ".selected": value === this.#filters[name] }, value))));
    const levels = ["0.5", "0.6", "0.7", "0.8", "0.9"];
    fill(this.#main,
      h("div", { class: "tools bar" },
        h("label", { class: "inline" }, "Symbol", h("input", { type: "search", ".value": this.#filters.symbol, placeholder: "all", spellcheck: "false", maxlength: 100, onchange: (event) => this.#filter("symbol", event.target.value.trim()) })),
        choose("pattern", "Pattern", names), choose("timeframe", "Timeframe", TIMEFRAMES), choose("direction", "Direction", ["bullish", "bearish", "neutral"]), choose("confidence", "At least", levels),
        h("label", { class: "inline" }, h("input", { type: "checkbox", ".checked": this.#filters.quiet === "1", onchange: (event) => this.#filter("quiet", event.target.checked ? "1" : "") }), "Quiet: keep the list until I ask"),
        this.#more),
      this.#message, this.#rows.element);
  }

  #filter(name, value) {
    this.#filters[name] = value;
    if (name === "quiet") {
      this.#keep();
      return this.#take();
    }
    this.#open();
  }

  #keep() {
    place.change(this.#filters);
    remember(KEPT, this.#filters);
  }

  #open() {
    this.#keep();
    this.#list?.close();
    this.#fresh.clear();
    const mine = (this.#list = new PatternList(this.#filters, {
      all: () => this.#list === mine && (say(this.#message, ""), this.#take()),
      fresh: (patterns) => this.#list === mine && this.#came(patterns),
      gone: () => this.#list === mine && this.#soon(),
      failed: (error) => this.#list === mine && say(this.#message, `${error.message}.`),
      state: (word) => this.#list === mine && this.#frame.stream(word),
    }));
    mine.start();
  }

  #came(patterns) {
    patterns.forEach((one) => this.#fresh.add(listKey(one)));
    this.#soon();
  }

  #soon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#next = performance.now() + DRAW_MS;
      if (this.#closed) return;
      if (this.#filters.quiet) this.#wait();
      else this.#take();
    }, Math.max(0, this.#next - performance.now()));
  }

  // In quiet mode only the number of waiting patterns changes.
  #wait() {
    this.#more.hidden = !this.#fresh.size;
    say(this.#more, `${this.#fresh.size} new: show`);
    this.#draw();
  }

  // The button that was clicked is gone after it: the keyboard goes on in the list.
  #ask() {
    this.#take();
    this.#rows.element.focus({ preventScroll: true });
  }

  #take() {
    this.#more.hidden = true;
    this.#shown = this.#list.sorted();
    if (!this.#filters.quiet) this.#flash([...this.#fresh]);
    this.#fresh.clear();
    this.#draw();
  }

  // Without an animation: of a hundred rows it would take a processor until its end.
  #flash(keys) {
    keys.forEach((key) => this.#flashing.add(key));
    if (keys.length) setTimeout(() => {
      keys.forEach((key) => this.#flashing.delete(key));
      if (!this.#closed) this.#draw();
    }, FLASH_MS);
  }

  #draw() {
    this.#rows.rows(this.#shown, (one) => ({ class: this.#flashing.has(listKey(one)) ? "new" : null, "data-key": listKey(one), "data-result": one.result ?? null }));
  }
}

const COLUMNS = [
  { title: "bar", cell: barSpan },
  { title: "symbol", cell: (one) => h("a", { href: place.link("market", { symbol: one.symbol, timeframe: one.timeframe, bar: one.time, pattern: one.pattern }) }, one.symbol) },
  { title: "pattern", cell: (one) => h("span", { class: one.gone ? "gone" : "" }, one.pattern) },
  { title: "direction", cell: (one) => (one.gone ? h("span", { class: "tag warn" }, "superseded") : direction(one)) },
  { title: "confidence", number: true, cell: (one) => one.confidence.toFixed(2) },
  { title: "timeframe", cell: (one) => one.timeframe },
  { title: "price", number: true, cell: (one) => price(one.price) },
  { title: "levels", number: true, cell: (one) => one.levels.map(price).join(", ") },
];
