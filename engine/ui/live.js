// Events as they become visible, by an expression where one is given.

import { alarm, button, element, fill, heading, say, scrolled, tableHead } from "./dom.js";
import { eventLink, moment } from "./words.js";

/** Rows that the list keeps. */
const ROWS_MAX = 500;
/** Events that one look takes: the newest. */
const LOOK_MAX = 200;
const LOOK_EVERY = 2000;

const COLUMNS = [
  ["time", {}],
  ["type", {}],
  ["priority", { class: "rank2" }],
  ["source", { class: "rank2" }],
  ["subject", {}],
  ["id", { class: "id rank2" }],
];

function row(event) {
  const cells = [
    moment(event.time), eventLink(event.id, event.type), event.priority, event.source, event.subject, event.id,
  ];
  return element("tr", {}, cells.map((cell, at) => element("td", COLUMNS[at][1], cell)));
}

/** The rows that are shown, and those that wait until a pause is over. */
class List {
  body = element("tbody");
  isPaused = false;
  #known = new Set();
  #waiting = [];
  #skips = false;

  clear() {
    this.#known = new Set();
    this.#waiting = [];
    this.body.replaceChildren();
  }

  /** Takes the newest events, the newest first; those that it knows are left out. */
  take(events) {
    const fresh = events.filter((event) => !this.#known.has(event.pos));
    this.#skips = this.#known.size > 0 && fresh.length === LOOK_MAX;
    for (const event of fresh) this.#known.add(event.pos);
    // A set keeps its order: the oldest go first.
    for (const pos of this.#known) {
      if (this.#known.size <= 4 * ROWS_MAX) break;
      this.#known.delete(pos);
    }
    this.#waiting.push(...fresh.reverse());
    this.#waiting.splice(0, Math.max(0, this.#waiting.length - ROWS_MAX));
    if (!this.isPaused) this.show();
  }

  /** Rows that are there stay as they are, so that nobody loses the place. */
  show() {
    for (const event of this.#waiting.splice(0)) this.body.prepend(row(event));
    while (this.body.childElementCount > ROWS_MAX) this.body.lastElementChild.remove();
  }

  get summary() {
    const shown = this.body.childElementCount;
    const waiting = this.#waiting.length;
    if (shown + waiting === 0) return "No event matches yet.";
    return `${shown} shown${waiting > 0 ? `, ${waiting} waiting` : ""}${this.#skips ? "; more come than are shown" : ""}`;
  }
}

export async function show(main, view) {
  const list = new List();
  const filter = element("input", {
    type: "text", id: "where", spellcheck: "false", autocomplete: "off",
    placeholder: "data.score > 0.8 && event.priority >= 'high'",
  });
  filter.value = sessionStorage.getItem("where") ?? "";
  const wrong = alarm();
  const told = element("p", { "aria-live": "polite", class: "soft" });
  const look = async () => {
    const where = filter.value.trim();
    const query = new URLSearchParams({ limit: String(LOOK_MAX) });
    if (where !== "") query.set("where", where);
    try {
      const page = await view.ask(`/api/events?${query}`);
      wrong.hidden = true;
      list.take(page.events);
      say(told, list.summary);
    } catch (error) {
      view.tell(error, wrong);
    }
  };
  const pause = button("Pause", () => {
    list.isPaused = !list.isPaused;
    pause.setAttribute("aria-pressed", String(list.isPaused));
    say(pause, list.isPaused ? "Continue" : "Pause");
    if (!list.isPaused) list.show();
    say(told, list.summary);
  }, { "aria-pressed": "false" });
  const apply = (submitted) => {
    submitted.preventDefault();
    sessionStorage.setItem("where", filter.value);
    list.clear();
    look();
  };
  fill(
    main,
    heading("Live"),
    element("form", { onsubmit: apply },
      element("label", { for: "where" }, "Only events for which"), filter, element("button", {}, "Apply"), pause),
    wrong,
    told,
    scrolled("Events", element("table", {}, tableHead(COLUMNS), list.body)),
  );
  await view.every(LOOK_EVERY, look);
}
