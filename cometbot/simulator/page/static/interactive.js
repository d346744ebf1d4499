// Interactive messages, CometChat's older kind: cards, forms and schedulers with elements that call a URL.

import { h, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { field } from "./fields.js";
import { jsonBlock } from "./json.js";
import { prose } from "./rich_text.js";
import { showToast } from "./toasts.js";

/** The nodes of a message of the category interactive. */
export function interactive(message, actions) {
  const shown = message.data.interactiveData ?? {};
  const make = { card: cardOf, form: formOf, scheduler }[message.type];
  return make ? make(shown, message, actions) : [h("p.quiet", `Interactive message ${message.type}`), jsonBlock(shown)];
}

function cardOf(shown, message, actions) {
  const url = shown.imageUrl && safeUrl(shown.imageUrl, ["http:", "https:"]);
  const buttons = (shown.cardActions ?? []).map((item) => button(item, message, actions));
  const image = url && h("img.wide", { src: url, alt: "", loading: "lazy" });
  const text = prose(shown.html, "", actions.nameOf);
  return [h("div.card.vstack", image || null, text, buttons.length > 0 && h("div.row", buttons))];
}

function formOf(shown, message, actions) {
  const fields = (shown.formFields ?? []).map((item) => elementOf(item, message, actions));
  const submit = shown.submitElement ?? { elementId: "submit", buttonText: "Send" };
  const send = h("button.primary", { type: "submit", disabled: !actions.canReply }, submit.buttonText ?? "Send");
  const onsubmit = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(fields.filter(({ read }) => read).map(({ name, read }) => [name, read()]));
    if (!(await perform(submit, message, actions, values))) return;
    if (submit.disableAfterInteracted) useUp(send);
    if (shown.goalCompletionText) showToast(shown.goalCompletionText);
  };
  const rows = fields.map(({ row }) => row);
  const title = shown.title && h("p.text.title", shown.title);
  return [h("div.card.vstack", title, h("form.fields", { onsubmit }, rows, send))];
}

function scheduler(shown, message, actions) {
  const timesOf = (spans) => (spans ?? []).map(({ from, to }) => `${clock(from)}–${clock(to)}`).join(", ");
  const days = Object.entries(shown.availability ?? {});
  const rows = days.map(([day, spans]) => h("tr", h("th", day), h("td", timesOf(spans))));
  const about = [
    shown.duration && `${shown.duration} minutes`,
    shown.timezoneCode,
    shown.dateRangeStart && `${shown.dateRangeStart} to ${shown.dateRangeEnd ?? "…"}`,
  ];
  const card = h(
    "div.card.vstack",
    h("p.text.title", shown.title ?? "Appointment"),
    h("p.text.caption", about.filter(Boolean).join(" · ")),
    rows.length > 0 && h("div.table", h("table", h("tbody", rows))),
    shown.scheduleElement && button(shown.scheduleElement, message, actions),
  );
  return [card];
}

function clock(value) {
  return String(value ?? "").replace(/^(\d\d)(\d\d)$/, "$1:$2");
}

function button(item, message, actions) {
  const leads = item.action?.actionType === "urlNavigation";
  const onclick = async () => {
    if ((await perform(item, message, actions, {})) && item.disableAfterInteracted) useUp(made);
  };
  const disabled = !leads && !actions.canReply;
  const made = h("button.button.filled", { disabled, onclick }, item.buttonText ?? "Open", leads && icon("out"));
  return made;
}

function useUp(button) {
  button.disabled = true;
  button.dataset.used = "";
}

async function perform(item, message, actions, values) {
  const action = item.action ?? {};
  if (action.actionType === "apiAction") return actions.callUrl(message, item.elementId, values);
  const url = safeUrl(action.url);
  if (action.actionType === "urlNavigation" && url) {
    window.open(url, "_blank", "noopener,noreferrer");
    return true;
  }
  showToast("This element has no action that the simulator knows.");
  return false;
}

const KINDS = { dropdown: "select", singleSelect: "radio", checkbox: "multi_select" };

function elementOf(item, message, actions) {
  if (item.elementType === "button") return { row: button(item, message, actions) };
  const {
    elementId: name,
    elementType,
    label,
    defaultValue,
    maxLines,
    placeholder,
    optional,
    options,
  } = item;
  return field({
    name,
    label: label ?? name,
    kind: KINDS[elementType] ?? "text",
    default: defaultValue,
    rows: Math.min(maxLines ?? 1, 6),
    placeholder: placeholder?.text ?? "",
    optional,
    options: options ?? [],
    validate: false,
    trims: false,
  });
}
