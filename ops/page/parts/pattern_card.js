// A pattern in words: its rule, its confidence, its base rate (how often such patterns were right) and its levels.

import { fill, h } from "./dom.js";
import { clock, minute } from "./times.js";
import { isLong, SECONDS } from "./timeframes.js";

const SIGNS = { bullish: "▲", bearish: "▼", neutral: "◆" };
const CLASSES = { bullish: "up", bearish: "down" };

// Made once: a number's own toLocaleString makes a format at each call, and lists have hundreds of prices.
const [LOW, HIGH] = [4, 2].map((most) => new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: most, useGrouping: false }));

export const price = (value) => (value === null || value === undefined ? "" : (value < 10 ? LOW : HIGH).format(value));
export const barTime = (pattern) => (isLong(pattern.timeframe) ? new Date(pattern.time * 1000).toISOString().slice(0, 10) : minute(pattern.time * 1000));

/** The bar of a pattern in a narrow list: 11-30 09:30 to 10:00. The end, because such lists are in the order of the ends. */
export function barSpan(pattern) {
  const seconds = SECONDS[pattern.timeframe];
  if (isLong(pattern.timeframe)) return barTime(pattern);
  const start = minute(pattern.time * 1000).slice("2026-".length);
  return seconds > 60 ? `${start} to ${clock((pattern.time + seconds) * 1000)}` : start;
}

/** Return an element with the direction, for example ▲ bullish, in its colour. */
export function direction(pattern) {
  const name = pattern.direction ?? "neutral";
  return h("span", { class: CLASSES[name] ?? "" }, `${SIGNS[name] ?? ""} ${name}`);
}

/** Write a pattern into an element. rules: Map of name -> description. */
export function patternCard(element, pattern, rules) {
  const rows = [
    ["bar", barTime(pattern)],
    ["rule", rules.get(pattern.pattern) ?? "no definition has this name"],
    ["confidence", pattern.confidence.toFixed(2)],
    ["base rate", baseRate(pattern.base_rate)],
    ["levels", pattern.levels.length ? pattern.levels.map(price).join(", ") : "none"],
  ];
  fill(element,
    h("h2", {}, h("span", { class: pattern.gone ? "gone" : "" }, pattern.pattern), " ", direction(pattern), pattern.gone ? h("span", { class: "tag warn" }, "superseded") : ""),
    h("dl", {}, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function baseRate(rate) {
  if (!rate) return "never measured";
  const { hits, of, expected, after_bars: after, days } = rate;
  const percent = (count) => `${((100 * count) / of).toFixed(0)} %`;
  return `right in ${hits.toLocaleString("en-US")} of ${of.toLocaleString("en-US")} (${percent(hits)}), ${after} bars later; any bar: ${percent(expected)}; ${days} days`;
}
