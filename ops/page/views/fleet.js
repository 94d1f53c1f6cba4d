// The fleet: its health with what to do, and its parts, in the words of `tickstock status`.

import { get } from "../parts/api.js";
import { fill, h, refill, say } from "../parts/dom.js";
import { healthWord } from "../parts/health.js";
import { Poll } from "../parts/poll.js";
import { keep, smallLine } from "../parts/small_line.js";
import { table } from "../parts/table.js";
import { clockWithSeconds, minute, span, zoneName } from "../parts/times.js";

const EVERY_MS = 2_000; // as often as the API reads the fleet
const OLD_S = 15;
const LATE_S = 5; // as in `tickstock status`: a worker commits each second

const count = (value) => (value === null || value === undefined ? "unknown" : Math.round(value).toLocaleString("en-US"));
const seconds = (value) => (value === null || value === undefined ? "-" : value.toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 }));
const moment = (text) => (text ? clockWithSeconds(Date.parse(text)) : "-");
const wrapped = (name) => h("span", { class: "name" }, name);
const bad = (text) => h("span", { class: "down" }, text);

// Numbers of GET /api/fleet/hour. The points outlive the view, and a restart of the API, which begins with an empty hour.
const NUMBERS = [
  { title: "ticks a second", name: "ticks_per_second", write: count, points: [] },
  { title: "bars a minute", name: "bars_per_minute", write: count, points: [] },
  { title: "lag in ticks", name: "lag_ticks", write: count, points: [] },
  { title: "lag in seconds", name: "lag_s", write: seconds, points: [] },
  { title: "results that wait", name: "unpublished", write: count, points: [] },
];
let heard = ""; // the time of the last moment in them

/** Show the view. Returns what ends it. */
export function show(main, values, frame) {
  const parts = lay(main);
  const read = (signal) => Promise.all([get("/api/fleet", {}, signal), get("/api/fleet/hour", { after: heard }, signal)]);
  const poll = new Poll(read, EVERY_MS, {
    got: ([look, hour]) => {
      frame.health(look.status);
      add(hour.moments);
      draw(parts, look);
    },
    failed: (error) => say(parts.message, `${error.message}: what is below is older.`),
    state: frame.stream,
  });
  poll.start();
  return () => poll.close();
}

function add(moments) {
  for (const moment of moments) for (const { points, name } of NUMBERS) keep(points, Date.parse(moment.at), moment[name]);
  heard = moments.at(-1)?.at ?? heard;
}

function lay(main) {
  const parts = {
    message: h("p", { class: "message", role: "alert" }),
    word: h("strong", { class: "state" }),
    read: h("span", { class: "quiet" }),
    findings: h("ul", { class: "findings", "aria-label": "Findings" }),
    said: h("dl", { class: "said" }),
    lines: NUMBERS.map((number) => ({ number, line: smallLine(number.title, number.write) })),
    tables: TABLES.map(({ columns, none, ...one }) => ({ ...one, table: table(one.title, columns, none) })),
  };
  drawLines(parts);
  const section = (title, element, name = "") => h("section", { class: name }, h("h2", {}, title), element);
  fill(main, parts.message,
    h("section", { class: "verdict", "aria-label": "Health" }, h("h1", {}, "Health ", parts.word), parts.read, parts.findings),
    h("div", { class: "smalls" }, parts.lines.map(({ line }) => line.element)),
    section("Parts", parts.said, "card"),
    h("div", { class: "tables" }, parts.tables.map(({ title, wide, table: one }) => section(title, one.element, wide ? "wide" : ""))));
  return parts;
}

function draw(parts, look) {
  parts.word.dataset.is = look.status;
  say(parts.word, healthWord(look.status));
  say(parts.read, `read at ${clockWithSeconds(Date.parse(look.at))} ${zoneName()}`);
  say(parts.message, look.looked_s > OLD_S ? `This reading is ${span(look.looked_s)} old: a newer one waits for a server.` : look.lines ? "" : "A server does not answer: the numbers below are older.");
  refill(parts.findings, look.findings, (all) => (all.length ? all.map(finding) : h("li", { class: "quiet" }, "nothing to do")));
  if (!look.lines) return;
  refill(parts.said, look.lines, (lines) => lines.map(({ part, says }) => [h("dt", {}, part), h("dd", {}, says)]));
  drawLines(parts);
  for (const { of, table: one } of parts.tables) one.again(of(look), (row) => ({ "data-name": String(row.name ?? row.consumer ?? row.unit ?? row.partition) }));
}

const drawLines = (parts) => parts.lines.forEach(({ number, line }) => line.draw(number.points));

function finding({ level, code, message, do: next }) {
  const name = { error: "down", warn: "warn" }[level] ?? "";
  return h("li", { "data-code": code }, h("span", { class: `tag ${name}` }, level), " ", h("strong", {}, code), ` ${message} `, h("span", { class: "do" }, `→ ${next}`));
}

const state = (one) => (one.running ? h("span", { class: "up" }, "running") : one.silent ?? true ? bad("silent") : "ended");

const TABLES = [
  {
    title: "Workers",
    wide: true,
    none: "no worker yet",
    of: (look) => look.workers,
    columns: [
      { title: "worker", cell: (one) => one.consumer },
      { title: "state", cell: state },
      { title: "partitions", number: true, cell: (one) => String(one.partitions.length) },
      ...["ticks", "bars", "revisions", "commits", "fenced", "restores"].map((name) => ({ title: name, number: true, cell: (one) => count(one[name]) })),
      { title: "last commit", cell: (one) => moment(one.updated_at) },
    ],
  },
  {
    title: "Partitions",
    none: "the stream was not created yet",
    of: (look) => look.partitions,
    columns: [
      { title: "partition", number: true, cell: (one) => String(one.partition) },
      { title: "owner", cell: (one) => one.owner ?? bad("nobody") },
      { title: "epoch", number: true, cell: (one) => String(one.epoch) },
      { title: "lag ticks", number: true, cell: (one) => count(one.lag_ticks) },
      { title: "lag s", number: true, cell: (one) => (one.lag_s === null ? bad("unknown") : one.lag_s > LATE_S ? bad(seconds(one.lag_s)) : seconds(one.lag_s)) },
      { title: "last commit", cell: (one) => moment(one.last_commit) },
      { title: "pause s", number: true, cell: (one) => seconds(one.pause_s) },
    ],
  },
  {
    title: "Producers",
    none: "no live producer yet",
    of: (look) => look.producers,
    columns: [
      { title: "producer", cell: (one) => one.name },
      { title: "state", cell: state },
      { title: "feed", cell: (one) => one.feed ?? "-" },
      { title: "ticks", number: true, cell: (one) => count(one.ticks) },
      { title: "lost", number: true, cell: (one) => (one.lost ? bad(count(one.lost)) : "0") },
      { title: "last tick s", number: true, cell: (one) => seconds(one.last_s) },
      { title: "spool bytes", number: true, cell: (one) => (one.spool_bytes ? bad(count(one.spool_bytes)) : count(one.spool_bytes)) },
    ],
  },
  {
    title: "Replays",
    none: "no replay yet",
    of: (look) => look.replays,
    columns: [
      { title: "replay", cell: (one) => wrapped(one.name) },
      { title: "state", cell: (one) => one.state },
      { title: "ticks", number: true, cell: (one) => count(one.ticks) },
      { title: "ended in", number: true, cell: (one) => `${one.partitions_ended}/${one.partitions}` },
      { title: "started", cell: (one) => minute(Date.parse(one.started_at)) },
    ],
  },
  {
    title: "Leases",
    none: "no lease is held",
    of: (look) => look.leases,
    columns: [
      { title: "unit", cell: (one) => one.unit },
      { title: "owner", cell: (one) => wrapped(one.owner) },
      { title: "epoch", number: true, cell: (one) => String(one.epoch) },
      { title: "left s", number: true, cell: (one) => seconds(one.left_s) },
    ],
  },
];
