// What a bot offers in a plain text: numbered answers become buttons, lines to be filled in become a form.

import { h } from "./dom.js";
import { markdown } from "./markdown.js";

const CHOICE_HINT = /^_Answer (\d+) for “.+”, or write it out\._$/;
const FORM_HINT = "_Answer with these lines filled in._";
const CHOICE = /^(\d+)\. (.+)$/;
const FIELD = /^([^:]+):(?: \((.*)\))?$/;

/** The elements of a text that offers something, null for any other text. */
export function offered(message, desk) {
  const lines = (message.data.text ?? "").split("\n");
  const last = lines.at(-1) ?? "";
  if (CHOICE_HINT.test(last)) return choices(lines.slice(0, -1), Number(CHOICE_HINT.exec(last)[1]), desk);
  return last === FORM_HINT ? form(lines.slice(0, -1), desk) : null;
}

function choices(lines, count, desk) {
  const labels = numbered(lines, count);
  if (labels.size !== count) return null;
  const nodes = [];
  let prose = [];
  let row = null;
  const flush = () => {
    if (prose.join("").trim()) nodes.push(h("div.prose", {}, markdown(prose.join("\n"), desk.nameOf)));
    prose = [];
  };
  lines.forEach((line, place) => {
    const number = [...labels].find(([, label]) => label.place === place)?.[0];
    if (!number) {
      row = null;
      prose.push(line);
      return;
    }
    flush();
    if (!row) nodes.push((row = h("div.choices", { role: "group", "aria-label": "Answers to choose from" })));
    row.append(choice(number, labels, desk));
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

function choice(number, labels, desk) {
  const { text } = labels.get(number);
  const isUnique = [...labels.values()].filter((other) => other.text.toLowerCase() === text.toLowerCase()).length === 1;
  const say = () => desk.say(isUnique ? text : String(number));
  return h(
    "button.choice",
    { type: "button", disabled: !desk.mayAnswer, onclick: say },
    h("span.number", {}, number),
    text,
  );
}

function form(lines, desk) {
  const fields = lines.map((line) => FIELD.exec(line));
  const start = fields.findIndex(Boolean);
  if (start < 0 || fields.slice(start).some((field) => !field)) return null;
  const rows = fields.slice(start).map(([, label, note = ""]) => fieldRow(label, note));
  const submit = (event) => {
    event.preventDefault();
    desk.say(
      rows
        .filter(({ read }) => read())
        .map(({ label, read }) => `${label}: ${read()}`)
        .join("\n"),
    );
  };
  return [
    h("div.prose", {}, markdown(lines.slice(0, start).join("\n"), desk.nameOf)),
    h(
      "form.fields",
      { onsubmit: submit },
      rows.map(({ row }) => row),
      h("button.primary", { type: "submit", disabled: !desk.mayAnswer }, "Send"),
    ),
  ];
}

function fieldRow(label, note) {
  const isOptional = /(^|, )optional$/.test(note);
  const options = note
    .replace(/(^|, )optional$/, "")
    .split(" / ")
    .filter(Boolean);
  const control = options.length
    ? h(
        "select",
        { required: !isOptional },
        h("option", { value: "" }, "Choose…"),
        options.map((option) => h("option", {}, option)),
      )
    : h("input", { type: "text", required: !isOptional, autocomplete: "off" });
  const row = h("label.field", {}, h("span", {}, label, isOptional && h("small", {}, " optional")), control);
  return { row, label, read: () => control.value.trim() };
}
