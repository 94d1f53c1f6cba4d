// A table with headers: the same for every view.

import { arrange, change, fill, h } from "./dom.js";

/**
 * Make a table. columns: [{ title, cell(row): text or node, number: true for right-aligned }].
 * rows(list, attributes) replaces the rows; attributes(row): of its <tr>. An object of the last list keeps its <tr> with
 * the same cells: a row that says something else must be a new object.
 */
export function table(caption, columns, empty = "nothing yet") {
  const body = h("tbody");
  const head = h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.title)));
  // A wide table scrolls in its own element, which the keyboard can reach.
  const element = h("div", { class: "table", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, head), body));
  const cells = (row) => columns.map((column) => h("td", { class: column.number ? "number" : null }, column.cell(row) ?? ""));
  let drawn = new Map(); // row -> its <tr>
  const rowOf = (row, attributes) => {
    const known = drawn.get(row);
    if (!known) return h("tr", attributes, cells(row));
    change(known, attributes);
    return known;
  };
  const draw = (list, attributes) => {
    drawn = new Map(list.map((row) => [row, rowOf(row, attributes(row))]));
    arrange(body, drawn.size ? [...drawn.values()] : [h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, empty))]);
  };
  const rows = (list, attributes = () => ({})) => keepFocus(body, () => draw(list, attributes));
  fill(body, h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, "reading")));
  return { element, rows };
}

const CONTROLS = "a, button";

// Who uses the keyboard stays on the button or link of the same row: a row is known by its data attributes.
function keepFocus(body, draw) {
  const row = document.activeElement?.closest("tr");
  const isMine = row && body.contains(row);
  const at = isMine ? [...row.querySelectorAll(CONTROLS)].indexOf(document.activeElement) : -1;
  const name = isMine ? JSON.stringify(row.dataset) : "";
  draw();
  if (at < 0) return;
  const same = [...body.rows].find((one) => JSON.stringify(one.dataset) === name);
  same?.querySelectorAll(CONTROLS)[at]?.focus({ preventScroll: true });
}
