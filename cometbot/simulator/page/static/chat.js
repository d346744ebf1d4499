// The middle: one conversation, the notice about the bot's code, and the box to write in. Also a thread, beside it.

import { h, fill, oncePerFrame } from "./dom.js";
import { avatar } from "./avatar.js";
import { act, earlier } from "./api.js";
import { Composer } from "./composer.js";
import { messageView } from "./message_view.js";
import { emptyConversation, Transcript, typingIndicator } from "./transcript.js";
import { BotNotice } from "./bot_notice.js";
import { showToast } from "./toasts.js";

const ABOUT_AGENTS =
  "What you write is sent to your bot over AG-UI, as CometChat calls an agent. Its answer appears here as it streams.";
const ABOUT_BOTS =
  "What you write is posted to your bot as CometChat would do it. Its answers appear here, and each callback and REST call in the inspector.";

/** The middle pane. */
export class Chat {
  #edge;

  constructor(root, store, messageActions) {
    this.store = store;
    this.messageActions = messageActions;
    this.head = h("header.chat-head.hstack");
    this.#edge = h("button.edge.button.muted", { onclick: () => this.#earlier() }, "Earlier messages");
    this.transcript = new Transcript(messageView(messageActions), {
      label: "Messages",
      empty: () => (store.beginOf(store.place) ? null : this.#empty()),
      reachedTop: () => this.#earlier(),
    });
    this.composer = new Composer({
      send: (written) => {
        this.transcript.toEnd();
        return messageActions.sendAll(this.#address(), written);
      },
      offers: (kind) => offersOf(store, kind),
      editLast: () => this.#editLast(),
    });
    messageActions.editor = this.composer;
    this.notice = new BotNotice(store);
    fill(root, this.head, this.notice.element, this.transcript.element, this.composer.element);
    this.composer.dropOn(root);
    store.on("place me", () => this.#enter());
    store.on(
      "messages entries handled directory status runs",
      oncePerFrame(() => this.#show()),
    );
    store.on("directory", () => this.#showHead());
    store.on("directory status", () => this.composer.completion.refresh());
  }

  #address() {
    const { kind, id } = this.store.place;
    return kind === "group" ? { group: id } : { to: id };
  }

  #enter() {
    this.transcript.clear();
    this.#showHead();
    this.#show();
  }

  #show() {
    const { store } = this;
    if (!store.place || !store.me) return;
    const messages = store.messagesAt(store.place);
    const runs = store.runsAt(store.place);
    const partial = runs.map((run) => run.message).filter(Boolean);
    const working = [...workingBots(store, messages).map(atWork), ...runs.map((run) => agentAtWork(store, run))];
    this.transcript.show([...messages, ...partial], working.filter(Boolean), store.beginOf(store.place) ? [this.#edge] : []);
    if (this.transcript.isAtTop) this.#earlier();
  }

  /** Get the messages before the oldest that is known here, if there may be some. */
  async #earlier() {
    const { store } = this;
    const { place, me } = store;
    const before = place && store.beginOf(place);
    if (!before || this.loading) return;
    this.loading = true;
    try {
      const query = { [place.kind === "group" ? "group" : "user"]: place.id, before };
      const page = await earlier(me, query);
      if (me === store.me) store.addEarlier(place, page.messages, page.more ? page.before : 0);
    } catch (error) {
      showToast(error.message, "bad");
    } finally {
      this.loading = false;
    }
  }

  #showHead() {
    const { store } = this;
    if (!store.place) return;
    const { kind, id } = store.place;
    const name = store.titleOf(store.place);
    const note = kind === "group" ? membersOf(store, id) : roleOf(store, id);
    const lines = h("div.lines", h("h2", name), h("p.truncate.muted", { title: note }, note));
    fill(this.head, avatar(id, name, kind), lines, this.#blockButton());
    this.composer.placeholder = `Message ${name}`;
    document.title = `${name} – cometbot dev`;
  }

  /** The button that blocks the other user, or unblocks them; none in groups. */
  #blockButton() {
    const { me, place, users } = this.store;
    if (place.kind === "group" || this.store.isAgent(place.id)) return null;
    const name = this.store.titleOf(place);
    const isBlocked = users.get(me)?.blocked?.includes(place.id);
    const [does, label] = isBlocked ? ["unblock", `Unblock ${name}`] : ["block", `Block ${name}`];
    const onclick = () => this.messageActions.try(() => act(me, { act: does, user: place.id }));
    return h("button.button.block", { onclick, "aria-label": label, title: label }, isBlocked ? "Unblock" : "Block");
  }

  #editLast() {
    const { me, place } = this.store;
    const isOwnText = ({ sender, type, category, deletedAt }) =>
      sender === me && type === "text" && category === "message" && !deletedAt;
    const last = this.store.messagesAt(place).findLast(isOwnText);
    if (last) this.messageActions.acts.edit(last);
  }

  #empty() {
    const { kind, id } = this.store.place;
    const isGroup = kind === "group";
    const isBot = !isGroup && this.store.isBot(id);
    const isAgent = !isGroup && this.store.isAgent(id);
    const name = this.store.titleOf(this.store.place);
    const [title, text] = isGroup
      ? [`Say something in ${name}`, "Type @ to mention somebody. Bots get what their group setting lets them get."]
      : isBot || isAgent
        ? [`Say something to ${name}`, isBot ? ABOUT_BOTS : ABOUT_AGENTS]
        : [`Write to ${name}`, `${name} is a person: no bot gets what you write here.`];
    const commands = this.store.status.commands?.[id] ?? [];
    const suggestions = isBot || isAgent ? ["hello", ...commands.slice(0, 4).map((command) => command.name)] : [];
    const suggest = (chosen) => this.composer.suggest(chosen.startsWith("/") ? `${chosen} ` : chosen);
    return emptyConversation(avatar(id, name, kind), title, text, suggestions, suggest);
  }
}

function membersOf(store, guid) {
  const { members = [], scopes = {} } = store.groups.get(guid) ?? {};
  const nameOf = (uid) => (uid === store.me ? "you" : store.nameOf(uid));
  const scopeOf = (uid) => (["participant", undefined].includes(scopes[uid]) ? "" : ` (${scopes[uid]})`);
  return members.map((uid) => `${nameOf(uid)}${scopeOf(uid)}`).join(", ");
}

function roleOf(store, uid) {
  const bot = store.bots.get(uid);
  const agent = store.agents.get(uid);
  if (bot) return bot.enabled ? "Bot" : "Bot, not enabled";
  if (agent) return agent.enabled ? `Agent, called over AG-UI at ${agent.url}` : "Agent, not active";
  return "Person";
}

/** Completions for `@` and `/` where one is. */
export function offersOf(store, kind) {
  const { place, me } = store;
  const group = place?.kind === "group" ? store.groups.get(place.id) : null;
  const here = group ? group.members : [place?.id, ...store.users.keys()].filter(Boolean);
  if (kind === "@") {
    return [...new Set(here)]
      .filter((uid) => uid !== me && store.users.has(uid) && !store.isAgent(uid))
      .map((uid) => ({ value: uid, label: store.nameOf(uid), hint: store.isBot(uid) ? "bot" : uid }));
  }
  const bots = group ? group.members.filter((uid) => store.isBot(uid)) : [place?.id];
  return bots.flatMap((uid) =>
    (store.status.commands?.[uid] ?? []).map(({ name, usage, description }) => {
      const args = usage.slice(name.length).trim();
      const hint = [bots.length > 1 && store.nameOf(uid), description].filter(Boolean).join(": ");
      return { value: name, label: name, args, usage: args ? usage : "", hint };
    }),
  );
}

/** The names of bots that work on the newest messages. */
export function workingBots(store, messages) {
  const names = new Set();
  for (const message of messages.slice(-5)) {
    for (const bot of store.bots.keys()) {
      const handled = store.handled[`${bot}/${message.id}`];
      if (handled?.state === "running" || handled?.state === "waiting") names.add(store.nameOf(bot));
    }
  }
  return [...names];
}

/** The sign that an agent is at work; null while its message is being written, which shows it. */
function agentAtWork(store, { agent, tools, message }) {
  const name = store.nameOf(agent);
  if (tools.length) return typingIndicator(`${name} is calling ${tools.join(", ")}`);
  return message ? null : atWork(name);
}

/** The sign that a bot of this name is at work. */
export const atWork = (name) => typingIndicator(`${name} is working on it`);
