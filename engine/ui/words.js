// How times, sizes and states are written.

import { element } from "./dom.js";

const GOOD = ["ok", "done", "stored", "cached", "start", "applied", "ready", "closed"];
const QUIET = ["skipped", "pending", "suppressed", "parked", "held", "degraded", "stale", "off", "half-open"];

/** A word with a colour; the word says it too. */
export function outcome(word) {
  const tone = GOOD.includes(word) ? "good" : QUIET.includes(word) ? "warn" : "bad";
  return element("span", { class: tone }, word);
}

/** `2026-01-01 10:50:04` in the time zone of the reader. */
export function clock(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text ?? "");
  const two = (number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The same as an element, which has the whole of it. */
export function moment(text) {
  return element("time", { datetime: text, title: text }, clock(text));
}

/** `4 minutes ago`, or `in 2 hours`. */
export function distance(text) {
  const seconds = (new Date(text).getTime() - Date.now()) / 1000;
  const steps = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, size] = steps.find((it) => it[1] <= Math.abs(seconds)) ?? steps[3];
  return new Intl.RelativeTimeFormat("en").format(Math.round(seconds / size), unit);
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at < units.length - 1) {
    count /= 1000;
    at += 1;
  }
  return `${count.toFixed(at === 0 || count >= 100 ? 0 : 1)} ${units[at]}`;
}

export function millis(micros) {
  if (micros === null || micros === undefined) return "–";
  return micros >= 1000 ? `${(micros / 1000).toFixed(1)} ms` : `${micros} µs`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function sum(numbers) {
  return numbers.reduce((all, it) => all + it, 0);
}

/** A link to an event; `text` is what it says, and otherwise the id. */
export function eventLink(id, text = id) {
  if (id === null || id === undefined) return element("span", {}, text);
  return element("a", { href: `#/event/${encodeURIComponent(id)}` }, text);
}
