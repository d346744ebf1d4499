// The traffic log: every callback and every REST call, with its headers, bodies, status, time and handler.

import { definitionList, h, fill, options, replaceChildren } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { jsonBlock, textOf } from "./json.js";
import { clock, duration } from "./time.js";
import { copyText } from "./toasts.js";

const MAX_ROWS = 200;
const KINDS = [
  ["", "All"],
  ["callback", "Callbacks"],
  ["request", "REST calls"],
];

/** The newest entry first. Entries that are open stay open. */
export class TrafficLog {
  #rows = new Map();
  #only = "";
  #cleared = 0;

  constructor(store) {
    this.store = store;
    this.filter = h("input", {
      type: "search",
      placeholder: "Filter",
      "aria-label": "Filter by path, body, handler or status",
      oninput: () => this.#show(),
    });
    this.kind = h("select", { "aria-label": "Which entries", onchange: () => this.#show() }, options(KINDS));
    this.chip = h("button.chip-button", { hidden: true, onclick: () => this.showMessage("") });
    this.list = h("ol.entries.vstack", { "aria-label": "Callbacks and REST calls, the newest first" });
    const clear = h("button.button", { onclick: () => this.#clear() }, "Clear");
    const bar = h("div.bar", this.filter, h("div.select", this.kind, icon("down")), clear);
    this.element = h("div.traffic", bar, this.chip, this.list);
    store.on("entries handled", () => this.#show());
  }

  /** Show only the entries of this message; all with an empty id. */
  showMessage(id) {
    this.#only = id;
    this.chip.hidden = !id;
    fill(this.chip, `Message ${id} only`, icon("close"));
    this.#cleared = id ? 0 : this.#cleared;
    this.#show();
    const rows = [...this.#rows.values()];
    // A call of the bot may be logged before its callback, which ends later.
    const first = rows.findLast(({ entry }) => entry.kind === "callback") ?? rows.at(-1);
    if (id && first) first.element.open = true;
  }

  #clear() {
    this.#cleared = this.store.entries.at(-1)?.id ?? 0;
    this.#show();
  }

  #show() {
    const wanted = this.filter.value.trim().toLowerCase();
    const shown = this.store.entries
      .filter(
        (entry) =>
          entry.id > this.#cleared &&
          (this.kind.value ? entry.kind === this.kind.value : wanted || !isUpkeep(entry)) &&
          (!this.#only || concerns(entry, this.#only, this.store)) &&
          (!wanted || this.#text(entry).includes(wanted)),
      )
      .slice(-MAX_ROWS)
      .reverse();
    const kept = new Map();
    for (const entry of shown) kept.set(entry.id, this.#row(entry));
    this.#rows = kept;
    const nodes = [...kept.values()].map((row) => row.item);
    const isFiltered = wanted || this.#only;
    const hint = () =>
      h(
        "li.hint.muted",
        isFiltered ? "Nothing fits the filter." : "Callbacks to your bot and its REST calls appear here.",
      );
    replaceChildren(this.list, nodes.length ? nodes : [hint()]);
  }

  #text(entry) {
    return JSON.stringify([entry, this.#handler(entry)]).toLowerCase();
  }

  #handler(entry) {
    return entry.kind === "callback" ? this.store.handled[`${entry.target}/${entry.message_id}`] : undefined;
  }

  #row(entry) {
    const handled = this.#handler(entry);
    const signature = JSON.stringify(handled ?? null);
    const known = this.#rows.get(entry.id);
    if (known?.signature === signature) return known;
    const element = h("details.entry", { open: known?.element.open ?? false }, head(entry, handled, this.store));
    const build = () => element.open && element.childElementCount === 1 && element.append(this.#body(entry, handled));
    element.addEventListener("toggle", build);
    build();
    const item = h("li", element);
    known?.item.replaceWith(item);
    return { entry, signature, element, item };
  }

  #body(entry, handled) {
    const isCallback = entry.kind === "callback";
    const query = Object.keys(entry.query ?? {}).length ? `?${new URLSearchParams(entry.query)}` : "";
    const line = isCallback ? `POST ${entry.url}` : `${entry.method} ${entry.path}${query}`;
    const after = (seconds) => `after ${duration(seconds)}`;
    const error = entry.error ? ` – ${entry.error}` : "";
    const work = handled && [handled.state, handled.seconds && after(handled.seconds)].filter(Boolean).join(" ");
    const facts = [
      ["Request", line],
      ["Answer", `${entry.status || "no answer"} ${after(entry.seconds)}${error}`],
      isCallback && ["Attempt", `${entry.attempt}${entry.copy ? `, simulated duplicate ${entry.copy}` : ""}`],
      entry.misbehaviour?.length > 0 && ["Failures", entry.misbehaviour.join(", ")],
      handled && ["Handler", `${handled.handler || "none"} · ${work}`],
      handled?.error && ["Error", handled.error],
    ];
    return h(
      "div.entry-body",
      definitionList("dl", facts),
      part("Headers", definitionList("dl.headers", Object.entries(entry.headers ?? {}))),
      hasContent(entry.body) && this.#json("Body", entry.body, true),
      hasContent(entry.answer) && this.#json("Answer", entry.answer, !isCallback),
    );
  }

  #json(title, value, open) {
    const copy = async (event) => {
      event.preventDefault();
      await copyText(textOf(value));
    };
    const button = iconButton("button.quiet-button", "copy", `Copy the ${title.toLowerCase()}`, copy);
    return part(title, jsonBlock(value, title), open, button);
  }
}

function part(title, content, open = false, extra = null) {
  return h("details.part", { open }, h("summary.hstack", title, extra), content);
}

function head(entry, handled, store) {
  const isCallback = entry.kind === "callback";
  const what = isCallback ? entry.trigger : `${entry.method} ${entry.path.replace(/^\/v3/, "")}`;
  const said = (isCallback ? entry.body?.data : entry.body)?.data?.text;
  const [arrow, label] = isCallback ? ["→", "Callback"] : ["←", "REST call"];
  const about = [
    clock(entry.at),
    handled?.handler && h("b", { class: handled.state }, handled.handler),
    entry.misbehaviour?.length > 0 && h("b.dead", entry.misbehaviour.join(", ")),
    entry.copy > 0 && h("b", "duplicate"),
    entry.attempt > 1 && `attempt ${entry.attempt}`,
    isCallback && `to ${store.isAgent(entry.target) ? store.nameOf(entry.target) : entry.target}`,
    said && `“${said.length > 60 ? `${said.slice(0, 60)}…` : said}”`,
  ].filter(Boolean);
  const small = h("small.truncate", about.map(separated));
  const status = h("span.status", { class: entry.error ? "bad" : statusKind(entry.status) }, entry.status || "–");
  return h(
    "summary.hstack",
    { class: isCallback ? "callback" : "request" },
    h("span.direction.center", { "aria-label": label, role: "img" }, arrow),
    h("span.lines", h("span.what.truncate", what), small),
    h("span.aside.vstack", status, h("small", duration(entry.seconds))),
  );
}

const separated = (part, index) => (index ? [" · ", part] : part);

/** Return whether it is the call by which the bot's process learns every few minutes who is a bot. */
function isUpkeep(entry) {
  return entry.kind === "request" && entry.method === "GET" && entry.path.endsWith("/bots");
}

function concerns(entry, id, store) {
  if (entry.kind === "callback") return entry.message_id === id;
  const message = store.messages.get(id);
  return (
    new RegExp(`/messages/${id}(/|$)`).test(entry.path) ||
    entry.answer?.data?.id === id ||
    (Boolean(message?.muid) && entry.body?.muid === message.muid) ||
    answersTo(entry, message, store)
  );
}

/** Return whether a REST call sent a bot's message right after this one, in its conversation. */
function answersTo(entry, message, store) {
  const sent = store.messages.get(entry.answer?.data?.id);
  if (!message || !sent || sent.conversationId !== message.conversationId || Number(sent.id) < Number(message.id))
    return false;
  const later = [...store.messages.values()].filter(
    (other) =>
      other.conversationId === message.conversationId &&
      Number(other.id) > Number(message.id) &&
      !store.isBot(other.sender),
  );
  return later.every((other) => Number(other.id) > Number(sent.id));
}

function hasContent(value) {
  const isEmptyObject = typeof value === "object" && value !== null && !Object.keys(value).length;
  return (value ?? "") !== "" && !isEmptyObject;
}

function statusKind(status) {
  return status >= 200 && status < 300 ? "good" : status === 429 ? "warn" : "bad";
}
