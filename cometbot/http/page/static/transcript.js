// A conversation as a list of messages that stays where the reader is, and follows when they are at its end.

import { h, replaceChildren } from "./dom.js";
import { icon } from "./icons.js";
import { messageElement } from "./message.js";
import { t } from "./i18n.js";
import { findCounterpart, restoreFocus, copyFormState } from "./form_state.js";
import { dayName } from "./time.js";

const END_DISTANCE = 80;
const TOP_DISTANCE = 300;
const MAX_ANNOUNCED = 5;
const ANNOUNCE_DELAY = 500;

/**
 * `view` says how messages look: what message.js needs, and `facts(message, {follows})`. `empty()` is
 * shown without messages; `reachedTop()` is called when the oldest message comes near.
 * Up, Down, Home and End go from message to message.
 */
export class Transcript {
  #shown = new Map();
  #days = new Map();
  #follows = true;
  #top = 0;
  #list;
  #unseen;
  #view;
  #empty;
  #reachedTop;

  constructor(view, { label, empty, reachedTop = () => {} }) {
    this.#view = view;
    this.#empty = empty;
    this.#reachedTop = reachedTop;
    this.#list = h("div.messages", {
      role: "log",
      "aria-label": label,
      "aria-live": "polite",
      "aria-relevant": "additions text",
    });
    this.#unseen = h("button.unseen", { hidden: true, onclick: () => this.toEnd() }, icon("down"), t("newMessages"));
    this.element = h("div.transcript.vstack", this.#list, this.#unseen);
    this.#list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follows && this.toEnd()).observe(this.#list);
    this.#list.addEventListener("keydown", (event) => this.#move(event));
  }

  get isAtEnd() {
    return this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < END_DISTANCE;
  }

  get isAtTop() {
    return this.#list.scrollTop < TOP_DISTANCE;
  }

  /** Remove all messages, before another conversation is shown. */
  clear() {
    this.#follows = true;
    this.#shown.clear();
    this.#list.replaceChildren();
    this.#unseen.hidden = true;
  }

  /**
   * Show these messages, oldest first; only what has changed is made anew. `after` are elements below them, `before`
   * those above. What the reader looks at stays where it is.
   */
  show(messages, after = [], before = []) {
    const nodes = [];
    let last = null;
    let isNew = false;
    const kept = new Map();
    const newest = [...this.#shown.values()].at(-1)?.message;
    let added = 0;
    for (const message of messages) {
      if (dayOf(message) !== (last && dayOf(last))) nodes.push(this.#day(message));
      const facts = this.#view.facts(message, { follows: isSameTurn(last, message) });
      const signature = JSON.stringify([message, facts]);
      const known = this.#shown.get(message.id);
      if (!known) added += 1;
      isNew ||= !known && (!newest || message.sentAt >= newest.sentAt);
      const element = known?.signature === signature ? known.element : this.#renew(known, message, facts);
      kept.set(message.id, { signature, element, message });
      nodes.push(element);
      last = message;
    }
    this.#shown = kept;
    const anchor = this.#follows ? null : this.#anchor();
    if (added > MAX_ANNOUNCED) this.#pauseAnnouncements();
    replaceChildren(this.#list, [...before, ...(nodes.length ? nodes : [this.#empty()]), ...after].filter(Boolean));
    if (this.#follows) this.toEnd();
    else if (isNew) this.#unseen.hidden = false;
    if (anchor?.element.isConnected) this.#list.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
  }

  toEnd() {
    this.#follows = true;
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#top = this.#list.scrollTop;
    this.#unseen.hidden = true;
  }

  focusOn(id) {
    this.#shown.get(id)?.element.focus();
  }

  /** A screen reader reads new messages, but not a page of old ones. */
  #pauseAnnouncements() {
    this.#list.setAttribute("aria-live", "off");
    setTimeout(() => this.#list.setAttribute("aria-live", "polite"), ANNOUNCE_DELAY);
  }

  /** The first message that can be seen, and where. */
  #anchor() {
    const top = this.#list.getBoundingClientRect().top;
    const seen = (element) => element.classList.contains("message") && element.getBoundingClientRect().bottom > top;
    const element = [...this.#list.children].find(seen);
    return element && { element, top: element.getBoundingClientRect().top };
  }

  #renew(known, message, facts) {
    const element = messageElement(message, facts, this.#view);
    if (known) {
      element.classList.add("settled");
      copyFormState(known.element, element);
      if (known.element.contains(document.activeElement)) {
        const wanted = findCounterpart(known.element, element);
        queueMicrotask(() => restoreFocus(wanted));
      }
    }
    for (const media of element.querySelectorAll("img, video")) {
      media.addEventListener(media.tagName === "IMG" ? "load" : "loadedmetadata", () => this.#follows && this.toEnd());
    }
    return element;
  }

  /** Only scrolling back ends following: a picture may grow before the scroll event of `toEnd` comes. */
  #scrolled() {
    const top = this.#list.scrollTop;
    const isBack = top < this.#top;
    this.#top = top;
    this.#follows = this.isAtEnd || (this.#follows && !isBack);
    if (this.isAtEnd) this.#unseen.hidden = true;
    if (this.isAtTop) this.#reachedTop();
  }

  #day(message) {
    const day = dayOf(message);
    if (!this.#days.has(day)) this.#days.set(day, h("div.day.hstack.muted", h("span", dayName(message.sentAt))));
    return this.#days.get(day);
  }

  #move(event) {
    const current = event.target.closest?.(".message");
    if (!current || event.target !== current) return;
    const all = [...this.#list.querySelectorAll(".message")];
    const index = all.indexOf(current);
    const target = { ArrowUp: all[index - 1], ArrowDown: all[index + 1], Home: all[0], End: all.at(-1) }[event.key];
    if (!target) return;
    event.preventDefault();
    target.focus();
  }
}

/** Return what stands in a conversation without messages; `choose(text)` is called with the suggestion that is clicked. */
export function emptyConversation(mark, title, text, suggestions, choose) {
  const choices = suggestions.map((one) => h("button.choice.hstack", { onclick: () => choose(one) }, one));
  return h("div.empty.vstack.muted", mark, h("h3", title), text && h("p", text), h("div.choices", choices));
}

/** Return three moving dots and a text. */
export function typingIndicator(text) {
  return h("div.working.hstack.muted", h("span.dots", { "aria-hidden": "true" }, h("i"), h("i"), h("i")), text);
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
