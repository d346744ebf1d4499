// Says when the bot's code does not run, and why; and for a moment when new code does.

import { h, fill } from "./dom.js";
import { icon } from "./icons.js";

const SHORT = 5000;

/** A bar above the conversation. */
export class Notice {
  #starts = null;
  #gone = 0;

  constructor(store) {
    this.store = store;
    this.element = h("div.notice", { role: "status", hidden: true });
    store.on("status", () => this.#show());
    store.on("connected", () => this.#show());
  }

  #show() {
    const { status, connected } = this.store;
    const before = this.#starts;
    if (status.starts !== undefined) this.#starts = status.starts;
    if (connected === false)
      return this.#set(
        "bad",
        icon("warn"),
        h("strong", "Not connected."),
        " Trying again: is cometbot dev still running?",
      );
    if (status.fault) return this.#fault(status);
    if (status.state === "failed")
      return this.#set("bad", icon("warn"), h("strong", "The bot is not running."), " It is started again.");
    if (before !== null && status.starts > before) return this.#reloaded(status);
    if (connected === "polling")
      return this.#set("warn", icon("warn"), h("strong", "No live connection."), " News appear some seconds late.");
    if (!this.element.classList.contains("good")) this.element.hidden = true;
  }

  #fault({ fault, state, files = [] }) {
    const goesOn = state === "running" ? "The old bot goes on." : "It is tried again when you save a file.";
    const changed = files.length
      ? `${files.join(", ")} changed, but the new code does not run.`
      : "The bot cannot start.";
    const where = fault.place ? h("code.where", fault.place) : null;
    const trace = fault.trace && h("details", h("summary", "Traceback"), h("pre", { tabindex: "0" }, fault.trace));
    this.#set(
      "bad",
      icon("warn"),
      h(
        "div.what",
        h("p", h("strong", changed), ` ${goesOn}`),
        h("p", where, " ", fault.text),
        fault.code && h("pre.code", { tabindex: "0" }, fault.code),
        trace,
      ),
    );
  }

  #reloaded({ files = [] }) {
    const text = files.length ? `${files.join(", ")} changed: the bot runs with the new code.` : "The bot runs again.";
    this.#set("good", icon("reload"), h("span", text));
    clearTimeout(this.#gone);
    this.#gone = setTimeout(() => {
      if (this.element.classList.contains("good")) {
        this.element.hidden = true;
        this.element.className = "notice";
      }
    }, SHORT);
  }

  #set(kind, ...content) {
    this.element.className = `notice ${kind}`;
    this.element.hidden = false;
    fill(this.element, content);
  }
}
