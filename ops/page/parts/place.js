// The part of the address after `#` names the view and its content, so a link shows the same view.

const MOST_CHARACTERS = 1_000; // of a value: with more of them a server may not take the request

/** { view: "market", values: { symbol: "AAPL", … } } */
export function read() {
  const [view, query = ""] = location.hash.slice(1).split("?");
  const values = [...new URLSearchParams(query)].map(([name, value]) => [name, value.slice(0, MOST_CHARACTERS)]);
  return { view, values: Object.fromEntries(values) };
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
