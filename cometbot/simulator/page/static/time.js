// Times of day, by the reader's clock.

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
