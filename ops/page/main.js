// The frame around the views: the choice of the view, the fleet's health, the time zone.

import { get } from "./parts/api.js";
import { change, fill, h, say } from "./parts/dom.js";
import { healthWord } from "./parts/health.js";
import { recall, remember } from "./parts/memory.js";
import * as place from "./parts/place.js";
import { setZone } from "./parts/times.js";

const ZONE = "tickstock-time-zone";
const HEALTH_EVERY_MS = 5_000;
const AGAIN_MS = 2_000; // where a view's module did not come
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
const links = new Map(Object.entries(VIEWS).map(([name, { title }]) => [name, h("a", { href: `#${name}` }, title)]));
let shown = { view: null, close: () => {} };

/** Show the view of the address. A view exports show(element, values, frame), which returns a function that ends it. */
async function show() {
  const { view, values } = place.read();
  const name = Object.hasOwn(VIEWS, view) ? view : "market";
  if (name !== view) history.replaceState(null, "", place.link(name, values));
  shown.close();
  chooseZone(values.zone ?? zone.value);
  const mine = (shown = { view: name, close: () => {} });
  links.forEach((link, one) => change(link, { "aria-current": one === name ? "page" : null }));
  document.title = `${VIEWS[name].title} - TickStockPL`;
  const start = await load(name);
  if (shown !== mine) return;
  if (!start) return failed(mine);
  fill(main);
  main.className = name;
  mine.close = start(main, values, { stream, health });
}

/** Return the function that shows a view; undefined: its module did not come. */
const load = (name) => VIEWS[name].load().then((view) => view.show, () => undefined);

function failed(mine) {
  fill(main, h("p", { class: "message", role: "alert" }, "the API does not answer: trying again."));
  stream("reconnecting");
  setTimeout(() => shown === mine && show(), AGAIN_MS);
}

/** Use a time zone, and put it into the address: a link shows the same times to others. */
function chooseZone(name) {
  zone.value = name;
  zone.value ||= "ny"; // there is no such zone
  setZone(zone.value);
  place.change({ zone: zone.value });
}

/** Show the state of the connection: live, paused, reconnecting. */
function stream(word) {
  const element = document.getElementById("stream");
  element.dataset.is = word;
  say(element, word);
}

/** Show the fleet's health; a view that reads it tells it, too, so that both say the same. */
function health(status) {
  const element = document.getElementById("health");
  element.dataset.is = status ?? "error";
  say(element, status ? `fleet ${healthWord(status)}` : "the API does not answer");
}

const readHealth = () => get("/health").then((answer) => health(answer.status), () => health(null));

fill(document.getElementById("views"), [...links.values()]);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view, not an element
  main.focus();
});
zone.value = recall(ZONE).zone ?? "";
zone.addEventListener("change", () => {
  remember(ZONE, { zone: zone.value });
  place.change({ zone: zone.value });
  show();
});
addEventListener("hashchange", show);
show().then(() => Object.keys(VIEWS).forEach(load)); // the other views come now, so that they need no API later
readHealth();
setInterval(() => document.hidden || readHealth(), HEALTH_EVERY_MS);
