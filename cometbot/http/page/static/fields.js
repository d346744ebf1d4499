// The fields of a form in a message.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Return `{name, row, read}` for a field: the element with its label, and a function that returns its value. `kind` is
 * text, select, radio or checkbox, whose value is a list.
 */
export function field(item, attributes = {}) {
  const { name, label, kind, optional, options = [], trims = true } = item;
  const words = [label, optional && h("small", ` ${t("optional")}`)];
  if (kind === "checkbox" || kind === "radio") return { name, ...group(item, words, attributes) };
  const control = kind === "select" ? select(options, attributes) : textInput(item, attributes);
  control.required = !optional;
  control.value = item.default ?? "";
  return { name, row: h("label.field", h("span", words), control), read: () => (trims ? control.value.trim() : control.value) };
}

function select(options, attributes) {
  const choices = options.map(({ value, label }) => h("option", { value }, label ?? value));
  return h("select", attributes, h("option", { value: "" }, t("choose")), choices);
}

function textInput({ rows = 1, placeholder }, attributes) {
  if (rows > 1) return h("textarea", { rows, placeholder, ...attributes });
  return h("input", { type: "text", autocomplete: "off", placeholder, ...attributes });
}

function group({ kind, options = [], default: preset = "", optional, validate = true }, words, attributes) {
  const chosen = Array.isArray(preset) ? preset : String(preset).split(", ");
  const name = kind === "radio" ? crypto.getRandomValues(new Uint32Array(1))[0] : null;
  const inputs = options.map(({ value }) =>
    h("input", { type: kind, name, value, checked: chosen.includes(value), ...attributes }),
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
