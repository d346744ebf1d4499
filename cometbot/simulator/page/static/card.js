// Card messages: CometChat's card schema, version 1.0, element by element.

import { h, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { jsonBlock } from "./json.js";
import { prose } from "./rich_text.js";
import { quickReplyState } from "./quick_reply_expiry.js";
import { copyText, showToast } from "./toasts.js";

/** The nodes of a message of the category card. */
export function card(message, actions) {
  const shown = message.data.card ?? {};
  if (!Array.isArray(shown.body)) return [prose(message.html, "", actions.nameOf)];
  return [h("div.card.vstack", each(shown.body, { message, actions }))];
}

function each(items, place) {
  return (Array.isArray(items) ? items : []).map((item) => element(item, place));
}

function element(item, place) {
  const make = ELEMENTS[item?.type];
  return make ? make(item, place) : jsonBlock(item, `An element of an unknown type`);
}

const ELEMENTS = {
  text: (item) => h("p.text", { class: variant(item.variant ?? item.size) }, item.content),
  markdown: (item, { actions }) => prose(item.html, "", actions.nameOf),
  image: (item) => picture(item.url, item.altText ?? item.alt ?? "", "wide"),
  icon: ({ url, name = "" }) => (url ? picture(url, name, "small") : h("span.badge", name)),
  avatar,
  badge: (item) => h("span.badge", item.text),
  chip: (item) => h("span.chip", item.text),
  codeBlock: (item) => h("pre", { tabindex: "0" }, h("code", item.content)),
  divider: () => h("hr"),
  spacer: () => h("div.spacer"),
  row: (item, place) => h("div.row", each(item.items, place)),
  column: (item, place) => h("div.column.vstack", each(item.items, place)),
  grid: (item, place) => h("div.grid", each(item.items, place)),
  accordion,
  tabs,
  button: (item, place) => button(item, item.label, place, item.variant ?? item.style),
  iconButton: (item, place) => button(item, item.label ?? item.icon?.name ?? item.icon ?? "●", place, "outlined"),
  link: (item, place) => h("button.link", press(item, place), item.text),
  table,
  progressBar,
};

function within(value, place) {
  if (Array.isArray(value)) return each(value, place);
  return value && typeof value === "object" ? element(value, place) : String(value ?? "");
}

function picture(source, alt, size) {
  const url = safeUrl(source, ["http:", "https:", "data:"]);
  return h("img", { src: url, alt, loading: "lazy", class: size });
}

function variant(value = "") {
  if (/^(title|heading\d?|h\d|large|xl)$/i.test(String(value))) return "title";
  return /caption|small|xs/i.test(String(value)) ? "caption" : "";
}

function progressBar({ label, value }) {
  const share = Math.max(0, Math.min(100, Number(value) || 0));
  return h("label.progress.vstack", label && h("span", label), h("progress", { max: 100, value: share }));
}

// What a bot left out may be null, as Python's None: no default of a parameter replaces that.
function avatar({ url, imageUrl, name, fallbackInitials }) {
  const source = url ?? imageUrl;
  if (source) return picture(source, name ?? "", "round");
  return h("span.initials.center", String(fallbackInitials ?? (name || "?")).slice(0, 2).toUpperCase());
}

function accordion({ header, body, defaultOpen, expanded }, place) {
  return h("details", { open: expanded ?? defaultOpen ?? false }, h("summary", within(header, place)), within(body, place));
}

function table(item) {
  const [columns, rows] = [item.columns ?? [], item.rows ?? []];
  const keys = columns.map((column) => (typeof column === "object" ? (column.key ?? column.id) : column));
  const headers = columns.map((column) => column?.label ?? column?.header ?? column?.key ?? column);
  const cells = (row) => keys.map((key, index) => h("td", Array.isArray(row) ? row[index] : row?.[key]));
  const head = headers.map((header) => h("th", header));
  const body = rows.map((row) => h("tr", cells(row)));
  return h("div.table", { tabindex: "0" }, h("table", h("thead", h("tr", head)), h("tbody", body)));
}

function tabs(item, place) {
  const pages = item.tabs ?? [];
  const panel = h("div.panel");
  const buttons = pages.map((page, number) =>
    h("button", { "aria-pressed": "false", onclick: () => show(number) }, page.label),
  );
  const show = (number) => {
    buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === number)));
    panel.replaceChildren(h("div.column.vstack", within(pages[number]?.content, place)));
  };
  if (pages.length) show(0);
  return h("div.tabs", h("div.strip", { role: "group" }, buttons), panel);
}

function button(item, label, place, style) {
  const kind = /outline|secondary|text|ghost/.test(String(style ?? "")) ? "button.button" : "button.button.filled";
  return h(kind, press(item, place), String(label), item.action?.type === "openUrl" && icon("out"));
}

const press = (item, place) => ({ ...stateOf(item.action, place), onclick: () => perform(item, place) });

function stateOf(action, { actions }) {
  if (!action?.type) return { disabled: true };
  if (action.type === "sendMessage") return quickReplyState(actions);
  return { disabled: !actions.canReply && action.type !== "openUrl" && action.type !== "copyToClipboard" };
}

function perform(item, { message, actions }) {
  const action = item.action ?? {};
  const act = ACTIONS[action.type];
  if (act) act(action, actions, () => actions.callUrl(message, item.id, {}));
  else showToast(`The simulator does not know the action ${action.type}.`);
}

const ACTIONS = {
  openUrl: open,
  downloadFile: open,
  sendMessage: ({ text, receiverUid, receiverGuid }, actions) =>
    actions.send(text ?? "", { user: receiverUid, group: receiverGuid }),
  chatWithUser: ({ uid }, actions) => actions.openChat("user", uid),
  chatWithGroup: ({ guid }, actions) => actions.openChat("group", guid),
  copyToClipboard: ({ value }) => copyText(value ?? ""),
  apiCall: (action, actions, callUrl) => callUrl(),
  initiateCall: () => showToast("The simulator makes no calls."),
  customCallback: () => showToast("A custom callback is for the app's own code. The simulator has none."),
};

function open(action) {
  const url = safeUrl(action.url);
  if (url) window.open(url, "_blank", "noopener,noreferrer");
  else showToast("This button has no http or https URL.", "bad");
}
