// Completes @mentions and /commands in a text box: a list above it, chosen from by keyboard or pointer.

import { h, fill } from "./dom.js";
import { avatar } from "./avatar.js";
import { t } from "./i18n.js";

const MAX_OPTIONS = 8;

/**
 * `offers(kind)` with the kind `@` or `/`; `mentioned(offer)` hears which person was taken. An offer's `usage` stands
 * above the box for as long as its arguments are written.
 */
export class Completion {
  #found = [];
  #chosen = 0;
  #start = 0;
  #kind = "";
  #isDismissed = false;

  constructor(text, offers, mentioned, id) {
    this.text = text;
    this.offers = offers;
    this.mentioned = mentioned;
    this.element = h("ul.completion", { role: "listbox", id, hidden: true, "aria-label": t("suggestions") });
    this.usage = h("p.usage.muted", { role: "status", hidden: true });
    const states = { autocomplete: "list", controls: id, expanded: "false", haspopup: "listbox" };
    text.setAttribute("role", "combobox");
    for (const [name, value] of Object.entries(states)) text.setAttribute(`aria-${name}`, value);
    text.addEventListener("input", () => {
      this.#isDismissed = false;
      this.#update();
    });
    text.addEventListener("blur", () => setTimeout(() => this.#hasFocus || this.close(), 150));
    text.addEventListener("click", () => this.#update());
  }

  /** Handle a key and return whether it was one for the list. */
  key(event) {
    if (this.element.hidden) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#choose((this.#chosen + step + this.#found.length) % this.#found.length);
    else if (event.key === "Tab" || (event.key === "Enter" && !this.#isWhole())) this.#accept(this.#chosen);
    else if (event.key === "Escape") this.#dismiss();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  /** Complete what is written already from offers that have come since. */
  refresh() {
    if (this.#hasFocus && this.element.hidden && !this.#isDismissed) this.#update();
  }

  #dismiss() {
    this.#isDismissed = true;
    this.close();
  }

  get #hasFocus() {
    return document.activeElement === this.text;
  }

  close() {
    this.#show(false);
    if (!this.text.value) this.usage.hidden = true;
    this.text.removeAttribute("aria-activedescendant");
  }

  #show(isOpen) {
    this.element.hidden = !isOpen;
    this.text.setAttribute("aria-expanded", String(isOpen));
  }

  #update() {
    const before = this.text.value.slice(0, this.text.selectionStart);
    this.#showUsage();
    const found = /(?:^|[\s(])(@)([\p{L}\p{N}_.-]*)$/u.exec(before) ?? /^(\/)(\S*)$/.exec(before);
    if (!found) return this.close();
    const [, kind, typed] = found;
    this.#kind = kind;
    this.#start = before.length - typed.length - 1;
    const fits = (offer) =>
      [offer.label, offer.value].some((word) =>
        word
          .toLowerCase()
          .replace(/^\//, "")
          .split(/\s/)
          .some((part) => part.startsWith(typed.toLowerCase())),
      );
    this.#found = this.offers(kind).filter(fits).slice(0, MAX_OPTIONS);
    if (!this.#found.length) return this.close();
    this.#choose(0);
    this.#show(true);
  }

  #showUsage() {
    const [, command] = /^(\/\S+)\s/.exec(this.text.value) ?? [];
    const offer = command && this.offers("/").find((one) => one.value.toLowerCase() === command.toLowerCase());
    this.usage.hidden = !offer?.usage;
    const shown = offer?.usage ? `${offer.usage} ${offer.hint ?? ""}` : "";
    if (this.usage.textContent !== shown && offer?.usage) {
      fill(this.usage, h("code", offer.usage), " ", offer.hint ?? "");
    }
  }

  #isWhole() {
    return this.#kind === "/" && this.#found[this.#chosen].value === this.text.value.trim();
  }

  #choose(index) {
    this.#chosen = index;
    fill(
      this.element,
      this.#found.map((offer, number) => this.#option(offer, number)),
    );
    this.text.setAttribute("aria-activedescendant", `${this.element.id}-${index}`);
  }

  #option(offer, number) {
    const mark = this.#kind === "@" ? avatar(offer.value, offer.label) : null;
    return h(
      "li.hstack",
      {
        role: "option",
        id: `${this.element.id}-${number}`,
        "aria-selected": String(number === this.#chosen),
        onpointerdown: (event) => {
          event.preventDefault();
          this.#accept(number);
        },
      },
      mark,
      h("strong", offer.label, offer.args && h("span.args.muted", ` ${offer.args}`)),
      offer.hint && h("small", offer.hint),
    );
  }

  #accept(index) {
    const offer = this.#found[index];
    const taken = this.#kind === "@" ? `@${offer.label} ` : `${offer.value} `;
    const end = this.text.selectionStart;
    this.text.setRangeText(taken, this.#start, end, "end");
    if (this.#kind === "@") this.mentioned(offer);
    this.close();
    this.text.dispatchEvent(new Event("input", { bubbles: true }));
    this.close();
  }
}
