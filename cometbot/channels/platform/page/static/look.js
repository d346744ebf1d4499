// How a message looks on this page: its content, and below an own one what becomes of it.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { content, isBare, summary } from "./content.js";
import { say } from "./texts.js";

/** What a transcript needs to know; `press(message, label, action)`, `again(id)` and `discard(id)` are for buttons. */
export function lookOf(store, { press, again, discard }) {
  return {
    facts: (message, { follows }) => {
      const bot = store.bots.get(message.sender);
      const isOwn = message.sender === store.user?.id;
      const isOver = !store.bot;
      const isBusy = Boolean(message.isPiece);
      const name = bot?.name ?? store.bot?.name ?? "";
      return { follows, isOwn, isOver, isBusy, isBot: false, name, picture: bot?.avatar };
    },
    body: (message) => content(message, store.bot ? press : null),
    summary,
    isBare,
    extras: (message) => (message.state ? [state(message, again, discard)] : []),
  };
}

function state(message, again, discard) {
  if (message.state === "sending") return h("p.fate.sending", icon("clock"), say("sending"));
  if (message.state === "waiting") return h("p.fate", icon("offline"), say("waiting"));
  const act = (label, work) => h("button.button", { type: "button", onclick: () => work(message.clientId) }, label);
  return h(
    "div.fate.bad",
    { role: "alert" },
    h("p", icon("warn"), say("notSent", { reason: message.reason })),
    h("div.row", act(say("again"), again), act(say("discard"), discard)),
  );
}
