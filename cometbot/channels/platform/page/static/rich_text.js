// The HTML that the platform made of a text, as elements. It has cleaned it; this takes over only what it may hold.

import { markDirections } from "./direction.js";
import { h, safeUrl } from "./dom.js";

const TAGS = new Set("A BLOCKQUOTE BR CODE EM HR LI OL P PRE S STRONG TABLE TBODY TD TH THEAD TR UL".split(" "));
const SIDES = ["left", "center", "right"];
const SCHEMES = ["http:", "https:", "mailto:", "tel:"];

/** The nodes of a text in HTML; what is no known tag is left out, its text stays. */
export function richText(html) {
  return markDirections(each(new DOMParser().parseFromString(html, "text/html").body));
}

/** Its text in one line. */
export function plain(html) {
  const { body } = new DOMParser().parseFromString(html, "text/html");
  for (const block of body.querySelectorAll("p, li, pre, td, th, br")) block.append(" ");
  return body.textContent.replace(/\s+/g, " ").trim();
}

function each(parent) {
  return [...parent.childNodes].map((node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    return node.nodeType === Node.ELEMENT_NODE ? element(node) : null;
  });
}

function element(node) {
  const children = each(node);
  if (!TAGS.has(node.tagName)) return children;
  const tag = node.tagName.toLowerCase();
  if (tag === "a") return link(node, children);
  if (tag === "pre") return h("pre", { tabindex: "0", dir: "ltr" }, children);
  if (tag === "code") return h("code", { dir: "ltr" }, children);
  if (tag === "table") return h("div.table", { tabindex: "0" }, h("table", { dir: "auto" }, children));
  if (tag === "p" && node.getAttribute("role") === "heading") {
    return h("p.h3", { role: "heading", "aria-level": "4" }, children);
  }
  return h(tag, attributesOf(tag, node), children);
}

/** A list and a quotation run as their text does: so do their bullets and bar. */
function attributesOf(tag, node) {
  if (tag === "ol") return { dir: "auto", start: node.getAttribute("start") };
  if (tag === "ul" || tag === "blockquote") return { dir: "auto" };
  const side = node.getAttribute("align");
  return { class: SIDES.includes(side) ? `align-${side}` : null };
}

function link(node, children) {
  const written = node.getAttribute("href") ?? "";
  const href = /^[a-z]+:/i.test(written) ? safeUrl(written, SCHEMES) : "";
  return href ? h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, children) : children;
}
