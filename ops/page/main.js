// The frame around the views: the choice of the view, the fleet's health, the time zone.

import { get } from "./parts/api.js";
import { fill, h, say } from "./parts/dom.js";
import * as place from "./parts/place.js";
import { setZone } from "./parts/times.js";

const HEALTH_EVERY_MS = 5_000;
const VIEWS = {
  market: { title: "Market", load: () => import("./views/market.js") },
  patterns: { title: "Patterns", load: () => import("./views/patterns.js") },
  fleet: { title: "Fleet", load: () => import("./views/fleet.js") },
  runs: { title: "Runs", load: () => import("./views/runs.js") },
  backtests: { title: "Backtests", load: () => import("./views/backtests.js") },
  data: { title: "Data", load: () => import("./views/data.js") },
};
const main = document.getElementById("view");
const zone = document.getElementById("zone");
let shown = { view: null, close: () => {} };

/** Show the view of the address. A view exports show(element, values, frame), which returns a function that ends it. */
async function show() {
  const { view, values } = place.read();
  const name = view in VIEWS ? view : "market";
  if (name !== view) history.replaceState(null, "", place.link(name, values));
  shown.close();
  setZone(zone.value);
  const mine = (shown = { view: name, close: () => {} });
  names(name);
  document.title = `${VIEWS[name].title} - TickStockPL`;
  const { show: start } = await VIEWS[name].load();
  if (shown !== mine) return;
  fill(main);
  main.className = name;
  mine.close = start(main, values, { stream });
}

function names(present) {
  const link = ([name, { title }]) => h("a", { href: `#${name}`, "aria-current": name === present ? "page" : null }, title);
  fill(document.getElementById("views"), Object.entries(VIEWS).map(link));
}

/** Show the state of the connection: live, paused, reconnecting. */
function stream(word) {
  const element = document.getElementById("stream");
  element.dataset.is = word;
  say(element, word);
}

async function health() {
  const element = document.getElementById("health");
  try {
    const answer = await get("/health");
    element.dataset.is = answer.status;
    say(element, `fleet ${answer.status}`);
  } catch {
    element.dataset.is = "error";
    say(element, "the API does not answer");
  }
}

zone.value = localStorage.getItem("tickstock-zone") ?? "ny";
if (place.read().values.zone) zone.value = place.read().values.zone;
zone.addEventListener("change", () => {
  localStorage.setItem("tickstock-zone", zone.value);
  place.change({ zone: zone.value === "utc" ? "utc" : "" });
  show();
});
addEventListener("hashchange", show);
show();
health();
setInterval(() => document.hidden || health(), HEALTH_EVERY_MS);
