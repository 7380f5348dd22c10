// Elements and drawings. Whatever an event contains is only ever the text of a node.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (`on…`) and children; texts are text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for drawings. */
export function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(it, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) it.addEventListener(key.slice(2), value);
    else it.setAttribute(key, value === true ? "" : String(value));
  }
  it.append(...nodes(children));
  return it;
}

/** Lists in lists become one; what is `null` is left out. */
function nodes(children) {
  const shown = children.flat(Infinity).filter((child) => child !== null && child !== undefined);
  return shown.map((child) => (child instanceof Node ? child : plain(String(child))));
}

/** Puts these in place of what an element contains. */
export function fill(it, ...children) {
  it.replaceChildren(...nodes(children));
}

/** A text in which nothing is hidden and nothing changes the direction of what is around it. */
function plain(text) {
  const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
  return text.replace(hidden, (it) => `\\u{${it.codePointAt(0).toString(16)}}`);
}

/** Changes a text that is read out when it changes, and only then. */
export function say(it, text) {
  const shown = plain(text);
  if (it.textContent !== shown) it.textContent = shown;
}

/** A table in a box that scrolls; columns are `[title, attributes]`, cells are nodes or texts. */
export function table(caption, columns, rows) {
  const cells = (row) => row.map((cell, at) => element("td", columns[at][1] ?? {}, cell));
  const body = element("tbody", {}, rows.map((row) => element("tr", {}, cells(row))));
  return scrolled(caption, element("table", {}, tableHead(columns), body));
}

export function tableHead(columns) {
  const head = columns.map(([title, attributes]) => element("th", { scope: "col", ...attributes }, title));
  return element("thead", {}, element("tr", {}, head));
}

/** Whatever may be wider than the page scrolls in a box of its own, also by keyboard. */
export function scrolled(caption, ...children) {
  return element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption }, children);
}

export function code(caption, text) {
  return element("pre", { tabindex: "0", role: "region", "aria-label": caption }, text);
}

export function button(text, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, text);
}

/** Names with what they are; `null` is left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined);
  return element("dl", {}, known.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export function heading(text) {
  return element("h2", { tabindex: "-1" }, text);
}

export function section(text) {
  return element("h3", {}, text);
}

export function soft(...children) {
  return element("p", { class: "soft" }, children);
}

export function alarm(text = "") {
  return element("p", { class: "note bad", role: "alert", hidden: text === "" }, text);
}
