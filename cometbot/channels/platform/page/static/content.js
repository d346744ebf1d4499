// The content of a message as elements: text, files, cards, choices, forms and places.

import { h, safeUrl } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { kindOf, location, media } from "./media.js";
import { choices, form } from "./quick_replies.js";
import { plainText, prose } from "./rich_text.js";
import { t } from "./i18n.js";

const CAROUSEL_EDGE = 4;
const CAROUSEL_STEP = 0.85;

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

/** Return the cards in a row that scrolls, with an arrow at each edge behind which there are more. */
function carousel(cards) {
  const items = cards.map((card) => h("li", card));
  const list = h("ul.carousel", { tabindex: "0", "aria-label": t("cardsList") }, items);
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  const arrow = (side, label, direction) =>
    iconButton(`button.arrow.${side}`, "back", t(label), () =>
      list.scrollBy({ left: direction * CAROUSEL_STEP * list.clientWidth, behavior }),
    );
  const [back, on] = [arrow("before", "cardsBack", -1), arrow("after", "cardsOn", 1)];
  const frame = h("div.cards", list, back, on);
  const show = () => {
    const rest = list.scrollWidth - list.clientWidth;
    const isOnArrow = frame.contains(document.activeElement) && document.activeElement.matches(".arrow");
    back.disabled = list.scrollLeft <= CAROUSEL_EDGE;
    on.disabled = list.scrollLeft >= rest - CAROUSEL_EDGE;
    back.hidden = on.hidden = rest <= CAROUSEL_EDGE;
    if (isOnArrow && document.activeElement.disabled !== false) list.focus({ preventScroll: true });
    frame.classList.toggle("has-before", !back.disabled);
    frame.classList.toggle("has-after", rest > CAROUSEL_EDGE && !on.disabled);
  };
  list.addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(list);
  return frame;
}
