// What was sent, and what was held back, with the reason.

import { element, fill, heading, table } from "./dom.js";
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
  await fillList(list, choice.value, view);
  fill(
    main,
    heading("Notifications"),
    element("p", { class: "bar" }, element("label", { for: "state-choice" }, "State"), choice),
    list,
  );
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
    it.reason,
    it.event_id,
  ];
}
