// The page of a running engine. No library and no build step; whatever an event contains is only
// ever text of a node.
"use strict";

/** Rows that the live list keeps. */
const ROWS_MAX = 500;
/** Events that one look takes: the newest. */
const LOOK_MAX = 200;
/** Between two looks, in milliseconds. */
const LOOK_EVERY = 2000;
const SVG = "http://www.w3.org/2000/svg";

/** Whether this browser signed in; the session itself is in a cookie that no script can read. */
let signedIn = localStorage.getItem("signed-in") !== null;
/** Ends what the region that is shown has under way. */
let leave = new AbortController();

/** An element with attributes, listeners (`on…`) and children; texts are text. */
function element(name, attributes = {}, ...children) {
  const it = document.createElement(name);
  return filled(it, attributes, children);
}

/** The same for drawings. */
function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(it, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) it.addEventListener(key.slice(2), value);
    else it.setAttribute(key, value === true ? "" : String(value));
  }
  const shown = children.flat().filter((child) => child !== null && child !== undefined);
  it.append(...shown.map((child) => (child instanceof Node ? child : plain(String(child)))));
  return it;
}

/** A text in which nothing is hidden and nothing changes the direction of what stands around it. */
function plain(text) {
  const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
  return text.replace(hidden, (it) => `\\u{${it.codePointAt(0).toString(16)}}`);
}

/** What went wrong with a request, in the engine's words. */
class RequestFault extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Asks the engine; the answer's JSON, or its text. */
async function ask(path, { method = "GET", body, signal = leave.signal, text = false, token } = {}) {
  // No page of another address can send this field, so a session alone changes nothing.
  const headers = { "X-Engine": "page" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    const content = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: content, signal, cache: "no-store" });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new RequestFault(0, "The engine cannot be reached.");
  }
  const said = await answer.text();
  if (text && answer.ok) return said;
  let value = null;
  try {
    value = said === "" ? null : JSON.parse(said);
  } catch {
    value = null;
  }
  // A health check says what is wrong with a status that is no success.
  if (answer.ok || (path === "/readyz" && value !== null)) return value;
  throw new RequestFault(answer.status, (value && value.detail) || `The engine answers ${answer.status}.`);
}

/** `2026-01-01 10:50:04` in the time zone of the reader. */
function moment(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return element("span", {}, text ?? "");
  const two = (number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return element("time", { datetime: text, title: text }, `${day} ${time}`);
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at < units.length - 1) {
    count /= 1000;
    at += 1;
  }
  return `${count.toFixed(at === 0 || count >= 100 ? 0 : 1)} ${units[at]}`;
}

function millis(micros) {
  return micros >= 1000 ? `${(micros / 1000).toFixed(1)} ms` : `${micros} µs`;
}

/** A table in a box that scrolls; columns are `[title, attributes]`, cells are nodes or texts. */
function table(caption, columns, rows) {
  const head = columns.map(([title, attributes]) => element("th", { scope: "col", ...attributes }, title));
  const cells = (row) => row.map((cell, at) => element("td", columns[at][1] ?? {}, cell ?? ""));
  const body = element("tbody", {}, rows.map((row) => element("tr", {}, cells(row))));
  return element(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {}, element("thead", {}, element("tr", {}, head)), body),
  );
}

function fault(error) {
  return element("p", { class: "note bad", role: "alert" }, error.message);
}

/** A word with a colour; the word says it too. */
function outcome(word) {
  const good = ["ok", "done", "stored", "cached", "start", "applied"];
  const warn = ["skipped", "pending", "suppressed", "parked", "degraded", "stale"];
  const tone = good.includes(word) ? "good" : warn.includes(word) ? "warn" : "bad";
  return element("span", { class: tone }, word);
}

/** A link to an event; `text` is what it says, and otherwise the id. */
function eventLink(id, text = id) {
  return id === null || id === undefined
    ? element("span", {}, text ?? "")
    : element("a", { href: `#/event/${encodeURIComponent(id)}` }, text);
}

function pathOf(id) {
  return `/api/events/${id.split("/").map(encodeURIComponent).join("/")}`;
}

// ── Regions ────────────────────────────────────────────────────────────────

const LIVE_COLUMNS = [
  ["time", {}],
  ["type", {}],
  ["priority", { class: "rank2" }],
  ["source", { class: "rank2" }],
  ["subject", {}],
  ["id", { class: "id rank2" }],
];

/** Events as they become visible, by an expression where one is given. */
async function live(main) {
  const filter = element("input", {
    type: "text", id: "where", spellcheck: "false", autocomplete: "off",
    placeholder: "data.score > 0.8 && event.priority >= 'high'",
  });
  filter.value = sessionStorage.getItem("where") ?? "";
  const wrong = element("p", { class: "note bad", role: "alert", hidden: true });
  const count = element("p", { "aria-live": "polite", class: "soft" });
  const pause = element("button", { type: "button", "aria-pressed": "false" }, "Pause");
  const body = element("tbody");
  const head = LIVE_COLUMNS.map(([title, attributes]) => element("th", { scope: "col", ...attributes }, title));
  const form = element(
    "form", {},
    element("label", { for: "where" }, "Only events for which"),
    filter,
    element("button", {}, "Apply"),
    pause,
  );
  main.replaceChildren(
    element("h2", {}, "Live"), form, wrong, count,
    element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Events" },
      element("table", {}, element("thead", {}, element("tr", {}, head)), body)),
  );
  let known = new Set();
  let waiting = [];
  let skips = false;
  const paused = () => pause.getAttribute("aria-pressed") === "true";
  const show = () => {
    for (const event of waiting.splice(0)) {
      const cells = [
        moment(event.time), eventLink(event.id, event.type), event.priority, event.source, event.subject, event.id,
      ].map((cell, at) => element("td", LIVE_COLUMNS[at][1], cell));
      body.prepend(element("tr", {}, cells));
    }
    while (body.childElementCount > ROWS_MAX) body.lastElementChild.remove();
  };
  const tell = () => {
    const held = waiting.length > 0 ? `, ${waiting.length} waiting` : "";
    const none = body.childElementCount === 0 && waiting.length === 0;
    const missed = skips ? "; more come than are shown" : "";
    const text = none ? "No event matches yet." : `${body.childElementCount} shown${held}${missed}`;
    if (count.textContent !== text) count.textContent = text;
  };
  const look = async () => {
    const where = filter.value.trim();
    const query = new URLSearchParams({ limit: String(LOOK_MAX) });
    if (where !== "") query.set("where", where);
    try {
      const page = await ask(`/api/events?${query}`);
      wrong.hidden = true;
      const fresh = page.events.filter((event) => !known.has(event.pos));
      skips = known.size > 0 && fresh.length === LOOK_MAX;
      for (const event of fresh) known.add(event.pos);
      // A set keeps its order: the oldest go first.
      for (const pos of known) {
        if (known.size <= 4 * ROWS_MAX) break;
        known.delete(pos);
      }
      waiting.push(...fresh.reverse());
      waiting.splice(0, Math.max(0, waiting.length - ROWS_MAX));
      if (!paused()) show();
      tell();
    } catch (error) {
      if (error.name === "AbortError" || needsToken(error)) return;
      wrong.textContent = error.message;
      wrong.hidden = false;
    }
  };
  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!paused()));
    pause.textContent = paused() ? "Go on" : "Pause";
    if (!paused()) show();
    tell();
  });
  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    sessionStorage.setItem("where", filter.value);
    known = new Set();
    waiting = [];
    body.replaceChildren();
    look();
  });
  await every(look);
}

/** One event with all that became of it. */
async function event(main, id) {
  const it = await ask(pathOf(id));
  const envelope = ["type", "priority", "source", "subject", "time", "received", "correlation_id", "parent_id"];
  const facts = envelope
    .filter((name) => it[name] !== null && it[name] !== undefined)
    .flatMap((name) => {
      const value = name === "time" || name === "received" ? moment(it[name])
        : name === "parent_id" ? eventLink(it[name]) : it[name];
      return [element("dt", {}, name.replace("_", " ")), element("dd", {}, value)];
    });
  const stages = it.stages ?? [];
  const deliveries = it.deliveries ?? [];
  main.replaceChildren(
    element("h2", {}, `Event ${it.id}`),
    element("dl", {}, facts),
    element("h3", {}, "Stages"),
    stages.length === 0 ? element("p", { class: "soft" }, "No stage ran.") : timeline(it, stages),
    table("Stages", [["stage", {}], ["kind", { class: "rank2" }], ["outcome", {}], ["attempts", { class: "number" }], ["took", { class: "number" }], ["why", {}]],
      stages.map((stage) => [
        stage.stage, stage.kind, outcome(stage.outcome), String(stage.attempts), millis(stage.micros), stage.error,
      ])),
    element("h3", {}, "Deliveries"),
    deliveries.length === 0 ? element("p", { class: "soft" }, "Nothing was to be delivered.")
      : table("Deliveries", [["to", {}], ["state", {}], ["attempts", { class: "number" }], ["why", {}]],
        deliveries.map((one) => [one.sink, outcome(one.state), String(one.attempts), one.last_error])),
    element("h3", {}, "Data"),
    element("pre", { tabindex: "0" }, JSON.stringify(it.data, null, 2) ?? ""),
    element("h3", {}, "What stages added"),
    element("pre", { tabindex: "0" }, JSON.stringify(it.enrich ?? {}, null, 2)),
    element("h3", {}, "Send it again"),
    element("p", { class: "soft" }, "As a new event, from a terminal:"),
    element("pre", { tabindex: "0" }, `engine send ${quoted(it.type)} ${quoted(JSON.stringify(it.data))}`),
  );
}

function quoted(text) {
  return `'${String(text).replaceAll("'", "'\\''")}'`;
}

/** When each stage ran, and for how long; a bar is never too thin to see. */
function timeline(it, stages) {
  const start = new Date(it.received).getTime();
  const ends = stages.map((stage) => new Date(stage.started).getTime() - start + stage.micros / 1000);
  const whole = Math.max(1, ...ends);
  const [left, width, height] = [140, 560, 22];
  const rows = stages.map((stage, at) => {
    const from = Math.max(0, new Date(stage.started).getTime() - start);
    const x = left + (from / whole) * width;
    const long = Math.max(6, (stage.micros / 1000 / whole) * width);
    const tone = ["ok", "cached"].includes(stage.outcome) ? "bar1" : stage.outcome === "skipped" ? "bar4" : "bar3";
    return [
      drawing("text", { x: 0, y: at * height + 15 }, stage.stage.slice(0, 20)),
      drawing("rect", { x: Math.min(x, left + width - 6), y: at * height + 5, width: Math.min(long, left + width - x + 6), height: 12, class: tone }),
    ];
  });
  const label = `${stages.length} stages in ${whole.toFixed(1)} ms`;
  return drawing("svg", { viewBox: `0 0 ${left + width + 10} ${stages.length * height + 6}`, role: "img", "aria-label": label }, rows.flat());
}

/** What there is, and how each part is. */
async function flow(main) {
  const plan = await ask("/api/pipeline");
  const health = (part) => {
    if (part.off) return element("span", { class: "soft" }, `off: ${part.off}`);
    if (!part.health) return element("span", { class: "soft" }, "–");
    const why = (part.health.problems ?? []).map((it) => it.reason).join("; ");
    return element("span", {}, outcome(part.health.state), why === "" ? "" : ` ${why}`);
  };
  const list = (title, parts, more) => parts.length === 0 ? null : [
    element("h3", {}, title),
    table(title, [["name", {}], ["kind", {}], ["state", {}], ["details", {}]],
      parts.map((part) => [part.name, part.kind, health(part), more(part)])),
  ];
  const routes = (part) => (part.routes ?? []).map((it) => `${it.method} ${it.path}`).join(", ");
  const after = (part) => {
    const waits = (part.after ?? []).length > 0 ? `after ${part.after.join(", ")}` : "";
    const when = part.when ? `when ${part.when}` : "";
    return [waits, when].filter((it) => it !== "").join("; ");
  };
  const cases = (plan.routes ?? []).map((it) => [it.case, it.when, it.to.join(", ")]);
  const others = (plan.otherwise ?? []).length > 0 ? [["otherwise", "", plan.otherwise.join(", ")]] : [];
  const memories = (plan.memories ?? []).map((it) => [
    it.name, String(it.keys), String(it.timers), String(it.emitted), it.next.length > 0 ? moment(it.next[0].due) : "",
  ]);
  const parts = (plan.parts ?? []).filter((it) => it.state !== "ok");
  main.replaceChildren(
    element("h2", {}, "Flow"),
    plan.description ? element("p", { class: "soft" }, plan.description) : "",
    ...[
      list("Sources", plan.sources ?? [], routes),
      list("Filters", plan.filters ?? [], after),
      list("Stages", plan.stages ?? [], after),
      cases.length + others.length === 0 ? null : [
        element("h3", {}, "Route"),
        table("Route", [["case", {}], ["when", {}], ["to", {}]], [...cases, ...others]),
      ],
      list("Sinks", plan.sinks ?? [], routes),
      list("Notifiers", plan.notifiers ?? [], () => ""),
      memories.length === 0 ? null : [
        element("h3", {}, "What stages remember"),
        table("What stages remember", [["stage", {}], ["keys", { class: "number" }], ["timers", { class: "number" }], ["sent", { class: "number" }], ["looks again", {}]], memories),
      ],
      parts.length === 0 ? null : [
        element("h3", {}, "Not well"),
        table("Not well", [["part", {}], ["state", {}], ["why", {}]],
          parts.map((it) => [it.part, outcome(it.state), (it.problems ?? []).map((one) => one.reason).join("; ")])),
      ],
    ].flat().filter((it) => it !== null),
  );
}

/** Counts over time, and what the stages cost. */
async function charts(main) {
  const kinds = [
    ["Events by outcome, last hour", "/api/series?by=outcome&bucket=1m&since=-1h"],
    ["Events by type, 24 hours", "/api/series?by=type&bucket=1h&since=-24h"],
    ["Events by outcome, 24 hours", "/api/series?by=outcome&bucket=1h&since=-24h"],
    ["Events by type, 30 days", "/api/series?by=type&bucket=1d&since=-30d"],
  ];
  const [stats, ...series] = await Promise.all([
    ask("/api/stats?days=7"), ...kinds.map((it) => ask(it[1])),
  ]);
  const stages = stats.stages.map((it) => [
    it.stage, outcome(it.outcome), String(it.count),
    ...[it.p50_micros, it.p95_micros, it.p99_micros, it.max_micros].map((time) => (time === null ? "–" : millis(time))),
  ]);
  main.replaceChildren(
    element("h2", {}, "Charts"),
    ...kinds.flatMap(([title], at) => [element("h3", {}, title), chart(title, series[at])]),
    element("h3", {}, "Stages, 7 days"),
    table("Stages, 7 days", [["stage", {}], ["outcome", {}], ["runs", { class: "number" }], ["p50", { class: "number rank2" }], ["p95", { class: "number" }], ["p99", { class: "number rank2" }], ["longest", { class: "number" }]], stages),
    element("h3", {}, "Store"),
    element("dl", {},
      element("dt", {}, "size"), element("dd", {}, bytes(stats.store.bytes)),
      element("dt", {}, "accepted and not finished"), element("dd", {}, String(stats.store.pending)),
      element("dt", {}, "dead letters"), element("dd", {}, String(stats.store.dead_letters))),
  );
}

/** Stacked bars; the table behind it has the same numbers. */
function chart(title, { times, series }) {
  const names = Object.keys(series).sort((one, other) => sum(series[other]) - sum(series[one]));
  if (names.length === 0) return element("p", { class: "soft" }, "Nothing came in this time.");
  const shown = names.slice(0, 5);
  const rest = names.slice(5);
  const lines = shown.map((name) => series[name]);
  if (rest.length > 0) lines.push(times.map((_, at) => rest.reduce((all, name) => all + series[name][at], 0)));
  const titles = rest.length > 0 ? [...shown, `${rest.length} others`] : shown;
  const tops = times.map((_, at) => lines.reduce((all, line) => all + line[at], 0));
  const most = Math.max(1, ...tops);
  const [left, width, height, bottom] = [46, 640, 150, 18];
  const step = width / times.length;
  const bars = times.flatMap((time, at) => {
    let below = 0;
    return lines.map((line, kind) => {
      const high = (line[at] / most) * height;
      below += high;
      if (line[at] === 0) return null;
      const label = `${time}: ${titles[kind]} ${line[at]}`;
      return drawing("rect", {
        x: left + at * step + 1, y: height - below + 4, width: Math.max(1, step - 2), height: high, class: `bar${kind}`,
      }, drawing("title", {}, label));
    });
  });
  const axis = [
    drawing("line", { x1: left, x2: left + width, y1: height + 4, y2: height + 4, class: "axis" }),
    drawing("text", { x: left - 6, y: 14, "text-anchor": "end" }, String(most)),
    drawing("text", { x: left - 6, y: height + 4, "text-anchor": "end" }, "0"),
    drawing("text", { x: left, y: height + bottom }, moment(times[0]).textContent.slice(0, 16)),
    drawing("text", { x: left + width, y: height + bottom, "text-anchor": "end" }, moment(times[times.length - 1]).textContent.slice(0, 16)),
  ];
  const legend = titles.map((name, kind) => element("li", {},
    drawing("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, drawing("rect", { width: 10, height: 10, class: `bar${kind}` })),
    `${name}: ${sum(lines[kind])}`));
  return element("figure", {},
    drawing("svg", { viewBox: `0 0 ${left + width + 4} ${height + bottom + 6}`, role: "img", "aria-label": `${title}: ${tops.reduce((all, it) => all + it, 0)} in all` }, axis, bars),
    element("ul", { class: "legend" }, legend));
}

function sum(line) {
  return line.reduce((all, it) => all + it, 0);
}

/** Dead letters, with what may be done about them. */
async function problems(main) {
  const page = await ask("/api/dead-letters?limit=100");
  const said = element("p", { role: "status", class: "note" });
  const redrive = async (body) => {
    try {
      const answer = await ask("/api/dead-letters/redrive", { method: "POST", body });
      said.textContent = body.dry_run
        ? `${answer.selected} would be taken in again.`
        : body.id !== undefined ? (answer.taken ? "Taken in again." : `Not taken: ${answer.reason}`)
        : `Taken in again: ${(answer.results ?? []).filter((it) => it.taken).length} of ${(answer.results ?? []).length}.`;
      if (!body.dry_run) setTimeout(() => problems(main).catch(failed), 800);
    } catch (error) {
      if (!needsToken(error)) said.textContent = error.message;
    }
  };
  const drop = async (id) => {
    if (!confirm(`Delete dead letter ${id} for good?`)) return;
    try {
      await ask(`/api/dead-letters/${id}`, { method: "DELETE" });
      await problems(main);
    } catch (error) {
      if (!needsToken(error)) said.textContent = error.message;
    }
  };
  const groups = new Map();
  for (const letter of page.dead_letters) {
    const key = `${letter.stage}\n${letter.reason}`;
    groups.set(key, [...(groups.get(key) ?? []), letter]);
  }
  const rows = [...groups.values()].map((letters) => {
    const [first] = letters;
    const ids = letters.map((it) => it.id);
    return element("section", {},
      element("h3", {}, `${letters.length} at ${first.stage}: ${first.reason}`),
      element("p", { class: "bar" },
        element("button", { type: "button", onclick: () => redrive({ ids, dry_run: true }) }, "What would redrive do?"),
        element("button", { type: "button", onclick: () => redrive({ ids }) }, `Redrive ${letters.length}`)),
      table(`Dead letters at ${first.stage}`, [["last", {}], ["what", { class: "rank2" }], ["event", { class: "id" }], ["attempts", { class: "number" }], ["", {}]],
        letters.slice(0, 20).map((letter) => [
          moment(letter.last), letter.what, eventLink(letter.event_id), String(letter.attempts),
          element("button", { type: "button", onclick: () => drop(letter.id) }, `Delete ${letter.id}`),
        ])),
      element("pre", { tabindex: "0", "aria-label": "The newest body" }, typeof first.body === "string" ? first.body : JSON.stringify(first.body, null, 2) ?? ""),
      first.what === "rejected" && first.body_bytes === new TextEncoder().encode(first.body).length ? editor(first, redrive) : null);
  });
  main.replaceChildren(
    element("h2", {}, "Problems"), said,
    ...(rows.length === 0 ? [element("p", {}, "There are no dead letters.")] : rows),
    page.next ? element("p", { class: "soft" }, "There are more; these are the newest 100.") : "",
  );
}

/** Lets a rejected message say something else and takes it in again. */
function editor(letter, redrive) {
  const text = element("textarea", { rows: "6", spellcheck: "false", "aria-label": `The message of dead letter ${letter.id}` });
  text.value = letter.body;
  return element("details", {},
    element("summary", {}, `Edit ${letter.id}`),
    text,
    element("p", { class: "bar" },
      element("button", { type: "button", onclick: () => redrive({ id: letter.id, body: text.value }) }, `Redrive ${letter.id} as edited`)));
}

/** What was sent, and what was held back, with the reason. */
async function notifications(main) {
  const state = sessionStorage.getItem("state") ?? "";
  const query = new URLSearchParams({ limit: "200" });
  if (state !== "") query.set("state", state);
  const page = await ask(`/api/notifications?${query}`);
  const choice = element("select", { id: "state-choice" },
    ["", "done", "pending", "suppressed", "dead", "parked"].map((it) =>
      element("option", { value: it, selected: it === state }, it === "" ? "all" : it)));
  choice.addEventListener("change", () => {
    sessionStorage.setItem("state", choice.value);
    notifications(main).catch(failed);
  });
  main.replaceChildren(
    element("h2", {}, "Notifications"),
    element("p", { class: "bar" }, element("label", { for: "state-choice" }, "State"), choice),
    page.notifications.length === 0 ? element("p", {}, "There are none.")
      : table("Notifications", [["time", {}], ["event", {}], ["notifier", {}], ["state", {}], ["reason", {}], ["id", { class: "id rank2" }]],
        page.notifications.map((it) => [
          moment(it.created), element("span", {}, eventLink(it.event_id, it.type), ` ${it.subject ?? ""}`),
          it.notifier, outcome(it.state), it.reason, it.event_id,
        ])),
  );
}

/** The file in force, what is wrong with the one on disk, and the reloads. */
async function config(main) {
  const [plan, file, history] = await Promise.all([
    ask("/api/pipeline"), ask("/api/pipeline/file", { text: true }), ask("/api/reloads"),
  ]);
  const stale = plan.config === "stale";
  main.replaceChildren(
    element("h2", {}, "Config"),
    element("p", { class: stale ? "note bad" : "note" }, stale
      ? `The file on disk is not valid; generation ${plan.generation} still runs.`
      : `Generation ${plan.generation} runs, loaded `, stale ? "" : moment(plan.loaded)),
    plan.diagnostics ? element("pre", { tabindex: "0" }, String(plan.diagnostics)) : "",
    element("h3", {}, "Starts and reloads"),
    table("Starts and reloads", [["time", {}], ["generation", { class: "number" }], ["outcome", {}], ["changes", {}]],
      history.reloads.map((it) => [moment(it.time), String(it.generation), outcome(it.outcome), it.changes || it.diagnostics])),
    element("h3", {}, "The file as it takes effect, secrets masked"),
    element("pre", { tabindex: "0" }, file),
  );
}

// ── The frame ──────────────────────────────────────────────────────────────

const REGIONS = { live, flow, charts, problems, notifications, config };

/** Shows a form for the token where one is missing or wrong; whether it does. */
function needsToken(error) {
  if (error.status !== 401 && !(error.status === 403 && signedIn)) return false;
  leave.abort();
  const field = element("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const form = element("form", {}, element("label", { for: "token" }, "Token"), field, element("button", {}, "Sign in"));
  const wrong = element("p", { class: "note bad", role: "alert", hidden: true });
  const tell = (problem) => {
    wrong.textContent = problem.message;
    wrong.hidden = false;
  };
  if (signedIn) tell(error);
  form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    try {
      const signal = new AbortController().signal;
      await ask("/api/session", { method: "POST", body: {}, signal, token: field.value });
      sign(true);
      route();
      header();
    } catch (problem) {
      tell(problem);
    }
  });
  document.getElementById("main").replaceChildren(
    element("h2", {}, "Sign in"),
    element("p", {}, "This engine asks for a token. You stay signed in for twelve hours."),
    wrong,
    form,
  );
  field.focus();
  return true;
}

/** Notes whether this browser has a session, and offers to end it where it has. */
function sign(now) {
  signedIn = now;
  if (now) localStorage.setItem("signed-in", "yes");
  else localStorage.removeItem("signed-in");
  document.getElementById("leave").hidden = !now;
}

async function signOut() {
  try {
    await ask("/api/session", { method: "DELETE", signal: new AbortController().signal });
    sign(false);
    route();
    header();
  } catch (error) {
    failed(error);
  }
}

function failed(error) {
  if (error.name === "AbortError" || needsToken(error)) return;
  document.getElementById("main").replaceChildren(element("h2", {}, "This did not work"), fault(error));
}

/** Looks now and then for as long as the region is shown and the tab is seen. */
async function every(look) {
  const { signal } = leave;
  while (!signal.aborted) {
    if (!document.hidden) await look();
    await new Promise((done) => setTimeout(done, LOOK_EVERY));
  }
}

function route() {
  leave.abort();
  leave = new AbortController();
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const region = name === "" ? "live" : name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${region}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  main.replaceChildren(element("p", { class: "soft" }, "Loading"));
  let shown;
  if (region === "event") {
    let id = rest.join("/");
    try {
      id = decodeURIComponent(id);
    } catch {
      // An address that somebody typed: taken as it is.
    }
    shown = event(main, id);
  } else if (Object.hasOwn(REGIONS, region)) {
    shown = REGIONS[region](main);
  } else {
    main.replaceChildren(element("h2", {}, "Nothing here"), element("p", {}, "Choose a part of the page above."));
    return;
  }
  shown.catch(failed);
}

/** Name, state and figures, whatever region is shown. */
async function header() {
  const state = document.getElementById("state");
  const say = (text, tone) => {
    if (state.textContent !== text) state.textContent = text;
    state.className = tone;
  };
  try {
    const never = new AbortController().signal;
    const ready = await ask("/readyz", { signal: never });
    const problems = [...(ready.reasons ?? []), ...(ready.degraded ?? []).map((it) => `${it.part}: ${it.reason}`)];
    if (!ready.ready) say(`not ready: ${problems.join("; ")}`, "bad");
    else if (ready.config === "stale") say("the file on disk is not valid", "warn");
    else if (problems.length > 0) say(problems.join("; "), "warn");
    else say("ready", "good");
    const [plan, stats] = await Promise.all([
      ask("/api/pipeline", { signal: never }), ask("/api/stats?days=1", { signal: never }),
    ]);
    document.title = `${plan.pipeline} – engine`;
    document.getElementById("name").textContent = plan.pipeline;
    document.getElementById("figures").textContent =
      `generation ${plan.generation} · ${stats.total_events} events in 24 hours · ${stats.store.pending} pending · ` +
      `${stats.store.dead_letters} dead · ${bytes(stats.store.bytes)}`;
  } catch (error) {
    if (error.status === 0) say("the engine cannot be reached", "bad");
    else if (error.status === 401) say("signed out", "warn");
    else say(error.message, "bad");
  }
}

addEventListener("hashchange", () => {
  route();
  document.getElementById("main").focus();
});
document.getElementById("leave").addEventListener("click", signOut);
sign(signedIn);
route();
header();
setInterval(() => {
  if (!document.hidden) header();
}, 5000);
