// The part of the address behind `#`: which view, and what it shows. A link with it shows the same.

/** { view: "market", values: { symbol: "AAPL", … } } */
export function read() {
  const [view, query = ""] = location.hash.slice(1).split("?");
  return { view, values: Object.fromEntries(new URLSearchParams(query)) };
}

/** An address of a view. Values that are empty are left out. */
export function link(view, values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `#${view}${kept.length ? "?" + new URLSearchParams(kept) : ""}`;
}

/** Change values of the present address, without a new entry in the browser's history. */
export function change(values) {
  const now = read();
  history.replaceState(null, "", link(now.view, { ...now.values, ...values }));
}
