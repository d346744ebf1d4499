// Says when the bot's code does not run, and why; and for a moment when new code does.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { Notice } from "./notice.js";

const RELOADED_DURATION = 5000;

export class BotNotice extends Notice {
  #starts = null;

  constructor(store) {
    super();
    store.on("status connection", () => this.#update(store));
  }

  #update({ status, connection }) {
    const before = this.#starts;
    this.#starts = status.starts ?? before;
    const warn = (kind, title, text) => this.show(kind, icon("warn"), h("span", h("strong", title), ` ${text}`));
    if (connection === "lost") return warn("bad", "Not connected.", "Trying again: is cometbot dev still running?");
    if (status.fault) return this.#showError(status);
    if (status.state === "failed") return warn("bad", "The bot is not running.", "It is started again.");
    if (before !== null && status.starts > before && (before || status.files?.length)) return this.#showReload(status);
    if (connection === "polling") return warn("warn", "No live connection.", "Messages appear a few seconds late.");
    return this.hide();
  }

  #showError({ fault, state, files = [] }) {
    const next = state === "running" ? "The old bot goes on." : "It is tried again when you save a file.";
    const changed = files.length
      ? `${files.join(", ")} changed, but the new code does not run.`
      : "The bot cannot start.";
    this.show(
      "bad",
      icon("warn"),
      h(
        "div.what",
        h("p", h("strong", changed), ` ${next}`),
        h("p", fault.place && h("code.where", fault.place), " ", fault.text),
        fault.code && h("pre.code", { tabindex: "0" }, fault.code),
        fault.trace && h("details", h("summary", "Traceback"), h("pre", { tabindex: "0" }, fault.trace)),
      ),
    );
  }

  #showReload({ files = [] }) {
    const text = files.length ? `${files.join(", ")} changed: the bot runs with the new code.` : "The bot runs again.";
    this.showBriefly(RELOADED_DURATION, "good", icon("reload"), h("span", text));
  }
}
