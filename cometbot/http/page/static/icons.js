// Line icons, drawn in the colour of the text around them.

import { h } from "./dom.js";

const PATHS = {
  send: "M4 12 20 4l-5 16-4-6zM11 14l4-5",
  attach: "m20 11-8.5 8.5a5 5 0 0 1-7-7L13 4a3.5 3.5 0 0 1 5 5l-8.5 8.5a2 2 0 0 1-3-3L14 7",
  react: "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18zM9 10v.01M15 10v.01M8.5 14.5a4.5 4.5 0 0 0 7 0",
  thread: "M21 12a8 8 0 0 1-11.5 7.2L4 20l1-4.6A8 8 0 1 1 21 12zM9 11h6M9 14h4",
  edit: "M4 20h4L19 9a2.8 2.8 0 0 0-4-4L4 16zM13.5 6.5l4 4",
  bin: "M4 7h16M10 11v6M14 11v6M6 7l1 13h10l1-13M9 7V4h6v3",
  traffic: "M4 8h13m0 0-4-4m4 4-4 4M20 16H7m0 0 4-4m-4 4 4 4",
  chat: "M4 5h16v11H9l-5 4z",
  people:
    "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20a6.5 6.5 0 0 1 13 0M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14.5a6.5 6.5 0 0 1 3.5 5.5",
  close: "M6 6l12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  file: "M6 3h8l4 4v14H6zM14 3v5h4",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z",
  system: "M3 5h18v11H3zM8 20h8M12 16v4",
  down: "M6 9l6 6 6-6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  out: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  check: "M5 12.5 10 17.5 19 7",
  group: "M7 8h10M7 12h6M4 4h16v13h-9l-5 3v-3H4z",
  warn: "M12 4 2.5 20h19zM12 10v4M12 17v.01",
  reload: "M20 12a8 8 0 1 1-2.5-5.8M20 4v4h-4",
  back: "M15 5l-7 7 7 7",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3.5 2",
  leave: "M14 4H5v16h9M10 12h11m0 0-4-4m4 4-4 4",
  offline:
    "M3 3l18 18M8.5 16.5a5 5 0 0 1 7 0M5.5 13a10 10 0 0 1 4.6-2.6M2.5 9.5a14 14 0 0 1 4.2-2.8M18.5 13a10 10 0 0 0-2.4-1.8M21.5 9.5A14 14 0 0 0 10.6 6M12 20v.01",
  bolt: "M13 3 5 14h6l-1 7 8-11h-6z",
};

/** Return a button that is an icon. Its label is read by screen readers and shown while the pointer is over it. */
export function iconButton(selector, name, label, onclick) {
  return h(`${selector}.icon-button`, { title: label, "aria-label": label, onclick }, icon(name));
}

/** Return an icon that screen readers skip. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name] ?? "");
  svg.append(path);
  return svg;
}
