// The form of a backtest: which symbols and patterns, which days, and the rules of trading.

import { fill, h, say } from "./dom.js";
import { exactPercent } from "./numbers.js";
import { symbolSearch } from "./symbol_search.js";
import { TIMEFRAMES } from "./timeframes.js";

const DAY_MS = 86_400_000;
// The defaults are those of the API; an empty field has the default, too.
const RULES = [
  { name: "initial_capital", title: "Capital in dollars", value: 100_000 },
  { name: "max_position_size", title: "Largest position", value: 0.1, isShare: true },
  { name: "stop_loss_pct", title: "Stop, 0: none", value: 0.05, isShare: true },
  { name: "take_profit_pct", title: "Target, 0: none", value: 0.1, isShare: true },
  { name: "max_bars", title: "Most bars", value: "", placeholder: "no limit" },
  { name: "commission_rate", title: "Commission", value: 0.001, isShare: true },
  { name: "slippage_rate", title: "Slippage", value: 0.0005, isShare: true },
];
const SHORT = "short";

/** element: the form, which opens at a click. */
export class BacktestForm {
  #start;
  #symbols = h("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: "AAPL, MSFT" });
  #patterns = h("div", { class: "boxes" }, h("span", { class: "quiet" }, "reading"));
  #boxes = new Map(); // name of a pattern -> its checkbox
  #wanted = []; // patterns to check as soon as their names are known
  #days = { from: h("input", { type: "date" }), to: h("input", { type: "date" }) };
  #proposed = { from: "", to: "" };
  #timeframe = h("select", {}, TIMEFRAMES.map((name) => h("option", { value: name }, name)));
  #rules = new Map(RULES.map((rule) => [rule.name, field(rule)]));
  #short = h("input", { type: "checkbox" });
  #refusal = h("p", { class: "message", role: "alert" });
  #button = h("button", {}, "Start the backtest");
  element;

  /** start(body): start a backtest; a promise of whether it was started. It raises an Error with the reason as a sentence. */
  constructor(start) {
    this.#start = start;
    this.element = h("details", {}, h("summary", {}, "Start a backtest"), this.#form());
    this.write({});
  }

  /** Propose the year before a day, unless the user chose other days. day: by the API, because the browser's clock may be wrong. */
  today(day) {
    const { from, to } = this.#days;
    const isUntouched = from.value === this.#proposed.from && to.value === this.#proposed.to;
    this.#proposed = { from: new Date(Date.parse(day) - 365 * DAY_MS).toISOString().slice(0, 10), to: day };
    if (isUntouched) [from.value, to.value] = [this.#proposed.from, this.#proposed.to];
  }

  #form() {
    const label = (title, element, hint) => h("label", {}, h("span", {}, title, " ", hint), element);
    const search = symbolSearch("", (symbol) => this.#add(symbol), { label: "Find a symbol", keeps: false });
    const all = (checked) => () => this.#boxes.forEach((box) => (box.checked = checked));
    const group = (title, ...inside) => h("fieldset", { class: "group" }, h("legend", {}, title), inside);
    return h("form", { class: "card", novalidate: true, "aria-label": "Start a backtest", onsubmit: (event) => this.#submit(event) },
      group("What", h("div", { class: "fields" },
        h("label", { class: "wide" }, h("span", {}, "Symbols, at most 50"), this.#symbols), h("div", {}, h("span", {}, "Find a symbol"), search),
        label("From", this.#days.from), label("To", this.#days.to), label("Timeframe", this.#timeframe))),
      group("Patterns", this.#patterns, h("div", { class: "bar" }, h("button", { type: "button", onclick: all(true) }, "All"), h("button", { type: "button", onclick: all(false) }, "None"),
        h("span", { class: "note" }, "Off: not detected in the live market; tested with its defaults."))),
      group("Rules of trading", h("div", { class: "fields" }, [...this.#rules.values()].map(({ title, input, hint }) => label(title, input, hint))),
        h("label", { class: "inline" }, this.#short, "bearish patterns open short positions"),
        h("p", { class: "note" }, "Fractions, not per cent: 0.05 is 5 %. A position is a part of the equity; commission is paid at entry and exit; slippage makes each market order worse.")),
      this.#refusal, this.#button);
  }

  /** Show the patterns that may be chosen: [{ name, description, enabled }]. */
  patterns(definitions) {
    const box = ({ name, description, enabled }) => {
      this.#boxes.set(name, h("input", { type: "checkbox", ".checked": this.#wanted.includes(name) }));
      return h("label", { title: description }, this.#boxes.get(name), name, enabled ? "" : h("span", { class: "quiet" }, "(off)"));
    };
    const sorted = [...definitions.filter((one) => one.enabled), ...definitions.filter((one) => !one.enabled)];
    fill(this.#patterns, sorted.length ? sorted.map(box) : h("span", { class: "quiet" }, "No pattern is defined yet: tickstock-jobs writes the definitions when it starts."));
  }

  /** Say why there are no patterns to choose from. */
  failed(sentence) {
    fill(this.#patterns, h("span", { class: "warn" }, sentence));
  }

  /** Fill the form as the body of a request; what is missing has its default. */
  write({ symbols = [], patterns = [], start_date = "", end_date = "", timeframe = "daily", parameters = {} }) {
    this.#symbols.value = symbols.join(", ");
    this.#wanted = patterns;
    this.#boxes.forEach((box, name) => (box.checked = patterns.includes(name)));
    [this.#days.from.value, this.#days.to.value, this.#timeframe.value] = [start_date, end_date, timeframe];
    this.#rules.forEach(({ write }, name) => write(parameters[name]));
    this.#short.checked = parameters[SHORT] ?? true;
    say(this.#refusal, "");
  }

  open() {
    this.element.open = true;
    this.#symbols.focus();
  }

  #add(symbol) {
    const words = symbolsOf(this.#symbols.value);
    if (!words.includes(symbol)) this.#symbols.value = [...words, symbol].join(", ");
  }

  #body() {
    const rules = [...this.#rules].map(([name, { read }]) => [name, read()]);
    return {
      symbols: symbolsOf(this.#symbols.value),
      patterns: [...this.#boxes].filter(([, box]) => box.checked).map(([name]) => name),
      start_date: this.#days.from.value,
      end_date: this.#days.to.value,
      timeframe: this.#timeframe.value,
      parameters: { ...Object.fromEntries(rules), [SHORT]: this.#short.checked },
    };
  }

  async #submit(event) {
    event.preventDefault();
    say(this.#refusal, "");
    this.#button.disabled = true; // a second click would start a second backtest
    try {
      if (await this.#start(this.#body())) this.element.open = false;
    } catch (error) {
      say(this.#refusal, `Not started: ${error.message}.`);
    } finally {
      this.#button.disabled = false;
    }
  }
}

const symbolsOf = (text) => [...new Set(text.split(/[\s,;]+/).filter(Boolean))];

/** Make the field of a rule. read() raises an Error if its text is not a number. */
function field({ title, value, placeholder, isShare = false }) {
  const hint = h("span", { class: "quiet" });
  const tell = () => isShare && say(hint, isNumber(input.value) ? `(${exactPercent(Number(input.value))})` : "");
  const input = h("input", { type: "text", inputmode: "decimal", autocomplete: "off", placeholder: placeholder ?? value, oninput: tell });
  const write = (given) => {
    input.value = given === undefined ? value : given ?? (isShare ? 0 : "");
    tell();
  };
  const read = () => {
    if (input.value.trim() === "") return null;
    if (!isNumber(input.value)) throw new Error(`${title}: "${input.value}" is not a number`);
    return Number(input.value);
  };
  return { title, input, hint, write, read };
}

const isNumber = (text) => text.trim() !== "" && Number.isFinite(Number(text));
