// Receives the results live. After a lost connection it continues after the last result, so nothing is left out.

import { isRefused, search } from "./api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5_000;
const SILENT_MS = 40_000; // the API sends a sign of life every 15 s
const HIDDEN_MS = 10_000; // a browser has six connections for all its tabs: a hidden one gives its own back

/**
 * A stream of results.
 * query: `kinds` and `symbol` of GET /events.
 * hear: {
 *   result(kind, body, id): one result, each once;
 *   fresh(): what came before is unknown: read it from the API now, what comes later is heard;
 *   state(word): "live", "paused" or "reconnecting"; "" if the API refuses the query: fresh() is called, and reads why }
 */
export class Stream {
  #query;
  #hear;
  #last = null; // the id of the last result
  #numbers = new Map(); // by partition, the last number
  #abort = null;
  #runs = false;
  #hiding = null;

  constructor(query, hear) {
    this.#query = query;
    this.#hear = hear;
  }

  start() {
    document.addEventListener("visibilitychange", this.#seen);
    this.#run();
  }

  /** Close the connection, and do not connect again. */
  stop() {
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#hiding);
    this.#pause();
  }

  #seen = () => {
    clearTimeout(this.#hiding);
    if (!document.hidden) return this.#run();
    this.#hiding = setTimeout(() => {
      this.#pause();
      this.#hear.state("paused");
    }, HIDDEN_MS);
  };

  #pause() {
    this.#runs = false;
    this.#abort?.abort();
  }

  async #run() {
    if (this.#runs) return;
    this.#runs = true;
    const mine = (this.#abort = new AbortController());
    for (let wait = FIRST_WAIT_MS; !mine.signal.aborted; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      const heard = await this.#listen(mine).catch(() => false);
      if (mine.signal.aborted) return;
      if (heard) wait = FIRST_WAIT_MS;
      this.#hear.state("reconnecting");
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  /** Listen until the connection ends; return whether it was opened. */
  async #listen(mine) {
    const once = new AbortController();
    const headers = this.#last ? { "Last-Event-ID": this.#last } : {};
    const signal = AbortSignal.any([mine.signal, once.signal]);
    let watch = setTimeout(() => once.abort(), SILENT_MS);
    try {
      const answer = await fetch("/events" + search(this.#query), { headers, signal, cache: "no-store" });
      if (isRefused(answer)) this.#refused(mine);
      if (!answer.ok) return false;
      if (!this.#last) this.#hear.fresh();
      this.#hear.state("live");
      for await (const block of blocks(answer.body)) {
        clearTimeout(watch);
        watch = setTimeout(() => once.abort(), SILENT_MS);
        this.#take(block);
      }
    } catch (error) {
      if (this.#abort !== mine || error.name !== "AbortError") console.debug("the stream ended:", error.message);
    } finally {
      clearTimeout(watch);
    }
    return true;
  }

  // The same query would be refused again.
  #refused(mine) {
    mine.abort();
    this.#hear.state("");
    this.#hear.fresh();
  }

  #take({ id, event, data }) {
    if (event === "reset") {
      this.#last = null;
      this.#numbers.clear();
      this.#hear.fresh();
      return;
    }
    if (!id) return;
    const cut = id.lastIndexOf("-");
    const partition = id.slice(0, cut);
    const number = Number(id.slice(cut + 1));
    // Another process sends some results twice, because it does not know which ones this page has received.
    if (number <= (this.#numbers.get(partition) ?? 0)) return;
    this.#numbers.set(partition, number);
    this.#last = id;
    if (data) this.#hear.result(event, JSON.parse(data), id);
  }
}

async function* blocks(body) {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n\n");
    rest = parts.pop();
    for (const part of parts) yield block(part);
  }
}

function block(text) {
  const found = {};
  for (const line of text.split("\n")) {
    const cut = line.indexOf(": ");
    if (cut > 0) found[line.slice(0, cut)] = line.slice(cut + 2);
  }
  return found;
}
