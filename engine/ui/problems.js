// What is not well, and dead letters with what may be done about them.

import { alarm, button, code, element, fill, heading, say, section, soft, table } from "./dom.js";
import { count, eventLink, moment, outcome } from "./words.js";

/** Letters of one look: the newest. */
const LETTERS_MAX = 100;
/** Letters of a group that are listed. */
const ROWS_MAX = 20;

const CONDITIONS = [
  ["part", {}], ["state", {}], ["since", { class: "rank2" }], ["times", { class: "number rank2" }], ["what", {}],
];
const LETTERS = [
  ["last", {}], ["what", { class: "rank2" }], ["event", { class: "id" }], ["attempts", { class: "number" }], ["", {}],
];

export async function show(main, view) {
  const told = element("p", { role: "status", class: "note" });
  const lists = element("div");
  const desk = new Desk(told, lists, view);
  await desk.refresh();
  fill(main, heading("Problems"), told, lists);
}

/** What the buttons do, and what is said about it. */
class Desk {
  constructor(told, lists, view) {
    this.told = told;
    this.lists = lists;
    this.view = view;
  }

  async refresh() {
    const [ready, plan, figures, page] = await Promise.all([
      this.view.ask("/readyz"),
      this.view.ask("/api/pipeline"),
      this.view.ask("/api/figures"),
      this.view.ask(`/api/dead-letters?limit=${LETTERS_MAX}`).catch((error) => error),
    ]);
    fill(this.lists, conditions(ready), breakers(figures), silent(plan, figures), this.letters(page));
  }

  letters(page) {
    // A token may be good for looking and not for this.
    if (page instanceof Error) return [section("Dead letters"), alarm(page.message)];
    const groups = new Map();
    for (const letter of page.dead_letters) {
      const key = `${letter.stage}\n${letter.reason}`;
      groups.set(key, [...(groups.get(key) ?? []), letter]);
    }
    if (groups.size === 0) return [section("Dead letters"), element("p", {}, "There are none.")];
    return [
      section("Dead letters"),
      element("p", { class: "bar" },
        button("Preview: redrive all", () => this.redrive({ all: true, dry_run: true })),
        button("Redrive all", () => this.redrive({ all: true }))),
      page.next ? soft(`There are more; these are the newest ${LETTERS_MAX}.`) : null,
      [...groups.values()].map((letters) => this.group(letters)),
    ];
  }

  group(letters) {
    const [first] = letters;
    const ids = letters.map((it) => it.id);
    const isWhole = first.body_bytes === new TextEncoder().encode(first.body).length;
    return element("section", {},
      section(`${letters.length} at ${first.stage}: ${first.reason}`),
      element("p", { class: "bar" },
        button("Preview: redrive", () => this.redrive({ ids, dry_run: true })),
        button(`Redrive ${letters.length}`, () => this.redrive({ ids }))),
      table(`Dead letters at ${first.stage}`, LETTERS, letters.slice(0, ROWS_MAX).map((it) => [
        moment(it.last), it.what, eventLink(it.event_id), it.attempts,
        [
          letters.length > 1 ? button(`Redrive ${it.id}`, () => this.redrive({ ids: [it.id] })) : null,
          button(`Delete ${it.id}`, () => this.drop(it.id)),
        ],
      ])),
      code("The newest message", first.body),
      first.what === "rejected" && isWhole ? this.editor(first) : null);
  }

  /** Lets a rejected message say something else and redrives it. */
  editor(letter) {
    const text = element("textarea", {
      rows: "6", spellcheck: "false", "aria-label": `The message of dead letter ${letter.id}`,
    });
    text.value = letter.body;
    const redrive = () => this.redrive({ id: letter.id, body: text.value });
    return element("details", {},
      element("summary", {}, `Edit ${letter.id}`),
      text,
      element("p", { class: "bar" }, button(`Redrive ${letter.id} as edited`, redrive)));
  }

  redrive(body) {
    return this.act(async () => {
      const answer = await this.view.ask("/api/dead-letters/redrive", { method: "POST", body });
      if (!body.dry_run) await this.refresh();
      say(this.told, summary(body, answer));
    });
  }

  drop(id) {
    return this.act(async () => {
      if (!confirm(`Permanently delete dead letter ${id}?`)) return;
      await this.view.ask(`/api/dead-letters/${id}`, { method: "DELETE" });
      await this.refresh();
      say(this.told, `Dead letter ${id} is deleted.`);
    });
  }

  /** Whatever goes wrong is said where the reader looks; the focus does not get lost. */
  async act(work) {
    const place = document.activeElement;
    try {
      await work();
    } catch (error) {
      this.view.tell(error, this.told);
    }
    if (!place.isConnected) document.querySelector("#main h2")?.focus();
  }
}

function summary(body, answer) {
  if (body.dry_run) return `${count(answer.selected, "dead letter")} would be redriven.`;
  if (body.id !== undefined) return answer.taken ? "Redriven." : `Not redriven: ${answer.reason}`;
  const results = answer.results ?? [];
  const failed = results.find((it) => !it.taken);
  const why = failed ? ` ${failed.id}: ${failed.reason ?? failed.outcome}` : "";
  return `Redriven: ${results.filter((it) => it.taken).length} of ${results.length}.${why}`;
}

/** Parts that are not well: breakers that are open, sources that are silent, a full disk. */
function conditions({ reasons = [], degraded = [] }) {
  if (reasons.length + degraded.length === 0) return null;
  const rows = degraded.map((it) => [
    it.part, outcome(it.state), moment(it.since), it.count, [it.reason, it.advice ? `; ${it.advice}` : null],
  ]);
  return [
    section("Degraded or failed"),
    reasons.map((it) => element("p", { class: "note bad" }, it)),
    rows.length === 0 ? null : table("Degraded or failed", CONDITIONS, rows),
  ];
}

/** Breakers that keep calls from a service that fails. */
function breakers({ breakers }) {
  const open = Object.entries(breakers).map(([part, state]) => `${part}: ${state}`);
  return open.length === 0 ? null : [section("Open breakers"), element("p", {}, open.join(", "))];
}

/** Sources that are on and of which nothing has come. */
function silent({ sources }, { received }) {
  const names = sources.filter((it) => !it.off && (received[it.name] ?? 0) === 0).map((it) => it.name);
  if (names.length === 0) return null;
  return [
    section("Silent sources"),
    element("p", {}, `Nothing has come from ${names.join(", ")} since the engine started.`),
  ];
}
