// The one way to ask the engine for something.

/** What went wrong with a request, in the engine's words; status 0 where there was no answer. */
export class RequestFault extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/**
 * The answer's JSON, or its text where that is wanted. With `exact`, numbers that JavaScript would
 * round or write in another way are kept as they were sent, for `JSON.stringify` to write.
 */
export async function ask(path, { method = "GET", body, signal, text = false, exact = false, token } = {}) {
  // No page of another address can send this field, so a session alone changes nothing.
  const headers = { "X-Engine": "page" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer, said;
  try {
    const content = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: content, signal, cache: "no-store" });
    said = await answer.text();
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new RequestFault(0, "The engine cannot be reached.");
  }
  if (text && answer.ok) return said;
  const value = parsed(said, exact ? asSent : undefined);
  // A health check says what is wrong with a status that is no success.
  if (answer.ok || (path === "/readyz" && value !== null)) return value;
  throw new RequestFault(answer.status, value?.detail || `The engine responded with ${answer.status}.`);
}

function asSent(_, value, context) {
  const isChanged = typeof value === "number" && context?.source !== undefined && String(value) !== context.source;
  return isChanged && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

function parsed(text, reviver) {
  try {
    return text === "" ? null : JSON.parse(text, reviver);
  } catch {
    return null;
  }
}

/** Where an event is; an id may have slashes in it. */
export function eventPath(id) {
  return `/api/events/${id.split("/").map(encodeURIComponent).join("/")}`;
}
