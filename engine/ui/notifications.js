// What was sent, and what was held back, with the reason.

import { button, element, fill, heading, say, section, table } from "./dom.js";
import { PauseBar, followPauses } from "./pauses.js";
import { eventLink, moment, outcome } from "./words.js";

const STATES = ["", "done", "pending", "held", "suppressed", "dead", "parked"];
const COLUMNS = [
  ["time", {}], ["event", {}], ["notifier", {}], ["state", {}], ["reason", {}], ["id", { class: "id rank2" }],
];

export async function show(main, view) {
  const list = element("div");
  const choice = element("select", { id: "state-choice" },
    STATES.map((it) => element("option", { value: it }, it === "" ? "all" : it)));
  choice.value = sessionStorage.getItem("state") ?? "";
  choice.addEventListener("change", () => {
    sessionStorage.setItem("state", choice.value);
    fillList(list, choice.value, view).catch((error) => view.tell(error));
  });
  const [{ notifiers }] = await Promise.all([view.ask("/api/pipeline"), fillList(list, choice.value, view)]);
  // Recipients are paused together, by the name of their node.
  const nodes = notifiers.filter((it) => !it.name.includes("."));
  const bars = nodes.map((it) => new PauseBar(it.name, it.paused, view));
  fill(
    main,
    heading("Notifications"),
    nodes.length === 0 ? null : [
      section("Notifiers"),
      table("Notifiers", [["name", {}], ["pause", {}]], bars.map((it) => [it.node, it.element])),
      trial(notifiers, view),
    ],
    section("What was sent, and what was not"),
    element("p", { class: "bar" }, element("label", { for: "state-choice" }, "State"), choice),
    list,
  );
  await followPauses(bars, view);
}

/** Sends a marked message through a notifier, and says what came of it. */
function trial(notifiers, view) {
  const told = element("span", { role: "status" });
  const choice = element("select", { "aria-label": "Notifier" }, notifiers.map((it) => element("option", {}, it.name)));
  const send = async () => {
    say(told, "Sending…");
    try {
      const answer = await view.ask("/api/notifications/test", { method: "POST", body: { notifier: choice.value } });
      say(told, answer.delivered ? `Sent to ${choice.value}.` : `Not sent: ${answer.reason}`);
    } catch (error) {
      view.tell(error, told);
    }
  };
  return element("p", { class: "bar" }, choice, button("Send a test", send), told);
}

async function fillList(list, state, view) {
  const query = new URLSearchParams({ limit: "200" });
  if (state !== "") query.set("state", state);
  const { notifications } = await view.ask(`/api/notifications?${query}`);
  fill(list, notifications.length === 0
    ? element("p", {}, "There are none.")
    : table("Notifications", COLUMNS, notifications.map(row)));
}

function row(it) {
  const until = it.until ? element("span", {}, " until ", moment(it.until)) : null;
  const lead = it.told_with ? element("span", {}, " with ", eventLink(it.told_with)) : null;
  return [
    moment(it.created),
    [eventLink(it.event_id, it.type), ` ${it.subject ?? ""}`],
    it.notifier,
    [outcome(it.state), until, lead],
    [it.via ? `via ${it.via}` : null, it.via && it.reason ? ", " : null, it.reason],
    it.event_id,
  ];
}
