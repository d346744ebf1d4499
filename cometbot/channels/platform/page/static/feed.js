// Follows the platform: what there is, then server-sent events, and whatever was missed while there was no connection.

import { messagesOf, start } from "./api.js";
import { SharedStream } from "./shared_stream.js";
import { afterPress } from "./after_press.js";

const ADDRESS = "/v1/page-api/events";
const EVENTS = ["message", "typing", "delta", "removed", "chat", "chat-removed"];
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;
const POLL = 5000;
const HIDDEN = SharedStream.isShared ? 30_000 : 2000;
const HIDDEN_POLL = 20_000;
const TYPING = 15_000;

/**
 * Keeps `store` up to date for as long as the page is open. `signedOut()` is called when nobody is known here any more,
 * `caughtUp()` each time when nothing is missing.
 *
 * Where the stream is silent or refused, the page asks every few seconds until it is back. A page that nobody sees
 * leaves the stream after a while and asks now and then: a platform has a thread for each stream.
 */
export class Feed {
  #store;
  #live = null;
  #isLive = false;
  #isFaulty = false;
  #timer = 0;
  #sleeper = 0;
  #failures = 0;
  #isAsleep = false;
  #isPaused = false;
  #loading = new Map();
  #followed = new Set();

  constructor(store, { signedOut, caughtUp }) {
    this.#store = store;
    Object.assign(this, { signedOut, caughtUp });
    window.addEventListener("online", () => this.#resume());
    window.addEventListener("offline", () => this.#offline());
    window.addEventListener("pagehide", () => this.stop());
    window.addEventListener("pageshow", (event) => event.persisted && this.#resume());
    document.addEventListener("visibilitychange", () => this.#turned());
  }

  /** Open the stream anew. */
  connect() {
    this.stop();
    this.#isAsleep = this.#isPaused = false;
    this.#watch();
    const quietly = (act) => afterPress(() => this.#live === live && act());
    const live = new SharedStream({
      name: `webchat.${this.#store.user.id}`,
      address: () => ADDRESS,
      events: EVENTS,
      onOpen: () => quietly(() => this.#opened()),
      onEvent: (name, data) => quietly(() => this.#take(name, JSON.parse(data))),
      onClose: (fault) => quietly(() => this.#closed(fault)),
    });
    this.#live = live;
    live.start();
    if (this.#isFaulty) this.#poll();
  }

  /** Listen no longer, whatever happens, until `connect` is called. */
  pause() {
    this.stop();
    clearTimeout(this.#sleeper);
    this.#isPaused = true;
  }

  /** Listen no longer. */
  stop() {
    clearTimeout(this.#timer);
    this.#live?.stop();
    this.#live = null;
    this.#isLive = false;
  }

  /** Let the store have the newest messages of a chat, and all since those that it has. */
  async load(chat) {
    const since = this.#store.newestIn(chat);
    const before = this.#store.idsIn(chat); // what comes by the stream meanwhile may be too new for the answer
    const { messages, more } = await messagesOf(chat);
    const isGap = since > 0 && more && messages.length > 0 && messages[0].timestamp > since;
    if (isGap) await this.#fill(chat, since, messages[0].timestamp);
    const known = this.#store.known.get(chat);
    const isFirst = !known?.isBegun;
    this.#store.addPage(chat, messages, { before, ...(isFirst && !isGap && { hasEarlier: more }) });
  }

  /** Let the store have a page of earlier messages of a chat, once, however often it is asked meanwhile. */
  loadEarlier(chat) {
    const known = this.#store.known.get(chat);
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
    this.#store.addPage(chat, messages, { hasEarlier: more });
  }

  async #fill(chat, since, until) {
    for (let after = since; after < until;) {
      const { messages, more } = await messagesOf(chat, { after });
      this.#store.addPage(chat, messages);
      if (!more || !messages.length) return;
      after = messages.at(-1).timestamp;
    }
  }

  #take(name, what) {
    const store = this.#store;
    if (name === "message") this.#message(what);
    else if (name === "typing") store.setTyping(what.chatId, what.on, TYPING);
    else if (name === "delta") store.applyDelta(what);
    else if (name === "removed") store.removeMessage(what.chatId, what.id);
    else if (name === "chat") this.#chat(what);
    else if (name === "chat-removed") store.removeChat(what.id);
  }

  /** A chat is heard of from this event on: what was said in a new one before would be missing. */
  #chat(chat) {
    this.#store.updateChat(chat);
    if (this.#followed.has(chat.id)) return;
    this.#followed.add(chat.id);
    if (this.#store.known.has(chat.id)) this.load(chat.id).catch(() => this.#poll());
  }

  #message(message) {
    const isKnown = this.#store.chats.has(message.chatId);
    this.#store.addMessage(message, { isNews: true });
    if (!isKnown) this.#poll();
  }

  #opened() {
    this.#isLive = true;
    this.#isFaulty = false;
    this.#poll();
  }

  /** A stream that ends once is only opened anew. */
  #closed({ isSilent, failures }) {
    this.#isLive = false;
    this.#isFaulty ||= isSilent || failures > 1;
    this.#poll();
  }

  /** Ask what there is: once where the stream brings the rest, else every few seconds. */
  async #poll() {
    clearTimeout(this.#timer);
    const live = this.#live;
    const isMine = () => live !== null && this.#live === live;
    try {
      await this.#catchUp();
    } catch {
      if (isMine()) this.#lost();
      return;
    }
    if (!isMine()) return;
    if (this.#failures && !this.#isLive) live.retry();
    this.#failures = 0;
    if (this.#isLive) this.#store.setConnection("open");
    else if (this.#isFaulty) this.#store.setConnection("polling");
    if (!this.#isLive) this.#again(POLL);
    this.caughtUp();
  }

  async #catchUp() {
    const asked = this.#store.lastMessages;
    const now = await start();
    if (!now.user) return this.signedOut();
    if (now.user.id !== this.#store.user?.id) return location.reload(); // somebody else, by another tab
    const { place } = this.#store;
    for (const chat of asked.keys()) if (chat !== place.id) this.#store.known.delete(chat);
    this.#store.restore(now, asked);
    this.#followed = new Set(this.#store.chats.keys());
    if (this.#store.chat) await this.load(place.id);
  }

  #resume() {
    if (this.#store.user && !this.#isPaused) this.connect();
  }

  #offline() {
    if (!this.#store.user) return;
    this.stop();
    if (!this.#isPaused) this.#lost();
  }

  #lost() {
    this.#store.setConnection(navigator.onLine === false ? "offline" : "lost");
    this.#again(Math.min(FIRST_PAUSE * 2 ** this.#failures, LONGEST_PAUSE));
    this.#failures += 1;
  }

  /** Not all pages in the same moment, when a platform starts again. */
  #again(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.#live ? this.#poll() : this.#resume()), pause * (0.7 + Math.random() * 0.6));
  }

  #turned() {
    if (!document.hidden && this.#isAsleep) this.#resume();
    else this.#watch();
  }

  #watch() {
    clearTimeout(this.#sleeper);
    if (document.hidden && !this.#isAsleep) this.#sleeper = setTimeout(() => this.#sleep(), HIDDEN);
  }

  async #sleep() {
    if (!this.#store.user || this.#isPaused) return;
    this.#isAsleep = true;
    this.stop();
    await this.#catchUp().catch(() => {}); // whoever looks again connects, and sees then whether that works
    if (this.#isAsleep) this.#sleeper = setTimeout(() => this.#sleep(), HIDDEN_POLL);
  }
}
