// What a message says, as elements: text, files, cards, choices, forms and places.

import { h, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { carousel } from "./carousel.js";
import { plain, richText } from "./rich_text.js";
import { t, getLanguage } from "./i18n.js";

const WEB = ["http:", "https:"];

/** The nodes of a message. `press(message, label, action)` says what its buttons do, null that nobody answers them. */
export function content(message, press) {
  const act = press && ((...what) => press(message, ...what));
  const shown = message.content && KINDS[message.content.kind]?.(message.content, act);
  const files = media((message.attachments ?? []).map(ofPlatform));
  if (shown) return [files, ...shown].filter(Boolean);
  return [files, prose(message.html, message.body)].filter(Boolean);
}

/** A message in a few words, for lists and for the ear. */
export function summary(message) {
  const { content: made } = message;
  const words = {
    card: () => made.title || plain(made.html ?? "") || t("card"),
    carousel: () =>
      made.cards
        .map((one) => one.title)
        .filter(Boolean)
        .join(", ") || t("card"),
    choices: () => `${plain(made.html ?? "")} ${made.options.map((one) => one.label).join(", ")}`,
    form: () => made.title,
    media: () => plain(made.html ?? "") || made.name || t(made.media),
    location: () => made.label || made.address || t("place"),
  }[made?.kind];
  if (words) return words();
  const said = message.html ? plain(message.html) : message.body.trim();
  return said || (message.attachments ?? []).map((file) => file.name || t(kindOf(file.mimeType))).join(", ");
}

/** Whether a message needs no bubble: a picture or card by itself. */
export function isBare(message) {
  const { content: made, attachments = [] } = message;
  if (made?.kind === "card" || made?.kind === "carousel" || made?.kind === "location") return true;
  if (made?.kind === "media") return made.media !== "audio" && !made.html;
  return !message.body.trim() && attachments.length > 0;
}

/** A number of bytes, as people say it. */
export function sizeOf(bytes) {
  const size = Number(bytes);
  if (!size) return "";
  const number = (value, digits) => value.toLocaleString(getLanguage(), { maximumFractionDigits: digits });
  if (size < 1024) return `${size} B`;
  return size < 1_048_576 ? `${number(size / 1024, 0)} KB` : `${number(size / 1_048_576, 1)} MB`;
}

const PICTURES = "avif bmp gif heic heic-sequence heif heif-sequence jpeg jxl png vnd.microsoft.icon webp".split(" ");

/** image, audio or video for what some browser shows, else file: the server has the same list. */
export function kindOf(mimeType) {
  const [family, name] = String(mimeType ?? "").split("/");
  if (family === "image" && !PICTURES.includes(name)) return "file";
  return ["image", "audio", "video"].includes(family) ? family : "file";
}

const KINDS = {
  card: (made, press) => [card(made, press)],
  carousel: (made, press) => [carousel(made.cards.map((one) => card(one, press)))],
  choices: (made, press) => [
    prose(made.html, made.text),
    h(
      "div.choices",
      { role: "group", "aria-label": t("answers") },
      made.options.map((one) => pressed("button.choice", one, press)),
    ),
  ],
  form: (made, press) => [form(made, press)],
  media: (made) => [
    media([{ url: made.url, name: made.name, size: made.size, kind: made.media }]),
    made.caption ? prose(made.html, made.caption) : null,
  ],
  location: (made) => [place(made)],
};

/** What is not rendered yet is shown as it was written. */
function prose(html, text) {
  if (html) return h("div.prose", richText(html));
  return text?.trim() ? h("div.prose.plain", text) : null;
}

const ofPlatform = (file) => ({
  url: `/${file.path}`,
  name: file.name,
  size: file.size,
  kind: kindOf(file.mimeType),
  isOurs: true,
});

function media(files) {
  if (!files.length) return null;
  return h("div.media", { class: `count-${Math.min(files.length, 4)}` }, files.map(one));
}

function one(file) {
  return { image: picture, audio: player, video: player }[file.kind]?.(file) ?? download(file);
}

function picture(file) {
  const url = safeUrl(file.url, WEB);
  const image = h("img", { src: url, alt: file.name || t("image") });
  image.addEventListener("error", () => image.parentElement?.replaceWith(download(file)));
  return h("a.picture", { href: url, target: "_blank", rel: "noopener noreferrer" }, image);
}

function player(file) {
  const shown = h(file.kind, {
    src: safeUrl(file.url, WEB),
    controls: true,
    preload: "metadata",
    "aria-label": file.name || t(file.kind),
  });
  const figure = h("figure.player", shown, h("figcaption", file.name ?? ""));
  shown.addEventListener("error", () => figure.replaceWith(download(file)));
  return figure;
}

function download(file) {
  const url = safeUrl(file.url, WEB);
  const ending = /\.(\w{1,8})$/.exec(file.name ?? "")?.[1].toUpperCase();
  const about = [ending, sizeOf(file.size)].filter(Boolean).join(" · ");
  const lines = h("span.lines", h("strong", file.name || t("file")), about && h("small", about));
  const attributes = { href: url, target: "_blank", rel: "noopener noreferrer", download: file.isOurs && file.name };
  return h(url ? "a.file" : "span.file", url ? attributes : {}, icon("file"), lines);
}

function place(made) {
  const [north, east] = [Number(made.latitude), Number(made.longitude)];
  const href = `https://www.openstreetmap.org/?mlat=${north}&mlon=${east}#map=15/${north}/${east}`;
  const about = made.address || `${north.toFixed(5)}, ${east.toFixed(5)}`;
  const lines = h("span.lines", h("strong", made.label || t("place")), h("small", about));
  return h("a.file.place", { href, target: "_blank", rel: "noopener noreferrer" }, h("span.pin"), lines);
}

function card(made, press) {
  const source = made.image && safeUrl(made.image, WEB);
  const image = source && h("img.wide", { src: source, alt: "" });
  if (image) image.addEventListener("error", () => image.remove());
  const buttons = (made.buttons ?? []).map((item) => button(item, press));
  return h(
    "div.card",
    image,
    made.title && h("p.text.title", made.title),
    prose(made.html, made.text),
    buttons.length > 0 && h("div.row", buttons),
  );
}

function button(item, press) {
  if (!item.url) return pressed("button.button.filled", item, press);
  const href = safeUrl(item.url);
  const attributes = { href, target: "_blank", rel: "noopener noreferrer", title: t("opens") };
  return h(href ? "a.button.filled" : "span.button", href ? attributes : {}, item.label, icon("out"));
}

function pressed(kind, item, press) {
  const attributes = { type: "button", ...state(press), onclick: () => press(item.label, actionOf(item)) };
  return h(kind, attributes, item.label);
}

/** The attributes of what is answered with: without effect where nobody is there any more who would hear of it. */
const state = (press) => (press ? {} : { disabled: true, title: t("noSuchBot") });

const actionOf = (item) => ({ name: item.action, value: item.value ?? "" });

function form(made, press) {
  const fields = made.fields.map((item) => field(item, state(press)));
  const submit = (event) => {
    event.preventDefault();
    const values = Object.fromEntries(fields.map(({ name, read }) => [name, read()]));
    const lines = made.fields.map((item) => [item.label, shownOf(item, values[item.name])]);
    const said = lines.filter(([, value]) => value).map(([label, value]) => `${label}: ${value}`);
    press(said.join("\n") || made.submit, { name: made.action, values });
  };
  return h(
    "form.fields",
    { onsubmit: submit, "aria-label": made.title },
    h("p.title", made.title),
    fields.map(({ row }) => row),
    h("button.primary", { type: "submit", ...state(press) }, made.submit),
  );
}

/** A value as it is shown: the labels of what was chosen. */
function shownOf(item, value) {
  if (!item.options.length) return value;
  const chosen = new Set(value.split(", "));
  return item.options
    .filter((option) => chosen.has(option.value))
    .map((option) => option.label)
    .join(", ");
}

function field(item, attributes) {
  const { name, label, optional } = item;
  const words = [label, optional && h("small", ` ${t("optional")}`)];
  if (item.kind === "checkbox") return checkboxes(item, words, attributes);
  const control =
    item.kind === "select"
      ? h(
          "select",
          { required: !optional, ...attributes },
          h("option", { value: "" }, t("choose")),
          item.options.map((option) => h("option", { value: option.value }, option.label)),
        )
      : h("input", { type: "text", required: !optional, autocomplete: "off", ...attributes });
  control.value = item.default ?? "";
  return { name, row: h("label.field", h("span", words), control), read: () => control.value.trim() };
}

function checkboxes(item, words, attributes) {
  const preset = new Set(String(item.default ?? "").split(", "));
  const boxes = item.options.map((option) =>
    h("input", { type: "checkbox", value: option.value, checked: preset.has(option.value), ...attributes }),
  );
  const check = () => {
    const isMissing = !item.optional && !boxes.some((box) => box.checked);
    boxes[0]?.setCustomValidity(isMissing ? t("fillIn") : "");
  };
  boxes.forEach((box) => box.addEventListener("change", check));
  check();
  const rows = boxes.map((box, place) => h("label.option", box, item.options[place].label));
  const chosen = () => boxes.filter((box) => box.checked);
  const read = () =>
    chosen()
      .map((box) => box.value)
      .join(", ");
  return { name: item.name, row: h("fieldset.field", h("legend", words), rows), read };
}
