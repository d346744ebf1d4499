// A thread, in a panel beside the conversation.

import { h } from "./dom.js";
import { iconButton } from "./icons.js";
import { Composer, isComposing } from "./composer.js";
import { Transcript } from "./transcript.js";
import { atWork, offersOf, workingBots } from "./chat.js";
import { messageView } from "./message_view.js";

/** The messages below one message; `close()` is called when the reader has had enough of it. */
export class Thread {
  #root = "";

  constructor(store, messageActions, close) {
    this.store = store;
    const within = {
      facts: (message, more) => ({ ...messageActions.facts(message, more), replies: 0 }),
      actions: (message) => messageActions.actions(this.#inThread(message)),
      nameOf: messageActions.nameOf,
      acts: {
        ...messageActions.acts,
        reply: null, // there is no thread within a thread
        edit: (message) => messageActions.acts.edit(message, this.composer),
      },
    };
    this.transcript = new Transcript(messageView(within), {
      label: "Replies",
      empty: () => h("div.empty.vstack.muted", h("p", "This message is not there any more.")),
    });
    this.composer = new Composer({
      send: (written) => messageActions.sendAll(this.#address(), written),
      offers: (kind) => offersOf(store, kind),
      id: "thread-text",
      label: "Reply in the thread",
    });
    const head = h(
      "header.panel-head.hstack",
      h("h2", "Thread"),
      iconButton("button.quiet-button", "close", "Close the thread", close),
    );
    this.element = h("div.thread.vstack", head, this.transcript.element, this.composer.element);
    this.composer.dropOn(this.element);
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && !isComposing(event)) close();
    });
    store.on("messages entries handled directory", () => this.#show());
  }

  get root() {
    return this.#root;
  }

  /** Show the thread below this message; an empty id shows none. */
  open(id) {
    this.#root = id;
    this.transcript.clear();
    this.#show();
    if (id) this.composer.focus();
  }

  #address() {
    const root = this.store.messages.get(this.#root);
    return {
      parent: this.#root,
      ...(root?.receiverType === "group"
        ? { group: root.receiver }
        : { to: root?.sender === this.store.me ? root.receiver : root?.sender }),
    };
  }

  #inThread(message) {
    return message.id === this.#root ? { ...message, parentId: message.id } : message;
  }

  #show() {
    if (!this.#root) return;
    const root = this.store.messages.get(this.#root);
    const messages = root ? [root, ...this.store.messagesAt(this.store.place, { parent: this.#root })] : [];
    this.transcript.show(messages, workingBots(this.store, messages.slice(1)).map(atWork));
  }
}
