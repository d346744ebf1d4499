// One message of a transcript: who, when, what, what was made of it, and what can be done with it.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { avatar } from "./avatar.js";
import { timeOf } from "./time.js";
import { content, summary } from "./content.js";

const PICKER_HEIGHT = 96;
const EMOJI = ["👍", "❤️", "😂", "🎉", "😮", "🙏", "👀", "✅"];

/**
 * The element of a message. `facts` are what it depends on beside the message itself: `isOwn`, `follows` (the turn of
 * the same sender goes on), `name`, `isBot`, `replies`, `reactions` ([{emoji, names, isMine}]), `receipts`.
 * `look` has `desk(message)` for its buttons, `nameOf`, and the `acts`: react, reply, edit, remove, inspect.
 */
export function messageElement(message, facts, look) {
  const isGone = Boolean(message.deletedAt);
  const body = isGone ? [h("p.quiet", {}, "This message was deleted.")] : content(message, look.desk(message));
  const said = summary(message, look.nameOf);
  const element = h("article.message", {
    tabindex: "0",
    class: [facts.isOwn ? "own" : "other", facts.follows && "follows", isGone && "gone"].filter(Boolean).join(" "),
    "aria-label": `${facts.isOwn ? "You" : facts.name}, ${timeOf(message.sentAt)}: ${said}`,
    dataset: { id: message.id, kind: `${message.category}/${message.type}` },
  });
  const bubble = h("div.bubble", { class: isBare(message) ? "bare" : "" }, body);
  const column = h(
    "div.column",
    {},
    head(message, facts),
    bubble,
    reactions(message, facts, look),
    thread(message, facts, look),
    receipts(message, facts, look),
  );
  element.append(avatar(message.sender, facts.name), column);
  if (!isGone) column.append(tools(message, facts, look));
  return element;
}

function isBare(message) {
  const hasCard = message.category === "card" || message.category === "interactive";
  return (
    !message.deletedAt &&
    (hasCard || (message.type === "image" && message.category === "message" && !message.data.text))
  );
}

function head(message, facts) {
  return h(
    "header",
    {},
    h("strong", {}, facts.isOwn ? "You" : facts.name),
    facts.isBot && !facts.isOwn && h("span.tag", {}, "bot"),
    h("time", { datetime: new Date(message.sentAt * 1000).toISOString() }, timeOf(message.sentAt)),
    message.editedAt && !message.deletedAt && h("span.edited", {}, "edited"),
  );
}

function reactions(message, facts, look) {
  if (!facts.reactions.length) return null;
  const button = ({ emoji, names, isMine }) =>
    h(
      "button.reaction",
      {
        type: "button",
        "aria-pressed": String(isMine),
        title: names.join(", "),
        "aria-label": `${emoji} ${names.join(", ")}`,
        onclick: () => look.acts.react(message, emoji, isMine),
      },
      h("span", {}, emoji),
      names.length,
    );
  return h("div.reactions", {}, facts.reactions.map(button));
}

function thread(message, facts, look) {
  if (!facts.replies || !look.acts.reply) return null;
  const label = facts.replies === 1 ? "1 reply" : `${facts.replies} replies`;
  return h("button.replies", { type: "button", onclick: () => look.acts.reply(message) }, icon("thread"), label);
}

function receipts(message, facts, look) {
  if (!facts.receipts?.length) return null;
  const one = ({ text, state, title }) =>
    h(
      "button.receipt",
      { type: "button", class: state, title, onclick: () => look.acts.inspect(message) },
      h("span.dot"),
      text,
    );
  return h("footer", {}, facts.receipts.map(one));
}

function tools(message, facts, look) {
  const { acts } = look;
  const tool = (name, label, act) =>
    h("button", { type: "button", title: label, "aria-label": label, onclick: act }, icon(name));
  const isText = message.category === "message" && message.type === "text";
  return h(
    "div.toolbar",
    { role: "toolbar", "aria-label": "What to do with this message" },
    picker(message, look),
    acts.reply && !message.parentId && tool("thread", "Reply in a thread", () => acts.reply(message)),
    facts.isOwn && isText && tool("edit", "Edit", () => acts.edit(message)),
    facts.isOwn && tool("bin", "Delete", () => acts.remove(message)),
    tool("wire", "Show on the wire", () => acts.inspect(message)),
  );
}

function picker(message, look) {
  const list = h("div.emoji", { role: "group", "aria-label": "Reactions" });
  const details = h("details.picker", {}, h("summary", { title: "React", "aria-label": "React" }, icon("react")), list);
  for (const emoji of EMOJI) {
    list.append(
      h(
        "button",
        {
          type: "button",
          "aria-label": `React with ${emoji}`,
          onclick: () => {
            details.open = false;
            look.acts.react(message, emoji, false);
          },
        },
        emoji,
      ),
    );
  }
  details.addEventListener("toggle", () => {
    const room = details.getBoundingClientRect().top - (details.closest(".messages")?.getBoundingClientRect().top ?? 0);
    details.classList.toggle("below", room < PICKER_HEIGHT);
  });
  details.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && details.open) {
      details.open = false;
      details.firstElementChild.focus();
      event.stopPropagation();
    }
  });
  details.addEventListener("focusout", (event) => {
    if (!details.contains(event.relatedTarget)) details.open = false;
  });
  return details;
}
