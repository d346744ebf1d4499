// Times of day, by the reader's clock.

import { t, getLanguage } from "./i18n.js";

const MINUTES = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

/** Hours and minutes of a time in Unix seconds. */
export const timeOf = (seconds) => new Date(seconds * 1000).toLocaleTimeString(undefined, MINUTES);

/** The same with seconds. */
export const clock = (seconds) =>
  new Date(seconds * 1000).toLocaleTimeString(undefined, { ...MINUTES, second: "2-digit" });

/** How long something took. */
export function duration(seconds) {
  return seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`;
}

/** The name of the day of a time in Unix seconds: today, yesterday, or its date. */
export function dayName(seconds) {
  const date = new Date(seconds * 1000);
  const now = new Date();
  const before = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (date.toDateString() === now.toDateString()) return t("today");
  if (date.toDateString() === before.toDateString()) return t("yesterday");
  const year = date.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return date.toLocaleDateString(getLanguage(), { weekday: "long", day: "numeric", month: "long", ...year });
}

/** When something was, in as few letters as a list has room for: the time, a day of this week, or a date. */
export function shortTime(seconds) {
  const date = new Date(seconds * 1000);
  const days = (Date.now() - date) / 86_400_000;
  if (date.toDateString() === new Date().toDateString()) return timeOf(seconds);
  if (days < 6) return date.toLocaleDateString(getLanguage(), { weekday: "short" });
  return date.toLocaleDateString(getLanguage(), { day: "numeric", month: "short" });
}
