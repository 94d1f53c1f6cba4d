// Backtests: a form, the list with state and progress, and one of them with its equity and its trades on the candles.

import { get } from "../parts/api.js";
import { Changes } from "../parts/ask_key.js";
import { BacktestForm } from "../parts/backtest_form.js";
import { ACTIVE, BacktestReport, SIGNS, TRADES } from "../parts/backtest_report.js";
import { fill, h, say } from "../parts/dom.js";
import { count, percent, ratio } from "../parts/numbers.js";
import * as place from "../parts/place.js";
import { Poll } from "../parts/poll.js";
import { table } from "../parts/table.js";
import { minute } from "../parts/times.js";

const SOON_MS = 1_000; // while one is active
const LATER_MS = 10_000; // others may start one
const DAYS = 90; // so long the database keeps them
const SHOWN = 50;
const FEW = 3;
const NOT_FOUND = 404;

const pathOf = (job) => `/api/backtests/${encodeURIComponent(job)}`;
const isActive = (one) => ACTIVE.includes(one.status);

/** Show the view. values: of the address. Returns what ends it. */
export function show(main, values, frame) {
  const view = new Backtests(main, values, frame);
  return () => view.close();
}

class Backtests {
  #at; // { job, after, trade } of the address
  #kept = null; // { job, after, report or refusal } as it was read last
  #active = false;
  #listed = "";
  #unanswered = null; // the start whose answer was lost: again it has the same id
  #poll;
  #timer = null;
  #changes = new Changes();
  #message = h("p", { class: "message", role: "alert" });
  #done = h("p", { class: "note", role: "status" });
  #missing = h("p", { class: "message", role: "alert" });
  #form = new BacktestForm((body) => this.#start(body));
  #rows = table("Backtests, the newest first", this.#columns(), `no backtest in the last ${DAYS} days`);
  #report = new BacktestReport({
    cancel: (one) => this.#cancel(one),
    again: (one) => this.#again(one),
    page: (after) => this.#go({ after, trade: null }),
    trade: (trade) => this.#go({ trade }),
  });

  constructor(main, values, frame) {
    const trade = whole(values.trade);
    this.#at = { job: values.job ?? "", after: trade ? trade - 1 - ((trade - 1) % TRADES) : whole(values.after) ?? 0, trade };
    fill(main, this.#message, this.#changes.element, this.#done, this.#form.element,
      h("section", { class: "list" }, h("h2", {}, `Backtests of the last ${DAYS} days`), this.#rows.element), this.#missing, this.#report.element);
    this.#patterns();
    this.#poll = new Poll((signal) => this.#read(signal), () => (this.#active ? SOON_MS : LATER_MS), {
      got: ([list, kept]) => {
        this.#form.today(list.today);
        this.#draw(list.backtests, kept);
      },
      failed: (error) => say(this.#message, `${error.message}: what is below is older.`),
      state: frame.stream,
    });
    this.#poll.start();
  }

  close() {
    clearTimeout(this.#timer);
    this.#poll.close();
    this.#report.close();
  }

  async #patterns() {
    try {
      this.#form.patterns((await get("/api/definitions")).patterns);
    } catch (error) {
      this.#form.failed(`The patterns are unknown: ${error.message}.`);
      this.#timer = setTimeout(() => this.#patterns(), LATER_MS);
    }
  }

  // -- reading --

  #read(signal) {
    return Promise.all([get("/api/backtests", { days: DAYS, limit: SHOWN }, signal), this.#readOne(signal)]);
  }

  async #readOne(signal) {
    const { job, after } = this.#at;
    if (!job) return null;
    const kept = this.#kept;
    // A backtest that has ended does not change.
    if (kept?.job === job && kept.after === after && kept.report && !isActive(kept.report.backtest)) return kept;
    try {
      return { job, after, report: await get(pathOf(job), { trades: TRADES, after }, signal) };
    } catch (error) {
      if (error.status !== NOT_FOUND) throw error;
      return { job, after, refusal: error.message };
    }
  }

  #draw(list, kept) {
    say(this.#message, "");
    this.#active = list.some(isActive) || Boolean(kept?.report && isActive(kept.report.backtest));
    this.#list(list);
    if (kept && (kept.job !== this.#at.job || kept.after !== this.#at.after)) return; // another one was chosen meanwhile
    const isNew = kept && this.#kept?.job !== kept.job;
    this.#kept = kept;
    this.#one();
    if (isNew && kept.report) this.#report.find();
  }

  // Only what changed is drawn.
  #list(list) {
    const text = JSON.stringify([list, this.#at.job]);
    if (text === this.#listed) return;
    this.#listed = text;
    this.#rows.rows(list, (one) => ({ "data-job": one.job_id, "aria-selected": one.job_id === this.#at.job ? "true" : null }));
  }

  #one() {
    const kept = this.#kept;
    say(this.#missing, kept?.refusal ? `${kept.refusal}: it may be older than ${DAYS} days, and deleted.` : "");
    if (kept?.report) this.#report.draw(kept.report, this.#at);
    else this.#report.hide();
  }

  // -- the user's choices --

  #go(values) {
    const { job, after } = this.#at;
    Object.assign(this.#at, values);
    place.change({ job: this.#at.job, after: this.#at.after || "", trade: this.#at.trade });
    if (this.#at.job === job && this.#at.after === after) this.#one();
    else this.#poll.now();
  }

  #open(job) {
    if (job === this.#at.job && this.#kept?.report) return this.#report.find();
    this.#go({ job, after: 0, trade: null });
  }

  #again({ symbols, patterns, start_date, end_date, timeframe, parameters }) {
    this.#form.write({ symbols, patterns, start_date, end_date, timeframe, parameters });
    this.#form.open();
  }

  async #start(body) {
    const text = JSON.stringify(body);
    if (this.#unanswered?.text !== text) this.#unanswered = { text, job_id: newId() };
    try {
      const answer = await this.#changes.send("POST", "/api/backtests", { ...body, job_id: this.#unanswered.job_id });
      this.#unanswered = null;
      say(this.#done, answer ? `${answer.message}.` : "Nothing was started: no key was given.");
      if (answer) this.#open(answer.job_id);
      return answer !== null;
    } catch (error) {
      if (error.status) this.#unanswered = null;
      throw error;
    }
  }

  async #cancel({ job_id: job }) {
    if (!confirm(`Cancel backtest ${job}? It will have no result.`)) return;
    say(this.#done, "");
    try {
      const answer = await this.#changes.send("DELETE", pathOf(job));
      say(this.#done, answer ? `${answer.message}.` : "Nothing was changed: no key was given.");
      this.#poll.now();
    } catch (error) {
      say(this.#done, `Not done: ${error.message}.`);
    }
  }

  #columns() {
    const link = ({ job_id: job }) => h("a", { href: place.link("backtests", { job }), onclick: (event) => isPlain(event) && (event.preventDefault(), this.#open(job)) }, job);
    const cancel = (one) => h("button", { "aria-label": `Cancel ${one.job_id}`, ".disabled": one.status === "cancelling", onclick: () => this.#cancel(one) }, "Cancel");
    const result = (name, write) => (one) => (one.results ? write(one.results[name]) : "");
    return [
      { title: "added", cell: (one) => minute(Date.parse(one.created_at)) },
      { title: "backtest", cell: link },
      { title: "status", cell: (one) => [h("span", { class: SIGNS[one.status] ?? "" }, one.status), isActive(one) ? ` ${count(one.progress)} % ` : "", isActive(one) ? cancel(one) : ""] },
      { title: "symbols", cell: (one) => some(one.symbols) },
      { title: "patterns", cell: (one) => some(one.patterns) },
      { title: "bars", cell: (one) => one.timeframe },
      { title: "days", cell: (one) => `${one.start_date} to ${one.end_date}` },
      { title: "return", number: true, cell: result("total_return", percent) },
      { title: "buy and hold", number: true, cell: result("benchmark_return", percent) },
      { title: "Sharpe", number: true, cell: result("sharpe_ratio", ratio) },
      { title: "drawdown", number: true, cell: result("max_drawdown", percent) },
      { title: "trades", number: true, cell: result("total_trades", count) },
      { title: "won", number: true, cell: result("win_rate", percent) },
      { title: "asked by", cell: (one) => one.requested_by },
      { title: "why", cell: (one) => h("span", { class: "long" }, one.error ?? "") },
    ];
  }
}

const some = (words) => words.slice(0, FEW).join(", ") + (words.length > FEW ? ` and ${words.length - FEW} more` : "");
const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey); // with one of these a browser opens a tab
const whole = (text) => (/^[1-9]\d{0,8}$/.test(text ?? "") ? Number(text) : null);

// As the API makes them: a time and chance. Not randomUUID, which a browser has on loopback and https alone.
function newId() {
  const chance = crypto.getRandomValues(new Uint32Array(1))[0].toString(16).padStart(8, "0");
  return `backtest_${new Date().toISOString().slice(0, 19).replace(/\D/g, "")}_${chance}`;
}
