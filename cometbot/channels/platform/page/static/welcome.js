// The page to choose a name on, and the list of bots.

import { h, fill } from "./dom.js";
import { avatar } from "./avatar.js";
import { themeButton } from "./theme_button.js";
import { linkTo, serviceMark, socials } from "./sidebar.js";
import { t } from "./i18n.js";

const COOKIE = "webchat.probe=1";
// The platform's rule: letters of any script, and the characters between them in a name.
const NAME = /^[\p{L}\p{M}\p{N}\p{Zs}\p{So}\p{Sk}'\u2019.\u00b7\u30fb,&_\u200c\u200d-]*$/u;
const LETTER = /[\p{L}\p{N}]/u;

/** The page for somebody who is not known here; `enter(name)` is a promise, what it throws is shown. */
export function welcome(store, enter, note = "") {
  const { service, limits } = store;
  const max = limits.maxNicknameLength ?? 32;
  const hint = t("nickname.hint", { max });
  const isName = (text) => NAME.test(text) && LETTER.test(text) && [...text.normalize("NFC").trim()].length <= max;
  const error = h("p.form-error", { role: "alert", id: "nickname-error" });
  const input = h("input", {
    type: "text",
    id: "nickname",
    required: true,
    dir: "auto",
    autocomplete: "nickname",
    spellcheck: "false",
    "aria-describedby": "nickname-hint nickname-error",
  });
  const button = h("button.primary", { type: "submit" }, t("enter"));
  input.addEventListener("input", () => {
    fill(error);
    input.setCustomValidity(!input.value || isName(input.value) ? "" : hint);
  });
  const onsubmit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await enter(input.value.trim());
    } catch (failure) {
      fill(error, failure.message);
      input.focus();
    }
    button.disabled = false;
  };
  const form = h(
    "form.fields",
    { onsubmit },
    h("label.field", { for: "nickname" }, t("nickname")),
    input,
    h("small", { id: "nickname-hint" }, hint),
    error,
    button,
  );
  const sheet = h(
    "div.sheet.vstack",
    serviceMark(service, "56"),
    h("h1", { dir: "auto" }, service.name || t("welcome")),
    service.description && h("p.about.muted", service.description),
    note && h("p.note", { role: "status" }, note),
    form,
    h("p.quiet-note.muted", t("welcome.hint")),
    faces(store),
  );
  return h("main.welcome.vstack", h("div.corner", themeButton()), sheet, socials(service));
}

/** The bots to choose from. */
export function home(store, go) {
  const { service, bots } = store;
  if (!bots.size)
    return h("div.empty.vstack.muted", serviceMark(service, "56"), h("h3", t("noBots")), h("p", t("noBots.hint")));
  const tile = (bot) =>
    h(
      "a.tile.vstack",
      linkTo(`/bot/${bot.id}`, go),
      avatar(bot.id, bot.name, "", bot.avatar),
      h("strong", bot.name),
      bot.description && h("small", bot.description),
    );
  const tiles = [...bots.values()].map((bot) => h("li", tile(bot)));
  return h(
    "div.home-page",
    h("h2", t("chooseBot")),
    service.description && h("p.about.muted", service.description),
    h("ul.tiles", tiles),
    socials(service),
  );
}

function faces(store) {
  const bots = [...store.bots.values()].slice(0, 6);
  const face = ({ id, name, avatar: picture }) => h("li.hstack", avatar(id, name, "", picture), name);
  return bots.length > 0 && h("ul.faces.muted", bots.map(face));
}

/** Return whether the browser stores cookies of this site, without which the platform knows no user. */
export function keepsCookies() {
  document.cookie = `${COOKIE}; path=/; SameSite=Lax`;
  const isKept = document.cookie.split("; ").includes(COOKIE);
  document.cookie = `${COOKIE}; path=/; SameSite=Lax; max-age=0`;
  return isKept;
}
