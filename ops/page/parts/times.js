// Writes times: in New York, where the market is, or in UTC. Every time on the page is written here.

const ZONES = { ny: "America/New_York", utc: "UTC" };
const NAMES = { ny: "New York", utc: "UTC" };
const FIELDS = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const WRITERS = Object.fromEntries(
  Object.entries(ZONES).map(([name, timeZone]) => [name, new Intl.DateTimeFormat("en-US", { ...FIELDS, timeZone })]),
);
let zone = "ny";

export const setZone = (name) => (zone = Object.hasOwn(ZONES, name) ? name : "ny");
export const zoneName = () => NAMES[zone];

/** The parts of a time, as text. ms: Unix milliseconds. where: ny or utc; without it, the zone of the page. */
export function partsOf(ms, where = zone) {
  return Object.fromEntries(WRITERS[where].formatToParts(ms).map((part) => [part.type, part.value]));
}

/** 09:31 */
export function clock(ms) {
  const part = partsOf(ms);
  return `${part.hour}:${part.minute}`;
}

/** 09:31:05 */
export function clockWithSeconds(ms) {
  return `${clock(ms)}:${partsOf(ms).second}`;
}

/** 2026-11-30 */
export function day(ms, where = zone) {
  const part = partsOf(ms, where);
  return `${part.year}-${part.month}-${part.day}`;
}

/** 2026-11-30 09:31 */
export const minute = (ms) => `${day(ms)} ${clock(ms)}`;

/** 2026-11-30 09:31 to 09:35; the day again where it is another one; a single minute alone. */
export function minutesOf(first, last) {
  if (first === last) return minute(first);
  return `${minute(first)} to ${day(first) === day(last) ? clock(last) : minute(last)}`;
}

/** 12 s, 5 min, 3 h, 2 d */
export function span(seconds) {
  const [size, unit] = [[86_400, "d"], [3_600, "h"], [60, "min"]].find(([size]) => seconds >= 2 * size) ?? [1, "s"];
  return `${Math.round(seconds / size)} ${unit}`;
}
