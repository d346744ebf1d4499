// Who one is, and with whom one talks: the list of conversations, and the forms for new people and groups.

import { h, fill } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { avatar } from "./avatar.js";
import { addGroup, addUser } from "./api.js";
import { openForm } from "./dialog.js";
import { summary } from "./content.js";
import { themeButton } from "./theme_button.js";
import { timeOf } from "./time.js";
import { showToast } from "./toasts.js";

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
    const brand = h(
      "div.brand.hstack",
      h("img", { src: "/page/icon.svg", alt: "", width: "30", height: "30" }),
      h("div", h("h1", "cometbot"), this.state),
      themeButton(),
    );
    const identity = h(
      "div.identity",
      h("label.muted", { for: "who" }, "You are"),
      h("div.select", this.who, icon("down")),
    );
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
    const users = [...store.users.values()].filter((user) => user.uid !== store.me);
    const section = (title, items, add) =>
      (items.length || add) &&
      h(
        "section",
        h("h2.hstack.muted", title, add),
        h(
          "ul",
          items.map((item) => this.#item(item, last)),
        ),
      );
    const groups = [...store.groups.values()].map((group) => ({
      kind: "group",
      id: group.guid,
      name: group.name,
      note: `${group.members.length} members`,
    }));
    const asPlace = (user) => ({
      kind: "user",
      id: user.uid,
      name: user.name,
      isBot: user.isBot,
      note: user.isBot && store.bots.get(user.uid)?.enabled === false ? "not enabled" : "",
    });
    fill(
      this.list,
      section("Bots", users.filter((user) => user.isBot).map(asPlace)),
      section(
        "Groups",
        groups,
        this.#add("New group", () => this.#newGroup()),
      ),
      section(
        "People",
        users.filter((user) => !user.isBot).map(asPlace),
        this.#add("New person", () => this.#newUser()),
      ),
    );
    if (here) this.list.querySelector(`[data-place="${CSS.escape(here)}"]`)?.focus();
  }

  #identities() {
    const option = (user) => h("option", { value: user.uid }, user.name);
    const users = [...this.store.users.values()];
    return [
      h(
        "optgroup",
        { label: "People" },
        users.filter((user) => !user.isBot).map(option),
        h("option", { value: "+" }, "Somebody new…"),
      ),
      h("optgroup", { label: "Bots: answer yourself" }, users.filter((user) => user.isBot).map(option)),
    ];
  }

  #lastMessages() {
    const last = new Map();
    const { store } = this;
    for (const message of store.messages.values()) {
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

  /** What is on the screen counts as seen. */
  markSeen(place) {
    const newest = Math.max(0, ...this.store.messagesAt(place).map((message) => Number(message.id)));
    this.#seen.set(`${this.store.me} ${place.kind}/${place.id}`, newest);
  }

  #item(item, last) {
    const { store } = this;
    const key = `${item.kind}/${item.id}`;
    const isHere = store.place?.kind === item.kind && store.place?.id === item.id;
    const { message, count = 0 } = last.get(key) ?? {};
    const said =
      message && `${message.sender === store.me ? "You: " : ""}${summary(message, (uid) => store.nameOf(uid))}`;
    const unseen = !isHere && count > 0;
    return h(
      "li",
      h(
        "button.conversation.hstack",
        {
          dataset: { place: key },
          "aria-current": isHere ? "true" : null,
          class: unseen ? "unread" : "",
          onclick: () => this.go({ kind: item.kind, id: item.id }),
        },
        avatar(item.id, item.name, item.kind),
        h(
          "span.lines",
          h("span.name.hstack", item.name, item.isBot && h("span.tag", "bot")),
          h("small.truncate", said ?? item.note ?? ""),
        ),
        h(
          "span.aside.vstack",
          message && h("time.muted", timeOf(message.sentAt)),
          unseen && h("span.count", { "aria-label": `${count} new` }, count),
        ),
      ),
    );
  }

  #add(label, act) {
    return iconButton("button.plus", "plus", label, act);
  }

  #showState() {
    const { status, connection } = this.store;
    const [state, text] =
      connection === "lost"
        ? ["off", "Not connected"]
        : status.fault
          ? ["bad", "New code does not run"]
          : status.state === "running"
            ? ["good", `${status.bot} is running`]
            : status.state === "failed"
              ? ["bad", "The bot is not running"]
              : ["good", "Simulator"];
    fill(this.state, h("span.light", { class: state }), text);
    this.state.title = text;
  }

  async #newUser(become) {
    this.who.value = this.store.me;
    const made = await openForm(
      "New person",
      [
        { name: "name", label: "Name", value: "" },
        {
          name: "uid",
          label: "UID",
          value: "",
          isOptional: true,
          hint: "a-z, 0-9, - and _; made from the name if empty",
        },
      ],
      "Create",
      async ({ name, uid }) => {
        const chosen = (uid || slug(name)).toLowerCase();
        await addUser({ uid: chosen, name });
        return chosen;
      },
    );
    if (made && become) {
      await this.#known(made);
      become(made);
    }
  }

  async #newGroup() {
    const made = await openForm(
      "New group",
      [{ name: "name", label: "Name", value: "" }],
      "Create",
      async ({ name }) => {
        const guid = slug(name);
        await addGroup({
          guid,
          name,
          owner: this.store.me,
          members: [...this.store.users.keys()].filter((uid) => uid !== this.store.me),
        });
        return guid;
      },
    );
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

function slug(name) {
  return (
    name
      .normalize("NFD")
      .replace(/\p{M}/gu, "")
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-|-$/g, "") || `id-${Date.now()}`
  );
}
