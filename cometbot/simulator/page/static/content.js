// The content of a message as elements, for every kind of message of CometChat.

import { h } from "./dom.js";
import { card } from "./card.js";
import { interactive } from "./interactive.js";
import { jsonBlock } from "./json.js";
import { location, media } from "./media.js";
import { choices, form } from "./quick_replies.js";
import { quickReplyState } from "./quick_reply_expiry.js";
import { plainText, prose } from "./rich_text.js";
import { t } from "./i18n.js";

/**
 * Return the nodes of a message. `actions` has what its buttons do: `send(text)`, `reply(text)` (which mentions a bot
 * that reads only mentions), `callUrl(message, element, values)`, `openChat(kind, id)`; also `nameOf(uid)`, `canReply` (whether buttons work for the reader) and `isExpired` (whether its quick replies are over).
 */
export function content(message, actions) {
  const kind = message.category === "message" ? message.type : message.category;
  return (KINDS[kind] ?? unknown)(message, actions).filter(Boolean);
}

/** Return a message in a few words, for lists and screen readers. */
export function summary(message, nameOf) {
  if (message.deletedAt) return t("deleted");
  const data = message.data ?? {};
  if (message.category === "interactive") return data.interactiveData?.title ?? data.interactiveData?.text ?? t("card");
  if (message.html) return plainText(message.html, nameOf);
  if (message.category === "message") return MEDIA.includes(message.type) ? t(message.type) : message.type;
  return message.category === "custom" ? `Custom message: ${message.type}` : message.category;
}

const MEDIA = ["image", "audio", "video", "file"];

const KINDS = {
  text: (message, actions) =>
    message.quickReplies?.map((part) => PARTS[part.kind](part, actions)) ?? [text(message, actions)],
  ...Object.fromEntries(MEDIA.map((kind) => [kind, (message, actions) => [files(message), text(message, actions)]])),
  custom,
  card,
  interactive,
};

const PARTS = {
  text: ({ html }, { nameOf }) => prose(html, "", nameOf),
  choices: ({ options }, actions) =>
    choices(
      options,
      (option) => actions.reply(option.value),
      quickReplyState(actions),
      actions.isExpired ? "Answers, no longer asked for" : undefined,
    ),
  form: ({ fields }, actions) =>
    form({ fields, submit: t("send") }, (lines) => actions.reply(lines), quickReplyState(actions)),
};

const text = (message, { nameOf }) => prose(message.html, "", nameOf);

function files({ type, data }) {
  const attached = data.attachments ?? (data.url ? [{ url: data.url, name: "file" }] : []);
  return media(attached.map(({ url, name, size, extension }) => ({ url, name, size, extension, kind: type })));
}

function custom(message, actions) {
  const data = message.data.customData ?? {};
  const shown = [position(data), text(message, actions)].filter(Boolean);
  const summary = h("summary", `Custom message `, h("code", message.type));
  return [...shown, h("details.custom", { open: !shown.length }, summary, jsonBlock(data))];
}

function position(data) {
  const latitude = Number(data.lat ?? data.latitude ?? NaN);
  const longitude = Number(data.lng ?? data.lon ?? data.longitude ?? NaN);
  if (Number.isNaN(latitude) || Number.isNaN(longitude)) return null;
  return location({ latitude, longitude, label: data.label ?? data.name ?? data.address ?? "Location" });
}

function unknown(message) {
  return [h("p.quiet", `A message of the category ${message.category}`), jsonBlock(message.data)];
}
