// A table with headers: the same for every view.

import { fill, h } from "./dom.js";

/**
 * Make a table. columns: [{ title, cell(row): text or node, number: true for right-aligned }].
 * rows(list, attributes) replaces the rows; attributes(row): of its <tr>.
 */
export function table(caption, columns, empty = "nothing yet") {
  const body = h("tbody");
  const head = h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.title)));
  // A wide table scrolls in its own element, which the keyboard can reach.
  const element = h("div", { class: "table", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, head), body));
  const cells = (row) => columns.map((column) => h("td", { class: column.number ? "number" : null }, column.cell(row) ?? ""));
  const rows = (list, attributes = () => ({})) =>
    fill(body, list.length ? list.map((row) => h("tr", attributes(row), cells(row))) : h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, empty)));
  fill(body, h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, "reading")));
  return { element, rows };
}
