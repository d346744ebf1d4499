// Dialogs: which handler waits for whom, and until when; its time can come now.

import { definitionList, h, fill } from "./dom.js";
import { expireDialog } from "./api.js";
import { dayName, timeOf } from "./time.js";
import { showToast } from "./toasts.js";

const WAITS_FOR = { ask: "Waits for an answer", approve: "Waits for an approval", hand_off: "Is handed over" };

/** A list of the handlers that wait, with a button each. */
export class Dialogs {
  constructor(store) {
    this.store = store;
    this.list = h("ul.letters", { "aria-label": "Dialogs, those that changed last first" });
    this.element = h(
      "div.dialogs",
      h("p.intro.muted", "A handler that asks waits here for its answer or approval, and one that sleeps for its time."),
      this.list,
    );
    store.on("dialogs", (dialogs) => this.#show(dialogs));
    this.#show([]);
  }

  get badge() {
    return { count: this.store.dialogs.length };
  }

  #show(dialogs) {
    const items = dialogs.map((dialog) => this.#item(dialog));
    fill(this.list, items.length ? items : h("li.hint.muted", "No handler waits."));
  }

  #item(dialog) {
    const facts = [
      dialog.user && ["User", this.store.nameOf(dialog.user)],
      ["Bot", dialog.bot],
      ["Handler", dialog.handler],
      ["Conversation", dialog.conversation],
      isApproval(dialog) && ["Approval", dialog.number],
      dialog.number > 0 && [isApproval(dialog) ? "Card in" : "Group", `${dialog.card_channel}: ${dialog.card_in}`],
      isApproval(dialog) && ["Decided by", dialog.by.map((uid) => this.store.nameOf(uid)).join(", ") || "all there"],
      dialog.attempts > 0 && ["Wrong answers", dialog.attempts],
      ["Since", moment(dialog.since)],
      dialog.expires_at && ["Until", moment(dialog.expires_at)],
    ];
    return h(
      "li.letter.vstack",
      h(
        "header.muted",
        h("strong.waits", dialog.id),
        h("span", WAITS_FOR[dialog.kind] ?? "Waits"),
      ),
      dialog.question && h("p.question", dialog.question),
      definitionList("dl", facts),
      dialog.expires_at && h("div.row", this.#expireButton(dialog.id)),
    );
  }

  #expireButton(id) {
    const onclick = async (event) => {
      event.currentTarget.disabled = true;
      try {
        await expireDialog(id);
        showToast(`${id}: its time has come.`);
      } catch (error) {
        showToast(error.message, "bad");
      }
    };
    return h("button.button", { "aria-label": `Expire ${id} now`, onclick }, "Expire now");
  }
}

const isApproval = (dialog) => dialog.kind === "approve";

const moment = (seconds) => `${timeOf(seconds)}, ${dayName(seconds)}`;
