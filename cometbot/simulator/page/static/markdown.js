// Markdown to elements: what chat apps show of it. Builds nodes only, so that a message cannot bring markup or script.

import { markDirections } from "./direction.js";
import { h, safeUrl } from "./dom.js";

// A bare URL: brackets in pairs, no full-width punctuation, no punctuation at its end.
const WIDE = "\\u3000-\\u3002\\u3008-\\u3011\\uff01\\uff08\\uff09\\uff0c\\uff1a\\uff1b\\uff1f";
const LETTER = `[^\\s<>()\\[\\]${WIDE}]`;
const GROUP = `(?:\\(${LETTER}*\\)|\\[${LETTER}*\\])`;
const LAST = `[^\\s<>()\\[\\]${WIDE}.,;:!?'"\\\\]`;

const INLINE = new RegExp(
  [
    "(?<!`)(?<code>`+)(?<codeText>[^`]|[^`].{0,2000}?[^`])\\k<code>(?!`)",
    "<@uid:(?<mention>[^<>\\s]+)>",
    "(?<all><@all:[^<>\\s]+>)",
    "!?\\[(?<label>[^\\]\\n]{0,300})\\]\\((?<href>[^()\\s]*(?:\\([^()\\s]*\\)[^()\\s]*)*)\\)",
    "(?<strongMark>\\*\\*|__)(?=\\S)(?<strong>.+?\\S?)\\k<strongMark>",
    "~~(?=\\S)(?<strike>.+?)~~",
    "\\*(?=[^\\s*])(?<em>[^*\\n]*?[^\\s*])\\*",
    "(?<![\\w])_(?=[^\\s_])(?<under>[^_\\n]*?[^\\s_])_(?!\\w)",
    `(?<![A-Za-z0-9+.-])(?<url>[Hh][Tt]{2}[Pp][Ss]?://(?:${GROUP}|${LETTER})*(?:${GROUP}|${LAST}))`,
    "\\\\(?<escaped>[\\\\`*_{}\\[\\]()#+\\-.!~|>])",
  ].join("|"),
  "gs",
);
const FENCE = /^ {0,3}(`{3,}(?!`)|~{3,}(?!~))\s*(?:\S+\s*)?$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/s;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/s;
const QUOTE = /^ {0,3}> ?(.*)$/;
const TABLE_RULE = /^:?-+:?$/;
const MOST_CELLS = 4000;

/** The elements that `text` stands for. `nameOf(uid)` names who is mentioned. */
export function markdown(text, nameOf = (uid) => uid) {
  return markDirections(blocks(String(text).replace(/\r\n?/g, "\n").split("\n"), nameOf));
}

/** The text of a message in one line, without its marks. */
export function plain(text, nameOf = (uid) => uid) {
  const marked = document.createElement("div");
  marked.append(...markdown(text, nameOf));
  for (const end of marked.querySelectorAll("br, p, li, pre, th, td, blockquote")) end.after(" ");
  return marked.textContent.replace(/\s+/g, " ").trim();
}

function blocks(lines, nameOf, depth = 0) {
  const made = [];
  let place = 0;
  while (place < lines.length) {
    const line = lines[place];
    const messageActions = [fenced, heading, rule, quoted, table, list].find((read) =>
      read.fits(line, lines, place, depth),
    );
    const read = messageActions ?? (line.trim() ? paragraph : blank);
    const [element, next] = read.make(lines, place, nameOf, depth);
    if (element) made.push(element);
    place = next;
  }
  return made;
}

const blank = { make: (lines, place) => [null, place + 1] };

const fenced = {
  fits: (line) => FENCE.test(line),
  make(lines, place) {
    const mark = FENCE.exec(lines[place])[1];
    let end = place + 1;
    while (end < lines.length && !lines[end].trim().startsWith(mark)) end += 1;
    return [h("pre", { tabindex: "0", dir: "ltr" }, h("code", lines.slice(place + 1, end).join("\n"))), end + 1];
  },
};

const heading = {
  fits: (line) => HEADING.test(line),
  make(lines, place, nameOf) {
    const [, marks, text] = HEADING.exec(lines[place]);
    return [
      h(
        `p.h${Math.min(marks.length, 4)}`,
        { role: "heading", "aria-level": "4" },
        inline(
          text
            .trimEnd()
            .replace(/(?<!#)#+$/, "")
            .trim(),
          nameOf,
        ),
      ),
      place + 1,
    ];
  },
};

const rule = { fits: (line) => RULE.test(line), make: (lines, place) => [h("hr"), place + 1] };

const quoted = {
  fits: (line, lines, place, depth) => QUOTE.test(line) && depth < 6,
  make(lines, place, nameOf, depth) {
    const inner = [];
    while (place < lines.length && QUOTE.test(lines[place])) inner.push(QUOTE.exec(lines[place++])[1]);
    return [h("blockquote", { dir: "auto" }, blocks(inner, nameOf, depth + 1)), place];
  },
};

const table = {
  fits: (line, lines, place) =>
    line.includes("|") && isTableRule(lines[place + 1] ?? "") && hasRoom(line, lines, place),
  make(lines, place, nameOf) {
    const head = cells(lines[place]);
    const sides = cells(lines[place + 1]).map(sideOf);
    const rows = [];
    place += 2;
    while (place < lines.length && lines[place].includes("|")) rows.push(cells(lines[place++]));
    const shown = (tag) => (cell, column) => h(tag, { class: sides[column] }, inline(cell, nameOf));
    const body = rows.map((row) =>
      h(
        "tr",
        head.map((_, column) => shown("td")(row[column] ?? "", column)),
      ),
    );
    const made = h("table", { dir: "auto" }, h("thead", h("tr", head.map(shown("th")))), h("tbody", body));
    return [h("div.table", { tabindex: "0" }, made), place];
  },
};

const list = {
  fits: (line, lines, place, depth) => ITEM.test(line) && depth < 6,
  make(lines, place, nameOf, depth) {
    const [, indent, marker] = ITEM.exec(lines[place]);
    const isOrdered = /\d/.test(marker);
    const items = [];
    while (place < lines.length) {
      const item = ITEM.exec(lines[place]);
      const isMine = item && item[1].length <= indent.length + 1 && /\d/.test(item[2]) === isOrdered;
      if (isMine) items.push([item[3]]);
      else if (lines[place].trim() && /^\s{2,}/.test(lines[place]))
        items.at(-1).push(lines[place].slice(indent.length + 2));
      else break;
      place += 1;
    }
    const start = { dir: "auto", start: isOrdered ? parseInt(marker, 10) : null };
    const shown = items.map((item) => h("li", itemContent(item, nameOf, depth)));
    return [h(isOrdered ? "ol" : "ul", start, shown), place];
  },
};

const paragraph = {
  make(lines, place, nameOf, depth) {
    const text = [];
    do text.push(lines[place++]);
    while (place < lines.length && lines[place].trim() && !interrupts(lines, place, depth));
    return [h("p", inline(text.join("\n"), nameOf)), place];
  },
};

function interrupts(lines, place, depth) {
  return [fenced, heading, rule, quoted, table, list].some((read) => read.fits(lines[place], lines, place, depth));
}

function itemContent([first, ...rest], nameOf, depth) {
  return [
    ...inline(first, nameOf),
    ...blocks(
      rest.map((line) => line.replace(/^ {1,2}(?=\S)/, "")),
      nameOf,
      depth + 1,
    ),
  ];
}

function isTableRule(line) {
  return cells(line).every((cell) => TABLE_RULE.test(cell));
}

/** The class of a column by its cell in the line of dashes, null for one without a colon. */
function sideOf(cell) {
  const [left, right] = [cell.startsWith(":"), cell.endsWith(":")];
  if (left && right) return "align-center";
  return left || right ? `align-${left ? "left" : "right"}` : null;
}

/** Whether the lines from `place` on could make no more cells than a page can bear: missing cells are filled up. */
function hasRoom(line, lines, place) {
  return line.split("|").length * (lines.length - place) <= MOST_CELLS;
}

function cells(line) {
  return line
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => cell.trim());
}

/** The nodes of a stretch of text; line ends stay. */
export function inline(text, nameOf = (uid) => uid, depth = 0) {
  if (depth > 6) return [text];
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > done) nodes.push(...broken(text.slice(done, match.index)));
    nodes.push(marked(match, nameOf, depth));
    done = match.index + match[0].length;
  }
  if (done < text.length) nodes.push(...broken(text.slice(done)));
  return nodes;
}

function marked(match, nameOf, depth) {
  const part = match.groups;
  const within = (tag, inner) => h(tag, inline(inner, nameOf, depth + 1));
  if (part.codeText !== undefined) return h("code", { dir: "ltr" }, part.codeText);
  if (part.mention) return h("span.mention", `@${nameOf(part.mention.toLowerCase())}`);
  if (part.all) return h("span.mention", "@all");
  if (part.href !== undefined) return link(part.href, part.label ? inline(part.label, nameOf, depth + 1) : part.href);
  if (part.strong) return within("strong", part.strong);
  if (part.strike) return within("s", part.strike);
  if (part.em ?? part.under) return within("em", part.em ?? part.under);
  if (part.url) return bareLink(part.url);
  return document.createTextNode(part.escaped);
}

function bareLink(written) {
  const url = written.replace(/\\([!-/:-@[-`{-~])/g, "$1");
  return link(url, url);
}

function link(href, label) {
  const safe = /^[a-z][a-z0-9+.-]*:/i.test(href) ? safeUrl(href) : "";
  return safe ? h("a", { href: safe, target: "_blank", rel: "noopener noreferrer" }, label) : h("span", label);
}

function broken(text) {
  return text.split("\n").flatMap((line, number) => (number ? [h("br"), line] : [line]));
}
