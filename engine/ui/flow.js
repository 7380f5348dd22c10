// What there is, and how each part is.

import { element, fill, heading, section, soft, table } from "./dom.js";
import { moment, outcome } from "./words.js";

const PARTS = [["name", {}], ["kind", {}], ["state", {}], ["details", {}]];

/** It is shown again when another generation runs. */
export const followsFile = true;

export async function show(main, view) {
  const plan = await view.ask("/api/pipeline");
  const cases = (plan.routes ?? []).map((it) => [it.case, it.when, it.to.join(", ")]);
  const others = (plan.otherwise ?? []).length > 0 ? [["otherwise", "", plan.otherwise.join(", ")]] : [];
  const memories = (plan.memories ?? []).map((it) => [
    it.name, it.keys, it.timers, it.emitted, it.next.length > 0 ? moment(it.next[0].due) : null,
  ]);
  const sick = (plan.parts ?? []).filter((it) => it.state !== "ok");
  fill(
    main,
    heading("Flow"),
    plan.description ? soft(plan.description) : null,
    parts("Sources", plan.sources, routes),
    parts("Filters", plan.filters, after),
    parts("Stages", plan.stages, after),
    listed("Route", [["case", {}], ["when", {}], ["to", {}]], [...cases, ...others]),
    parts("Sinks", plan.sinks, routes),
    parts("Notifiers", plan.notifiers, () => null),
    listed("What stages remember", [
      ["stage", {}], ["keys", { class: "number" }], ["timers", { class: "number" }], ["sent", { class: "number" }],
      ["looks again", {}],
    ], memories),
    listed("Not well", [["part", {}], ["state", {}], ["why", {}]], sick.map((it) => [
      it.part, outcome(it.state), it.problems.map((one) => one.reason).join("; "),
    ])),
  );
}

function listed(title, columns, rows) {
  return rows.length === 0 ? null : [section(title), table(title, columns, rows)];
}

function parts(title, parts = [], more) {
  return listed(title, PARTS, parts.map((part) => [part.name, part.kind, health(part), more(part)]));
}

function health(part) {
  if (part.off) return element("span", { class: "soft" }, `off: ${part.off}`);
  if (!part.health) return element("span", { class: "soft" }, "–");
  const why = (part.health.problems ?? []).map((it) => it.reason).join("; ");
  return element("span", {}, outcome(part.health.state), why === "" ? null : ` ${why}`);
}

function routes(part) {
  return (part.routes ?? []).map((it) => `${it.method} ${it.path}`).join(", ");
}

function after(part) {
  const waits = (part.after ?? []).length > 0 ? `after ${part.after.join(", ")}` : "";
  const when = part.when ? `when ${part.when}` : "";
  return [waits, when].filter((it) => it !== "").join("; ");
}
