// How a message looks on this page: its content, and below an own one what becomes of it.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { content, isBare, summary } from "./content.js";
import { t } from "./i18n.js";

/** Return the view of a transcript; `press(message, label, action)`, `again(id)` and `discard(id)` are for buttons. */
export function messageView(store, { press, again, discard }) {
  return {
    facts: (message, { follows }) => {
      const bot = store.bots.get(message.sender);
      const isOwn = message.sender === store.user?.id;
      const isOver = !store.bot;
      const isBusy = Boolean(message.isPartial);
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
  if (message.state === "sending") return h("p.fate.hstack.muted.sending", icon("clock"), t("sending"));
  if (message.state === "waiting") return h("p.fate.hstack.muted", icon("offline"), t("waiting"));
  const act = (label, work) => h("button.button", { onclick: () => work(message.clientId) }, label);
  return h(
    "div.fate.hstack.muted.bad",
    { role: "alert" },
    h("p.hstack", icon("warn"), t("notSent", { reason: message.reason })),
    h("div.row", act(t("again"), again), act(t("discard"), discard)),
  );
}
