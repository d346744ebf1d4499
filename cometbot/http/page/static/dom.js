// Builds elements. Text only ever becomes text: nothing here takes HTML.

/** Create an element: `h("button.primary", {onclick: save}, "Save")`, or without attributes `h("p", text)`. A button submits no form unless its type says so. */
export function h(selector, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  const attributes = isPlainObject(children[0]) ? children.shift() : {};
  if (tag === "button") element.type = "button";
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  append(element, children);
  return element;
}

const isPlainObject = (value) => value?.constructor === Object;

/** Replace the children of `parent`, and return it. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
  return parent;
}

/** Make `nodes` the children of `parent`. Those that are in place are not touched, so that they keep focus and animation. */
export function replaceChildren(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
}

/** Return a list of names and values. Entries that are false are left out. */
export function definitionList(selector, entries) {
  const rows = entries.filter(Boolean).map(([name, value]) => [h("dt.muted", name), h("dd", value)]);
  return h(selector, rows);
}

/** Return the options of a select: pairs of value and label. */
export const options = (pairs) => pairs.map(([value, label]) => h("option", { value }, label));

/** Return a function that calls `act` once before the next frame, however often it is called; at once in a hidden page. */
export function oncePerFrame(act) {
  let frame = 0;
  const run = () => {
    frame = 0;
    act();
  };
  return () => {
    if (frame && !document.hidden) return;
    cancelAnimationFrame(frame);
    if (document.hidden) run();
    else frame = requestAnimationFrame(run);
  };
}

/** The URL if a page may lead or load from there, else an empty text. */
export function safeUrl(value, schemes = ["http:", "https:", "mailto:"]) {
  try {
    const url = new URL(String(value), location.href);
    return schemes.includes(url.protocol) ? url.href : "";
  } catch {
    return "";
  }
}

/** Return the text of a part of a URL, or the part itself if it is malformed. */
export function decodeUrlPart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "class") element.classList.add(...String(value).split(" ").filter(Boolean));
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
  else element.setAttribute(name, value === true ? "" : String(value));
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}
