// Daily runs: the active one with its steps, the earlier ones with what failed; start, cancel, retry.

import { get } from "../parts/api.js";
import { Changes } from "../parts/ask_key.js";
import { fill, h, say } from "../parts/dom.js";
import { Poll } from "../parts/poll.js";
import { table } from "../parts/table.js";
import { clock, minute, span, zoneName } from "../parts/times.js";

const EVERY_MS = 2_000;
const DAYS = [7, 30, 90, 365];
const PHASES = [["import", "import daily bars"], ["cache_sync", "sync the cache"], ["indicators", "indicators"], ["patterns", "patterns"]];
const ACTIVE = ["queued", "running", "cancelling"];
const SIGNS = { success: "up", failed: "down", interrupted: "down", cancelled: "warn" };

const count = (value) => value.toLocaleString("en-US");
const moment = (text) => (text ? minute(Date.parse(text)) : "");

/** Show the view. Returns what ends it. */
export function show(main, values, frame) {
  const view = new Runs(main, frame);
  return () => view.close();
}

class Runs {
  #days = DAYS[1];
  #changes = new Changes();
  #message = h("p", { class: "message", role: "alert" });
  #done = h("p", { class: "note", role: "status" });
  #active = h("section", { class: "card", "aria-label": "The active run" });
  #what = h("p", { class: "note" });
  #progress = h("progress", { max: 100, "aria-label": "Progress of the run" });
  #steps = h("ol", { class: "steps" });
  #cancel = h("button", { onclick: () => this.#ask("Cancel the active run? What it finished stays.", "DELETE", "/api/processing/cancel") }, "Cancel the run");
  #rows = table("Runs, the newest first", this.#columns(), "no run in these days");
  #listed = "";
  #poll;

  constructor(main, frame) {
    fill(this.#active, h("h2", {}, "The active run"), this.#what, this.#progress, this.#steps, this.#cancel);
    const days = h("select", { onchange: (event) => this.#look(Number(event.target.value)) }, DAYS.map((day) => h("option", { value: day, ".selected": day === this.#days }, `${day} days`)));
    fill(main, this.#message, this.#changes.element, this.#done, this.#active, this.#start(),
      h("section", {}, h("div", { class: "bar" }, h("h2", {}, "Runs, the newest first"), h("label", { class: "inline" }, "Of the last", days)), this.#rows.element));
    this.#poll = new Poll((signal) => this.#read(signal), EVERY_MS, {
      got: ([status, history]) => this.#draw(status, history.runs),
      failed: (error) => say(this.#message, `${error.message}: what is below is older.`),
      state: frame.stream,
    });
    this.#poll.start();
  }

  close() {
    this.#poll.close();
  }

  #read(signal) {
    return Promise.all([get("/api/processing/status", {}, signal), get("/api/processing/history", { days: this.#days }, signal)]);
  }

  #look(days) {
    this.#days = days;
    this.#poll.now();
  }

  #draw(status, runs) {
    say(this.#message, "");
    const run = runs.find((one) => one.run_id === status.run_id);
    const isActive = ACTIVE.includes(status.status);
    say(this.#what, isActive ? this.#words(status, run) : "No run is active.");
    this.#progress.hidden = this.#steps.hidden = this.#cancel.hidden = !isActive;
    this.#progress.value = status.progress;
    this.#cancel.disabled = status.status === "cancelling";
    const place = run?.phases.indexOf(status.current_phase) ?? -1;
    fill(this.#steps, (run?.phases ?? []).map((phase, at) => step(phase, at, place)));
    this.#list(runs);
  }

  // Only what changed is drawn: a button keeps its focus.
  #list(runs) {
    const text = JSON.stringify(runs);
    if (text === this.#listed) return;
    this.#listed = text;
    this.#rows.rows(runs, (one) => ({ "data-run": one.run_id }));
  }

  #words(status, run) {
    const whose = run ? `The run of ${run.run_date}, ${run.universe}: ` : "";
    if (status.status === "queued") return `${whose}queued; a process tickstock-jobs begins it.`;
    if (!status.is_running) return `${whose}${status.status}, but no process tickstock-jobs moves it on: start one.`;
    const ends = status.estimated_completion ? `; it ends about ${clock(Date.parse(status.estimated_completion))} ${zoneName()}` : "";
    return `${whose}${status.status}, ${status.current_phase ?? "begins"}: ${count(status.symbols_processed)} of ${count(status.symbols_total)} symbols, ${status.progress} %${ends}.`;
  }

  #start() {
    const boxes = PHASES.map(([name, title]) => [name, h("input", { type: "checkbox", ".checked": true }), title]);
    const universe = h("input", { type: "text", ".value": "all", spellcheck: "false", size: 14 });
    const day = h("input", { type: "date" });
    const closed = h("input", { type: "checkbox" });
    const submit = (event) => {
      event.preventDefault();
      const phases = boxes.filter(([, box]) => box.checked).map(([name]) => name);
      if (!phases.length) return say(this.#message, "Choose at least one step.");
      this.#send("POST", "/api/processing/trigger-manual", { phases, universe: universe.value.trim() || "all", run_date: day.value || null, skip_market_check: closed.checked });
    };
    return h("details", {}, h("summary", {}, "Start a run"),
      h("form", { class: "bar card", onsubmit: submit },
        boxes.map(([, box, title]) => h("label", { class: "inline" }, box, title)),
        h("label", { class: "inline" }, "Universe", universe), h("label", { class: "inline" }, "Day (empty: the last market day)", day),
        h("label", { class: "inline" }, closed, "also where the market was closed"), h("button", {}, "Start")));
  }

  #ask(question, method, path, body) {
    if (confirm(question)) this.#send(method, path, body);
  }

  async #send(method, path, body) {
    say(this.#message, "");
    say(this.#done, "");
    try {
      const answer = await this.#changes.send(method, path, body);
      say(this.#done, answer ? `${answer.message}.` : "Nothing was changed: no key was given.");
      this.#poll.now();
    } catch (error) {
      // Not in #message: the next reading empties that.
      say(this.#done, `Not done: ${error.message}.`);
    }
  }

  #columns() {
    const again = (run) => h("button", { onclick: () => this.#send("POST", "/api/processing/retry-imports", { original_run_id: run.run_id }) }, "Retry");
    return [
      { title: "day", cell: (run) => run.run_date },
      { title: "status", cell: (run) => h("span", { class: SIGNS[run.status] ?? "" }, run.status) },
      { title: "began", cell: (run) => moment(run.start_time) },
      { title: "took", number: true, cell: (run) => (run.duration_seconds === null ? "" : span(run.duration_seconds)) },
      { title: "trigger", cell: (run) => run.trigger_type },
      { title: "universe", cell: (run) => run.universe },
      { title: "steps", cell: (run) => run.phases.join(", ") },
      { title: "symbols", number: true, cell: (run) => count(run.symbols_processed) },
      { title: "failed", number: true, cell: (run) => h("span", { class: run.symbols_failed ? "down" : "" }, count(run.symbols_failed)) },
      { title: "indicators", number: true, cell: (run) => count(run.indicators_calculated) },
      { title: "patterns", number: true, cell: (run) => count(run.patterns_detected) },
      { title: "why", cell: (run) => h("span", { class: "long" }, run.error ?? "") },
      { title: "again", cell: (run) => (run.symbols_failed && run.end_time ? again(run) : "") },
    ];
  }
}

function step(phase, at, place) {
  const word = at < place ? "done" : at === place ? "now" : "waits";
  return h("li", { class: word === "waits" ? "quiet" : "", "aria-current": word === "now" ? "step" : null }, `${phase}: ${word}`);
}
