// What differs between two texts, line by line.

/** Lines around a change that are shown. */
const AROUND = 3;

/** Rows `[sign, line]` of changes and what is around them; `…` where equal lines are left out. */
export function compare(before, after) {
  const [old, now] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < Math.min(old.length, now.length) && old[start] === now[start]) start += 1;
  let end = 0;
  const shorter = Math.min(old.length, now.length) - start;
  while (end < shorter && old[old.length - 1 - end] === now[now.length - 1 - end]) end += 1;
  const middle = changes(old.slice(start, old.length - end), now.slice(start, now.length - end));
  const same = (lines) => lines.map((line) => [" ", line]);
  return shortened([...same(old.slice(0, start)), ...middle, ...same(old.slice(old.length - end))]);
}

/** By the longest common subsequence. */
function changes(old, now) {
  const lengths = Array.from({ length: old.length + 1 }, () => new Uint32Array(now.length + 1));
  for (let at = old.length - 1; at >= 0; at -= 1) {
    for (let to = now.length - 1; to >= 0; to -= 1) {
      lengths[at][to] = old[at] === now[to]
        ? lengths[at + 1][to + 1] + 1
        : Math.max(lengths[at + 1][to], lengths[at][to + 1]);
    }
  }
  const rows = [];
  let [at, to] = [0, 0];
  while (at < old.length || to < now.length) {
    if (at < old.length && to < now.length && old[at] === now[to]) {
      rows.push([" ", old[at]]);
      at += 1;
      to += 1;
    } else if (at < old.length && (to === now.length || lengths[at + 1][to] >= lengths[at][to + 1])) {
      rows.push(["-", old[at]]);
      at += 1;
    } else {
      rows.push(["+", now[to]]);
      to += 1;
    }
  }
  return rows;
}

function shortened(rows) {
  const isNear = rows.map((_, at) =>
    rows.slice(Math.max(0, at - AROUND), at + AROUND + 1).some(([sign]) => sign !== " "));
  return rows.flatMap((row, at) => {
    if (isNear[at]) return [row];
    return at === 0 || isNear[at - 1] ? [["…", ""]] : [];
  });
}
