// What the page knows: the user, the bots, the chats and their messages.

import { t } from "./i18n.js";
import { storage, Store } from "./store.js";

/**
 * Topics: service, user, bots, chats, messages, typing, connection, place. Messages are those of the platform, with
 * `sentAt` in seconds and `sender` for the shared parts, and `state` (sending, waiting, failed) for what is on its way.
 */
export class ChatStore extends Store {
  constructor() {
    super();
    this.service = { name: "", description: "", socials: [] };
    this.limits = {};
    this.user = null;
    this.bots = new Map();
    this.chats = new Map();
    this.known = new Map(); // by chat: {messages: Map by id, isBegun, hasEarlier}
    this.unsent = []; // what outbox.js holds, oldest first
    this.commands = new Map(); // by bot
    this.unread = new Map(); // by chat
    this.typing = new Map(); // by chat: a timer, and the text that says what the bot is working on
    this.place = { kind: "home", id: "" }; // home, bot (a chat that does not exist yet) or chat
  }

  /** Begin anew with what the platform says there is; a chat that is not as it was in `asked` stays as it is now. */
  restore({ service, limits, user, bots, chats }, asked = this.chats) {
    this.service = service;
    this.limits = limits ?? {};
    this.user = user;
    this.bots = new Map(bots.map((bot) => [bot.id, bot]));
    const made = [...this.chats.values()].filter((chat) => !asked.has(chat.id));
    const left = chats.filter((chat) => !asked.has(chat.id) || this.chats.has(chat.id));
    const newest = left.map((chat) => {
      const current = this.chats.get(chat.id);
      return current && current !== asked.get(chat.id) ? current : chat;
    });
    this.chats = new Map([...newest, ...made].map((chat) => [chat.id, chat]));
    for (const id of this.known.keys()) if (!this.chats.has(id)) this.known.delete(id);
    for (const chat of this.chats.values()) {
      if (this.#isUnseen(chat) && !this.unread.get(chat.id)) this.unread.set(chat.id, 1);
    }
    for (const topic of ["service", "user", "bots", "chats", "messages"]) this.emit(topic);
  }

  /** Remove all data of the user. */
  clear() {
    this.user = null;
    this.unsent = [];
    for (const map of [this.chats, this.known, this.unread, this.commands]) map.clear();
  }

  /** The chat that is open, null for one that does not exist yet. */
  get chat() {
    return this.place.kind === "chat" ? (this.chats.get(this.place.id) ?? null) : null;
  }

  /** The bot one talks to. */
  get bot() {
    return this.bots.get(this.place.kind === "bot" ? this.place.id : this.chat?.botId) ?? null;
  }

  /** The chats with a bot, oldest first. */
  chatsWith(bot) {
    return [...this.chats.values()].filter((chat) => chat.botId === bot).sort((one, other) => born(one) - born(other));
  }

  /** The name of a chat: its title, or its number if there are several with the same bot. */
  titleOf(chat) {
    return chat.title || t("chatNumber", { number: this.chatsWith(chat.botId).indexOf(chat) + 1 });
  }

  updateChat(chat) {
    this.chats.set(chat.id, { ...this.chats.get(chat.id), ...chat });
    this.emit("chats");
  }

  removeChat(id) {
    if (!this.chats.delete(id)) return;
    this.known.delete(id);
    this.unread.delete(id);
    storage.remove(`webchat.seen.${id}`);
    this.emit("chats", { removed: id });
  }

  /** A message that the platform has: a new one, or one that has changed. */
  addMessage(message, { isNews = false } = {}) {
    const known = this.#messagesIn(message.chatId);
    const before = known.messages.get(message.id);
    this.#setMessage(known, message);
    const chat = this.chats.get(message.chatId);
    if (chat && (!chat.last || chat.last.timestamp <= message.timestamp)) {
      this.chats.set(chat.id, { ...chat, last: message }); // another object, so that `restore` keeps it
    }
    if (message.senderId !== this.user?.id) this.setTyping(message.chatId, false);
    if (isNews && !before && message.senderId !== this.user?.id) this.#addNew(message);
    this.emit("messages", { chat: message.chatId });
  }

  /** A page of messages. Of those with the ids `before`, what is missing from its stretch is not there any more. */
  addPage(chat, messages, { before = [], hasEarlier } = {}) {
    const known = this.#messagesIn(chat);
    const [first] = messages;
    const ids = new Set(messages.map((message) => message.id));
    for (const id of before) {
      const message = known.messages.get(id);
      if (!message || message.isPartial || ids.has(id)) continue;
      if (!first || message.timestamp >= first.timestamp) known.messages.delete(id);
    }
    for (const message of messages) this.#setMessage(known, message);
    if (hasEarlier !== undefined) known.hasEarlier = hasEarlier;
    known.isBegun = true;
    this.emit("messages", { chat });
  }

  /** The next piece of a message that is being written; a text of null gives the message up. */
  applyDelta({ chatId, id, sequence, text }) {
    const { messages } = this.#messagesIn(chatId);
    const before = messages.get(id);
    const isWhole = [...messages.values()].some((message) => message.streamId === id && !message.isPartial);
    if (text === null) messages.delete(id);
    else if (!isWhole && (sequence === 0 || before?.sequence === sequence - 1)) {
      const timestamp = before?.timestamp ?? Math.max(Date.now(), this.newestIn(chatId) + 1);
      const senderId = this.chats.get(chatId)?.botId;
      const body = sequence === 0 ? text : before.body + text;
      const piece = { id, chatId, senderId, attachments: [], streamId: id, timestamp, sequence, body };
      messages.set(id, { ...this.#withKey(piece, before), isPartial: true });
    }
    this.emit("messages", { chat: chatId });
  }

  removeMessage(chat, id) {
    if (this.known.get(chat)?.messages.delete(id)) this.emit("messages", { chat });
  }

  /** Return the messages of the open chat, oldest first, and then those that are not sent yet. */
  messagesHere() {
    const { kind, id } = this.place;
    const stored = kind === "chat" ? [...(this.known.get(id)?.messages.values() ?? [])] : [];
    const arrived = new Set(stored.map((message) => message.clientId).filter(Boolean));
    const onTheWay = this.unsent.filter((item) => item[kind === "chat" ? "chatId" : "draftOf"] === id);
    return [
      ...stored.sort((one, other) => one.timestamp - other.timestamp || (one.id < other.id ? -1 : 1)),
      ...onTheWay.filter((item) => !arrived.has(item.clientId)).map((item) => this.#pending(item)),
    ];
  }

  /** The ids of the messages of a chat that are known. */
  idsIn(chat) {
    return [...(this.known.get(chat)?.messages.keys() ?? [])];
  }

  /** Return the time stamp of the newest stored message of a chat, 0 if there is none. */
  newestIn(chat) {
    const stored = [...(this.known.get(chat)?.messages.values() ?? [])].filter((message) => !message.isPartial);
    return Math.max(0, ...stored.map((message) => message.timestamp));
  }

  setTyping(chat, on, after = 0, text = "") {
    const before = this.typing.get(chat);
    clearTimeout(before?.timer);
    this.typing.delete(chat);
    if (on) this.typing.set(chat, { text, timer: setTimeout(() => this.setTyping(chat, false), after) });
    if (before?.text !== this.typing.get(chat)?.text) this.emit("typing");
  }

  /** Count the messages of a chat as read. */
  markSeen(chat) {
    const newest = Math.max(this.newestIn(chat), this.chats.get(chat)?.last?.timestamp ?? 0);
    storage.set(`webchat.seen.${chat}`, String(newest));
    if (this.unread.delete(chat)) this.emit("chats");
  }

  #addNew(message) {
    const isSeen = this.place.kind === "chat" && this.place.id === message.chatId && !document.hidden;
    if (isSeen) return this.markSeen(message.chatId);
    this.unread.set(message.chatId, (this.unread.get(message.chatId) ?? 0) + 1);
    this.emit("chats");
  }

  #isUnseen({ id, last }) {
    return (
      Boolean(last) &&
      last.senderId !== this.user?.id &&
      last.timestamp > Number(storage.get(`webchat.seen.${id}`) ?? 0)
    );
  }

  #messagesIn(chat) {
    if (!this.known.has(chat)) this.known.set(chat, { messages: new Map(), isBegun: false, hasEarlier: true });
    return this.known.get(chat);
  }

  #setMessage(known, message) {
    if (message.streamId) known.messages.delete(message.streamId);
    known.messages.set(message.id, this.#withKey(message, known.messages.get(message.id)));
  }

  #withKey(message, before) {
    // A message that was being sent or streamed keeps its element once it is stored.
    const key = before?.key ?? (message.clientId || message.streamId || message.id);
    return { ...message, key, sender: message.senderId, sentAt: message.timestamp / 1000 };
  }

  #pending(item) {
    return {
      ...item,
      id: item.clientId,
      key: item.clientId,
      html: "",
      sender: this.user?.id,
      senderId: this.user?.id,
      timestamp: item.at,
      sentAt: item.at / 1000,
    };
  }
}

const born = (chat) => chat.createdAt ?? 0;
