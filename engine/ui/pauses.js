// Buttons that pause a sink or notifier, and resume it.

import { button, element, fill, say } from "./dom.js";
import { clock } from "./words.js";

/** Between two looks at what is paused, in milliseconds. */
const LOOK_EVERY = 5000;
/** For how long the buttons pause; without a time, somebody has to resume. */
const LENGTHS = [["Pause 30 min", "30m"], ["Pause 2 h", "2h"], ["Pause until resumed", undefined]];

/** Whether one node is paused, and the buttons that change it. */
export class PauseBar {
  /** How many orders have begun and ended: what was asked before the last one is old. */
  #orders = 0;
  #shown;
  #state = element("span", { role: "status" });
  #buttons = element("span", { class: "bar" });

  constructor(node, pause, view) {
    this.node = node;
    this.view = view;
    this.element = element("div", { class: "bar", role: "group", "aria-label": `Pause of ${node}` },
      this.#state, this.#buttons);
    this.#show(pause);
  }

  /** What an answer of `/api/figures` will say is new, unless something is ordered meanwhile. */
  taker() {
    const orders = this.#orders;
    return ({ paused }) => {
      if (this.#orders === orders) this.#show(paused[this.node] ?? null);
    };
  }

  #show(pause) {
    const text = stateOf(pause);
    if (this.#shown === text) return;
    this.#shown = text;
    say(this.#state, text);
    this.#state.className = pause === null ? "good" : "warn";
    const choices = pause === null ? LENGTHS : [["Resume", null], ...LENGTHS];
    fill(this.#buttons, choices.map(([title, time]) => button(title, () => this.#order(time))));
  }

  /** `null` is the end of a pause. */
  async #order(time) {
    const path = time === null ? "/api/resume" : "/api/pause";
    const body = time ? { name: this.node, for: time } : { name: this.node };
    this.#orders += 1;
    try {
      const { paused } = await this.view.ask(path, { method: "POST", body });
      this.#show(paused);
      // The button that was pressed is another one now.
      this.#buttons.querySelector("button").focus();
    } catch (error) {
      this.#shown = undefined;
      this.view.tell(error, this.#state);
    } finally {
      this.#orders += 1;
    }
  }
}

function stateOf(pause) {
  if (pause === null) return "not paused";
  return pause.until === null ? "paused until resumed" : `paused until ${clock(pause.until)}`;
}

/** Keeps bars up to date while the part is shown. */
export async function followPauses(bars, view) {
  await view.every(LOOK_EVERY, async () => {
    const takers = bars.map((it) => it.taker());
    const figures = await view.ask("/api/figures");
    takers.forEach((take) => take(figures));
  });
}
