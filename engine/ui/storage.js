// What is stored, for how long, and for how long there is room.

import { element, facts, fill, heading, section, soft, table } from "./dom.js";
import { bytes, count, distance, moment } from "./words.js";

const PRIORITIES = [["priority", {}], ["events", { class: "number" }], ["oldest", {}], ["newest", { class: "rank2" }]];
const RULES = [["keep", {}], ["priority", {}], ["type", {}]];

export async function show(main, view) {
  const it = await view.ask("/api/storage");
  const { keep, max_size: most, evict, every, dead_letters: dead } = it.retention;
  fill(
    main,
    heading("Storage"),
    outlook(it),
    facts([
      ["database", bytes(it.bytes)],
      ["write-ahead log", bytes(it.wal_bytes)],
      ["free on the disk", it.free_bytes === 0 ? null : bytes(it.free_bytes)],
      ["events", it.events.at_most === 0 ? "none" : `about ${it.events.at_most.toLocaleString("en")}`],
      ["accepted, still in progress", `${it.pending}, ${bytes(it.pending_bytes)}`],
      ["waiting deliveries", it.deliveries],
      ["dead letters", `${it.dead_letters}, kept ${dead.keep}, at most ${dead.max}`],
      ["next sweep", it.next_sweep === null ? `every ${every}` : [distance(it.next_sweep), `, every ${every}`]],
    ]),
    section("By priority"),
    table("By priority", PRIORITIES, it.priorities.map((row) => [
      row.priority, `${row.is_exact ? "" : "more than "}${row.events.toLocaleString("en")}`,
      row.oldest === null ? "–" : moment(row.oldest), row.newest === null ? "–" : moment(row.newest),
    ])),
    section("Retention"),
    keep.length === 0
      ? soft("Events are kept permanently.")
      : [
        soft("The first matching rule decides; an event that matches none is kept permanently."),
        table("Retention", RULES, keep.map((rule) => [rule.age, rule.priority ?? "any", rule.type ?? "any"])),
      ],
    most === null ? null : soft(`Beyond ${bytes(most)}, events go early: ${evict.replaceAll("-", " ")} first.`),
    deleted(it.deleted),
  );
}

/** Where this leads as long as it goes on like in the last days. */
function outlook({ forecast, retention }) {
  if (forecast === null) return element("p", { class: "note" }, "There are too few events for a forecast.");
  const { bytes_per_day: daily, levels_off_at: level, room, full_in_days: days } = forecast;
  if (daily === 0) return element("p", { class: "note" }, "Nothing came in the last 7 days.");
  const growth = `${bytes(daily)} arrive per day`;
  if (days === null) {
    const text = `${growth}; with these rules the store levels off at about ${bytes(level)}.`;
    return element("p", { class: "note" }, text);
  }
  const isLimited = retention.max_size !== null && retention.max_size <= room;
  const limit = isLimited ? "it reaches `max-size`" : "the disk is full";
  return element("p", { class: days < 14 ? "note bad" : "note" }, `${growth}; ${limit} in ${count(days, "day")}.`);
}

function deleted(rules) {
  const rows = Object.entries(rules).map(([rule, number]) => [rule, number.toLocaleString("en")]);
  if (rows.length === 0) return null;
  return [
    section("Deleted since the start"),
    table("Deleted since the start", [["rule", {}], ["rows", { class: "number" }]], rows),
  ];
}
