// Does what changes something; asks for the key of the API where that wants one, once a session.

import { key, send } from "./api.js";
import { h, say } from "./dom.js";

const REFUSED = 401;

/** element: the question, hidden until the API wants a key. */
export class Changes {
  #field = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true });
  #says = h("span", {});
  #waiting = null;
  element = h("form", { class: "bar message key", hidden: true, "aria-label": "The key of the API", onsubmit: (event) => this.#given(event) },
    this.#says, h("label", { class: "inline" }, "Key", this.#field), h("button", {}, "Use it"), h("button", { type: "button", onclick: () => this.#end(null) }, "Leave it"));

  /** Return the answer; null: nobody gave a key. Raises Refused. */
  async send(method, path, body) {
    for (let wasAsked = false; ; wasAsked = true) {
      try {
        const answer = await send(method, path, body);
        if (wasAsked) key.share(); // it is right: the other tabs need not ask
        return answer;
      } catch (error) {
        if (error.status !== REFUSED) throw error;
        const wasGiven = key.get() !== null;
        key.set(null);
        if (!(await this.#ask(wasGiven))) return null;
      }
    }
  }

  #ask(wasGiven) {
    this.#waiting?.(false);
    say(this.#says, wasGiven ? "The API does not take this key." : "This changes something, so the API wants its key. The page's tabs keep it until they are closed.");
    this.element.hidden = false;
    this.#field.value = "";
    this.#field.focus();
    return new Promise((done) => (this.#waiting = done));
  }

  #given(event) {
    event.preventDefault();
    this.#end(this.#field.value);
  }

  #end(given) {
    if (given) key.set(given);
    this.#field.value = "";
    this.element.hidden = true;
    this.#waiting?.(Boolean(given));
    this.#waiting = null;
  }
}
