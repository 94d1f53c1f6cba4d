// What became of ticks: gaps of live feeds and their repairs, dead letters, the ledger by producer.

import { get } from "../parts/api.js";
import { fill, h, say } from "../parts/dom.js";
import * as place from "../parts/place.js";
import { Poll } from "../parts/poll.js";
import { table } from "../parts/table.js";
import { clockWithSeconds, day, minutesOf, zoneName } from "../parts/times.js";

const EVERY_MS = 5_000;
const FEW = 5;
const SHOWN = 200; // of gaps, and of dead letters
const STATES = ["open", "missing", "repaired"];
const SIGNS = { open: "down", missing: "warn", repaired: "up" };

const count = (value) => (value ?? 0).toLocaleString("en-US");
const ms = (text) => Date.parse(text);
const long = (text) => h("span", { class: "long" }, text);

/** Show the view. values: of the address. Returns what ends it. */
export function show(main, values, frame) {
  const view = new Data(main, values, frame);
  return () => view.close();
}

class Data {
  #state;
  #reason;
  #poll;
  #message = h("p", { class: "message", role: "alert" });
  #missing = h("p", { class: "note" });
  #refused = h("p", { class: "note" });
  #reasons = h("select", { onchange: (event) => this.#choose({ reason: event.target.value }) });
  #gaps = table("Gaps, the newest first", GAPS, "no gap");
  #letters = table("Dead letters, the newest first", LETTERS, "no dead letter");
  #sums = h("p", { class: "note" });
  #ledger = table("Ledger by producer", LEDGER, "no tick was counted yet");

  constructor(main, values, frame) {
    this.#state = STATES.includes(values.state) ? values.state : "";
    this.#reason = values.reason ?? "";
    this.#offer([]); // until the reasons are known
    const states = h("select", { onchange: (event) => this.#choose({ state: event.target.value }) }, option("", "all"), STATES.map((name) => option(name, name, name === this.#state)));
    const section = (title, filter, note, { element }) => h("section", {}, h("div", { class: "bar" }, h("h2", {}, title), filter), note, element);
    fill(main, this.#message,
      section("Gaps of live feeds", h("label", { class: "inline" }, "State", states), this.#missing, this.#gaps),
      section("Dead letters: ticks that were refused", h("label", { class: "inline" }, "Reason", this.#reasons), this.#refused, this.#letters),
      section("Ledger: what became of each producer's ticks", null, this.#sums, this.#ledger));
    this.#poll = new Poll((signal) => this.#read(signal), EVERY_MS, {
      got: (answers) => this.#draw(...answers),
      failed: (error) => say(this.#message, `${error.message}: what is below is older.`),
      state: frame.stream,
    });
    this.#poll.start();
  }

  close() {
    this.#poll.close();
  }

  #choose(values) {
    this.#state = values.state ?? this.#state;
    this.#reason = values.reason ?? this.#reason;
    place.change({ state: this.#state, reason: this.#reason });
    this.#poll.now();
  }

  #read(signal) {
    const few = { limit: SHOWN };
    return Promise.all([
      get("/api/gaps", { state: this.#state, ...few }, signal),
      get("/api/dead-letters", { reason: this.#reason, ...few }, signal),
      get("/api/ledger", few, signal),
      get("/api/fleet", {}, signal),
    ]);
  }

  #draw({ gaps }, { dead_letters: letters }, ledger, look) {
    this.#gaps.again(gaps, (one) => ({ "data-gap": one.id }));
    this.#letters.again(letters, (one) => ({ "data-letter": one.id }));
    this.#ledger.again(ledger.rows, (one) => ({ "data-producer": one.producer }));
    say(this.#sums, sumsOf(ledger));
    say(this.#message, look.feed ? "" : "A server does not answer: the sums below are older.");
    if (!look.feed) return;
    const { open_gaps: open, missing_gaps: missing } = look.feed;
    say(this.#missing, `${count(open)} open, ${count(missing)} with minutes that the vendor does not have. Producers repair gaps by themselves; tickstock gaps repair does it now. At most ${SHOWN} are listed. Times: ${zoneName()}.`);
    const kinds = Object.entries(look.dead_letters);
    say(this.#refused, `${kinds.map(([reason, number]) => `${count(number)} ${reason}`).join(", ") || "None"}. At most ${SHOWN} are listed; what cannot be shown is written as \\x1b. tickstock dlq show prints a whole one, dlq requeue sends it again.`);
    this.#offer(kinds.map(([reason]) => reason));
  }

  // Only where the reasons changed: a list that is open stays as it is.
  #offer(reasons) {
    const names = [...new Set([...reasons, this.#reason].filter(Boolean))].sort();
    if (this.#reasons.options.length === names.length + 1 && names.every((name, at) => this.#reasons.options[at + 1].value === name)) return;
    fill(this.#reasons, option("", "all"), names.map((name) => option(name, name, name === this.#reason)));
  }
}

const option = (value, title, selected = false) => h("option", { value, ".selected": selected }, title);

const minutes = (gap) => minutesOf(ms(gap.first_minute), ms(gap.last_minute));

function symbols(gap) {
  if (gap.symbols === null) return gap.partition === null ? "all" : `all of partition ${gap.partition}`;
  return some(gap.symbols);
}

const some = (texts) => texts.slice(0, FEW).join(", ") + (texts.length > FEW ? ` and ${texts.length - FEW} more` : "");

const GAPS = [
  { title: "minutes", cell: minutes },
  { title: "state", cell: (gap) => h("span", { class: SIGNS[gap.state] ?? "" }, gap.state) },
  { title: "feed", cell: (gap) => gap.feed },
  { title: "symbols", cell: (gap) => long(symbols(gap)) },
  { title: "why", cell: (gap) => long(gap.why) },
  { title: "ticks lost", number: true, cell: (gap) => (gap.lost_ticks === null ? "unknown" : count(gap.lost_ticks)) },
  { title: "repaired", number: true, cell: (gap) => count(gap.minutes_repaired) },
  { title: "missing", number: true, cell: (gap) => count(gap.minutes_missing) },
  { title: "tries", number: true, cell: (gap) => count(gap.tried) },
  { title: "note", cell: (gap) => long([gap.error, some(gap.missing.map((one) => `${one.symbol} ${minutes(one)}`))].filter(Boolean).join("; ")) },
];

const LETTERS = [
  { title: "came", cell: (one) => `${day(ms(one.created_at))} ${clockWithSeconds(ms(one.created_at))}` },
  { title: "id", number: true, cell: (one) => String(one.id) },
  { title: "reason", cell: (one) => one.reason },
  { title: "what", cell: (one) => long(one.detail) },
  { title: "original", cell: (one) => h("code", { class: "long" }, one.original) },
  { title: "bytes", number: true, cell: (one) => count(one.original_bytes) },
  { title: "producer", cell: (one) => one.producer || "front door" },
  { title: "partition", number: true, cell: (one) => String(one.partition) },
];

const OUTCOMES = ["applied", "quote_or_zero", "refused", "future", "too_late", "superseded", "lost", "repeated"];
const LEDGER = [
  { title: "producer", cell: (one) => one.producer },
  { title: "ticks in", number: true, cell: (one) => count(one.ticks_in) },
  ...OUTCOMES.map((name) => ({ title: name.replaceAll("_", " "), number: true, cell: (one) => count(one[name]) })),
  { title: "balance", cell: (one) => (one.gap ? h("span", { class: "down" }, `${one.gap > 0 ? "+" : ""}${count(one.gap)}`) : h("span", { class: "up" }, "ok")) },
];

function sumsOf({ producers, unbalanced }) {
  if (!producers) return "";
  const all = `${count(producers)} producer${producers === 1 ? "" : "s"}`;
  const sums = unbalanced ? `${count(unbalanced)} of ${all}: there are ticks without an outcome; tickstock audit looks further` : `${all}; each tick has one outcome`;
  return `${sums}. At most ${SHOWN} are listed.`;
}
