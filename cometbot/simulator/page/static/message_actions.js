// What is known of a message beside its content, and what the user can do with it.

import { act, press, say, upload } from "./api.js";
import { isBeingHandled, QuickReplyExpiry } from "./quick_reply_expiry.js";
import { duration } from "./time.js";
import { showToast } from "./toasts.js";

const MODERATED = {
  pending: { state: "busy", text: "Waits for moderation", title: "Nobody else gets it yet" },
  disapproved: { state: "bad", text: "Blocked by moderation", title: "Nobody else gets it" },
};

/** The facts and actions of messages, for the user of `store`. Shared by the chat and the thread. */
export class MessageActions {
  #expiry;

  constructor(store, { inspect, go, openThread }) {
    this.store = store;
    this.#expiry = new QuickReplyExpiry(store);
    this.go = go;
    this.nameOf = (uid) => store.nameOf(uid);
    this.acts = {
      react: (message, reaction, isMine) =>
        this.try(() => act(store.me, { act: isMine ? "unreact" : "react", message: message.id, reaction })),
      reply: (message) => openThread(message.parentId || message.id),
      edit: (message, editor = this.editor) =>
        editor?.edit(message.data.text, (text) =>
          this.try(() => act(store.me, { act: "edit", message: message.id, text })),
        ),
      remove: (message) => this.try(() => act(store.me, { act: "delete", message: message.id })),
      inspect: (message) => inspect(message),
    };
  }

  facts(message, { follows }) {
    const { store } = this;
    const reactions = Object.entries(message.reactedBy ?? {}).map(([emoji, uids]) => ({
      emoji,
      names: uids.map(this.nameOf),
      isMine: uids.includes(store.me),
    }));
    return {
      follows,
      reactions,
      isOwn: message.sender === store.me,
      isExpired: this.#expiry.isExpired(message),
      isBusy: Boolean(message.isPartial) || isBeingHandled(message, store.handled),
      name: this.nameOf(message.sender),
      isBot: store.isBot(message.sender) || store.isAgent(message.sender),
      replies: message.parentId ? 0 : store.repliesTo(message.id).length,
      receipts: this.#receipts(message),
      names: Object.keys(message.data?.mentions ?? {}).map(this.nameOf),
    };
  }

  actions(message) {
    const { store } = this;
    return {
      nameOf: this.nameOf,
      canReply: message.sender !== store.me,
      isExpired: this.#expiry.isExpired(message),
      openChat: (kind, id) => this.go({ kind, id: String(id).toLowerCase() }),
      send: (text, { user, group } = {}) =>
        this.send(user ? { to: user } : group ? { group } : this.addressOf(message), text),
      reply: (text) => this.send(this.addressOf(message), this.#addressed(message, text)),
      callUrl: (pressed, element, values) => this.#callUrl(pressed, element, values),
    };
  }

  /** Send a text and return whether that worked. A user who is no member of the group joins it first. */
  async send(address, text, more = {}) {
    const { store } = this;
    return this.try(async () => {
      const group = store.groups.get(address.group);
      if (group && !group.members.includes(store.me)) {
        await act(store.me, { act: "join", group: group.guid });
        showToast(`${store.nameOf(store.me)} joined the group first.`);
      }
      await say(store.me, { ...address, text, ...more });
    });
  }

  /** Send a text, or files with the text as their caption, and return whether that worked. */
  async sendAll(address, { text, files }) {
    if (!files.length) return this.send(address, text);
    return this.try(async () => {
      const stored = await Promise.all(files.map(async (file) => attachment(file, await upload(file))));
      const kinds = groupedBy(stored, kindOf);
      let caption = text;
      for (const attachments of kinds.values()) {
        if (!(await this.send(address, caption, { attachments }))) throw new Error("It was not sent.");
        caption = "";
      }
    });
  }

  async try(work) {
    try {
      await work();
      return true;
    } catch (error) {
      showToast(error.message, "bad");
      return false;
    }
  }

  addressOf(message) {
    const thread = message.parentId ? { parent: message.parentId } : {};
    if (message.receiverType === "group") return { ...thread, group: message.receiver };
    return { ...thread, to: message.sender === this.store.me ? message.receiver : message.sender };
  }

  /** Return a text that the bot gets: in groups some bots get only what mentions them. */
  #addressed(message, text) {
    const needsMention = this.store.bots.get(message.sender)?.groupSetting === "mentionedMessages";
    return message.receiverType === "group" && needsMention ? `<@uid:${message.sender}> ${text}` : text;
  }

  async #callUrl(message, element, values) {
    let isGood = false;
    await this.try(async () => {
      const { url, status, error } = await press(this.store.me, { message: message.id, element, values });
      isGood = status >= 200 && status < 300;
      showToast(isGood ? `${url} answered ${status}.` : `${url}: ${error || `status ${status}`}`, isGood ? "" : "bad");
    });
    return isGood;
  }

  #receipts(message) {
    const { store } = this;
    const callbacks = store.callbacksOf(message.id).filter(({ target }) => store.isBot(target) || store.isAgent(target));
    const ofBots = [...groupedBy(callbacks, (entry) => entry.target)].map(([bot, entries]) =>
      receipt(this.nameOf(bot), entries, store.handled[`${bot}/${message.id}`]),
    );
    return [MODERATED[message.data?.moderation?.status], ...ofBots].filter(Boolean);
  }
}

/** Return how far the bot of this name is with a message: `entries` are the callbacks, `handled` what it did. */
function receipt(name, entries, handled) {
  const last = entries.at(-1);
  if (!entries.some((entry) => entry.status >= 200 && entry.status < 300)) {
    const text = `${name}: ${last.status ? `answered ${last.status}` : "not reached"}`;
    return { state: "bad", text, title: last.error || "The callback was refused" };
  }
  if (last.error) return { state: "bad", text: `${name} failed`, title: last.error };
  const times = entries.length > 1 ? `, sent ${entries.length} times` : "";
  const title = `Acknowledged in ${duration(last.seconds)}`;
  if (!handled) return { state: "good", text: `${name} ✓${times}`, title };
  const by = handled.handler ? ` · ${handled.handler}` : "";
  if (handled.state === "dead") return { state: "bad", text: `${name}${by} failed${times}`, title: handled.error };
  if (handled.state !== "done") return { state: "busy", text: `${name} is working${times}`, title };
  const text = `${name}${by || " · no handler"}${times}`;
  return { state: "good", text, title: `${title}, handled in ${duration(handled.seconds)}` };
}

function attachment(file, url) {
  const name = file.name || "picture.png";
  return {
    url,
    name,
    size: file.size,
    mimeType: file.type || "application/octet-stream",
    extension: name.includes(".") ? name.split(".").pop() : "",
  };
}

function kindOf({ mimeType }) {
  const family = mimeType.split("/")[0];
  return ["image", "audio", "video"].includes(family) ? family : "file";
}

function groupedBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
