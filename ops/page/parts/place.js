// The part of the address after `#` names the view and its content, so a link shows the same view.

/** { view: "market", values: { symbol: "AAPL", … } } */
export function read() {
  const [view, query = ""] = location.hash.slice(1).split("?");
  return { view, values: Object.fromEntries(new URLSearchParams(query)) };
}

/** Return the address of a view, without empty values. */
export function link(view, values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `#${view}${kept.length ? "?" + new URLSearchParams(kept) : ""}`;
}

/** Change values in the present address, without a new entry in the browser's history. */
export function change(values) {
  const now = read();
  history.replaceState(null, "", link(now.view, { ...now.values, ...values }));
}
