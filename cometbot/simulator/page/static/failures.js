// Switches that make the simulated CometChat misbehave, to see how the bot takes it.

import { h, fill, options } from "./dom.js";
import { icon } from "./icons.js";
import { behave, misbehave } from "./api.js";
import { showToast } from "./toasts.js";

const FAILURES = [
  [
    "rate_limit",
    "Too many requests",
    "Sends are answered with 429; the bot waits 2 s and tries again.",
    { retry_after: 2 },
  ],
  ["fail", "Server error", "Sends are answered with 500, and nothing is done.", { status: 500 }],
  ["slow", "Slow", "Sends are answered after 3 s.", { seconds: 3 }],
  ["drop", "Lost answer", "Sends are carried out, but the connection breaks before the answer.", { before: false }],
  ["duplicate_callbacks", "Callbacks twice", "The bot gets each message twice. It must answer once.", { n: 1 }],
  ["reorder_callbacks", "Callbacks out of order", "Callbacks are held back for a moment and posted shuffled.", {}],
].map(([kind, label, note, rule]) => ({ kind, label, note, rule }));
const LASTING = "reorder_callbacks"; // a rule without a count
const TIMES = [
  ["1", "once"],
  ["3", "3 times"],
  ["", "until switched off"],
];

/** One switch for each failure, for the next few times or until it is switched off. */
export class Failures {
  constructor(store) {
    this.store = store;
    this.rows = FAILURES.map((failure) => this.#row(failure));
    this.times = h("select", options(TIMES));
    const rows = this.rows.map((row) => row.element);
    this.element = h(
      "div.failures",
      h("p.intro.muted", "Servers fail now and then. No failure may lose a message, or send one twice."),
      h("label.how-often.hstack", "How often", h("span.select", this.times, icon("down"))),
      h("ul", rows),
    );
    store.on("rules", () => this.#show());
    this.#show();
  }

  get badge() {
    return { count: FAILURES.filter((failure) => this.#rule(failure)).length, kind: "warn" };
  }

  #rule({ kind }) {
    return this.store.rules.find((rule) => rule.kind === kind && (rule.times === null || rule.hits < rule.times));
  }

  #row(failure) {
    const state = h("small.state");
    const id = `failure-${failure.kind}`;
    const attributes = { role: "switch", "aria-checked": "false", "aria-labelledby": id };
    const button = h("button.switch", { ...attributes, onclick: () => this.#flip(failure) }, h("span"));
    const lines = h("div.lines", h("strong", { id }, failure.label), h("small", failure.note), state);
    const element = h("li.hstack", lines, button);
    return { failure, state, button, element };
  }

  async #flip(failure) {
    const times = failure.kind === LASTING ? "" : this.times.value;
    try {
      const isOn = Boolean(this.#rule(failure));
      await behave(failure.kind);
      if (!isOn) await misbehave({ kind: failure.kind, ...failure.rule, ...(times ? { times: Number(times) } : {}) });
    } catch (error) {
      showToast(error.message, "bad");
    }
  }

  #show() {
    for (const { failure, state, button } of this.rows) {
      const rule = this.#rule(failure);
      const wasUsed = this.store.rules.some((other) => other.kind === failure.kind);
      button.setAttribute("aria-checked", String(Boolean(rule)));
      fill(state, rule ? stateOf(rule) : wasUsed ? "done" : "");
    }
  }
}

function stateOf({ kind, times, hits }) {
  if (times !== null) return `${times - hits} more`;
  return kind === LASTING ? "on" : `on, ${hits} so far`;
}
