// A bar above the conversation.

import { h, fill } from "./dom.js";

/** Base of a page's notice. */
export class Notice {
  element = h("div.notice", { role: "status", hidden: true });
  #timer = 0;
  #isBrief = false;

  show(kind, ...content) {
    clearTimeout(this.#timer);
    this.#isBrief = false;
    this.element.className = `notice ${kind}`;
    this.element.hidden = false;
    fill(this.element, content);
  }

  /** Show it for some milliseconds, unless something else is shown before. */
  showBriefly(duration, kind, ...content) {
    this.show(kind, ...content);
    this.#isBrief = true;
    this.#timer = setTimeout(() => (this.element.hidden = true), duration);
  }

  /** Hide what `show` has shown. */
  hide() {
    if (!this.#isBrief) this.element.hidden = true;
  }
}
