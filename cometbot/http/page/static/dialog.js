// Small forms and questions in front of the page.

import { h, fill } from "./dom.js";
import { t } from "./i18n.js";

/** Ask for `fields`. The promise is what `act(values)` resolves to, null if cancelled. What it throws is shown in the form. */
export function openForm(title, fields, label, act) {
  const error = h("p.form-error", { role: "alert" });
  const inputs = fields.map(({ name, value, isOptional, longest = 100 }) =>
    h("input", { type: "text", name, value, required: !isOptional, autocomplete: "off", maxlength: String(longest) }),
  );
  const rows = fields.map((field, index) =>
    h(
      "label.field",
      h("span", field.label, field.isOptional && h("small", ` ${t("optional")}`)),
      inputs[index],
      field.hint && h("small", field.hint),
    ),
  );
  return open(title, inputs[0], (cancel, close) => {
    const onsubmit = async (event) => {
      event.preventDefault();
      try {
        close(await act(Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()]))));
      } catch (failure) {
        fill(error, failure.message);
      }
    };
    const buttons = h("div.row", cancel, h("button.primary", { type: "submit" }, label));
    return h("form", { method: "dialog", onsubmit }, h("h2", title), rows, error, buttons);
  });
}

/** Ask whether to do what cannot be undone. The promise is true if the button `label` was pressed, else null. */
export function openConfirmation(title, text, label) {
  return open(title, null, (cancel, close) => [
    h("h2", title),
    h("p", text),
    h("div.row", cancel, h("button.primary.danger", { onclick: () => close(true) }, label)),
  ]);
}

function open(title, focused, build) {
  return new Promise((resolve) => {
    let result = null;
    const close = (value) => {
      result = value;
      dialog.close();
    };
    const cancel = h("button.button", { onclick: () => close(null) }, t("cancel"));
    const dialog = h("dialog", { "aria-label": title }, build(cancel, close));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    (focused ?? cancel).focus();
  });
}
