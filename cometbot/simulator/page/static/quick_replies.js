// What a bot offers in a plain text: numbered answers become buttons, lines to be filled in become a form.

import { h } from "./dom.js";
import { markdown } from "./markdown.js";

const OVER = "No longer asked: the bot has answered a later message";
const CHOICE_HINT = /^Answer (\d+) for “.+”, or write it out\.$/;
const FORM_HINT = "Answer with these lines filled in.";
const SEVERAL = "any of ";
const CHOICE = /^(\d+)\. (.+)$/;
const FIELD = /^([^:]+):(?: \((.*)\))?$/;

/** Whether a text offers something to answer with. */
export function isOffer(text) {
  const last = text.slice(text.lastIndexOf("\n") + 1);
  return CHOICE_HINT.test(last) || last === FORM_HINT;
}

/** The attributes of what is answered with: without effect for whoever asked, and where nobody asks any more. */
export function answering({ canReply, isExpired }) {
  return { disabled: !canReply || isExpired, title: isExpired && OVER };
}

/** The elements of a text that offers something, null for any other text. */
export function offered(message, actions) {
  const lines = (message.data.text ?? "").split("\n");
  const last = lines.at(-1) ?? "";
  if (CHOICE_HINT.test(last)) return choices(lines.slice(0, -1), Number(CHOICE_HINT.exec(last)[1]), actions);
  return last === FORM_HINT ? form(lines.slice(0, -1), actions) : null;
}

function choices(lines, count, actions) {
  const labels = numbered(lines, count);
  if (labels.size !== count) return null;
  const nodes = [];
  const label = actions.isExpired ? "Answers, no longer asked for" : "Answers to choose from";
  let prose = [];
  let row = null;
  const flush = () => {
    if (prose.join("").trim()) nodes.push(h("div.prose", markdown(prose.join("\n"), actions.nameOf)));
    prose = [];
  };
  lines.forEach((line, place) => {
    if (row && !line.trim()) return;
    const number = [...labels].find(([, label]) => label.place === place)?.[0];
    if (!number) {
      row = null;
      prose.push(line);
      return;
    }
    flush();
    if (!row) nodes.push((row = h("div.choices", { role: "group", "aria-label": label })));
    row.append(choice(number, labels, actions));
  });
  flush();
  return nodes;
}

function numbered(lines, count) {
  const labels = new Map();
  for (let place = lines.length - 1, wanted = count; place >= 0 && wanted; place -= 1) {
    const found = CHOICE.exec(lines[place]);
    if (found && Number(found[1]) === wanted) {
      labels.set(wanted, { text: found[2], place });
      wanted -= 1;
    }
  }
  return labels;
}

function choice(number, labels, actions) {
  const { text } = labels.get(number);
  const isUnique = [...labels.values()].filter((other) => other.text.toLowerCase() === text.toLowerCase()).length === 1;
  const say = () => actions.reply(isUnique ? text : String(number));
  return h("button.choice", { type: "button", ...answering(actions), onclick: say }, h("span.number", number), text);
}

function form(lines, actions) {
  // The first line is the title, which may end with a colon like a field.
  const start = lines.findIndex((line, place) => place > 0 && FIELD.test(line));
  const fields = lines
    .slice(start)
    .filter(Boolean)
    .map((line) => FIELD.exec(line));
  if (start < 0 || !fields.every(Boolean)) return null;
  const rows = fields.map(([, label, note = ""]) => fieldRow(label, note, answering(actions)));
  const submit = (event) => {
    event.preventDefault();
    actions.reply(
      rows
        .filter(({ read }) => read())
        .map(({ label, read }) => `${label}: ${read()}`)
        .join("\n"),
    );
  };
  return [
    h("div.prose", markdown(lines.slice(0, start).join("\n"), actions.nameOf)),
    h(
      "form.fields",
      { onsubmit: submit },
      rows.map(({ row }) => row),
      h("button.primary", { type: "submit", ...answering(actions) }, "Send"),
    ),
  ];
}

function fieldRow(label, note, attributes) {
  const isOptional = /(^|, )optional$/.test(note);
  const listed = note.replace(/(^|, )optional$/, "");
  const isSeveral = listed.startsWith(SEVERAL);
  const options = listed
    .slice(isSeveral ? SEVERAL.length : 0)
    .split(" / ")
    .filter(Boolean);
  const words = [label, isOptional && h("small", " optional")];
  if (isSeveral) return { label, ...checkboxes(options, words, { isOptional, attributes }) };
  const control = options.length
    ? h(
        "select",
        { required: !isOptional, ...attributes },
        h("option", { value: "" }, "Choose…"),
        options.map((option) => h("option", option)),
      )
    : h("input", { type: "text", required: !isOptional, autocomplete: "off", ...attributes });
  return { label, row: h("label.field", h("span", words), control), read: () => control.value.trim() };
}

function checkboxes(options, words, { isOptional, attributes }) {
  const boxes = options.map((option) => h("input", { type: "checkbox", value: option, ...attributes }));
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const check = () => boxes[0].setCustomValidity(isOptional || chosen().length ? "" : "Choose at least one.");
  const rows = boxes.map((box) => h("label.option", box, h("span", box.value)));
  const row = h("fieldset.field", { onchange: check }, h("legend", words), rows);
  check();
  return { row, read: () => chosen().join(", ") };
}
