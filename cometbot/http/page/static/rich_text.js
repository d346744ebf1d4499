// The HTML that the server rendered from Markdown, as elements. The server has sanitized it; only known tags are copied.

import { h, safeUrl } from "./dom.js";

const TAGS = new Set("A BLOCKQUOTE BR CODE EM HR LI OL P PRE S SPAN STRONG TABLE TBODY TD TH THEAD TR UL".split(" "));
const SIDES = ["left", "center", "right"];
const SCHEMES = ["http:", "https:", "mailto:", "tel:"];

const BLOCKS = "p, li, th, td";
const RIGHT_TO_LEFT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/** Return the element of a text: its HTML with `nameOf(uid)` as mentions, or the text itself if it is not rendered. */
export function prose(html, text = "", nameOf = undefined) {
  if (html) return h("div.prose", markDirections(each(parse(html, nameOf))));
  return text?.trim() ? h("div.prose.plain", text) : null;
}

/** Return the text of some HTML in one line. */
export function plainText(html, nameOf = undefined) {
  const body = parse(html, nameOf);
  for (const block of body.querySelectorAll("p, li, pre, td, th, br")) block.append(" ");
  return body.textContent.replace(/\s+/g, " ").trim();
}

function parse(html, nameOf = (uid) => uid) {
  const { body } = new DOMParser().parseFromString(html, "text/html");
  for (const mention of body.querySelectorAll(".mention")) mention.textContent = `@${nameOf(mention.textContent)}`;
  return body;
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
  if (tag === "span") return node.className === "mention" ? h("span.mention", children) : children;
  if (tag === "a") return link(node, children);
  if (tag === "pre") return h("pre", { tabindex: "0", dir: "ltr" }, children);
  if (tag === "code") return h("code", { dir: "ltr" }, children);
  if (tag === "table") return h("div.table", { tabindex: "0" }, h("table", { dir: "auto" }, children));
  if (tag === "p" && node.getAttribute("role") === "heading") {
    return h("p", { role: "heading", "aria-level": "4" }, children);
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

/**
 * Mark the blocks in `nodes` whose text without code begins with a letter that runs right to left. WebKit's
 * `unicode-bidi: plaintext` counts the letters of the code as well. Return `nodes`.
 */
function markDirections(nodes) {
  for (const node of nodes.flat(Infinity)) {
    if (!(node instanceof Element)) continue;
    for (const code of node.querySelectorAll("code")) code.closest(BLOCKS)?.classList.toggle("rtl", runsLeft(code));
  }
  return nodes;
}

function runsLeft(code) {
  const text = code.closest(BLOCKS).cloneNode(true);
  for (const part of text.querySelectorAll("code")) part.remove();
  return RIGHT_TO_LEFT.test(text.textContent.match(/\p{L}/u)?.[0] ?? "");
}
