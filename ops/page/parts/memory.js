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

/** A text that this tab remembers until it is closed, and tells other tabs of this page that ask. It is on no disk. null: none. */
export class TabMemory {
  #name;
  #text = null;
  #others = null;

  constructor(name) {
    this.#name = name;
    try {
      this.#others = new BroadcastChannel(name);
    } catch {
      return; // this browser has none: each tab is told by its visitor
    }
    this.#others.onmessage = ({ data }) => this.#hear(data);
    if (this.get() === null) this.#others.postMessage(null);
  }

  /** null: another tab asks; a text: it is that of another tab. */
  #hear(data) {
    if (data === null) this.share();
    else if (this.get() === null) this.set(data);
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

  /** Tell the other tabs of this page. */
  share() {
    if (this.get() !== null) this.#others?.postMessage(this.get());
  }
}
