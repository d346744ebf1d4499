// Moderation: which rules ask a bot about messages, and what became of the newest ones.

import { definitionList, h, fill, options } from "./dom.js";
import { icon } from "./icons.js";
import { configure, switchRule } from "./api.js";
import { showToast } from "./toasts.js";

const ON_ERROR = [
  ["approve-message", "Approve the message"],
  ["drop-message", "Apply the rule's action"],
];
const OUTCOMES = { approved: "Approved", flagged: "Flagged for review", blocked: "Blocked" };
const ACTIONS = { block: "blocks the message", flag: "flags it for review" };
const CAUSES = {
  timeout: "no answer in time",
  connection_error: "not reached",
  http_4xx: "it refused the request",
  http_5xx: "it failed",
  invalid_response: "no readable decision",
};

/** A switch for each rule, what happens when its URL gives no decision, and the newest decisions. */
export class Moderation {
  constructor(store) {
    this.store = store;
    this.rules = h("ul", { "aria-label": "Rules" });
    this.decisions = h("ul.letters", { "aria-label": "Decisions, the newest first" });
    this.onError = h("select", { onchange: () => this.#setOnError() }, options(ON_ERROR));
    this.element = h(
      "div.failures.moderation",
      h("p.intro.muted", "A function with @bot.moderate is asked about each message before anybody else gets it."),
      h("label.how-often.hstack", "On Custom API Error", h("span.select", this.onError, icon("down"))),
      this.rules,
      h("h3", "Decisions"),
      this.decisions,
    );
    store.on("moderation", () => this.#show());
    this.#show();
  }

  get badge() {
    return { count: this.store.moderation.decisions.filter(({ outcome }) => outcome === "blocked").length, kind: "bad" };
  }

  #show() {
    const { rules, onError, decisions } = this.store.moderation;
    this.onError.value = onError;
    const hint = h("li.hint.muted", "No bot has a function with @bot.moderate.");
    fill(this.rules, rules.length ? rules.map((rule) => this.#rule(rule)) : hint);
    fill(
      this.decisions,
      decisions.length ? decisions.map((decision) => this.#decision(decision)) : h("li.hint.muted", "No message was judged."),
    );
  }

  #rule(rule) {
    const id = `moderation-rule-${rule.id}`;
    const onclick = () => attempt(() => switchRule(rule.id, !rule.enabled));
    const attributes = { role: "switch", "aria-checked": String(rule.enabled), "aria-labelledby": id, onclick };
    const lines = h(
      "div.lines",
      h("strong", { id }, rule.name),
      h("small", rule.contents.join(", ")),
      h("small", `Above ${rule.threshold} % it ${ACTIONS[rule.action]}.`),
      h("small.muted", rule.url),
    );
    return h("li.hstack", lines, h("button.switch", attributes, h("span")));
  }

  #decision(decision) {
    const { error, confidence, outcome } = decision;
    const facts = [
      ["From", this.store.nameOf(decision.sender)],
      ["Content", decision.content],
      decision.rule && ["Rule", decision.rule],
      confidence !== null && ["Confidence", `${Math.round(confidence * 100)} %`],
      decision.reason && ["Reason", decision.reason],
      error && ["No decision", CAUSES[error] ?? error],
    ];
    return h(
      "li.letter.vstack",
      h("header.muted", h("strong", { class: outcome === "blocked" ? "" : "waits" }, OUTCOMES[outcome])),
      decision.text && h("p.question", decision.text),
      definitionList("dl", facts),
    );
  }

  #setOnError() {
    return attempt(() => configure({ moderation_error: this.onError.value }));
  }
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    showToast(error.message, "bad");
  }
}
