// What there is, how each part is, and what goes through it: as a drawing, and as a table.

import { button, drawing, element, facts, fill, heading, say, scrolled, section, soft, table } from "./dom.js";
import { PauseBar } from "./pauses.js";
import { count, eventLink, millis, moment, outcome, sum } from "./words.js";

/** It is shown again when another generation runs. */
export const followsFile = true;

/** Between two looks, in milliseconds; times are read from the store, and less often. */
const LOOK_EVERY = 2000;
const TIMES_EVERY = 10_000;
const TIMES = "/api/series?by=stage&bucket=1m&since=-5m";
/** Below this width the table is shown at first. */
const NARROW = "(max-width: 50rem)";
/** Dead letters of a part that are listed: the newest. */
const LETTERS_MAX = 20;
/** Outcomes of a run or a delivery that went wrong. */
const FAILED = ["failed", "timed-out", "circuit-open", "dead"];
const ROLES = { source: "sources", enrich: "stages", sink: "sinks", notify: "notifiers", metric: "metrics" };

export async function show(main, view) {
  const [plan, graph] = await Promise.all([view.ask("/api/pipeline"), view.ask("/api/pipeline/graph")]);
  const flow = new Flow(graph);
  const told = soft();
  const panel = element("section", { "aria-live": "polite" });
  const open = (node) => showPanel(panel, node, flow, view).catch((error) => view.tell(error, told));
  const [picture, list] = [element("div", {}, flow.picture(open)), element("div", {}, flow.table(open))];
  fill(
    main,
    heading("Flow"),
    plan.description ? soft(plan.description) : null,
    choice({ picture, table: list }),
    told,
    picture,
    panel,
    list,
    rest(plan),
  );
  await follow(flow, told, view);
}

/** Buttons of which one is pressed, for the place that is shown. */
function choice(places) {
  const choose = (name) => {
    for (const [other, place] of Object.entries(places)) place.hidden = other !== name;
    for (const it of buttons) it.setAttribute("aria-pressed", String(it.dataset.name === name));
  };
  const buttons = [["picture", "Picture"], ["table", "Table"]].map(([name, title]) =>
    button(title, () => {
      sessionStorage.setItem("flow", name);
      choose(name);
    }, { "data-name": name }));
  choose(sessionStorage.getItem("flow") ?? (matchMedia(NARROW).matches ? "table" : "picture"));
  return element("p", { class: "bar", role: "group", "aria-label": "View" }, buttons);
}

/** Keeps the figures of the boxes up to date. */
async function follow(flow, told, view) {
  let timesAt = -Infinity;
  await view.every(LOOK_EVERY, async () => {
    try {
      const takePause = flow.pauseBar?.taker();
      const [figures, ready] = await Promise.all([view.ask("/api/figures"), view.ask("/readyz")]);
      if (TIMES_EVERY <= performance.now() - timesAt) {
        timesAt = performance.now();
        flow.takeTimes(await view.ask(TIMES));
      }
      flow.take(figures, ready);
      takePause?.(figures);
      const way = `${count(figures.in_flight, "event")} in memory of at most ${figures.queue}`;
      say(told, `${way}, ${figures.pending} accepted and not finished`);
    } catch (error) {
      view.tell(error, told);
    }
  });
}

/** The nodes of the graph, each with the places where its figures are written. */
class Flow {
  #last = null;
  #times = {};
  #sick = new Map();
  #cells = new Map();
  /** That of the part whose panel is open, where it can be paused. */
  pauseBar = null;

  constructor(graph) {
    this.graph = graph;
  }

  /** Names of parts are unique in a file, so they find the figures. */
  #cell(part, name, it) {
    const known = this.#cells.get(part) ?? {};
    known[name] = [...(known[name] ?? []), it];
    this.#cells.set(part, known);
    return it;
  }

  picture(open) {
    const { nodes, edges, width, height } = this.graph;
    const tip = drawing("marker", {
      id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8,
      markerUnits: "userSpaceOnUse", orient: "auto",
    }, drawing("path", { class: "tip", d: "M0 0L8 4L0 8z" }));
    const ways = edges.map((it) => {
      const [from, to] = [nodes[it.from], nodes[it.to]];
      const bond = `${it.after ? " after" : ""}${from.off || to.off ? " off" : ""}`;
      const way = drawing("path", { class: `edge${bond}`, d: it.way, "marker-end": "url(#tip)" });
      // What comes out of a box that counts nothing is known by the box that it leads to.
      const part = from.part ?? to.part;
      return part ? this.#cell(part, "ways", way) : way;
    });
    const boxes = nodes.map((node) => this.#box(node, () => open(node)));
    const margin = 4;
    const size = { width: width + 2 * margin, height: height + 2 * margin };
    const box = `${-margin} ${-margin} ${size.width} ${size.height}`;
    return scrolled("The stage graph",
      drawing("svg", { class: "graph", viewBox: box, ...size, role: "group", "aria-label": "The stage graph" },
        drawing("defs", {}, tip), ways, boxes));
  }

  #box(node, open) {
    const { x, y, width, height, lines, part, off } = node;
    const texts = lines.map((line, at) =>
      drawing("text", { x: x + 10, y: y + 17 * (at + 1), class: at === 1 ? "title" : "quiet" }, line));
    const box = drawing("rect", { class: "box", x, y, width, height, rx: 6 });
    if (!part) return drawing("g", {}, box, texts);
    const bottom = y + height;
    const rate = drawing("text", { x: x + 10, y: bottom - 24, class: "figure" });
    const state = drawing("text", { x: x + 10, y: bottom - 8, class: "figure" });
    this.#cell(part, "rate", rate);
    this.#cell(part, "state", state);
    const press = (event) => {
      if (!["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      open();
    };
    return drawing("g", {
      class: off ? "part off" : "part", tabindex: 0, role: "button", "data-part": part,
      onclick: open, onkeydown: press,
    }, box, texts, rate, state);
  }

  table(open) {
    const columns = [
      ["name", {}], ["kind", { class: "rank2" }], ["state", {}], ["rate", { class: "number" }], ["details", {}],
    ];
    const parts = this.graph.nodes.filter((it) => it.part);
    return table("Parts", columns, parts.map((node) => [
      button(node.part, () => open(node), { class: "plain" }),
      kind(node),
      this.#cell(node.part, "state", element("span")),
      this.#cell(node.part, "rate", element("span")),
      [...node.lines.slice(2).filter((it) => !it.startsWith("off: ")), node.off ? `off: ${node.off}` : null]
        .filter((it) => it !== null).join("; "),
    ]));
  }

  takeTimes({ micros = {} }) {
    const last = (line) => line.filter((it) => it !== null).at(-1);
    this.#times = Object.fromEntries(Object.entries(micros).map(([name, it]) => [name, last(it.p95)]));
  }

  take(figures, { degraded = [] }) {
    this.#sick = new Map(degraded.map((it) => [it.name, it.state]));
    const before = this.#last;
    this.#last = figures;
    const seconds = before === null ? 0 : (new Date(figures.time) - new Date(before.time)) / 1000;
    for (const node of this.graph.nodes.filter((it) => it.part)) {
      const now = counts(node, figures);
      const each = seconds > 0 ? (now.all - counts(node, before).all) / seconds : null;
      this.#write(node, now, each, figures);
    }
  }

  #write(node, { all, failed }, each, figures) {
    const cells = this.#cells.get(node.part);
    const p95 = this.#times[node.part];
    const waiting = figures.waiting[node.part] ?? 0;
    const rate = [
      each === null ? `${all}` : `${all} · ${each.toFixed(1)}/s`,
      p95 === undefined ? null : `p95 ${millis(p95)}`,
    ];
    const breaker = figures.breakers[node.part];
    const isPaused = node.part in figures.paused;
    const state = this.#sick.get(node.part);
    const said = [
      // Why is among the lines of the box.
      node.off ? "off" : null,
      isPaused ? "paused" : null,
      breaker ? `breaker ${breaker}` : null,
      node.off ? null : state ?? null,
      failed > 0 ? `${failed} failed` : null,
      waiting > 0 ? `${waiting} waiting` : null,
    ].filter((it) => it !== null);
    const bad = breaker || failed > 0 || state;
    for (const it of cells.rate ?? []) say(it, rate.filter((one) => one !== null).join(" · "));
    for (const it of cells.state ?? []) {
      say(it, said.length === 0 ? "ok" : said.join(" · "));
      it.classList.toggle("bad", Boolean(bad));
      it.classList.toggle("soft", Boolean(node.off) || isPaused);
    }
    for (const it of cells.ways ?? []) it.classList.toggle("busy", each !== null && each > 0);
  }
}

/** The kind of a part; what has none is of its role. */
function kind({ role, lines, part }) {
  const words = lines[1].split(" ").filter((it) => it !== role);
  return words.length > part.split(" ").length ? words[0] : role;
}

/** What a part has done since the start, and what of it failed. */
function counts(node, figures) {
  const name = node.part;
  if (node.role === "source") return { all: figures.received[name] ?? 0, failed: 0 };
  const outcomes = figures.runs[name] ?? figures.deliveries[name];
  if (outcomes === undefined) return { all: figures.dropped[name] ?? 0, failed: 0 };
  const failed = sum(Object.entries(outcomes).filter(([word]) => FAILED.includes(word)).map((it) => it[1]));
  return { all: sum(Object.values(outcomes)), failed };
}

/** A part with its settings, its state, what is wrong with it and its last dead letters. */
async function showPanel(panel, node, flow, view) {
  const plan = await view.ask("/api/pipeline");
  const parts = plan[ROLES[node.role]] ?? [...plan.filters, ...plan.watchers];
  const { health, paused, ...settings } = parts.find((it) => it.name === node.part) ?? {};
  const written = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  const isSaid = (it) => it !== null && it !== false && it !== "" && it.length !== 0;
  const query = new URLSearchParams({ stage: node.part, limit: String(LETTERS_MAX) });
  // Who may look may not see these.
  const { dead_letters: letters } = await view.ask(`/api/dead-letters?${query}`).catch(() => ({ dead_letters: [] }));
  // Only what has deliveries that can wait says whether it is paused.
  flow.pauseBar = paused === undefined ? null : new PauseBar(node.part, paused, view);
  fill(
    panel,
    section(`${node.role} ${node.part}`),
    flow.pauseBar?.element,
    facts([
      ...Object.entries(settings).filter((it) => isSaid(it[1])).map(([name, value]) => [name, written(value)]),
      ["state", node.off ? `off: ${node.off}` : health ? outcome(health.state) : null],
    ]),
    (health?.problems ?? []).map((it) => element("p", { class: "note bad" },
      `${it.reason}${it.advice ? `; ${it.advice}` : ""}, since `, moment(it.since))),
    letters.length === 0 ? null : table("The last dead letters", [["last", {}], ["event", {}], ["why", {}]],
      letters.map((it) => [moment(it.last), eventLink(it.event_id), it.reason])),
  );
  panel.scrollIntoView({ block: "nearest" });
}

/** What is no box of the graph. */
function rest(plan) {
  const memories = (plan.memories ?? []).map((it) => [
    it.name, it.keys, it.timers, it.emitted, it.next.length > 0 ? moment(it.next[0].due) : null,
  ]);
  const sick = (plan.parts ?? []).filter((it) => it.state !== "ok");
  const routes = plan.sources.concat(plan.sinks).flatMap((it) =>
    (it.routes ?? []).map((route) => [it.name, `${route.method} ${route.path}`]));
  return [
    listed("Addresses", [["part", {}], ["address", {}]], routes),
    listed("What stages remember", [
      ["stage", {}], ["keys", { class: "number" }], ["timers", { class: "number" }], ["sent", { class: "number" }],
      ["next check", {}],
    ], memories),
    listed("Degraded or failed", [["part", {}], ["state", {}], ["why", {}]], sick.map((it) => [
      it.part, outcome(it.state), it.problems.map((one) => one.reason).join("; "),
    ])),
  ];
}

function listed(title, columns, rows) {
  return rows.length === 0 ? null : [section(title), table(title, columns, rows)];
}
