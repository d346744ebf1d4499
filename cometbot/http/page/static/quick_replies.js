// Quick replies: choices to click, and forms to fill in.

import { h } from "./dom.js";
import { field } from "./fields.js";
import { t } from "./i18n.js";

/** Return the buttons of `options`; `choose(option)` is called with the chosen one. `attributes` are those of each button. */
export function choices(options, choose, attributes, label = t("answers")) {
  const button = (option) =>
    h(
      "button.choice.hstack",
      { ...attributes, onclick: () => choose(option) },
      option.number && h("span.number.center", option.number),
      option.label,
    );
  return h("div.choices", { role: "group", "aria-label": label }, options.map(button));
}

/** Return the form; `send(text, values)` is called with what was filled in, as lines to read and by field. */
export function form({ title, fields, submit }, send, attributes) {
  const made = fields.map((item) => field(item, attributes));
  const onsubmit = (event) => {
    event.preventDefault();
    const read = made.map((one) => one.read());
    const lines = fields.map((item, index) => [item.label, textOf(item, read[index])]);
    const filled = lines.filter(([, text]) => text).map(([label, text]) => `${label}: ${text}`);
    send(filled.join("\n"), Object.fromEntries(made.map(({ name }, index) => [name, [read[index]].flat().join(", ")])));
  };
  return h(
    "form.fields",
    { onsubmit, "aria-label": title },
    title && h("p.title", title),
    made.map(({ row }) => row),
    h("button.primary", { type: "submit", ...attributes }, submit),
  );
}

/** Return a value as people read it: the labels of the chosen options. */
function textOf({ options = [] }, value) {
  if (!options.length) return value;
  const chosen = [value].flat();
  const labels = options.filter((option) => chosen.includes(option.value)).map((option) => option.label);
  return labels.join(", ");
}
