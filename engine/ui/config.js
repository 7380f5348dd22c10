// The file in force, what is wrong with the one on disk, and the reloads.

import { code, element, fill, heading, section, table } from "./dom.js";
import { moment, outcome } from "./words.js";

const RELOADS = [["time", {}], ["generation", { class: "number" }], ["outcome", {}], ["changes", {}]];

/** It is shown again when another generation runs. */
export const followsFile = true;

export async function show(main, view) {
  const [plan, file, { reloads }] = await Promise.all([
    view.ask("/api/pipeline"), view.ask("/api/pipeline/file", { text: true }), view.ask("/api/reloads"),
  ]);
  fill(
    main,
    heading("Config"),
    standing(plan),
    section("Starts and reloads"),
    table("Starts and reloads", RELOADS, reloads.map((it) => [
      moment(it.time), it.generation, outcome(it.outcome), it.changes || it.diagnostics,
    ])),
    section("The file as it takes effect, secrets masked"),
    code("The file", file),
  );
}

/** How the file on disk compares with what runs. */
function standing({ config, generation, loaded, diagnostics }) {
  if (config !== "stale") {
    return element("p", { class: "note" }, `Generation ${generation} runs, loaded `, moment(loaded));
  }
  return [
    element("p", { class: "note bad" }, `The file on disk is not valid; generation ${generation} keeps running.`),
    code("What is wrong", diagnostics),
  ];
}
