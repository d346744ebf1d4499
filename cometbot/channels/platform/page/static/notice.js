// Says when there is no connection, and for a moment when there is one again.

import { h, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";

const GRACE = 1500;
const SHORT = 3000;
const SHOWN = {
  offline: ["bad", "offline", "offline"],
  lost: ["bad", "offline", "reconnecting"],
  polling: ["warn", "warn", "polling"],
};

/** A bar above the conversation. */
export class Notice {
  #timer = 0;

  constructor(store) {
    this.element = h("div.notice", { role: "status", hidden: true });
    store.on("connection", () => this.#changed(store.connection));
  }

  #changed(connection) {
    clearTimeout(this.#timer);
    const wasShown = !this.element.hidden;
    if (connection in SHOWN) {
      // A server that starts again is away for a moment only.
      this.#timer = setTimeout(() => this.#set(...SHOWN[connection]), wasShown ? 0 : GRACE);
    } else if (wasShown) {
      this.#set("good", "check", "online");
      this.#timer = setTimeout(() => (this.element.hidden = true), SHORT);
    }
  }

  #set(kind, sign, name) {
    this.element.className = `notice ${kind}`;
    this.element.hidden = false;
    fill(this.element, icon(sign), h("span", t(name)));
  }
}
