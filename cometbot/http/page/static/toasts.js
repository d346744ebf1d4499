// Short messages at the edge of the page.

import { h } from "./dom.js";

const DURATION = 6000;

/** Show `text` for some seconds. The kind of an error is `bad`. */
export function showToast(text, kind = "") {
  const toast = h("div.toast", { class: kind }, text);
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), DURATION);
}

/** Copy `text` and say whether that worked. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(String(text));
    showToast("Copied.");
  } catch {
    showToast("The browser did not allow copying.", "bad");
  }
}
