// A field that finds a symbol: by its beginning, or by a part of its name. Arrow keys move through the list, Enter takes a symbol.

import { get } from "./api.js";
import { fill, h } from "./dom.js";

const PAUSE_MS = 120;

/** Make the field. chosen(symbol) is called when the user takes a symbol; keeps: the symbol stays in the field. */
export function symbolSearch(symbol, chosen, { label = "Symbol", keeps = true } = {}) {
  let timer = null;
  let found = [];
  let at = -1;
  const list = h("ul", { id: "found", role: "listbox", "aria-label": "Symbols" });
  const field = h("input", {
    type: "search", role: "combobox", "aria-expanded": "false", "aria-controls": "found", "aria-autocomplete": "list",
    autocomplete: "off", spellcheck: "false", maxlength: 100, ".value": symbol, "aria-label": label, oninput: ask, onkeydown: press, onfocus: () => field.select(), onblur: () => setTimeout(shut, 150),
  });

  function ask() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      try {
        const text = field.value.trim();
        const answer = await get("/api/symbols", { search: text, limit: 12 });
        if (document.activeElement !== field || field.value.trim() !== text) return;
        found = answer.symbols;
        at = found.length ? 0 : -1;
        draw();
      } catch {
        shut(); // the header says that the API does not answer
      }
    }, PAUSE_MS);
  }

  function draw() {
    const item = (one, index) => h("li", { id: `found-${index}`, role: "option", "aria-selected": String(index === at), onmousedown: (event) => (event.preventDefault(), take(one.symbol)) },
      one.symbol, one.name ? ` ${one.name}` : "", one.active ? "" : " (delisted)");
    fill(list, found.length ? found.map(item) : h("li", { role: "option", "aria-disabled": "true", "aria-selected": "false" }, "no such symbol"));
    field.setAttribute("aria-expanded", "true");
    if (at >= 0) field.setAttribute("aria-activedescendant", `found-${at}`);
  }

  function press(event) {
    if (event.key === "Escape") return shut();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!found.length) return ask();
      at = (at + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length;
      draw();
    }
    if (event.key !== "Enter") return;
    event.preventDefault(); // in a form it would send that
    take(found.find((one) => one.symbol === field.value.trim())?.symbol ?? found[at]?.symbol ?? field.value.trim());
  }

  function take(one) {
    if (!one) return;
    shut();
    field.value = keeps ? one : "";
    chosen(one);
  }

  function shut() {
    clearTimeout(timer);
    fill(list);
    found = [];
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  }

  return h("div", { class: "find" }, field, list);
}
