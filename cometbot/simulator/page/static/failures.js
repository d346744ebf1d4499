// Switches that make the simulated CometChat misbehave, to see how the bot takes it.

import { h, fill } from "./dom.js";
import { icon } from "./icons.js";
import { behave, misbehave } from "./api.js";
import { showToast } from "./toasts.js";

const FAILURES = [
  {
    kind: "rate_limit",
    label: "Too many requests",
    note: "Sends are answered with 429; the bot waits 2 s and tries again.",
    rule: { retry_after: 2 },
  },
  {
    kind: "fail",
    label: "Server error",
    note: "Sends are answered with 500, and nothing is done.",
    rule: { status: 500 },
  },
  { kind: "slow", label: "Slow", note: "Sends are answered after 3 s.", rule: { seconds: 3 } },
  {
    kind: "drop",
    label: "Lost answer",
    note: "Sends are carried out, but the connection breaks before the answer.",
    rule: { before: false },
  },
  {
    kind: "duplicate_callbacks",
    label: "Callbacks twice",
    note: "The bot is told of each message twice. It must answer once.",
    rule: { n: 1 },
  },
  {
    kind: "reorder_callbacks",
    label: "Callbacks out of order",
    note: "Callbacks are held back for a moment and posted shuffled.",
    rule: {},
    isSteady: true,
  },
];

/** One switch for each failure, for the next few times or until it is switched off. */
export class Failures {
  constructor(store) {
    this.store = store;
    this.rows = FAILURES.map((failure) => this.#row(failure));
    this.times = h(
      "select",
      [
        ["1", "once"],
        ["3", "3 times"],
        ["", "until switched off"],
      ].map(([value, label]) => h("option", { value }, label)),
    );
    this.element = h(
      "div.failures",
      h("p.intro.muted", "CometChat has bad days too. Nothing of this may lose a message, or say one twice."),
      h("label.how-often.hstack", "How often", h("span.select", this.times, icon("down"))),
      h(
        "ul",
        this.rows.map((row) => row.element),
      ),
    );
    store.on("rules", () => this.#show());
    this.#show();
  }

  /** How many are switched on. */
  get count() {
    return FAILURES.filter((failure) => this.#rule(failure)).length;
  }

  #rule({ kind }) {
    return this.store.rules.find((rule) => rule.kind === kind && (rule.times === null || rule.hits < rule.times));
  }

  #row(failure) {
    const state = h("small.state");
    const id = `failure-${failure.kind}`;
    const button = h(
      "button.switch",
      {
        role: "switch",
        "aria-checked": "false",
        "aria-labelledby": id,
        onclick: () => this.#flip(failure),
      },
      h("span"),
    );
    const element = h(
      "li.hstack",
      h("div.lines", h("strong", { id }, failure.label), h("small", failure.note), state),
      button,
    );
    return { failure, state, button, element };
  }

  async #flip(failure) {
    const times = failure.isSteady ? "" : this.times.value;
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
      const spent = this.store.rules.find((other) => other.kind === failure.kind);
      button.setAttribute("aria-checked", String(Boolean(rule)));
      const left = rule && rule.times !== null ? rule.times - rule.hits : 0;
      fill(
        state,
        rule ? (left ? `${left} more` : failure.isSteady ? "on" : `on, ${rule.hits} so far`) : spent ? "done" : "",
      );
    }
  }
}
