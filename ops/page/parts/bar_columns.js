// The table of a symbol's bars.

import { barTime, price } from "./pattern_card.js";

/** 1,059 or 48.0469: a small number with at most four digits after the point. */
export const number = (value) => (typeof value === "number" ? value.toLocaleString("en-US", { maximumFractionDigits: value < 1_000 ? 4 : 0 }) : "none");

/** Return the columns of a table of bars. timeframe(): that of the bars. */
export function barColumns(timeframe) {
  const numbers = ["open", "high", "low", "close"].map((name) => ({ title: name, number: true, cell: (bar) => price(bar[name]) }));
  return [
    { title: "bar", cell: (bar) => barTime({ ...bar, timeframe: timeframe() }) },
    ...numbers,
    { title: "volume", number: true, cell: (bar) => number(bar.volume) },
    { title: "VWAP", number: true, cell: (bar) => price(bar.vwap) },
    { title: "trades", number: true, cell: (bar) => (bar.trades ? number(bar.trades) : "") },
    { title: "state", cell: (bar) => [bar.provenance ?? "", bar.revision ? `revision ${bar.revision}` : ""].filter(Boolean).join(", ") },
  ];
}
