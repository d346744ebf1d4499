// What a message says, as elements, for every kind of message there is.

import { h, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { markdown, plain } from "./markdown.js";
import { jsonBlock } from "./json.js";
import { offered } from "./quick_replies.js";
import { card } from "./card.js";
import { interactive } from "./interactive.js";

/**
 * Return the nodes of a message. `actions` has what its buttons do: `send(text)`, `reply(text)` (which mentions a bot that
 * reads only mentions), `callUrl(message, element, values)`, `openChat(kind, id)`, `showToast(text)`; also `nameOf(uid)`,
 * `canReply` (whether buttons work for the reader) and `isExpired` (whether the message's quick replies are over).
 */
export function content(message, actions) {
  const kind = message.category === "message" ? message.type : message.category;
  return (KINDS[kind] ?? unknown)(message, actions);
}

/** A message in a few words, for lists and for the ear. */
export function summary(message, nameOf) {
  if (message.deletedAt) return "Message deleted";
  const data = message.data ?? {};
  if (message.category === "interactive") return data.interactiveData?.title ?? data.interactiveData?.text ?? "Card";
  if (data.text) return plain(data.text, nameOf);
  if (message.category === "message") return WORDS[message.type] ?? message.type;
  return message.category === "custom" ? `Custom message: ${message.type}` : message.category;
}

const WORDS = { image: "Picture", audio: "Audio", video: "Video", file: "File" };

const KINDS = {
  text: (message, actions) =>
    offered(message, actions) ?? [h("div.prose", markdown(message.data.text ?? "", actions.nameOf))],
  image: (message, actions) => media(message, actions, picture),
  audio: (message, actions) => media(message, actions, player("audio")),
  video: (message, actions) => media(message, actions, player("video")),
  file: (message, actions) => media(message, actions, download),
  custom,
  card,
  interactive,
};

function media(message, actions, show) {
  const files = message.data.attachments ?? (message.data.url ? [{ url: message.data.url, name: "file" }] : []);
  const caption = message.data.text ? h("div.prose", markdown(message.data.text, actions.nameOf)) : null;
  return [h("div.media", { class: `count-${Math.min(files.length, 4)}` }, files.map(show)), caption].filter(Boolean);
}

function picture(file) {
  const url = safeUrl(file.url, ["http:", "https:", "blob:"]);
  const image = h("img", { src: url, alt: file.name ?? "Picture", loading: "lazy" });
  image.addEventListener("error", () => image.parentElement?.replaceWith(download(file)));
  return h("a.picture", { href: url, target: "_blank", rel: "noopener noreferrer" }, image);
}

function player(tag) {
  return (file) => {
    const shown = h(tag, { src: safeUrl(file.url, ["http:", "https:"]), controls: true, preload: "metadata" });
    shown.setAttribute("aria-label", file.name ?? tag);
    return h("figure.player", shown, h("figcaption", file.name ?? ""));
  };
}

function download(file) {
  const url = safeUrl(file.url, ["http:", "https:"]);
  const about = [file.extension?.toUpperCase(), sizeOf(file.size)].filter(Boolean).join(" · ");
  const lines = h("span.lines", h("strong", file.name || "File"), about && h("small", about));
  const attributes = url ? { href: url, target: "_blank", rel: "noopener noreferrer" } : {};
  return h(url ? "a.file" : "span.file", attributes, icon("file"), lines);
}

function sizeOf(bytes) {
  const size = Number(bytes);
  if (!size) return "";
  return size < 1024
    ? `${size} bytes`
    : size < 1048576
      ? `${(size / 1024).toFixed(0)} KB`
      : `${(size / 1048576).toFixed(1)} MB`;
}

function custom(message, actions) {
  const data = message.data.customData ?? {};
  const place = position(data);
  const text = message.data.text ? h("div.prose", markdown(message.data.text, actions.nameOf)) : null;
  const block = h(
    "details.custom",
    { open: !place && !text },
    h("summary", `Custom message `, h("code", message.type)),
    jsonBlock(data),
  );
  return [place, text, block].filter(Boolean);
}

function position(data) {
  const latitude = Number(data.lat ?? data.latitude ?? NaN);
  const longitude = Number(data.lng ?? data.lon ?? data.longitude ?? NaN);
  if (Number.isNaN(latitude) || Number.isNaN(longitude)) return null;
  const link = `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=15/${latitude}/${longitude}`;
  const label = data.label ?? data.name ?? data.address ?? "Location";
  const lines = h("span.lines", h("strong", label), h("small", `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`));
  return h("a.file.place", { href: link, target: "_blank", rel: "noopener noreferrer" }, h("span.pin"), lines);
}

function unknown(message) {
  return [h("p.quiet", `A message of the category ${message.category}`), jsonBlock(message.data)];
}
