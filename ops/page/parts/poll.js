// Reads again and again while the tab is seen: for what no event tells.

import { isRefused } from "./api.js";

/** hear: got(answer), failed(error), state(word): live, reconnecting, paused; "" if the API refuses the question. */
export class Poll {
  #read;
  #everyMs;
  #hear;
  #abort = new AbortController();
  #timer = null;
  #reads = false;
  #again = false;

  /** read(signal): a promise of the answer. everyMs: from an answer to the next question; a function is asked each time. */
  constructor(read, everyMs, hear) {
    this.#read = read;
    this.#everyMs = typeof everyMs === "function" ? everyMs : () => everyMs;
    this.#hear = hear;
  }

  start() {
    document.addEventListener("visibilitychange", this.#seen);
    this.now();
  }

  /** Read at once: something was changed. */
  async now() {
    clearTimeout(this.#timer);
    this.#again = this.#reads; // the answer under way may be older than the change
    if (this.#reads) return;
    this.#reads = true;
    await this.#ask();
    this.#reads = false;
    if (this.#abort.signal.aborted) return;
    if (this.#again) this.now();
    else if (document.hidden) this.#hear.state("paused");
    else this.#timer = setTimeout(() => this.now(), this.#everyMs());
  }

  close() {
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  #seen = () => document.hidden || this.now();

  async #ask() {
    const signal = this.#abort.signal;
    let answer;
    try {
      answer = await this.#read(signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#hear.state(isRefused(error) ? "" : "reconnecting");
      this.#hear.failed(error);
      return;
    }
    if (signal.aborted) return;
    this.#hear.state("live");
    this.#hear.got(answer);
  }
}
