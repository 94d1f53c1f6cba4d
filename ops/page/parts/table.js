// A table with headers: the same for every view.

import { arrange, change, fill, h } from "./dom.js";

/**
 * Make a table. columns: [{ title, cell(row): text or node, number: true for right-aligned }].
 * rows(list, attributes) replaces the rows; attributes(row): of its <tr>. An object of the last list keeps its <tr> with
 * the same cells: a row that says something else must be a new object.
 * again(list, attributes): the same for a list that was read again. A row that says the same keeps its <tr>, so text
 * that somebody has selected stays selected.
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
  const again = (list, attributes) => rows(sameOf([...drawn.keys()], list), attributes);
  fill(body, h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, "reading")));
  return { element, rows, again };
}

/** Return a list in which each row that says the same as one of the last list is that one. */
function sameOf(last, list) {
  const known = new Map(last.map((row) => [JSON.stringify(row), row]));
  return list.map((row) => {
    const text = JSON.stringify(row);
    const same = known.get(text) ?? row;
    known.delete(text);
    return same;
  });
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
