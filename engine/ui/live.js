// Events as they become visible, by an expression where one is given. They come by the page's own
// stream; a tab that nobody sees has none.

import { RequestFault } from "./ask.js";
import { alarm, button, element, fill, heading, say, scrolled, tableHead } from "./dom.js";
import { eventLink, moment } from "./words.js";

/** Rows that the list keeps. */
const ROWS_MAX = 500;
/** Events that the list begins with. */
const REPLAY = 200;

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
  /** The number of the last event, for a stream to continue from. */
  last = null;
  #waiting = [];
  #missed = 0;

  clear() {
    this.last = null;
    this.#waiting = [];
    this.#missed = 0;
    this.body.replaceChildren();
  }

  take(event) {
    this.last = event.pos;
    this.#waiting.push(event);
    if (this.#waiting.length > ROWS_MAX) this.#waiting.shift();
  }

  /** Events between two numbers are gone from the store. */
  skip({ from, to }) {
    this.last = to;
    this.#missed += to - from;
  }

  /** Rows that are there stay as they are, so that nobody loses the place. */
  show() {
    if (this.isPaused) return;
    this.body.prepend(...this.#waiting.splice(0).reverse().map(row));
    while (this.body.childElementCount > ROWS_MAX) this.body.lastElementChild.remove();
  }

  get summary() {
    const shown = this.body.childElementCount;
    const waiting = this.#waiting.length;
    if (shown + waiting === 0) return "No event matches yet.";
    const missed = this.#missed > 0 ? `, up to ${this.#missed} missed` : "";
    return `${shown} shown${waiting > 0 ? `, ${waiting} waiting` : ""}${missed}`;
  }
}

/** The stream of events for which an expression holds, for as long as the tab is seen. */
class Feed {
  #source = null;
  #frame = null;

  constructor(list, filter, told, wrong, view) {
    Object.assign(this, { list, filter, told, wrong, view });
    const follow = () => (document.hidden ? this.close() : this.open());
    document.addEventListener("visibilitychange", follow);
    view.whenLeft(() => {
      document.removeEventListener("visibilitychange", follow);
      this.close();
    });
  }

  open() {
    this.close();
    const query = new URLSearchParams();
    if (this.list.last === null) query.set("replay", String(REPLAY));
    else query.set("last_event_id", String(this.list.last));
    if (this.filter() !== "") query.set("where", this.filter());
    const source = new EventSource(`/api/stream?${query}`);
    this.#source = source;
    source.addEventListener("open", () => {
      this.wrong.hidden = true;
      this.tell();
    });
    source.addEventListener("message", ({ data }) => {
      this.list.take(JSON.parse(data));
      this.tell();
    });
    source.addEventListener("gap", ({ data }) => {
      this.list.skip(JSON.parse(data));
      this.tell();
    });
    // The browser connects again by itself, unless the engine refuses: then it says why.
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED && source === this.#source) this.#askWhy(query);
    });
  }

  close() {
    this.#source?.close();
    this.#source = null;
  }

  /** What comes at the same time is drawn at the same time. */
  tell() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.list.show();
      say(this.told, this.list.summary);
    });
  }

  /** A stream says only that it failed, so the list of events is asked the same. */
  async #askWhy(query) {
    const where = query.get("where");
    try {
      await this.view.ask(`/api/events?${new URLSearchParams({ limit: "1", ...(where ? { where } : {}) })}`);
      this.view.tell(new RequestFault(0, "The stream is full, or this pipeline stores nothing."), this.wrong);
    } catch (error) {
      this.view.tell(error, this.wrong);
    }
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
  const feed = new Feed(list, () => filter.value.trim(), told, wrong, view);
  const pause = button("Pause", () => {
    list.isPaused = !list.isPaused;
    say(pause, list.isPaused ? "Continue" : "Pause");
    feed.tell();
  });
  const apply = (submitted) => {
    submitted.preventDefault();
    sessionStorage.setItem("where", filter.value);
    list.clear();
    wrong.hidden = true;
    feed.open();
    feed.tell();
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
  feed.open();
}
