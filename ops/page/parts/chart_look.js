// What all charts share: the library, the colours of the page, the scales and the texts of times.

import { Refused } from "./api.js";
import { clock, day, minute } from "./times.js";

const COLOURS = ["panel", "line", "text", "quiet", "accent", "up", "down", "warn", "flash"];
export const NO_LIBRARY = "The charts library was not built into this installation, so there is no chart: `tickstock page-library` fetches it (or `make page`), then start tickstock-api again. Everything else on this page works.";
export const RIGHT_OFFSET = 4; // empty bars after the newest one
export let library = null;

const LIBRARY = "/page/built/lightweight-charts.js";
const MISSING = 404;

/** Load the library; return whether it was built. Raises Refused if the API does not answer: ask again. */
export async function load() {
  try {
    library ??= await import(LIBRARY);
  } catch {
    const status = await fetch(LIBRARY, { cache: "no-store" }).then((answer) => answer.status, () => 0);
    if (status !== MISSING) throw new Refused("the charts library does not come", 0, null);
  }
  return library !== null;
}

/** Return the colours of the page as they are now: light or dark. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Return the options of a chart. long: of days and longer, so a time is a date without a zone. */
export function options({ panel, line, text, quiet }, long) {
  return {
    layout: { background: { color: panel }, textColor: text, fontFamily: "system-ui, sans-serif", fontSize: 12, attributionLogo: true, panes: { separatorColor: line } },
    grid: { vertLines: { color: line }, horzLines: { color: line } },
    crosshair: { mode: 0, vertLine: { color: quiet }, horzLine: { color: quiet } },
    rightPriceScale: { borderColor: line },
    timeScale: { borderColor: line, timeVisible: !long, rightOffset: RIGHT_OFFSET, minBarSpacing: 1, maxBarSpacing: 18, tickMarkFormatter: (at, kind) => tick(at, kind, long) },
    localization: { timeFormatter: (at) => (long ? dayOf(at) : minute(at * 1000)) },
  };
}

function tick(at, kind, long) {
  if (long) return kind === 0 ? dayOf(at).slice(0, 4) : kind === 1 ? dayOf(at).slice(0, 7) : dayOf(at).slice(5);
  return kind < 3 ? day(at * 1000).slice(5) : clock(at * 1000);
}

const dayOf = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
