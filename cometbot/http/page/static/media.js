// Pictures, sound, film, files and places in a message.

import { h, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { getLanguage, t } from "./i18n.js";

const WEB = ["http:", "https:"];
const NEW_TAB = { target: "_blank", rel: "noopener noreferrer" };
const PICTURES = "avif bmp gif heic heic-sequence heif heif-sequence jpeg jxl png vnd.microsoft.icon webp".split(" ");

/** Return the element of these files, null if there are none: `{url, name, size, kind, isOurs}`, with an optional `extension`. */
export function media(files) {
  return files.length ? h("div.media", { class: `count-${Math.min(files.length, 4)}` }, files.map(element)) : null;
}

/** Return a link to a place on a map: `{latitude, longitude, label, address}`. */
export function location({ latitude, longitude, label, address }) {
  const [north, east] = [Number(latitude), Number(longitude)];
  const href = `https://www.openstreetmap.org/?mlat=${north}&mlon=${east}#map=15/${north}/${east}`;
  const about = address || `${north.toFixed(5)}, ${east.toFixed(5)}`;
  const lines = h("span.lines", h("strong", label || t("place")), h("small", about));
  return h("a.file.hstack.place", { href, ...NEW_TAB }, h("span.pin"), lines);
}

/** Return a number of bytes as people write it, an empty text for 0. */
export function formatSize(bytes) {
  const size = Number(bytes);
  if (!size) return "";
  const number = (value, digits) => value.toLocaleString(getLanguage(), { maximumFractionDigits: digits });
  if (size < 1024) return `${size} B`;
  return size < 1_048_576 ? `${number(size / 1024, 0)} KB` : `${number(size / 1_048_576, 1)} MB`;
}

/** Return image, audio or video for what some browser shows, else file. The server has the same list. */
export function kindOf(mimeType) {
  const [family, name] = String(mimeType ?? "").split("/");
  if (family === "image" && !PICTURES.includes(name)) return "file";
  return ["image", "audio", "video"].includes(family) ? family : "file";
}

function element(file) {
  return { image: picture, audio: player, video: player }[file.kind]?.(file) ?? download(file);
}

function picture(file) {
  const url = safeUrl(file.url, WEB);
  const image = h("img", { src: url, alt: file.name || t("image") });
  image.addEventListener("error", () => image.parentElement?.replaceWith(download(file)));
  return h("a.picture", { href: url, ...NEW_TAB }, image);
}

function player(file) {
  const attributes = { controls: true, preload: "metadata", "aria-label": file.name || t(file.kind) };
  const shown = h(file.kind, { src: safeUrl(file.url, WEB), ...attributes });
  const figure = h("figure.player.vstack", shown, h("figcaption", file.name ?? ""));
  shown.addEventListener("error", () => figure.replaceWith(download(file)));
  return figure;
}

function download(file) {
  const url = safeUrl(file.url, WEB);
  const extension = file.extension ?? /\.(\w{1,8})$/.exec(file.name ?? "")?.[1];
  const about = [extension?.toUpperCase(), formatSize(file.size)].filter(Boolean).join(" · ");
  const lines = h("span.lines", h("strong", file.name || t("file")), about && h("small", about));
  const attributes = { href: url, ...NEW_TAB, download: file.isOurs && file.name };
  return h(url ? "a.file.hstack" : "span.file.hstack", url ? attributes : {}, icon("file"), lines);
}
