// A conversation as a list of messages that stays where the reader is, and follows when they are at its end.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { messageElement } from "./message.js";

const NEAR = 80;

/**
 * `look` says how messages look to whoever reads, see message.js; `empty` is what stands there before the first.
 * Up, Down, Home and End go from message to message.
 */
export class Transcript {
  #shown = new Map();
  #days = new Map();
  #follows = true;
  #list;
  #unseen;
  #look;
  #empty;

  constructor(look, { label, empty }) {
    this.#look = look;
    this.#empty = empty;
    this.#list = h("div.messages", {
      role: "log",
      "aria-label": label,
      "aria-live": "polite",
      "aria-relevant": "additions text",
    });
    this.#unseen = h(
      "button.unseen",
      { type: "button", hidden: true, onclick: () => this.toEnd() },
      icon("down"),
      "New messages",
    );
    this.element = h("div.transcript", {}, this.#list, this.#unseen);
    this.#list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follows && this.toEnd()).observe(this.#list);
    this.#list.addEventListener("keydown", (event) => this.#move(event));
  }

  get isAtEnd() {
    return this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < NEAR;
  }

  /** Forget what was shown: another conversation comes. */
  clear() {
    this.#follows = true;
    this.#shown.clear();
    this.#list.replaceChildren();
    this.#unseen.hidden = true;
  }

  /** Show these messages, oldest first; only what has changed is made anew. `after` are elements below them. */
  show(messages, after = []) {
    const nodes = [];
    let last = null;
    let isNew = false;
    const kept = new Map();
    for (const message of messages) {
      if (dayOf(message) !== (last && dayOf(last))) nodes.push(this.#day(message));
      const facts = this.#look.facts(message, { follows: isSameTurn(last, message) });
      const signature = JSON.stringify([message, facts]);
      const known = this.#shown.get(message.id);
      isNew ||= !known;
      const element = known?.signature === signature ? known.element : this.#renew(known, message, facts);
      kept.set(message.id, { signature, element, message });
      nodes.push(element);
      last = message;
    }
    this.#shown = kept;
    this.#place(nodes.length ? [...nodes, ...after] : [this.#empty(), ...after]);
    if (this.#follows) this.toEnd();
    else if (isNew) this.#unseen.hidden = false;
  }

  toEnd() {
    this.#follows = true;
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#unseen.hidden = true;
  }

  focusOn(id) {
    this.#shown.get(id)?.element.focus();
  }

  #renew(known, message, facts) {
    const hadFocus = known?.element.contains(document.activeElement);
    const element = messageElement(message, facts, this.#look);
    if (known) element.classList.add("settled");
    if (hadFocus) queueMicrotask(() => element.focus({ preventScroll: true }));
    for (const media of element.querySelectorAll("img, video")) {
      media.addEventListener(media.tagName === "IMG" ? "load" : "loadedmetadata", () => this.#follows && this.toEnd());
    }
    return element;
  }

  #scrolled() {
    this.#follows = this.isAtEnd;
    if (this.#follows) this.#unseen.hidden = true;
  }

  #place(nodes) {
    const wanted = new Set(nodes);
    for (const child of [...this.#list.children]) if (!wanted.has(child)) child.remove();
    nodes.forEach((node, place) => {
      if (this.#list.children[place] !== node) this.#list.insertBefore(node, this.#list.children[place] ?? null);
    });
  }

  #day(message) {
    const day = dayOf(message);
    if (!this.#days.has(day)) this.#days.set(day, this.#newDay(message));
    return this.#days.get(day);
  }

  #newDay(message) {
    const date = new Date(message.sentAt * 1000);
    const isToday = date.toDateString() === new Date().toDateString();
    const shown = isToday
      ? "Today"
      : date.toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" });
    return h("div.day", {}, h("span", {}, shown));
  }

  #move(event) {
    const current = event.target.closest?.(".message");
    if (!current || event.target !== current) return;
    const all = [...this.#list.querySelectorAll(".message")];
    const place = all.indexOf(current);
    const target = { ArrowUp: all[place - 1], ArrowDown: all[place + 1], Home: all[0], End: all.at(-1) }[event.key];
    if (!target) return;
    event.preventDefault();
    target.focus();
  }
}

function dayOf(message) {
  return new Date(message.sentAt * 1000).toDateString();
}

function isSameTurn(last, message) {
  return (
    Boolean(last) &&
    last.sender === message.sender &&
    message.sentAt - last.sentAt < 300 &&
    dayOf(last) === dayOf(message)
  );
}
