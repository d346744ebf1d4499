// The box one writes in: text, files by picker, drop or paste, and completion of mentions and commands.

import { decodeUrlPart, h, fill } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { Attachments } from "./attachments.js";
import { Completion } from "./completion.js";
import { showToast } from "./toasts.js";
import { t } from "./i18n.js";

const HIGHEST = 220;
const COMPOSING = 229;

/** Return whether a key belongs to an input method. Safari ends the composition before the Enter that confirms it. */
export const isComposing = (event) => event.isComposing || event.keyCode === COMPOSING;

/** Return whether the primary pointer is a finger: then Enter of the screen keyboard makes a new line. */
const hasTouch = () => matchMedia("(pointer: coarse)").matches;

/**
 * `send({text, files})` returns a promise; what was written comes back if it resolves to false. `offers(kind)` are the
 * completions for `@` and `/`: [{value, label, hint, usage}]. `editLast()` is called for Up in an empty box.
 *
 * With `upload(file, progress)`, a promise of what is stored, files are uploaded as soon as they are attached, and
 * `send` gets what is stored in their place; `refuse(file)` is why a file cannot be attached, empty if it can.
 * `longest()` is how many bytes of text there may be.
 */
export class Composer {
  #mentioned = new Map();
  #edits = null;
  #busy = false;

  constructor(options) {
    const { id = "composer-text", label = t("message") } = options;
    this.options = { editLast: () => {}, longest: () => Infinity, ...options };
    this.text = h("textarea", {
      id,
      rows: "1",
      "aria-label": label,
      placeholder: label,
      autocomplete: "off",
      spellcheck: "true",
      dir: "auto",
      enterkeyhint: hasTouch() ? "enter" : "send",
    });
    this.completion = new Completion(
      this.text,
      options.offers,
      (offer) => this.#mentioned.set(`@${offer.label}`, offer.value),
      `${id}-list`,
    );
    this.attachments = new Attachments({ ...options, changed: () => this.#grow(), done: () => this.focus() });
    this.editNotice = h("div.editing.hstack.muted", { hidden: true });
    this.element = this.#form();
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.text.addEventListener("input", () => this.#grow());
    this.text.addEventListener("paste", (event) => this.#paste(event));
  }

  /** Attach files that are dropped on `zone`. */
  dropOn(zone) {
    this.attachments.dropOn(zone);
  }

  /** Edit the text of a message; `save(text)` is called with the new one. */
  edit(text, save) {
    this.#edits = save;
    this.text.value = text;
    fill(
      this.editNotice,
      icon("edit"),
      h("span", t("editing")),
      h("button.button", { onclick: () => this.#endEdit() }, t("cancel")),
    );
    this.editNotice.hidden = false;
    this.#grow();
    this.text.focus();
  }

  focus() {
    this.text.focus({ preventScroll: true });
  }

  /** Replace the text, as if the user had written it. */
  write(text) {
    this.text.value = text;
    this.text.dispatchEvent(new Event("input", { bubbles: true }));
    this.focus();
  }

  /** Replace the text without showing completions for it. */
  suggest(text) {
    this.write(text);
    this.completion.close();
  }

  set placeholder(text) {
    this.text.placeholder = text;
    this.text.setAttribute("aria-label", text);
  }

  /** The unsent text and files. Assign it to restore them. */
  get draft() {
    return { text: this.text.value, items: this.attachments.items };
  }

  set draft({ text = "", items = [] }) {
    this.text.value = text;
    this.attachments.items = items;
    this.completion.close();
    this.#grow();
  }

  #form() {
    const attach = iconButton("button.attach", "attach", t("attach"), () => this.attachments.picker.click());
    const hints = { "aria-label": t("send"), title: t(hasTouch() ? "send" : "sendHint") };
    // The box keeps the focus, and a phone its keyboard.
    const stay = (event) => event.preventDefault();
    const button = h("button.send.icon-button", { type: "submit", ...hints, onmousedown: stay }, icon("send"));
    return h(
      "form.composer",
      { onsubmit: (event) => this.#submit(event) },
      this.editNotice,
      this.attachments.element,
      this.completion.usage,
      h("div.box", attach, this.text, this.attachments.picker, button),
      this.completion.element,
    );
  }

  #endEdit() {
    this.#edits = null;
    this.editNotice.hidden = true;
    this.text.value = "";
    this.#grow();
    this.text.focus();
  }

  async #submit(event) {
    event.preventDefault();
    const written = this.text.value;
    const { items } = this.attachments;
    if (this.#busy || (!written.trim() && !items.length)) return;
    const over = new TextEncoder().encode(written.trim()).length - this.options.longest();
    if (over > 0) return showToast(t("tooLong", { count: over }), "bad");
    if (this.#edits) {
      const save = this.#edits;
      this.#endEdit();
      await save(this.#withMentions(written));
      return;
    }
    this.#setBusy(items.length > 0);
    this.text.readOnly = items.length > 0;
    const files = await this.attachments.settled();
    this.text.readOnly = false;
    if (files) await this.#pass(written, files, items);
    this.#setBusy(false);
  }

  async #pass(written, files, items) {
    this.draft = {};
    const isSent = await this.options.send({ text: this.#withMentions(written).trim(), files });
    if (isSent) items.forEach((item) => item.forget());
    else if (!this.text.value) this.draft = { text: written, items };
  }

  #setBusy(busy) {
    this.#busy = busy;
    this.element.classList.toggle("busy", busy);
  }

  /** The text with mentions in the place of `@Name` and `@uid`, whether picked from the list or typed by hand. */
  #withMentions(text) {
    if (!text.includes("@")) return text;
    const uids = new Map();
    const add = (name, uid) => uids.set(name.toLowerCase(), uid);
    for (const { label, value } of this.options.offers("@")) add(label, value);
    for (const { value } of this.options.offers("@")) add(value, value);
    for (const [name, uid] of this.#mentioned) add(name.slice(1), uid);
    const names = [...uids.keys()].sort((one, other) => other.length - one.length);
    if (!names.length) return text;
    const listed = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
    const typed = new RegExp(`(?<![\\p{L}\\p{N}_@])@(${listed})(?![\\p{L}\\p{N}_-])`, "giu");
    return text.replace(typed, (_, name) => `<@uid:${uids.get(name.toLowerCase())}>`);
  }

  #key(event) {
    if (isComposing(event) || this.completion.key(event)) return;
    if (event.key === "Enter" && sends(event)) {
      event.preventDefault();
      this.element.requestSubmit();
    } else if (event.key === "ArrowUp" && !this.text.value && !this.#edits) {
      event.preventDefault();
      this.options.editLast();
    } else if (event.key === "Escape" && this.#edits) {
      this.#endEdit();
    }
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || !namesOnly(event.clipboardData.getData("text/plain"), files)) return;
    event.preventDefault();
    this.attachments.add(files);
  }

  #grow() {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, HIGHEST)}px`;
    this.element.classList.toggle("ready", Boolean(this.text.value.trim() || this.attachments.items.length));
  }
}

const sends = ({ shiftKey, ctrlKey, metaKey }) => ctrlKey || metaKey || !(shiftKey || hasTouch());

/** Return whether a text only names the files. Spreadsheets put a picture beside the text of cells. */
function namesOnly(text, files) {
  const names = new Set(files.map((file) => file.name));
  const lines = text.split(/[\r\n]+/).filter((line) => line.trim());
  return lines.every((line) => names.has(nameIn(line)));
}

function nameIn(line) {
  const last = line.split(/[\\/]/).at(-1);
  return line.startsWith("file:") ? decodeUrlPart(last) : last;
}
