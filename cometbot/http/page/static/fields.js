// The fields of a form in a message.

import { h } from "./dom.js";
import { t } from "./i18n.js";

const INPUT_TYPES = { number: "number", date: "date", time: "time", email: "email", phone: "tel" };
const LONG_ROWS = 4;

/**
 * Return `{name, row, read}` for a field: the element with its label, and a function that returns its value. `kind` is
 * text, long_text, number, date, time, email, phone, select, radio, checkbox, or multi_select, whose value is a list.
 */
export function field(item, attributes = {}) {
  const { name, label, kind, optional, options = [], trims = true } = item;
  const words = [label, optional && h("small", ` ${t("optional")}`)];
  if (kind === "multi_select" || kind === "radio") return { name, ...group(item, words, attributes) };
  if (kind === "checkbox") return { name, ...checkbox(item, words, attributes) };
  const control = kind === "select" ? select(options, attributes) : textInput(item, attributes);
  control.required = !optional;
  control.value = item.default ?? "";
  return { name, row: h("label.field", h("span", words), control), read: () => (trims ? control.value.trim() : control.value) };
}

function select(options, attributes) {
  const choices = options.map(({ value, label }) => h("option", { value }, label ?? value));
  return h("select", attributes, h("option", { value: "" }, t("choose")), choices);
}

function textInput({ kind, rows = kind === "long_text" ? LONG_ROWS : 1, placeholder, hint, min, max }, attributes) {
  const shared = { placeholder: placeholder ?? hint, ...attributes };
  const type = INPUT_TYPES[kind] ?? "text";
  const hasRange = ["number", "date", "time"].includes(type);
  const limits = hasRange ? { min, max, ...(type === "number" && { step: "any" }) } : { minlength: min, maxlength: max };
  const given = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
  if (rows > 1) return h("textarea", { rows, ...given, ...shared });
  return h("input", { type, autocomplete: "off", ...given, ...shared });
}

/** Return a single box, whose value is yes or no. One that is not optional must be ticked. */
function checkbox({ optional, default: preset }, words, attributes) {
  const input = h("input", { type: "checkbox", checked: preset === "yes", ...attributes });
  input.required = !optional;
  const row = h("div.field", h("label.option", input, h("span", words)));
  return { row, read: () => (input.checked ? "yes" : "no") };
}

function group({ kind, options = [], default: preset = "", optional, validate = true }, words, attributes) {
  const chosen = `, ${[preset].flat().join(", ")}, `;
  const type = kind === "radio" ? "radio" : "checkbox";
  const name = kind === "radio" ? crypto.getRandomValues(new Uint32Array(1))[0] : null;
  const inputs = options.map(({ value }) =>
    h("input", { type, name, value, checked: chosen.includes(`, ${value}, `), ...attributes }),
  );
  const read = () => inputs.filter((input) => input.checked).map((input) => input.value);
  const check = () => inputs[0]?.setCustomValidity(optional || !validate || read().length ? "" : t("chooseOne"));
  const rows = inputs.map((input, index) =>
    h("label.option", input, h("span", options[index].label ?? options[index].value)),
  );
  check();
  const row = h("fieldset.field", { onchange: check }, h("legend", words), rows);
  return { row, read: kind === "radio" ? () => read()[0] ?? "" : read };
}
