// What a message says, as elements: text, files, cards, choices, forms and places.

import { h, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { carousel } from "./carousel.js";
import { kindOf, location, media } from "./media.js";
import { choices, form } from "./quick_replies.js";
import { plainText, prose } from "./rich_text.js";
import { t } from "./i18n.js";

/** Return the nodes of a message. `reply(message, label, action)` is what its buttons do, null if its bot is gone. */
export function content(message, reply) {
  const send = reply && ((...what) => reply(message, ...what));
  const files = (message.attachments ?? []).map(({ path, name, size, mimeType }) => ({
    url: `/${path}`,
    name,
    size,
    kind: kindOf(mimeType),
    isOurs: true,
  }));
  const shown = KINDS[message.content?.kind]?.(message.content, send) ?? [prose(message.html, message.body)];
  return [media(files), ...shown].filter(Boolean);
}

/** Return a message in a few words, for lists and screen readers. */
export function summary(message) {
  const { content: made } = message;
  const text = plainText(made?.html ?? "");
  const words = {
    card: () => made.title || text || t("card"),
    carousel: () => joined(made.cards.map((one) => one.title)) || t("card"),
    choices: () => `${text} ${joined(made.options.map((one) => one.label))}`,
    form: () => made.title,
    media: () => text || made.name || t(made.media),
    location: () => made.label || made.address || t("place"),
  }[made?.kind];
  if (words) return words();
  const said = message.html ? plainText(message.html) : message.body.trim();
  return said || joined((message.attachments ?? []).map((file) => file.name || t(kindOf(file.mimeType))));
}

/** Return whether a message needs no bubble: a picture or card by itself. */
export function isBare(message) {
  const { content: made, attachments = [] } = message;
  if (made?.kind === "card" || made?.kind === "carousel" || made?.kind === "location") return true;
  if (made?.kind === "media") return made.media !== "audio" && !made.html;
  return !message.body.trim() && attachments.length > 0;
}

const joined = (words) => words.filter(Boolean).join(", ");

/** The attributes of buttons and fields: disabled if the bot is gone. */
const stateOf = (send) => (send ? {} : { disabled: true, title: t("noSuchBot") });

const actionOf = (item) => ({ name: item.action, value: item.value ?? "" });

const KINDS = {
  card: (made, send) => [card(made, send)],
  carousel: (made, send) => [carousel(made.cards.map((one) => card(one, send)))],
  choices: (made, send) => [
    prose(made.html, made.text),
    choices(made.options, (option) => send(option.label, actionOf(option)), stateOf(send)),
  ],
  form: (made, send) => [
    form(made, (text, values) => send(text || made.submit, { name: made.action, values }), stateOf(send)),
  ],
  media: (made) => [
    media([{ url: made.url, name: made.name, size: made.size, kind: made.media }]),
    made.caption ? prose(made.html, made.caption) : null,
  ],
  location: (made) => [location(made)],
};

function card(made, send) {
  const source = made.image && safeUrl(made.image, ["http:", "https:"]);
  const image = source && h("img.wide", { src: source, alt: "" });
  if (image) image.addEventListener("error", () => image.remove());
  const buttons = (made.buttons ?? []).map((item) => button(item, send));
  return h(
    "div.card.vstack",
    image,
    made.title && h("p.text.title", made.title),
    prose(made.html, made.text),
    buttons.length > 0 && h("div.row", buttons),
  );
}

function button(item, send) {
  if (!item.url) {
    const onclick = () => send(item.label, actionOf(item));
    return h("button.button.filled", { ...stateOf(send), onclick }, item.label);
  }
  const href = safeUrl(item.url);
  const attributes = { href, target: "_blank", rel: "noopener noreferrer", title: t("opens") };
  return h(href ? "a.button.filled" : "span.button", href ? attributes : {}, item.label, icon("out"));
}
