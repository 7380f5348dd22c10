// Counts over time, and what stages cost. Each chart has its numbers in a table, too.

import { drawing, element, fill, heading, section, soft, table } from "./dom.js";
import { clock, millis, outcome, sum } from "./words.js";

const COUNTS = [
  ["Events by outcome, last hour", "by=outcome&bucket=1m&since=-1h"],
  ["Events by type, 24 hours", "by=type&bucket=1h&since=-24h"],
  ["Events by outcome, 24 hours", "by=outcome&bucket=1h&since=-24h"],
  ["Events by type, 30 days", "by=type&bucket=1d&since=-30d"],
];
const TIMES = ["From arrival to stored, last hour", "by=outcome&bucket=1m&since=-1h"];
/** Names with a colour of their own; the others share one. */
const NAMES_MAX = 5;

/** Outcomes have the colours that they have elsewhere. */
const TONES = { stored: "bar1", discarded: "bar4", dead: "bar2", rejected: "bar3" };
/** Where a drawing has its axes. */
const [LEFT, WIDTH, HEIGHT, BOTTOM] = [54, 640, 150, 18];
const BOX = `0 0 ${LEFT + WIDTH + 4} ${HEIGHT + BOTTOM + 8}`;

export async function show(main, view) {
  const series = (query) => view.ask(`/api/series?${query}`);
  const [stats, times, ...counts] = await Promise.all([
    view.ask("/api/stats?days=7"), series(TIMES[1]), ...COUNTS.map((it) => series(it[1])),
  ]);
  fill(
    main,
    heading("Charts"),
    COUNTS.map(([title], at) => [section(title), bars(title, counts[at])]),
    section(TIMES[0]),
    lines(TIMES[0], times),
    section("Stages, 7 days"),
    stages(stats),
  );
}

function stages(stats) {
  const columns = [
    ["stage", {}], ["outcome", {}], ["runs", { class: "number" }], ["p50", { class: "number rank2" }],
    ["p95", { class: "number" }], ["p99", { class: "number rank2" }], ["longest", { class: "number" }],
  ];
  return table("Stages, 7 days", columns, stats.stages.map((it) => [
    it.stage, outcome(it.outcome), it.count,
    millis(it.p50_micros), millis(it.p95_micros), millis(it.p99_micros), millis(it.max_micros),
  ]));
}

/** Stacked bars, one for each stretch of time. */
function bars(title, { by, times, series }) {
  const names = Object.keys(series).sort((one, other) => sum(series[other]) - sum(series[one]));
  if (names.length === 0) return soft("Nothing came in this time.");
  const [shown, rest] = [names.slice(0, NAMES_MAX), names.slice(NAMES_MAX)];
  const rows = shown.map((name) => [name, series[name]]);
  if (rest.length > 0) {
    rows.push([`${rest.length} others`, times.map((_, at) => sum(rest.map((name) => series[name][at])))]);
  }
  const tops = times.map((_, at) => sum(rows.map((it) => it[1][at])));
  const most = Math.max(1, ...tops);
  const step = WIDTH / times.length;
  const tone = (name, kind) => (by === "outcome" && TONES[name]) || `bar${kind}`;
  const bar = (time, at) => {
    let below = 0;
    return rows.map(([name, line], kind) => {
      const high = (line[at] / most) * HEIGHT;
      below += high;
      if (line[at] === 0) return null;
      const place = { x: LEFT + at * step + 1, y: HEIGHT - below + 4, width: Math.max(1, step - 2), height: high };
      const label = drawing("title", {}, `${clock(time)}: ${name} ${line[at]}`);
      return drawing("rect", { ...place, class: tone(name, kind) }, label);
    });
  };
  return figure(
    `${title}: ${sum(tops)} in all`,
    [axes(times, String(most)), times.map(bar)],
    rows.map(([name, line], kind) => [tone(name, kind), `${name}: ${sum(line)}`]),
    numbers(title, times, rows, String),
  );
}

/** Percentiles as lines, with a gap where nothing ran. */
function lines(title, { times, micros }) {
  const rows = Object.entries(micros?.stored ?? {});
  const known = rows.flatMap((it) => it[1]).filter((it) => it !== null);
  if (known.length === 0) return soft("Nothing was stored in this time.");
  const most = Math.max(...known);
  const step = WIDTH / times.length;
  const point = (value, at) => [LEFT + (at + 0.5) * step, HEIGHT + 4 - (value / most) * HEIGHT];
  const drawn = rows.map(([name, line], kind) => {
    let way = "";
    const dots = line.map((value, at) => {
      if (value === null) return null;
      const [x, y] = point(value, at);
      way += `${at > 0 && line[at - 1] !== null ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      const label = `${clock(times[at])}: ${name} ${millis(value)}`;
      return drawing("circle", { cx: x, cy: y, r: 2.5, class: `bar${kind}` }, drawing("title", {}, label));
    });
    return [drawing("path", { d: way, class: `line line${kind}` }), dots];
  });
  return figure(
    `${title}: at most ${millis(most)}`,
    [axes(times, millis(most)), drawn],
    rows.map(([name], kind) => [`bar${kind}`, name]),
    numbers(title, times, rows, millis),
  );
}

function axes(times, most) {
  const at = (time) => clock(time).slice(0, 16);
  const ground = HEIGHT + 4;
  return [
    drawing("line", { x1: LEFT, x2: LEFT + WIDTH, y1: ground, y2: ground, class: "axis" }),
    drawing("line", { x1: LEFT, x2: LEFT + WIDTH, y1: 4, y2: 4, class: "axis" }),
    drawing("text", { x: LEFT - 6, y: 14, "text-anchor": "end" }, most),
    drawing("text", { x: LEFT - 6, y: ground, "text-anchor": "end" }, "0"),
    drawing("text", { x: LEFT, y: ground + BOTTOM - 4 }, at(times[0])),
    drawing("text", { x: LEFT + WIDTH, y: ground + BOTTOM - 4, "text-anchor": "end" }, at(times[times.length - 1])),
  ];
}

function figure(label, drawn, legend, numbers) {
  const sample = (tone) => drawing("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" },
    drawing("rect", { width: 10, height: 10, class: tone }));
  return element("figure", {},
    drawing("svg", { viewBox: BOX, role: "img", "aria-label": label }, drawn),
    element("ul", { class: "legend" }, legend.map(([tone, text]) => element("li", {}, sample(tone), text))),
    numbers);
}

/** What a chart shows, to be read; stretches in which nothing was are left out. */
function numbers(title, times, rows, written) {
  const some = times.map((_, at) => at).filter((at) => rows.some((it) => it[1][at]));
  const columns = [["time", {}], ...rows.map(([name]) => [name, { class: "number" }])];
  return element("details", {},
    element("summary", {}, "Numbers"),
    table(title, columns, some.map((at) => [clock(times[at]), ...rows.map((it) => written(it[1][at]))])));
}
