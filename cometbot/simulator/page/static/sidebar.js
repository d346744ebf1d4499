// The list of conversations, the choice of the user, and the forms for new people and groups.

import { h, fill, options } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { avatar } from "./avatar.js";
import { addGroup, addUser } from "./api.js";
import { openForm } from "./dialog.js";
import { summary } from "./content.js";
import { themeButton } from "./theme_button.js";
import { timeOf } from "./time.js";
import { showToast } from "./toasts.js";

const NAME_FIELD = { name: "name", label: "Name", value: "" };

/** The left pane. `go(place)` opens a conversation, `become(uid)` changes who one is. */
export class Sidebar {
  #seen = new Map();

  constructor(root, store, { go, become }) {
    this.store = store;
    this.go = go;
    this.who = h("select", {
      id: "who",
      onchange: () => (this.who.value === "+" ? this.#newUser(become) : become(this.who.value)),
    });
    this.list = h("nav.conversations", { "aria-label": "Conversations" });
    this.state = h("p.state.hstack.truncate.muted", { role: "status" });
    const logo = h("img", { src: "/page/icon.svg", alt: "", width: "30", height: "30" });
    const brand = h("div.brand.hstack", logo, h("div", h("h1", "cometbot"), this.state), themeButton());
    const select = h("div.select", this.who, icon("down"));
    const identity = h("div.identity", h("label.muted", { for: "who" }, "You are"), select);
    fill(root, brand, identity, this.list);
    store.on("directory messages me place", () => this.#show());
    store.on("status connection", () => this.#showState());
  }

  #show() {
    const { store } = this;
    const here = document.activeElement?.dataset?.place;
    fill(this.who, this.#identities());
    this.who.value = store.me;
    const last = this.#lastMessages();
    const item = (place) => this.#item(place, last);
    const section = (title, places, add) =>
      (places.length || add) && h("section", h("h2.hstack.muted", title, add), h("ul", places.map(item)));
    const [bots, people, agents] = this.#usersByKind((user) => ({
      kind: "user",
      id: user.uid,
      ...user,
      note: noteOf(store, user.uid),
    }));
    const groups = [...store.groups.values()].map(({ guid, name, members }) => ({
      kind: "group",
      id: guid,
      name,
      note: `${members.length} members`,
    }));
    const isOther = ({ id }) => id !== store.me;
    const newGroup = iconButton("button.plus", "plus", "New group", () => this.#newGroup());
    const newPerson = iconButton("button.plus", "plus", "New person", () => this.#newUser());
    const sections = [
      section("Bots", bots.filter(isOther)),
      section("Agents", agents),
      section("Groups", groups, newGroup),
    ];
    fill(this.list, sections, section("People", people.filter(isOther), newPerson));
    if (here) this.list.querySelector(`[data-place="${CSS.escape(here)}"]`)?.focus();
  }

  #identities() {
    const [bots, people] = this.#usersByKind(({ uid, name }) => [uid, name]);
    return [
      h("optgroup", { label: "People" }, options([...people, ["+", "Somebody new…"]])),
      h("optgroup", { label: "Bots: answer yourself" }, options(bots)),
    ];
  }

  /** Return what `convert` makes of the bots, of the people, and of the agents. */
  #usersByKind(convert) {
    const users = [...this.store.users.values()];
    const isPerson = (user) => !user.isBot && !user.isAgent;
    const kinds = [(user) => user.isBot, isPerson, (user) => user.isAgent];
    return kinds.map((isKind) => users.filter(isKind).map(convert));
  }

  #lastMessages() {
    const last = new Map();
    const { store } = this;
    for (const message of [...store.messages.values()].filter((one) => store.isShown(one))) {
      if (message.parentId) continue;
      const isGroup = message.receiverType === "group";
      if (!isGroup && message.sender !== store.me && message.receiver !== store.me) continue;
      const key = isGroup
        ? `group/${message.receiver}`
        : `user/${message.sender === store.me ? message.receiver : message.sender}`;
      const known = last.get(key) ?? { count: 0 };
      const seen = this.#seen.get(`${store.me} ${key}`) ?? 0;
      const unseen = Number(message.id) > seen && message.sender !== store.me ? 1 : 0;
      last.set(key, {
        count: known.count + unseen,
        message: !known.message || Number(known.message.id) < Number(message.id) ? message : known.message,
      });
    }
    return last;
  }

  /** Count the messages of a conversation as read. */
  markSeen(place) {
    const newest = Math.max(0, ...this.store.messagesAt(place).map((message) => Number(message.id)));
    this.#seen.set(`${this.store.me} ${place.kind}/${place.id}`, newest);
  }

  #item({ kind, id, name, isBot, isAgent, note }, last) {
    const { store } = this;
    const key = `${kind}/${id}`;
    const isHere = store.place?.kind === kind && store.place?.id === id;
    const { message, count = 0 } = last.get(key) ?? {};
    const who = message?.sender === store.me ? "You: " : "";
    const said = message && who + summary(message, (uid) => store.nameOf(uid));
    const unread = isHere ? 0 : count;
    const attributes = {
      dataset: { place: key },
      "aria-current": isHere ? "true" : null,
      class: unread ? "unread" : "",
      onclick: () => this.go({ kind, id }),
    };
    const title = h("span.name.hstack", name, (isBot || isAgent) && h("span.tag", isBot ? "bot" : "agent"));
    const aside = [
      message && h("time.muted", timeOf(message.sentAt)),
      unread > 0 && h("span.count", { "aria-label": `${unread} new` }, unread),
    ];
    const lines = h("span.lines", title, h("small.truncate", said ?? note));
    return h(
      "li",
      h("button.conversation.hstack", attributes, avatar(id, name, kind), lines, h("span.aside.vstack", aside)),
    );
  }

  #showState() {
    const [state, text] = stateOf(this.store);
    fill(this.state, h("span.light", { class: state }), text);
    this.state.title = text;
  }

  async #newUser(become) {
    this.who.value = this.store.me;
    const hint = "a-z, 0-9, - and _; made from the name if empty";
    const fields = [NAME_FIELD, { name: "uid", label: "UID", value: "", isOptional: true, hint }];
    const made = await openForm("New person", fields, "Create", async ({ name, uid }) => {
      const chosen = (uid || slug(name)).toLowerCase();
      await addUser({ uid: chosen, name });
      return chosen;
    });
    if (!made || !become) return;
    await this.#known(made);
    become(made);
  }

  async #newGroup() {
    const { me, users } = this.store;
    const made = await openForm("New group", [NAME_FIELD], "Create", async ({ name }) => {
      const guid = slug(name);
      await addGroup({ guid, name, owner: me, members: membersBut(me, users) });
      return guid;
    });
    if (!made) return;
    await this.#known(made);
    this.go({ kind: "group", id: made });
    showToast("Everybody is a member of the new group.");
  }

  /** Resolves when the directory has this id. */
  #known(id) {
    const { store } = this;
    const has = () => store.users.has(id) || store.groups.has(id);
    return new Promise((resolve) => {
      if (has()) return resolve();
      store.on("directory", () => has() && resolve());
      return undefined;
    });
  }
}

/** Everybody else but agents, which CometChat calls for one-to-one messages only. */
function membersBut(me, users) {
  return [...users.values()].filter((user) => user.uid !== me && !user.isAgent).map((user) => user.uid);
}

function noteOf(store, uid) {
  if (store.bots.get(uid)?.enabled === false) return "not enabled";
  return store.agents.get(uid)?.enabled === false ? "not active" : "";
}

function stateOf({ status, connection }) {
  if (connection === "lost") return ["off", "Not connected"];
  if (status.fault) return ["bad", "New code does not run"];
  if (status.state === "running") return ["good", `${status.bot} is running`];
  return status.state === "failed" ? ["bad", "The bot is not running"] : ["good", "Simulator"];
}

function slug(name) {
  const ascii = name.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  return ascii.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || `id-${Date.now()}`;
}
