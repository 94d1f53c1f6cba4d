// Calls the API. A refusal becomes an Error with the API's message.

import { TabMemory } from "./memory.js";

const TIMEOUT_MS = 10_000;

/** Send a GET and return its answer. query: values that are null, undefined or "" are left out. */
export function get(path, query = {}, signal = null) {
  return ask("GET", path + search(query), undefined, signal);
}

/** Send a call that changes something, with the key if one was given. */
export function send(method, path, body = undefined, headers = {}) {
  return ask(method, path, body, null, headers);
}

export function search(query) {
  const values = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return values.length ? "?" + new URLSearchParams(values) : "";
}

/** The API key, until the last tab is closed; null: no key was given, so the page is read-only. */
export const key = new TabMemory("tickstock-key");

export class Refused extends Error {
  constructor(message, status, answer) {
    super(message);
    this.status = status; // 0: no answer
    this.answer = answer;
  }
}

/** Tell whether the API does not take a call as it is: the same one again would be refused again. */
export const isRefused = ({ status }) => status >= 400 && status < 500;

async function ask(method, path, body, signal, headers = {}) {
  const signals = [AbortSignal.timeout(TIMEOUT_MS), signal].filter(Boolean);
  const said = { ...headers };
  if (method !== "GET" && key.get()) said["X-API-Key"] = key.get();
  if (body !== undefined) said["Content-Type"] = "application/json";
  let answer;
  try {
    const content = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers: said, body: content, signal: AbortSignal.any(signals), cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused("the API does not answer", 0, null);
  }
  const read = await answer.json().catch(() => null);
  if (!answer.ok || read === null) throw new Refused(read?.message ?? `the API answered ${answer.status}`, answer.status, read);
  return read;
}
