// A number over the last hour as a small line, with its present and its largest value as text.

import { fill, h, say } from "./dom.js";
import { clock } from "./times.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, EDGE] = [240, 40, 2];
const HOLE_MS = 60_000; // where no reading exists for so long, the line has a hole; a large fleet is read seldom
const KEPT_MS = 3_600_000;

/** title: of the number; write(value): its text. draw(points): [[ms, value or null], …], the oldest first. */
export function smallLine(title, write) {
  const [now, range] = [h("strong"), h("span", { class: "quiet" })];
  const picture = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title });
  const element = h("figure", { class: "small" }, h("figcaption", {}, title, " ", now), picture, range);
  return { element, draw: (points) => draw(points.filter(([, value]) => value !== null), write, { now, range, picture }, points.at(-1)) };
}

/** Add a point, and forget what is older than an hour. */
export function keep(points, ms, value) {
  points.push([ms, value]);
  while (points[0][0] < ms - KEPT_MS) points.shift();
}

function draw(points, write, { now, range, picture }, last) {
  say(now, !last || last[1] === null ? "unknown" : write(last[1]));
  if (!points.length) return;
  const most = points.reduce((found, [, value]) => Math.max(found, value), 0);
  say(range, `at most ${write(most)} since ${clock(points[0][0])}`);
  const [from, to] = [points[0][0], Math.max(points.at(-1)[0], points[0][0] + 60_000)];
  const place = ([ms, value]) => `${round(((ms - from) / (to - from)) * WIDTH)},${round(HEIGHT - EDGE - (most ? value / most : 0) * (HEIGHT - 2 * EDGE))}`;
  fill(picture, runs(points).map((run) => make("polyline", { points: run.map(place).join(" ") })));
}

/** Cut the points where nobody looked. */
function runs(points) {
  const found = [];
  points.forEach((point, at) => {
    if (at === 0 || point[0] - points[at - 1][0] > HOLE_MS) found.push([]);
    found.at(-1).push(point);
  });
  return found;
}

const round = (number) => Math.round(number * 10) / 10;

function make(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  return element;
}
