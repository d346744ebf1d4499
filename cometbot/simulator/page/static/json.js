// JSON as one can read it: indented, coloured, and only ever text.

import { h } from "./dom.js";

const TOKEN = /("(?:\\.|[^"\\])*"?)(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
const MAX_LENGTH = 60_000;

/** A block that shows `value`. Text that is JSON is shown as that, other text as it is. */
export function jsonBlock(value, label = "JSON") {
  const block = h("pre.json", { tabindex: "0", "aria-label": label });
  block.append(...coloured(textOf(value)));
  return block;
}

/** `value` as it is shown and copied. */
export function textOf(value) {
  if (typeof value !== "string") return JSON.stringify(value, null, 2) ?? "";
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}

function coloured(whole) {
  const text =
    whole.length > MAX_LENGTH ? `${whole.slice(0, MAX_LENGTH)}\n… ${whole.length - MAX_LENGTH} more characters` : whole;
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(TOKEN)) {
    nodes.push(text.slice(done, match.index));
    const [, string, colon, word] = match;
    const kind = string ? (colon ? "key" : "string") : word ? "word" : "number";
    nodes.push(h(`span.${kind}`, string ?? match[0]), colon ?? "");
    done = match.index + match[0].length;
  }
  nodes.push(text.slice(done));
  return nodes.filter((node) => node !== "");
}
