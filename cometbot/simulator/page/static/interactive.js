// Interactive messages, CometChat's older kind: cards, forms and schedulers with elements that call a URL.

import { h, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { markdown } from "./markdown.js";
import { jsonBlock } from "./json.js";

/** The nodes of a message of the category interactive. */
export function interactive(message, actions) {
  const shown = message.data.interactiveData ?? {};
  const make = { card: cardOf, form: formOf, scheduler }[message.type];
  return make ? make(shown, message, actions) : [h("p.quiet", `Interactive message ${message.type}`), jsonBlock(shown)];
}

function cardOf(shown, message, actions) {
  const url = safeUrl(shown.imageUrl, ["http:", "https:"]);
  return [
    h(
      "div.card",
      shown.imageUrl && url && h("img.wide", { src: url, alt: "", loading: "lazy" }),
      h("div.prose", markdown(shown.text ?? "", actions.nameOf)),
      (shown.cardActions ?? []).length > 0 &&
        h(
          "div.row",
          shown.cardActions.map((item) => button(item, message, actions)),
        ),
    ),
  ];
}

function formOf(shown, message, actions) {
  const fields = (shown.formFields ?? []).map((item) => field(item, message, actions));
  const submit = shown.submitElement ?? { elementId: "submit", buttonText: "Send" };
  const send = h("button.primary", { type: "submit", disabled: !actions.canReply }, submit.buttonText ?? "Send");
  const done = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(fields.filter(({ read }) => read).map(({ id, read }) => [id, read()]));
    if (!(await perform(submit, message, actions, values))) return;
    if (submit.disableAfterInteracted) useUp(send);
    if (shown.goalCompletionText) actions.showToast(shown.goalCompletionText);
  };
  const title = shown.title && h("p.text.title", shown.title);
  return [
    h(
      "div.card",
      title,
      h(
        "form.fields",
        { onsubmit: done },
        fields.map(({ row }) => row),
        send,
      ),
    ),
  ];
}

function scheduler(shown, message, actions) {
  const hours = Object.entries(shown.availability ?? {}).map(([day, spans]) =>
    h("tr", h("th", day), h("td", (spans ?? []).map(({ from, to }) => `${clock(from)}–${clock(to)}`).join(", "))),
  );
  const about = [
    shown.duration && `${shown.duration} minutes`,
    shown.timezoneCode,
    shown.dateRangeStart && `${shown.dateRangeStart} to ${shown.dateRangeEnd ?? "…"}`,
  ];
  const action = shown.scheduleElement && button(shown.scheduleElement, message, actions);
  return [
    h(
      "div.card",
      h("p.text.title", shown.title ?? "Appointment"),
      h("p.text.caption", about.filter(Boolean).join(" · ")),
      hours.length > 0 && h("div.table", h("table", h("tbody", hours))),
      action,
    ),
  ];
}

function clock(value) {
  return String(value ?? "").replace(/^(\d\d)(\d\d)$/, "$1:$2");
}

function button(item, message, actions) {
  const leads = item.action?.actionType === "urlNavigation";
  const made = h(
    "button.button.filled",
    { type: "button", disabled: !leads && !actions.canReply },
    item.buttonText ?? "Open",
    leads && icon("out"),
  );
  made.addEventListener("click", async () => {
    if ((await perform(item, message, actions, {})) && item.disableAfterInteracted) useUp(made);
  });
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
  actions.showToast("This element has no action that the simulator knows.");
  return false;
}

function field(item, message, actions) {
  const id = item.elementId;
  if (item.elementType === "button") return { id, row: button(item, message, actions), read: null };
  const { control, read } = (CONTROLS[item.elementType] ?? CONTROLS.textInput)(item);
  const label = h("span", item.label ?? id, item.optional && h("small", " optional"));
  const isGroup = control.tagName === "FIELDSET";
  if (isGroup) control.prepend(h("legend", label));
  return { id, row: isGroup ? control : h("label.field", label, control), read };
}

const CONTROLS = {
  textInput(item) {
    const tag = item.maxLines > 1 ? "textarea" : "input";
    const control = h(tag, {
      required: !item.optional,
      placeholder: item.placeholder?.text ?? "",
      rows: tag === "textarea" ? Math.min(item.maxLines, 6) : null,
    });
    control.value = item.defaultValue ?? "";
    return { control, read: () => control.value };
  },
  dropdown: (item) => select(item),
  singleSelect: (item) => choice(item, "radio", (chosen) => chosen[0] ?? "", [item.defaultValue]),
  checkbox: (item) => choice(item, "checkbox", (chosen) => chosen, item.defaultValue ?? []),
};

function select(item) {
  const options = (item.options ?? []).map(({ value, label }) =>
    h("option", { value, selected: value === item.defaultValue }, label ?? value),
  );
  const control = h("select", { required: !item.optional }, h("option", { value: "" }, "Choose…"), options);
  return { control, read: () => control.value };
}

function choice(item, type, combine, chosen) {
  const name = `${item.elementId}-${Math.random().toString(36).slice(2)}`;
  const inputs = (item.options ?? []).map(({ value, label }) => ({
    label,
    input: h("input", { type, name, value, checked: chosen.includes(value) }),
  }));
  const rows = inputs.map(({ label, input }) => h("label.option", input, h("span", label ?? input.value)));
  return {
    control: h("fieldset.field", rows),
    read: () => combine(inputs.filter(({ input }) => input.checked).map(({ input }) => input.value)),
  };
}
