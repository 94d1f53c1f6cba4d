// What a browser remembers. One that blocks this remembers nothing: each visit is the first, and a key lasts until a reload.

/** Return the values under a name, as an object; {} if there are none. */
export function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? {};
  } catch {
    return {};
  }
}

/** Remember values: an object. */
export function remember(name, values) {
  try {
    localStorage.setItem(name, JSON.stringify(values));
  } catch {
    return; // it is blocked or full
  }
}

/** A text that this tab remembers until it is closed; null: none. */
export class TabMemory {
  #name;
  #text = null;

  constructor(name) {
    this.#name = name;
  }

  get() {
    try {
      return this.#text ?? sessionStorage.getItem(this.#name);
    } catch {
      return this.#text;
    }
  }

  set(text) {
    this.#text = text || null;
    try {
      if (text) sessionStorage.setItem(this.#name, text);
      else sessionStorage.removeItem(this.#name);
    } catch {
      return; // it is blocked
    }
  }
}
