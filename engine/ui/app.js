// The page of a running engine: its header, its parts, and signing in. No library and no build
// step. Each part is a module that shows itself in `main` and asks by the view that it is given.

import { RequestFault, ask } from "./ask.js";
import { alarm, element, fill, heading, say } from "./dom.js";
import { bytes } from "./words.js";
import * as charts from "./charts.js";
import * as config from "./config.js";
import * as event from "./event.js";
import * as flow from "./flow.js";
import * as live from "./live.js";
import * as notifications from "./notifications.js";
import * as problems from "./problems.js";
import * as storage from "./storage.js";

const PARTS = { live, flow, charts, problems, notifications, storage, config, event };
/** Between two looks at the header's figures, in milliseconds. */
const HEADER_EVERY = 5000;

const main = document.getElementById("main");
/** The view of the part that is shown. */
let view = null;
/** What the header saw when it last looked: of the file, and what was counted. */
let seenFile = null;
let lastFigures = null;

/** What a part is given: the rest of its address, how to ask the engine, and until when. */
class View {
  #leave = new AbortController();

  constructor(rest) {
    this.rest = rest;
    this.signal = this.#leave.signal;
  }

  show(part) {
    this.part = part;
    part.show(main, this).catch((error) => this.tell(error));
  }

  /** Asks the engine; where a token is missing, the form for it takes the place of the part. */
  async ask(path, options = {}) {
    try {
      return await ask(path, { signal: this.signal, ...options });
    } catch (error) {
      if (error.status !== 401) throw error;
      this.signOut();
      throw new DOMException("signed out", "AbortError");
    }
  }

  /** The form for the token takes the place of the part, once. */
  signOut() {
    if (this.signal.aborted) return;
    this.end();
    showForm();
  }

  /** Looks at once, and then now and then while the part is shown and the tab is seen. */
  async every(milliseconds, look) {
    while (!this.signal.aborted) {
      if (!document.hidden) await look();
      await new Promise((done) => setTimeout(done, milliseconds));
    }
  }

  /** Tells of a fault in a place of the part; without one, instead of the part. */
  tell(error, place = null) {
    if (error.name === "AbortError" || this.signal.aborted) return;
    if (!(error instanceof RequestFault)) console.error(error);
    if (place === null) {
      fill(main, heading("This failed"), alarm(error.message));
    } else {
      place.hidden = false;
      say(place, error.message);
    }
  }

  /** Does this once, unless the part has been left by then. */
  later(milliseconds, work) {
    const timer = setTimeout(work, milliseconds);
    this.whenLeft(() => clearTimeout(timer));
  }

  /** Does this when the part is left. */
  whenLeft(work) {
    this.signal.addEventListener("abort", work);
  }

  end() {
    this.#leave.abort();
  }
}

/** Shows the part that the address names: `#/live`, `#/event/ID`. */
function route() {
  view?.end();
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const part = name === "" ? "live" : name;
  view = new View(decoded(rest.join("/")));
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${part}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!Object.hasOwn(PARTS, part)) {
    fill(main, heading("Nothing here"), element("p", {}, "Choose a part of the page above."));
    return;
  }
  fill(main, element("p", { class: "soft" }, "Loading"));
  view.show(PARTS[part]);
}

/** Another generation runs, or the file on disk is another one: what shows it is shown again. */
function followFile({ generation, config, diagnostics }) {
  const seen = JSON.stringify([generation, config, diagnostics]);
  const isOther = seenFile !== null && seenFile !== seen;
  seenFile = seen;
  if (isOther && view.part?.followsFile) route();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    // An address that somebody typed: taken as it is.
    return text;
  }
}

/** Whether this browser signed in; the session itself is in a cookie that no script can read. */
const isSignedIn = () => localStorage.getItem("signed-in") !== null;

function sign(now) {
  if (now) localStorage.setItem("signed-in", "yes");
  else localStorage.removeItem("signed-in");
  document.getElementById("leave").hidden = !now;
}

/** Asks for a token; says why where somebody was signed in. */
function showForm() {
  const field = element("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const wrong = alarm(isSignedIn() ? "You are signed out: the session has ended, or its token has changed." : "");
  // For what remembers passwords, which wants to know whose.
  const owner = element("input", { type: "text", autocomplete: "username", value: "token", hidden: true });
  const label = element("label", { for: "token" }, "Token");
  const form = element("form", {}, owner, label, field, element("button", {}, "Sign in"));
  form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    try {
      await ask("/api/session", { method: "POST", body: {}, token: field.value });
      sign(true);
      route();
      header();
    } catch (problem) {
      wrong.hidden = false;
      say(wrong, problem.message);
      field.select();
    }
  });
  sign(false);
  fill(
    main,
    heading("Sign in"),
    element("p", {}, "This engine requires a token. You stay signed in for twelve hours."),
    wrong,
    form,
  );
  field.focus();
  say(document.getElementById("figures"), "");
}

async function signOut() {
  try {
    await ask("/api/session", { method: "DELETE" });
    sign(false);
    route();
    header();
  } catch (error) {
    view.tell(error);
  }
}

/** Name, state and figures, whatever part is shown; who is signed out is asked for a token. */
async function header() {
  const state = document.getElementById("state");
  const tell = (text, tone) => {
    say(state, text);
    state.className = tone;
  };
  try {
    const ready = await ask("/readyz");
    // Who shows no token learns no more than `up`.
    if (ready === null) throw new RequestFault(401, "signed out");
    tell(...condition(ready));
    followFile(ready);
    const figures = await ask("/api/figures");
    document.title = `${figures.pipeline} – engine`;
    say(document.getElementById("name"), figures.pipeline);
    say(document.getElementById("figures"), summary(figures));
  } catch (error) {
    if (error.status !== 401) return tell(error.message, "bad");
    tell("signed out", "warn");
    view.signOut();
  }
}

/** Figures in one line; how many events come is known from the second look on. */
function summary(figures) {
  const seconds = lastFigures === null ? 0 : (new Date(figures.time) - new Date(lastFigures.time)) / 1000;
  const rate = seconds > 0 ? (figures.events.accepted - lastFigures.events.accepted) / seconds : null;
  lastFigures = figures;
  return [
    `generation ${figures.generation}`,
    rate === null || rate < 0 ? null : `${rate.toFixed(1)} events/s`,
    `${figures.pending} pending`,
    `${figures.dead_letters} dead`,
    `${figures.clients} watching`,
    bytes(figures.bytes),
  ].filter((it) => it !== null).join(" · ");
}

/** What `/readyz` says, in a few words. */
function condition(ready) {
  const problems = [...(ready.reasons ?? []), ...(ready.degraded ?? []).map((it) => `${it.part}: ${it.reason}`)];
  const shown = problems.length > 1 ? `${problems[0]}, and ${problems.length - 1} more` : problems[0];
  if (!ready.ready) return [`not ready: ${shown}`, "bad"];
  if (ready.config === "stale") return ["the file on disk is not valid", "warn"];
  return problems.length > 0 ? [shown, "warn"] : ["ready", "good"];
}

addEventListener("hashchange", () => {
  route();
  main.focus();
});
document.getElementById("leave").addEventListener("click", signOut);
sign(isSignedIn());
route();
header();
setInterval(() => {
  if (!document.hidden) header();
}, HEADER_EVERY);
