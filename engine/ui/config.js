// The file in force, what is wrong with the one on disk, and what changed when.

import { compare } from "./compare.js";
import { alarm, code, element, fill, heading, section, soft, table } from "./dom.js";
import { distance, moment, outcome } from "./words.js";

/** It is shown again when another generation runs. */
export const followsFile = true;

const RELOADS = [["time", {}], ["generation", { class: "number" }], ["outcome", {}], ["changes", {}]];
const TONES = { "+": "good", "-": "bad", " ": null, "…": "soft" };

export async function show(main, view) {
  const [plan, file, { reloads, kept }] = await Promise.all([
    view.ask("/api/pipeline"), view.ask("/api/pipeline/file", { text: true }), view.ask("/api/reloads"),
  ]);
  fill(
    main,
    heading("Config"),
    standing(plan),
    section("Starts and reloads"),
    table("Starts and reloads", RELOADS, reloads.map((it) => [
      moment(it.time), it.generation, outcome(it.outcome), it.changes || findings(it.diagnostics),
    ])),
    section("What changed"),
    kept.length < 2 ? soft("There is only one generation so far; earlier files are kept only while the engine runs.") : comparison(kept, view),
    section("The effective file, secrets masked"),
    code("The file", file),
  );
}

/** How the file on disk compares with what runs. */
function standing({ config, generation, loaded, diagnostics, stale_since: since }) {
  if (config !== "stale") {
    return element("p", { class: "note" }, `Generation ${generation} runs, loaded `, moment(loaded));
  }
  return [
    element("p", { class: "note bad" },
      "The file on disk could not be applied since ", moment(since), ` (${distance(since)}); `,
      `generation ${generation} keeps running.`),
    code("What is wrong", diagnostics),
  ];
}

function findings(text) {
  if (!text) return null;
  return element("details", {}, element("summary", {}, "what is wrong"), code("What was wrong", text));
}

/** Two generations to choose, and what differs between their files. */
function comparison(kept, view) {
  const choice = (label, chosen) => {
    const it = element("select", { "aria-label": label }, kept.map((number) => element("option", {}, number)));
    it.value = chosen;
    it.addEventListener("change", look);
    return it;
  };
  const place = element("div");
  const text = (number) => view.ask(`/api/pipeline/file?generation=${number}`, { text: true });
  const look = async () => {
    try {
      const rows = compare(await text(before.value), await text(after.value));
      const isSame = rows.every(([sign]) => sign === "…");
      fill(place, isSame ? soft("There are no differences.") : difference(rows));
    } catch (error) {
      fill(place, alarm(error.message));
    }
  };
  const before = choice("Before", kept.at(-2));
  const after = choice("After", kept.at(-1));
  look();
  return [element("p", { class: "bar" }, "From generation", before, "to", after), place];
}

function difference(rows) {
  const lines = rows.map(([sign, line]) => element("span", { class: TONES[sign] }, `${sign} ${line}\n`));
  return element("pre", { tabindex: "0", role: "region", "aria-label": "What differs" }, lines);
}
