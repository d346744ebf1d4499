// Where one says who one is, and where one sees which bots there are.

import { h, fill } from "./dom.js";
import { avatar } from "./avatar.js";
import { themeButton } from "./theme_button.js";
import { socials } from "./sidebar.js";
import { t } from "./i18n.js";

const COOKIE = "webchat.probe=1";
// As the platform has it: letters of any script, and what stands between those of a name.
const NAME = /^[\p{L}\p{M}\p{N}\p{Zs}\p{So}\p{Sk}'\u2019.\u00b7\u30fb,&_\u200c\u200d-]*$/u;
const LETTER = /[\p{L}\p{N}]/u;

/** The page for somebody who is not known here; `enter(name)` is a promise, what it throws is shown. */
export function welcome(store, enter, note = "") {
  const { service, limits } = store;
  const max = limits.maxNicknameLength ?? 32;
  const hint = t("nickname.hint", { max });
  const isName = (text) => NAME.test(text) && LETTER.test(text) && [...text.normalize("NFC").trim()].length <= max;
  const fault = h("p.form-error", { role: "alert", id: "nickname-fault" });
  const input = h("input", {
    type: "text",
    id: "nickname",
    required: true,
    dir: "auto",
    autocomplete: "nickname",
    spellcheck: "false",
    "aria-describedby": "nickname-hint nickname-fault",
  });
  const button = h("button.primary", { type: "submit" }, t("enter"));
  input.addEventListener("input", () => {
    fill(fault);
    input.setCustomValidity(!input.value || isName(input.value) ? "" : hint);
  });
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await enter(input.value.trim());
    } catch (error) {
      fill(fault, error.message);
      input.focus();
    }
    button.disabled = false;
  };
  return h(
    "main.welcome.vstack",
    h("div.corner", themeButton()),
    h(
      "div.sheet.vstack",
      mark(service),
      h("h1", { dir: "auto" }, service.name || t("welcome")),
      service.description && h("p.about.muted", service.description),
      note && h("p.note", { role: "status" }, note),
      h(
        "form.fields",
        { onsubmit: submit },
        h("label.field", { for: "nickname" }, t("nickname")),
        input,
        h("small", { id: "nickname-hint" }, hint),
        fault,
        button,
      ),
      h("p.quiet-note.muted", t("welcome.hint")),
      faces(store),
    ),
    socials(service),
  );
}

/** The bots to choose from. */
export function home(store, go) {
  const { service, bots } = store;
  if (!bots.size) return h("div.empty.vstack.muted", mark(service), h("h3", t("noBots")), h("p", t("noBots.hint")));
  const open = (path) => (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(path);
  };
  const tile = (bot) => {
    const path = `/bot/${bot.id}`;
    return h(
      "li",
      h(
        "a.tile.vstack",
        { href: path, onclick: open(path) },
        avatar(bot.id, bot.name, "", bot.avatar),
        h("strong", bot.name),
        bot.description && h("small", bot.description),
      ),
    );
  };
  return h(
    "div.home-page",
    h("h2", t("chooseBot")),
    service.description && h("p.about.muted", service.description),
    h("ul.tiles", [...bots.values()].map(tile)),
    socials(service),
  );
}

function mark(service) {
  if (service.avatar) return avatar(service.name, service.name, "group", service.avatar);
  return h("img", { src: new URL("icon.svg", import.meta.url).href, alt: "", width: "56", height: "56" });
}

function faces(store) {
  const bots = [...store.bots.values()];
  if (!bots.length) return null;
  return h(
    "ul.faces.muted",
    bots.slice(0, 6).map((bot) => h("li.hstack", avatar(bot.id, bot.name, "", bot.avatar), bot.name)),
  );
}

/** Return whether the browser stores cookies of this site, without which the platform knows no user. */
export function keepsCookies() {
  document.cookie = `${COOKIE}; path=/; SameSite=Lax`;
  const isKept = document.cookie.split("; ").includes(COOKIE);
  document.cookie = `${COOKIE}; path=/; SameSite=Lax; max-age=0`;
  return isKept;
}
