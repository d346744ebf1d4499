// Follows the platform: what there is, then server-sent events, and whatever was missed while there was no connection.

import { messagesOf, start } from "./api.js";
import { calmly } from "./press.js";

const EVENTS = "/v1/page-api/events";
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;
const POLL = 5000;
const HIDDEN = 30_000;
const HIDDEN_POLL = 20_000;
const TYPING = 15_000;

/**
 * Keeps `store` up to date for as long as the page is open. `signedOut()` is called when nobody is known here any more,
 * `caughtUp()` each time when nothing is missing.
 *
 * A page that nobody sees gives its stream back after a while and asks now and then: a browser keeps only six
 * connections to a platform, and a platform has a thread for each stream.
 */
export class Feed {
  #store;
  #source = null;
  #timer = 0;
  #sleeper = 0;
  #failures = 0;
  #refusals = 0;
  #isAsleep = false;
  #isPaused = false;
  #loading = new Map();
  #followed = new Set();

  constructor(store, { signedOut, caughtUp }) {
    this.#store = store;
    Object.assign(this, { signedOut, caughtUp });
    window.addEventListener("online", () => this.#resume());
    window.addEventListener("offline", () => this.#store.user && this.#lost());
    window.addEventListener("pagehide", () => this.stop());
    window.addEventListener("pageshow", (event) => event.persisted && this.#resume());
    document.addEventListener("visibilitychange", () => this.#turned());
  }

  /** Open the stream anew. */
  connect() {
    this.stop();
    this.#isAsleep = this.#isPaused = false;
    this.#watch();
    const source = new EventSource(EVENTS);
    this.#source = source;
    const isMine = () => this.#source === source;
    const on = (name, take) =>
      source.addEventListener(name, (event) => calmly(() => isMine() && take(JSON.parse(event.data))));
    on("hello", () => this.#opened());
    on("message", (message) => this.#message(message));
    on("typing", ({ chatId, on: isOn }) => this.#store.setTyping(chatId, isOn, TYPING));
    on("delta", (piece) => this.#store.putPiece(piece));
    on("removed", ({ chatId, id }) => this.#store.drop(chatId, id));
    on("chat", (chat) => this.#chat(chat));
    on("chat-removed", ({ id }) => this.#store.dropChat(id));
    source.addEventListener("error", () => isMine() && this.#broken());
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
    this.#source?.close();
    this.#source = null;
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
    this.#store.putPage(chat, messages, { before, ...(isFirst && !isGap && { hasEarlier: more }) });
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
    this.#store.putPage(chat, messages, { hasEarlier: more });
  }

  async #fill(chat, since, until) {
    for (let after = since; after < until;) {
      const { messages, more } = await messagesOf(chat, { after });
      this.#store.putPage(chat, messages);
      if (!more || !messages.length) return;
      after = messages.at(-1).timestamp;
    }
  }

  /** A chat is heard of from this event on: what was said in a new one before would be missing. */
  #chat(chat) {
    this.#store.putChat(chat);
    if (this.#followed.has(chat.id)) return;
    this.#followed.add(chat.id);
    if (this.#store.known.has(chat.id)) this.load(chat.id).catch(() => this.#broken());
  }

  #message(message) {
    const isKnown = this.#store.chats.has(message.chatId);
    this.#store.put(message, { isNews: true });
    if (!isKnown) this.#catchUp().catch(() => this.#broken());
  }

  async #opened() {
    this.#refusals = 0;
    try {
      await this.#catchUp();
    } catch {
      return this.#broken();
    }
    this.#failures = 0;
    this.#store.setConnection("open");
    this.caughtUp();
  }

  async #catchUp() {
    const asked = this.#store.asOfNow;
    const now = await start();
    if (!now.user) return this.signedOut();
    if (now.user.id !== this.#store.user?.id) return location.reload(); // somebody else, by another tab
    const { place } = this.#store;
    for (const chat of asked.keys()) if (chat !== place.id) this.#store.known.delete(chat);
    this.#store.restore(now, asked);
    this.#followed = new Set(this.#store.chats.keys());
    if (this.#store.chat) await this.load(place.id);
  }

  /** The stream has ended, or was refused: look whether the platform is there at all. */
  async #broken() {
    const mine = this.#source;
    this.stop();
    if (!mine) return;
    try {
      await this.#catchUp();
      this.#failures = 0;
      this.#refusals += 1;
      if (!this.#store.user) return;
      if (this.#refusals > 1) this.#store.setConnection("polling");
      this.caughtUp();
      this.#again(this.#refusals > 1 ? POLL : FIRST_PAUSE);
    } catch {
      this.#lost();
    }
  }

  #resume() {
    if (this.#store.user && !this.#isPaused) this.connect();
  }

  #lost() {
    this.stop();
    if (this.#isPaused) return;
    this.#store.setConnection(navigator.onLine === false ? "offline" : "lost");
    this.#again(Math.min(FIRST_PAUSE * 2 ** this.#failures, LONGEST_PAUSE));
    this.#failures += 1;
  }

  /** Not all pages in the same moment, when a platform starts again. */
  #again(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#resume(), pause * (0.7 + Math.random() * 0.6));
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
