// Finds out whether the browser keeps cookies, without which nobody is known to the platform.

const PROBE = "webchat.probe=1";

/** Whether this browser keeps a cookie of this site. */
export function keepsCookies() {
  document.cookie = `${PROBE}; path=/; SameSite=Lax`;
  const isKept = document.cookie.split("; ").includes(PROBE);
  document.cookie = `${PROBE}; path=/; SameSite=Lax; max-age=0`;
  return isKept;
}
