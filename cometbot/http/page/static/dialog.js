// A small form in front of everything else.

import { h, fill } from "./dom.js";
import { t } from "./i18n.js";

/** What `act(values)` resolves to, null if it was cancelled. What it throws is shown, and the form stays. */
export function openForm(title, fields, label, act) {
  return new Promise((resolve) => {
    const fault = h("p.fault", { role: "alert" });
    const inputs = fields.map((field) =>
      h("input", {
        type: "text",
        name: field.name,
        value: field.value,
        required: !field.isOptional,
        autocomplete: "off",
        maxlength: String(field.longest ?? 100),
      }),
    );
    const rows = fields.map((field, place) =>
      h(
        "label.field",
        h("span", field.label, field.isOptional && h("small", ` ${t("optional")}`)),
        inputs[place],
        field.hint && h("small", field.hint),
      ),
    );
    const cancel = h("button.button", { type: "button", onclick: () => dialog.close() }, t("cancel"));
    const form = h(
      "form",
      { method: "dialog", onsubmit: submit },
      h("h2", title),
      rows,
      fault,
      h("div.row", cancel, h("button.primary", { type: "submit" }, label)),
    );
    const dialog = h("dialog", { "aria-label": title }, form);
    let result = null;
    async function submit(event) {
      event.preventDefault();
      try {
        result = await act(Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()])));
        dialog.close();
      } catch (error) {
        fill(fault, error.message);
      }
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    inputs[0].focus();
  });
}

/** Whether somebody who was asked `title` in front of everything else says yes, with a button that says `label`. */
export function openConfirmation(title, text, label) {
  return new Promise((resolve) => {
    let isSure = false;
    const yes = () => {
      isSure = true;
      dialog.close();
    };
    const no = h("button.button", { type: "button", onclick: () => dialog.close() }, t("cancel"));
    const dialog = h(
      "dialog",
      { "aria-label": title },
      h("h2", title),
      h("p", text),
      h("div.row", no, h("button.primary.danger", { type: "button", onclick: yes }, label)),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(isSure);
    });
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}
