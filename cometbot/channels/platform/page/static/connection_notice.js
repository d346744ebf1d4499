// Says when there is no connection, and for a moment when there is one again.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { Notice } from "./notice.js";
import { t } from "./i18n.js";

const DELAY = 1500; // a server that starts again is away for a moment only
const CONNECTED_DURATION = 3000;
const NOTICES = {
  offline: ["bad", "offline", "offline"],
  lost: ["bad", "offline", "reconnecting"],
  polling: ["warn", "warn", "polling"],
};

export class ConnectionNotice extends Notice {
  #timer = 0;

  constructor(store) {
    super();
    store.on("connection", () => this.#update(store.connection));
  }

  #update(connection) {
    clearTimeout(this.#timer);
    const wasShown = !this.element.hidden;
    if (connection in NOTICES) {
      const [kind, sign, text] = NOTICES[connection];
      this.#timer = setTimeout(() => this.show(kind, icon(sign), h("span", t(text))), wasShown ? 0 : DELAY);
    } else if (wasShown) {
      this.showBriefly(CONNECTED_DURATION, "good", icon("check"), h("span", t("online")));
    }
  }
}
