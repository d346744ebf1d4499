// One message of a transcript: who, when and what, and whatever else the page puts with it.

import { h } from "./dom.js";
import { avatar } from "./avatar.js";
import { timeOf } from "./time.js";
import { t } from "./i18n.js";

/**
 * The element of a message: `{id, sender, sentAt, editedAt, deletedAt}` with times in Unix seconds.
 *
 * `facts` are what it depends on beside the message itself: `isOwn`, `follows` (the turn of the same sender goes on),
 * `name`, `isBot`, `picture` (a URL), `isBusy` (it is still being written). `view` says what is in it: `body(message)`
 * and `extras(message, facts)` (what stands below it) are nodes, `summary(message)` is for the ear, `isBare(message)` is
 * true for what needs no bubble.
 */
export function messageElement(message, facts, view) {
  const isGone = Boolean(message.deletedAt);
  const who = facts.isOwn ? t("you") : facts.name;
  const said = isGone ? t("deleted") : view.summary(message);
  const body = isGone ? [h("p.quiet", t("deleted"))] : view.body(message);
  const bubble = h("div.bubble", { class: !isGone && view.isBare(message) ? "bare" : "" }, body);
  const element = h("article.message", {
    tabindex: "0",
    class: [facts.isOwn ? "own" : "other", facts.follows && "follows", isGone && "gone"].filter(Boolean).join(" "),
    "aria-label": `${who}, ${timeOf(message.sentAt)}: ${said}`,
    "aria-busy": facts.isBusy ? "true" : null, // a screen reader reads it once, when it is whole
    dataset: { id: message.id },
  });
  element.append(
    avatar(message.sender, facts.name, "", facts.picture),
    h("div.column.vstack", head(message, facts, who), bubble, view.extras(message, facts)),
  );
  return element;
}

function head(message, facts, who) {
  return h(
    "header",
    h("strong", who),
    facts.isBot && !facts.isOwn && h("span.tag", t("bot")),
    h("time.muted", { datetime: new Date(message.sentAt * 1000).toISOString() }, timeOf(message.sentAt)),
    message.editedAt && !message.deletedAt && h("span.edited.muted", t("edited")),
  );
}
