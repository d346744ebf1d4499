// The middle: one chat with its head, its messages and the box to write in; or, where none is open, the bots.

import { h, fill, oncePerFrame } from "./dom.js";
import { iconButton } from "./icons.js";
import { avatar } from "./avatar.js";
import { upload } from "./api.js";
import { Composer } from "./composer.js";
import { formatSize, kindOf } from "./media.js";
import { messageView } from "./message_view.js";
import { ConnectionNotice } from "./connection_notice.js";
import { t } from "./i18n.js";
import { emptyConversation, Transcript, typingIndicator } from "./transcript.js";

const SCROLL_DELAY = 200;
const LIMITS = { image: "maxImageSize", audio: "maxAudioSize", video: "maxVideoSize", file: "maxFileSize" };

/** The right pane; `acts` are what is done elsewhere: go, rename, remove, earlier, and the outbox's. */
export class Chat {
  #drafts = new Map();
  #at = "";
  #made = new Map();

  constructor(store, acts) {
    Object.assign(this, { store, acts });
    this.head = h("header.chat-head.hstack");
    const { press, again, discard } = acts;
    this.transcript = new Transcript(messageView(store, { press, again, discard }), {
      label: t("messages"),
      empty: () => this.#empty(),
      reachedTop: () => this.#earlier(),
    });
    this.composer = this.#composer();
    this.notice = new ConnectionNotice(store);
    this.element = h(
      "main.chat.vstack",
      { "aria-label": t("chatPane") },
      this.head,
      this.notice.element,
      this.transcript.element,
      this.composer.element,
    );
    this.composer.dropOn(this.element);
    store.on("place", () => this.#enter());
    store.on("bots chats user", () => this.#showHead());
    store.on(
      "messages typing chats bots",
      oncePerFrame(() => this.#show()),
    );
  }

  /** Focus the composer, except on a phone, where that would open the keyboard. */
  focus() {
    if (matchMedia("(min-width: 761px)").matches) this.composer.focus();
    else this.head.querySelector("h2")?.focus({ preventScroll: true });
  }

  #composer() {
    const { store, acts } = this;
    return new Composer({
      label: t("message"),
      send: async ({ text, files }) => {
        this.transcript.toEnd();
        acts.send({ body: text, attachments: files });
        return true;
      },
      offers: (kind) => (kind === "/" ? offersOf(store) : []),
      upload,
      refuse: (file) => this.#refuse(file),
      mostFiles: () => store.limits.maxAttachedFiles ?? 10,
      longest: () => store.limits.maxBodyLength ?? 4096,
    });
  }

  #refuse(file) {
    const name = file.name || t("picture");
    const limit = this.store.limits[LIMITS[kindOf(file.type)]] ?? Infinity;
    if (!file.size) return t("isEmpty", { name });
    return file.size > limit ? t("tooLarge", { name, size: formatSize(limit) }) : "";
  }

  #enter() {
    const { kind, id } = this.store.place;
    this.#drafts.set(this.#at, this.composer.draft);
    const before = this.#at;
    this.#at = `${kind}/${id}`;
    if (before !== this.#at) this.composer.draft = this.#drafts.get(this.#at) ?? {};
    this.transcript.clear();
    this.#showHead();
    this.#show();
  }

  /** Keep the draft when the first message creates the chat. */
  moved(from, to) {
    if (this.#at !== from) return;
    this.#at = to;
    this.#drafts.delete(from);
  }

  #show() {
    const { store } = this;
    const { place } = store;
    const isTalk = place.kind !== "home" && Boolean(store.bot ?? store.chat);
    this.element.classList.toggle("is-home", !isTalk);
    this.composer.element.hidden = !store.bot;
    if (!isTalk) return this.transcript.show([]);
    const known = store.known.get(place.id);
    const messages = store.messagesHere().map((message) => ({ ...message, storedAs: message.id, id: message.key }));
    const work = store.typing.get(place.id);
    const typing = work ? [this.#typing(work.text || t("typing", { name: store.bot?.name ?? "" }))] : [];
    this.transcript.show(messages, typing, messages.length ? [this.#edge(known)] : []);
    if (this.transcript.isAtTop) this.#earlier();
    return undefined;
  }

  /** Return the same element as long as `facts` are the same, so that it keeps the focus. */
  #once(name, facts, make) {
    const signature = JSON.stringify(facts);
    if (this.#made.get(name)?.signature !== signature) this.#made.set(name, { signature, element: make() });
    return this.#made.get(name).element;
  }

  #typing(text) {
    return this.#once("typing", text, () => typingIndicator(text));
  }

  /** Return what is above the oldest message: a button that loads earlier ones, or that there are none. */
  #edge(known) {
    const button = { onclick: () => this.#earlier() };
    return this.#once("edge", Boolean(known?.hasEarlier), () =>
      known?.hasEarlier ? h("button.edge.button.muted", button, t("earlier")) : h("p.edge.muted", t("beginning")),
    );
  }

  /** Load what comes before, and more of it as long as the reader is at the top and there is some. */
  async #earlier() {
    const { place, known } = this.store;
    const before = known.get(place.id);
    if (place.kind !== "chat" || !before?.hasEarlier || this.loading === place.id) return;
    const { size } = before.messages;
    this.loading = place.id;
    const goOn = () => {
      this.loading = "";
      const hasGrown = (known.get(place.id)?.messages.size ?? 0) > size;
      if (hasGrown && this.store.place.id === place.id && this.transcript.isAtTop) this.#earlier();
    };
    try {
      await this.acts.earlier(place.id);
    } finally {
      // While messages are added above a moving wheel, the browser fires no scroll event at the top.
      setTimeout(goOn, SCROLL_DELAY);
    }
  }

  #showHead() {
    const { activeElement } = document;
    const label = this.head.contains(activeElement) ? activeElement.getAttribute("aria-label") : null;
    this.#fillHead();
    if (label) this.head.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus({ preventScroll: true });
  }

  #fillHead() {
    const { store, acts } = this;
    const { bot, chat } = store;
    const backButton = iconButton("button.quiet-button.back", "back", t("back"), () => acts.go("/"));
    if (!bot && !chat) {
      fill(this.head, backButton, h("h2.truncate", { tabindex: "-1" }, store.service.name));
      return;
    }
    const name = bot?.name ?? t("noSuchBot");
    const tool = (...options) => iconButton("button.quiet-button", ...options);
    const several = chat && (chat.title || store.chatsWith(chat.botId).length > 1);
    const note = several ? store.titleOf(chat) : (bot?.description ?? "");
    fill(
      this.head,
      backButton,
      avatar(bot?.id ?? chat.botId, name, "", bot?.avatar),
      h("div.lines", h("h2.truncate", { tabindex: "-1" }, name), note && h("p.truncate.muted", { title: note }, note)),
      h(
        "div.acts",
        chat && bot && tool("plus", t("newChat"), () => acts.go(`/bot/${bot.id}`)),
        chat && tool("edit", t("rename"), () => acts.rename(chat)),
        chat && tool("bin", t("delete"), () => acts.remove(chat)),
      ),
    );
    this.composer.placeholder = t("writeTo", { name });
  }

  #empty() {
    const { store } = this;
    const { place, bot } = store;
    if (!bot) return this.#once("empty", [store.service, ...store.bots], () => this.acts.home());
    const commands = (store.commands.get(bot.id) ?? []).slice(0, 5);
    const isLoading = place.kind === "chat" && !store.known.get(place.id)?.isBegun;
    return this.#once("empty", [bot, commands, isLoading], () =>
      isLoading ? h("p.edge.muted.loading", t("loading")) : this.#beginning(bot, commands),
    );
  }

  #beginning({ id, name, description, avatar: picture }, commands) {
    const texts = commands.map((one) => (hasArguments(one) ? `/${one.alias} ` : `/${one.alias}`));
    const suggest = (text) => this.composer.suggest(text);
    return emptyConversation(avatar(id, name, "", picture), t("sayHello", { name }), description, texts, suggest);
  }
}

const argumentsOf = (command) => (command.usage ?? "").replace(/^\S+\s*/, "");
const hasArguments = (command) => Boolean(argumentsOf(command));

/** The commands of the bot one talks to, as completions. */
function offersOf(store) {
  return (store.commands.get(store.bot?.id) ?? []).map((command) => ({
    value: `/${command.alias}`,
    label: `/${command.alias}`,
    args: argumentsOf(command),
    usage: hasArguments(command) ? command.usage : "",
    hint: command.description ?? "",
  }));
}
