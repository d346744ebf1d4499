// What the page knows of the simulated app.

import { Store } from "./store.js";

const MAX_ENTRIES = 600;

/**
 * Topics: directory, messages, entries, handled, rules, status, output, dead, dialogs, jobs, moderation, runs, me, place,
 * connection.
 */
export class SimulatorStore extends Store {
  #begins = new Map(); // by place, where that is further back than `begins`

  constructor() {
    super();
    this.me = "";
    this.place = null; // {kind: "user" | "group", id}
    this.rules = [];
    this.status = { state: "unknown" };
    this.output = [];
    this.dead = [];
    this.dialogs = [];
    this.jobs = [];
    this.moderation = { rules: [], onError: "approve-message", decisions: [] };
    this.runs = []; // of agents
    this.#forget();
  }

  /** Begin anew with what the simulator says there is. */
  restore(snapshot) {
    this.#forget();
    this.run = snapshot.run;
    this.updateDirectory(snapshot.directory);
    for (const message of snapshot.messages) this.messages.set(message.id, message);
    // The snapshot contains the newest of all conversations: of each there may be older ones from its oldest on.
    this.begins = snapshot.hasEarlier ? Math.min(...snapshot.messages.map((message) => Number(message.id))) : 0;
    this.entries = snapshot.entries;
    this.emit("messages");
    this.emit("entries");
  }

  updateDirectory({ users, groups, bots, agents }) {
    this.users = new Map(users.map((user) => [user.uid, user]));
    this.groups = new Map(groups.map((group) => [group.guid, group]));
    this.bots = new Map(bots.map((bot) => [bot.uid, bot]));
    this.agents = new Map(agents.map((agent) => [agent.uid, agent]));
    this.emit("directory");
  }

  /** The id before which messages of this place may be missing here; 0 where none is. */
  beginOf(place) {
    return this.#begins.get(this.#nameOf(place)) ?? this.begins;
  }

  /** Messages of a place from before `beginOf(place)`, and the id that is its beginning from now on, 0 for none. */
  addEarlier(place, messages, begin) {
    for (const message of messages) if (!this.messages.has(message.id)) this.messages.set(message.id, message);
    this.#begins.set(this.#nameOf(place), begin);
    this.emit("messages");
  }

  /** A log entry: a change to a message, a callback or a REST call. */
  addEntry(entry) {
    if (entry.kind !== "change") {
      this.entries = [...this.entries, entry].slice(-MAX_ENTRIES);
      this.emit("entries", entry);
      return;
    }
    if (entry.removed) this.messages.delete(entry.removed);
    if (entry.message && entry.message.category !== "action") this.messages.set(entry.message.id, entry.message);
    this.emit("messages", entry);
  }

  updateHandled(changed) {
    Object.assign(this.handled, changed);
    this.emit("handled");
  }

  set(topic, value) {
    this[topic] = value;
    this.emit(topic, value);
  }

  nameOf(uid) {
    return this.users.get(uid)?.name || uid;
  }

  /** Return whether there is the user or group of a place. */
  has({ kind, id }) {
    return Boolean({ user: this.users, group: this.groups }[kind]?.has(id));
  }

  titleOf({ kind, id }) {
    return kind === "group" ? (this.groups.get(id)?.name ?? id) : this.nameOf(id);
  }

  isBot(uid) {
    return this.bots.has(uid);
  }

  isAgent(uid) {
    return this.agents.has(uid);
  }

  /** What is to be told of the runs of the agent of a place: the names of tools, and messages that are not whole yet. */
  runsAt(place) {
    if (place?.kind !== "user") return [];
    const stored = new Set([...this.messages.values()].map(({ muid }) => muid));
    return this.runs
      .filter(({ agent, user }) => agent === place.id && user === this.me)
      .map((run) => ({ ...run, message: stored.has(run.message?.id) ? null : run.message }));
  }

  /** The messages of a place as `me` sees it, oldest first; with `parent` those of that thread. */
  messagesAt(place, { parent = "" } = {}) {
    if (!place) return [];
    return [...this.messages.values()]
      .filter((message) => this.contains(place, message) && (message.parentId ?? "") === parent && this.isShown(message))
      .sort((one, other) => one.id - other.id);
  }

  repliesTo(id) {
    const known = [...this.messages.values()].filter((message) => message.parentId === id && !message.deletedAt);
    return known.sort((one, other) => one.id - other.id);
  }

  contains(place, message) {
    if (place.kind === "group") return message.receiverType === "group" && message.receiver === place.id;
    if (message.receiverType !== "user") return false;
    const pair = [message.sender, message.receiver];
    return pair.includes(this.me) && pair.includes(place.id) && (this.me !== place.id || pair[0] === pair[1]);
  }

  /** The callbacks that told bots of a message, oldest first. */
  callbacksOf(id) {
    return this.entries.filter((entry) => entry.kind === "callback" && entry.message_id === id);
  }

  /** Return whether `me` may see a message: one that is not approved is only its sender's. */
  isShown({ sender, data }) {
    return sender === this.me || !["pending", "disapproved"].includes(data?.moderation?.status);
  }

  #nameOf({ kind, id }) {
    return kind === "group" ? `group/${id}` : `${this.me}/${id}`;
  }

  #forget() {
    this.begins = 0;
    this.#begins.clear();
    this.run = "";
    this.users = new Map();
    this.groups = new Map();
    this.bots = new Map();
    this.agents = new Map();
    this.messages = new Map();
    this.entries = [];
    this.handled = {};
  }
}
