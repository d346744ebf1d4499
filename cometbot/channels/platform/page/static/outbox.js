// Messages that the platform does not have yet. They are sent in order, retried, and survive a reload. The platform knows
// each by the id that it gets here, so that none is stored twice.

import { openChat, parseJson, post } from "./api.js";
import { storage } from "./store.js";

const FIRST_PAUSE = 1000;
const MAX_PAUSE = 30_000;
const MAX_TRIES = 8;

/** `arrived(item, message)` is called with what the platform stored; `opened(bot, chat)` when a chat was begun. */
export class Outbox {
  #store;
  #running = false;
  #timer = 0;
  #pause = FIRST_PAUSE;
  #prefix = "";
  #isClosed = false;

  constructor(store, { arrived, opened, signedOut }) {
    this.#store = store;
    Object.assign(this, { arrived, opened, signedOut });
  }

  /** Load what an earlier visit, or a closed tab, has not sent. */
  restore() {
    this.#prefix = `webchat.unsent.${this.#store.user.id}.`;
    this.#isClosed = false;
    const left = storage.names(this.#prefix).map((name) => parseJson(storage.get(name)));
    this.#store.unsent = left
      .filter((item) => item?.clientId && (this.#store.chats.has(item.chatId) || this.#store.bots.has(item.draftOf)))
      .map((item) => (item.state === "failed" ? item : { ...item, state: "waiting" }))
      .sort((one, other) => one.at - other.at);
    this.flush();
  }

  /** Send and store nothing more, until `restore`. */
  close() {
    clearTimeout(this.#timer);
    this.#isClosed = true;
  }

  /** Send `{body, attachments, action}` to where one is, as soon as that is possible. */
  add({ body, attachments = [], action = null }) {
    const { place } = this.#store;
    const item = {
      clientId: newId(),
      chatId: place.kind === "chat" ? place.id : "",
      draftOf: place.kind === "bot" ? place.id : "",
      body,
      attachments,
      action,
      state: navigator.onLine === false ? "waiting" : "sending",
      reason: "",
      tries: navigator.onLine === false ? 1 : 0,
      at: Date.now(),
    };
    this.#store.unsent = [...this.#store.unsent, item];
    this.#save(item);
    this.#store.emit("messages");
    this.flush();
  }

  again(id) {
    this.#set(id, { state: "sending", reason: "", tries: 0 });
    this.flush();
  }

  discard(id) {
    this.#remove(id);
    this.#store.emit("messages");
  }

  /** Try what waits, now. */
  async flush() {
    clearTimeout(this.#timer);
    if (this.#running || this.#isClosed || !this.#store.user) return;
    this.#running = true;
    try {
      for (let item = this.#next(); item; item = this.#next()) await this.#send(item);
      this.#pause = FIRST_PAUSE;
    } catch (pause) {
      if (typeof pause !== "number") throw pause;
      if (!this.#isClosed) this.#timer = setTimeout(() => this.flush(), pause);
    } finally {
      this.#running = false;
    }
  }

  /** Return the oldest message that can be sent. A rejected message does not delay the others. */
  #next() {
    return this.#store.unsent.find((item) => item.state !== "failed");
  }

  async #send(item) {
    if (!item.tries) this.#set(item.clientId, { state: "sending" });
    try {
      const chat = item.chatId || (await this.#open(item));
      const { body, action, clientId } = item;
      const attachmentIds = item.attachments.map((file) => file.id);
      const message = await post(chat, { body, attachmentIds, clientId, ...(action && { action }) });
      this.#remove(clientId);
      this.arrived(item, message);
    } catch (error) {
      this.#failed(item, error);
    }
  }

  /** The item's own id names the chat, so that two tabs that both send the item, or one twice, begin one chat. */
  async #open({ draftOf: bot, clientId }) {
    const chat = await openChat(bot, clientId);
    for (const item of this.#store.unsent.filter((other) => other.draftOf === bot)) {
      this.#set(item.clientId, { chatId: chat.id, draftOf: "" });
    }
    this.opened(bot, chat);
    return chat.id;
  }

  /** Throws the milliseconds to wait before another attempt, if there will be one. */
  #failed(item, error) {
    if (error.status === undefined) throw error;
    if (error.status === 401) {
      this.#set(item.clientId, { state: "failed", reason: error.message });
      return this.signedOut();
    }
    const tries = (this.#store.unsent.find((other) => other.clientId === item.clientId)?.tries ?? 0) + 1;
    const isWorthIt = error.isTransient && (error.status === 0 || tries < MAX_TRIES);
    this.#set(item.clientId, { state: isWorthIt ? "waiting" : "failed", reason: error.message, tries });
    if (!isWorthIt) return undefined;
    const pause = Math.max(error.retryAfter * 1000, this.#pause * (0.8 + Math.random() * 0.4));
    this.#pause = Math.min(this.#pause * 2, MAX_PAUSE);
    throw pause;
  }

  #set(id, changes) {
    this.#store.unsent = this.#store.unsent.map((item) => (item.clientId === id ? { ...item, ...changes } : item));
    const item = this.#store.unsent.find((other) => other.clientId === id);
    if (item) this.#save(item);
    this.#store.emit("messages");
  }

  #remove(id) {
    this.#store.unsent = this.#store.unsent.filter((item) => item.clientId !== id);
    storage.remove(this.#prefix + id);
  }

  #save(item) {
    if (!this.#isClosed) storage.set(this.#prefix + item.clientId, JSON.stringify(item));
  }
}

/** Not crypto.randomUUID: that is there on HTTPS only. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
