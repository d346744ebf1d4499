// Dead letters: what failed for good, why, and what to do about it.

import { definitionList, h, fill } from "./dom.js";
import { settleDead } from "./api.js";
import { jsonBlock } from "./json.js";
import { clock } from "./time.js";
import { showToast } from "./toasts.js";

/** A list with a cause and two buttons each. */
export class DeadLetters {
  constructor(store) {
    this.store = store;
    this.list = h("ul.letters", { "aria-label": "Dead letters, the newest first" });
    this.element = h(
      "div.dead",
      h(
        "p.intro.muted",
        "A message whose handler failed, or a reply that could not be sent, ends here with its cause. Nothing is lost: correct the code, save it, and try again.",
      ),
      this.list,
    );
    store.on("dead", (letters) => this.#show(letters));
    this.#show([]);
  }

  get badge() {
    return { count: this.store.dead.length, kind: "bad" };
  }

  #show(letters) {
    const open = new Set([...this.list.querySelectorAll("details[open]")].map((details) => details.dataset.id));
    const items = letters.map((letter) => this.#item(letter, open.has(letter.id)));
    fill(this.list, items.length ? items : h("li.hint.muted", "No dead letters."));
  }

  #item(letter, open) {
    const button = (selector, label, act, done) => {
      const onclick = async (event) => {
        event.currentTarget.disabled = true;
        try {
          await settleDead(letter.id, act);
          showToast(`${letter.id} ${done}`);
        } catch (error) {
          showToast(error.message, "bad");
        }
      };
      return h(selector, { "aria-label": `${label} ${letter.id}`, onclick }, label);
    };
    const kind = letter.id.startsWith("r") ? "Reply that could not be sent" : "Message that could not be handled";
    const facts = [
      ["Bot", letter.bot],
      letter.handler && ["Handler", letter.handler],
      ["Conversation", letter.conversation],
      ["Attempts", letter.attempts],
      ["When", clock(letter.ended_at)],
    ];
    return h(
      "li.letter.vstack",
      h("header.muted", h("strong", letter.id), h("span", kind)),
      h("p.cause", cause(letter.error)),
      h(
        "details",
        { open, dataset: { id: letter.id } },
        h("summary", "Details"),
        definitionList("dl", facts),
        letter.error?.includes("\n") && h("pre", { tabindex: "0" }, letter.error),
        jsonBlock(letter.body, "Body"),
      ),
      h(
        "div.row",
        button("button.primary", "Retry", "retry", "is retried. What it sent before it failed is not sent twice."),
        button("button.button", "Discard", "discard", "was discarded."),
      ),
    );
  }
}

function cause(error) {
  const lines = (error ?? "").trim().split("\n");
  return lines[0].startsWith("Traceback") ? lines.at(-1) : lines[0] || "No cause is known.";
}
