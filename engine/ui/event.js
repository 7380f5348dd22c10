// One event with all that became of it.

import { eventPath } from "./ask.js";
import { button, code, drawing, element, facts, fill, heading, section, soft, table } from "./dom.js";
import { count, distance, eventLink, millis, moment, outcome } from "./words.js";

/** Events of one visit that are listed. */
const VISIT_MAX = 50;
/** Between two looks at an event that has not finished, in milliseconds. */
const LOOK_EVERY = 2000;

export async function show(main, view) {
  const event = await view.ask(eventPath(view.rest), { exact: true });
  const visit = element("div");
  fill(
    main,
    heading(`Event ${event.id}`),
    fate(event),
    envelope(event),
    section("Stages"),
    event.stages.length === 0 ? soft("No stage ran.") : [stageBars(event), stages(event)],
    section("Deliveries"),
    event.deliveries.length === 0 ? soft("There is nothing to deliver.") : [deliveryBars(event), deliveries(event)],
    attempts(event),
    section("Data, and what stages added"),
    code("Data", JSON.stringify(event.data, null, 2)),
    additions(event),
    visit,
    section("Send it again"),
    soft("As a new event, from a terminal:"),
    copied("The command", `engine send ${quoted(event.type)} ${quoted(JSON.stringify(event.data))}`),
    element("details", {},
      element("summary", {}, "As a CloudEvent"),
      copied("The CloudEvent", JSON.stringify(cloudEvent(event), null, 2))),
  );
  if (event.correlation_id !== null) await showVisit(visit, event, view);
  const isUnderWay = event.state === "pending" || event.deliveries.some((it) => it.state === "pending");
  if (isUnderWay) view.later(LOOK_EVERY, () => view.show(view.part));
}

/** Where it is, unless it is where all of them are in the end. */
function fate(event) {
  if (event.state === "pending") return element("p", { class: "note warn" }, "It was accepted and is still being processed.");
  if (event.state !== "dead") return null;
  const { id, stage, reason } = event.dead_letter;
  return element("p", { class: "note bad" },
    `It failed at ${stage}: ${reason} `, element("a", { href: "#/problems" }, `Dead letter ${id}`));
}

function envelope(event) {
  return facts([
    ["type", event.type],
    ["priority", event.priority],
    ["source", event.source],
    ["subject", event.subject],
    ["time", moment(event.time)],
    ["received", moment(event.received)],
    ["generation", event.generation],
    ["visit", event.correlation_id],
    ["parent", event.parent_id === null ? null : eventLink(event.parent_id)],
  ]);
}

/** When each stage ran, and for how long: one bar, or one for each attempt with the waits as gaps. */
function stageBars({ received, stages }) {
  const rows = stages.map((it) => {
    const alone = { began: it.started, micros: it.micros, outcome: it.outcome };
    return { name: it.stage, spans: it.attempt_log ?? [alone] };
  });
  return bars(received, count(stages.length, "stage"), rows);
}

/** When each delivery was attempted; those of which that is not known are left out. */
function deliveryBars({ received, deliveries }) {
  const known = deliveries.filter((it) => it.attempt_log);
  if (known.length === 0) return null;
  const rows = known.map((it) => ({ name: it.sink, spans: it.attempt_log }));
  return bars(received, count(known.length, "delivery", "deliveries"), rows);
}

/** Rows of bars on one scale that begins when the event came; a bar is never too thin to see. */
function bars(received, what, rows) {
  const start = new Date(received).getTime();
  const begin = (span) => Math.max(0, new Date(span.began).getTime() - start);
  const ends = rows.flatMap((row) => row.spans.map((it) => begin(it) + it.micros / 1000));
  const whole = Math.max(0.1, ...ends);
  const [left, width, height, bar] = [140, 560, 22, 6];
  const drawn = rows.map(({ name, spans }, at) => {
    const y = at * height;
    const place = (span) => Math.min(left + (begin(span) / whole) * width, left + width - bar);
    const last = place(spans[spans.length - 1]);
    return [
      drawing("text", { x: 0, y: y + 15 }, name.slice(0, 20)),
      drawing("line", { x1: left, x2: last, y1: y + 11, y2: y + 11, class: "axis" }),
      spans.map((span) => {
        const x = place(span);
        const long = Math.min(Math.max(bar, (span.micros / 1000 / whole) * width), left + width - x);
        return drawing("rect", { x, y: y + 5, width: long, height: 12, class: tone(span.outcome) });
      }),
    ];
  });
  const label = `${what} in ${whole.toFixed(1)} ms; the table has the same`;
  const box = `0 0 ${left + width + 10} ${rows.length * height + 6}`;
  return drawing("svg", { viewBox: box, role: "img", "aria-label": label }, drawn);
}

function tone(outcome) {
  if (["ok", "cached"].includes(outcome)) return "bar1";
  return outcome === "skipped" ? "bar4" : "bar3";
}

function stages({ received, stages }) {
  const start = new Date(received).getTime();
  const columns = [
    ["stage", {}], ["kind", { class: "rank2" }], ["outcome", {}], ["attempts", { class: "number" }],
    ["waited", { class: "number rank2" }], ["took", { class: "number" }], ["why", {}],
  ];
  return table("Stages", columns, stages.map((it) => [
    it.stage, it.kind, outcome(it.outcome), it.attempts,
    `${Math.max(0, new Date(it.started).getTime() - start)} ms`, millis(it.micros), it.error,
  ]));
}

function deliveries({ deliveries }) {
  const columns = [["to", {}], ["state", {}], ["attempts", { class: "number" }], ["answer or reason", {}]];
  return table("Deliveries", columns, deliveries.map((it) => [
    it.sink,
    [outcome(it.state), it.until ? element("span", {}, " until ", moment(it.until)) : null],
    it.attempts,
    [it.last_error, it.told_with_seq ? `; part of the message for event number ${it.told_with_seq}` : null],
  ]));
}

/** Every attempt that is kept, of stages that were tried again and of deliveries. */
function attempts({ received, stages, deliveries }) {
  const logs = [...stages.map((it) => [it.stage, it.attempt_log]), ...deliveries.map((it) => [it.sink, it.attempt_log])];
  const rows = logs.flatMap(([name, log]) => (log ?? []).map((it) => [name, it]));
  if (rows.length === 0) return null;
  const start = new Date(received).getTime();
  const columns = [
    ["of", {}], ["attempt", { class: "number" }], ["began", {}], ["after", { class: "number rank2" }],
    ["took", { class: "number" }], ["outcome", {}], ["next after", { class: "number rank2" }], ["why", {}],
  ];
  return [section("Attempts"), table("Attempts", columns, rows.map(([name, it]) => [
    name, it.number, moment(it.began), `${Math.max(0, new Date(it.began).getTime() - start)} ms`,
    millis(it.micros), outcome(it.outcome), millis(it.wait_micros), it.reason,
  ]))];
}

/** The data stays as it came: stages only add, and this is all that they added. */
function additions({ enrich }) {
  const rows = leaves("enrich", enrich ?? {}).map(([path, value]) => [path, JSON.stringify(value)]);
  if (Object.keys(enrich ?? {}).length === 0) return soft("No stage added anything.");
  return table("What stages added", [["field", { class: "id" }], ["value", { class: "id" }]], rows);
}

/** Every value of a tree with its path. */
function leaves(path, value) {
  const isNumber = JSON.isRawJSON?.(value) ?? false;
  const isTree = typeof value === "object" && value !== null && !isNumber && Object.keys(value).length > 0;
  if (!isTree) return [[path, value]];
  return Object.entries(value).flatMap(([name, it]) => leaves(`${path}.${name}`, it));
}

/** The events that belong together, in their order. */
async function showVisit(place, { id, correlation_id }, view) {
  const query = new URLSearchParams({ correlation_id, order: "asc", limit: String(VISIT_MAX) });
  const { events, next } = await view.ask(`/api/events?${query}`);
  if (events.length < 2) return;
  const rows = events.map((it) => [
    moment(it.time), it.id === id ? element("strong", {}, it.type) : eventLink(it.id, it.type), it.subject,
  ]);
  fill(
    place,
    section(`Visit ${correlation_id}`),
    soft(`${count(events.length, "event")}${next ? " and more" : ""}, the first ${distance(events[0].time)}`),
    table("Events of this visit", [["time", {}], ["type", {}], ["subject", {}]], rows),
  );
}

function quoted(text) {
  return `'${String(text).replaceAll("'", "'\\''")}'`;
}

/** As a webhook with `format cloudevents` sends it. */
function cloudEvent(event) {
  const { id, source, type, subject, time, priority, correlation_id, parent_id, data } = event;
  const more = { priority, correlationid: correlation_id, parentid: parent_id };
  const known = Object.entries({ ...more }).filter(([, value]) => value !== null);
  return {
    specversion: "1.0", id, source, type, ...(subject ? { subject } : {}), time,
    datacontenttype: "application/json", ...Object.fromEntries(known), data,
  };
}

/** A text with a button that copies it; where the browser forbids that, it is selected. */
function copied(caption, text) {
  const shown = code(caption, text);
  const told = element("span", { role: "status", class: "soft" });
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      told.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(shown);
      told.textContent = "Selected: copy it with Ctrl-C.";
    }
  });
  return element("div", {}, shown, element("p", { class: "bar" }, copy, told));
}
