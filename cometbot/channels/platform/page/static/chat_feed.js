// Follows the platform: what there is, then server-sent events, and whatever was missed while there was no connection.

import { messagesOf, start } from "./api.js";
import { Feed } from "./feed.js";
import { SharedStream } from "./shared_stream.js";

const EVENTS = ["message", "typing", "delta", "removed", "chat", "chat-removed"];
const HIDDEN_DELAY = SharedStream.isShared ? 30_000 : 2000;
const HIDDEN_POLL_INTERVAL = 20_000;
const TYPING_TIMEOUT = 15_000;

/**
 * Keeps the store up to date for as long as the page is open. `signedOut()` is called when the user is no longer known,
 * `caughtUp()` each time when nothing is missing. A hidden page closes its stream after a while and polls now and then,
 * because the platform has a thread for each stream.
 */
export class ChatFeed extends Feed {
  #hideTimer = 0;
  #isAsleep = false;
  #isPaused = false;
  #asked = 0; // how often it began to catch up
  #answered = 0; // which of these was the last one with an answer
  #loading = new Map();
  #followed = new Set();

  constructor(store, { signedOut, caughtUp }) {
    super(store);
    Object.assign(this, { signedOut, caughtUp });
    window.addEventListener("online", () => this.reconnect());
    window.addEventListener("offline", () => this.#disconnect());
    window.addEventListener("pagehide", () => this.stop());
    window.addEventListener("pageshow", (event) => event.persisted && this.reconnect());
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
  }

  get stream() {
    return { name: `webchat.${this.store.user.id}`, address: () => "/v1/page-api/events", events: EVENTS };
  }

  connect() {
    this.#isAsleep = this.#isPaused = false;
    this.#watchVisibility();
    super.connect();
  }

  reconnect() {
    if (this.store.user && !this.#isPaused) this.connect();
  }

  retryLater() {
    super.retryLater(navigator.onLine === false ? "offline" : "lost");
  }

  /** Close the stream, whatever happens, until `connect` is called. */
  pause() {
    this.stop();
    clearTimeout(this.#hideTimer);
    this.#isPaused = true;
  }

  /** Load the newest messages of a chat, and all since those that the store has. */
  async load(chat) {
    const since = this.store.newestIn(chat);
    const before = this.store.idsIn(chat); // what comes by the stream meanwhile may be too new for the answer
    const { messages, more } = await messagesOf(chat);
    const isGap = since > 0 && more && messages.length > 0 && messages[0].timestamp > since;
    if (isGap) await this.#fill(chat, since, messages[0].timestamp);
    const known = this.store.known.get(chat);
    const isFirst = !known?.isBegun;
    this.store.addPage(chat, messages, { before, ...(isFirst && !isGap && { hasEarlier: more }) });
  }

  /** Load a page of earlier messages of a chat; once, however often this is called meanwhile. */
  loadEarlier(chat) {
    const known = this.store.known.get(chat);
    if (!known?.isBegun || !known.hasEarlier) return Promise.resolve();
    if (!this.#loading.has(chat)) {
      this.#loading.set(
        chat,
        this.#before(chat, known).finally(() => this.#loading.delete(chat)),
      );
    }
    return this.#loading.get(chat);
  }

  async #before(chat, known) {
    const oldest = Math.min(...[...known.messages.values()].map((message) => message.timestamp));
    const { messages, more } = await messagesOf(chat, { before: oldest });
    this.store.addPage(chat, messages, { hasEarlier: more });
  }

  async #fill(chat, since, until) {
    for (let after = since; after < until;) {
      const { messages, more } = await messagesOf(chat, { after });
      this.store.addPage(chat, messages);
      if (!more || !messages.length) return;
      after = messages.at(-1).timestamp;
    }
  }

  receive(name, value) {
    const { store } = this;
    if (name === "message") this.#addMessage(value);
    else if (name === "typing") store.setTyping(value.chatId, value.on, TYPING_TIMEOUT, value.text);
    else if (name === "delta") store.applyDelta(value);
    else if (name === "removed") store.removeMessage(value.chatId, value.id);
    else if (name === "chat") this.#addChat(value);
    else if (name === "chat-removed") store.removeChat(value.id);
  }

  /** The stream has the events of a chat from this one on, so a new chat is loaded once. */
  #addChat(chat) {
    this.store.updateChat(chat);
    if (this.#followed.has(chat.id)) return;
    this.#followed.add(chat.id);
    if (this.store.known.has(chat.id)) this.load(chat.id).catch(() => this.poll());
  }

  #addMessage(message) {
    const isKnown = this.store.chats.has(message.chatId);
    this.store.addMessage(message, { isNews: true });
    if (!isKnown) this.poll();
  }

  async catchUp() {
    const asked = new Map(this.store.chats);
    const turn = (this.#asked += 1);
    const now = await start();
    if (turn < this.#answered) return undefined; // a later one was answered before
    this.#answered = turn;
    if (!now.user) return this.signedOut();
    if (now.user.id !== this.store.user?.id) return location.reload(); // somebody else, by another tab
    const { place } = this.store;
    for (const chat of asked.keys()) if (chat !== place.id) this.store.known.delete(chat);
    this.store.restore(now, asked);
    this.#followed = new Set(this.store.chats.keys());
    if (this.store.chat) await this.load(place.id);
    return undefined;
  }

  #disconnect() {
    if (!this.store.user) return;
    this.stop();
    if (!this.#isPaused) this.retryLater();
  }

  #visibilityChanged() {
    if (!document.hidden && this.#isAsleep) this.reconnect();
    else this.#watchVisibility();
  }

  #watchVisibility() {
    clearTimeout(this.#hideTimer);
    if (document.hidden && !this.#isAsleep) this.#hideTimer = setTimeout(() => this.#sleep(), HIDDEN_DELAY);
  }

  async #sleep() {
    if (!this.store.user || this.#isPaused) return;
    this.#isAsleep = true;
    this.stop();
    await this.catchUp().catch(() => {}); // a failure is shown when the page is visible again
    if (this.#isAsleep) this.#hideTimer = setTimeout(() => this.#sleep(), HIDDEN_POLL_INTERVAL);
  }
}
