// How a message looks on this page: its content, and below it reactions, replies, receipts and what can be done with it.

import { h } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { content, summary } from "./content.js";

const PICKER_HEIGHT = 96;
const EMOJI = ["👍", "❤️", "😂", "🎉", "😮", "🙏", "👀", "✅"];

/**
 * Return the view of a transcript. `messageActions` has `facts(message, more)` with `replies`, `reactions` ([{emoji, names,
 * isMine}]) and `receipts`; `actions(message)` for the buttons in a message; `nameOf(uid)`; and the `acts` react, reply,
 * edit, remove and inspect.
 */
export function messageView(messageActions) {
  return {
    facts: (message, more) => messageActions.facts(message, more),
    body: (message) => content(message, messageActions.actions(message)),
    summary: (message) => summary(message, messageActions.nameOf),
    isBare,
    extras: (message, facts) => (message.isPartial ? [] : extras(message, facts, messageActions)),
  };
}

function extras(message, facts, messageActions) {
  return [
    reactions(message, facts, messageActions),
    replies(message, facts, messageActions),
    receipts(message, facts, messageActions),
    !message.deletedAt && tools(message, facts, messageActions),
  ];
}

function isBare(message) {
  const hasCard = message.category === "card" || message.category === "interactive";
  return hasCard || (message.type === "image" && message.category === "message" && !message.data.text);
}

function reactions(message, facts, view) {
  if (!facts.reactions.length) return null;
  const button = ({ emoji, names, isMine }) =>
    h(
      "button.reaction.hstack",
      {
        "aria-pressed": String(isMine),
        title: names.join(", "),
        "aria-label": `${emoji} ${names.join(", ")}`,
        onclick: () => view.acts.react(message, emoji, isMine),
      },
      h("span", emoji),
      names.length,
    );
  return h("div.reactions", facts.reactions.map(button));
}

function replies(message, facts, view) {
  if (!facts.replies || !view.acts.reply) return null;
  const label = facts.replies === 1 ? "1 reply" : `${facts.replies} replies`;
  return h("button.replies.hstack", { onclick: () => view.acts.reply(message) }, icon("thread"), label);
}

function receipts(message, facts, view) {
  if (!facts.receipts?.length) return null;
  const one = ({ text, state, title }) =>
    h(
      "button.receipt.hstack.muted",
      { class: state, title, onclick: () => view.acts.inspect(message) },
      h("span.dot"),
      text,
    );
  return h("footer", facts.receipts.map(one));
}

function tools(message, facts, view) {
  const { acts } = view;
  const tool = (...options) => iconButton("button", ...options);
  const isText = message.category === "message" && message.type === "text";
  return h(
    "div.toolbar",
    { role: "toolbar", "aria-label": "What to do with this message" },
    picker(message, view),
    acts.reply && !message.parentId && tool("thread", "Reply in a thread", () => acts.reply(message)),
    facts.isOwn && isText && tool("edit", "Edit", () => acts.edit(message)),
    facts.isOwn && tool("bin", "Delete", () => acts.remove(message)),
    tool("traffic", "Show traffic", () => acts.inspect(message)),
  );
}

function picker(message, view) {
  const react = (emoji) => {
    details.open = false;
    view.acts.react(message, emoji, false);
  };
  const button = (emoji) =>
    h("button.icon-button", { "aria-label": `React with ${emoji}`, onclick: () => react(emoji) }, emoji);
  const summary = h("summary.icon-button", { title: "React", "aria-label": "React" }, icon("react"));
  const list = h("div.emoji", { role: "group", "aria-label": "Reactions" }, EMOJI.map(button));
  const details = h("details.picker", summary, list);
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
