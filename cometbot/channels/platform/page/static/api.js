// The platform's routes, as promises.

import { t } from "./i18n.js";

const TIMEOUT = 20_000;

/** The error of a request; `status` is 0 without a response. `retryAfter` is in seconds, or 0. */
export class RequestError extends Error {
  constructor(message, status, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Return whether the same request may succeed a little later. */
  get isTransient() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

const running = new Set();
let isQuiet = false;

/**
 * Break off whatever is being asked, and ask nothing more but to leave; with false, ask again. Every answer renews the
 * cookie: one that came after the answer that took it away would bring it back.
 */
export function blockRequests(quiet) {
  isQuiet = quiet;
  if (quiet) for (const stop of running) stop();
}

const id = encodeURIComponent;

export const start = () => call("GET", "/v1/page-api/start");
export const enter = (name) => call("POST", "/v1/page-api/user", { name });
export const leave = () => call("POST", "/v1/page-api/leave", {}, { isLast: true });
export const commandsOf = (bot) => call("GET", `/v1/client-api/bot/${id(bot)}/commands`);
/** A new chat; asked for a second time with the same `clientId` it is the one that was made then. */
export const openChat = (bot, clientId) => call("POST", "/v1/client-api/chat", { botId: bot, clientId });
export const deleteChat = (chat) => call("DELETE", `/v1/client-api/chat/${id(chat)}`);
export const renameChat = (chat, title) => call("PATCH", `/v1/page-api/chat/${id(chat)}`, { title });
export const post = (chat, message) => call("POST", `/v1/page-api/chat/${id(chat)}/messages`, message);

/** Messages of a chat: `{messages, more}`, with `{before}` or `{after}` a time stamp. */
export const messagesOf = (chat, query = {}) =>
  call("GET", `/v1/page-api/chat/${id(chat)}/messages?${new URLSearchParams({ limit: "40", ...query })}`);

/**
 * The promise of what the platform has of `file` once it is uploaded; `progress(share)` hears from 0 to 1 how far it
 * is, and its method `stop` breaks off. `fetch` cannot tell how far an upload is.
 */
export function upload(file, progress) {
  const request = new XMLHttpRequest();
  const stop = () => request.abort();
  const answered = new Promise((resolve, reject) => {
    if (isQuiet) throw new RequestError(t("unreachable"), 0);
    const form = new FormData();
    form.append("file", file, file.name || "picture.png");
    request.upload.addEventListener("progress", (event) => event.total && progress(event.loaded / event.total));
    request.addEventListener("load", () => {
      const answer = parseJson(request.responseText);
      if (request.status >= 200 && request.status < 300 && answer?.[0]) resolve(answer[0]);
      else reject(refusal(request.status, answer, request.getResponseHeader("Retry-After")));
    });
    for (const name of ["error", "abort"]) {
      request.addEventListener(name, () => reject(new RequestError(t("unreachable"), 0)));
    }
    request.open("POST", "/v1/client-api/files");
    request.addEventListener("loadend", () => running.delete(stop));
    running.add(stop);
    request.send(form);
  });
  return Object.assign(answered, { stop });
}

async function call(method, path, body, { isLast = false } = {}) {
  if (isQuiet && !isLast) throw new RequestError(t("unreachable"), 0);
  const breaker = new AbortController();
  const stop = () => breaker.abort();
  AbortSignal.timeout(TIMEOUT).addEventListener("abort", stop);
  const options = { method, headers: {}, signal: breaker.signal };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  let text;
  running.add(stop);
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch {
    throw new RequestError(t("unreachable"), 0);
  } finally {
    running.delete(stop);
  }
  const answer = parseJson(text);
  if (response.ok && answer !== undefined) return answer;
  throw refusal(response.ok ? 502 : response.status, answer, response.headers.get("Retry-After"));
}

function refusal(status, answer, retryAfter) {
  const text = status < 500 && typeof answer?.message === "string" ? answer.message : "";
  return new RequestError(text || t("failed", { status }), status, Number(retryAfter) || 0);
}

/** Return the value of a JSON text, undefined if it is none. */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
