// The simulator's control API, as promises.

export const snapshot = () => call("GET", "/page");
export const earlier = (uid, query) =>
  call("GET", `/users/${encodeURIComponent(uid)}/earlier?${new URLSearchParams(query)}`);
export const say = (uid, message) => call("POST", `/users/${encodeURIComponent(uid)}/say`, message);
export const act = (uid, what) => call("POST", `/users/${encodeURIComponent(uid)}/act`, what);
export const press = (uid, what) => call("POST", `/users/${encodeURIComponent(uid)}/press`, what);
export const addUser = (user) => call("POST", "/users", user);
export const addGroup = (group) => call("POST", "/groups", group);
export const misbehave = (rule) => call("POST", "/misbehave", rule);
export const behave = (kind) => call("DELETE", `/misbehave?kind=${encodeURIComponent(kind)}`);
export const configure = (changes) => call("PATCH", "/behaviour", changes);
export const switchRule = (id, enabled) => call("PATCH", `/moderation/${encodeURIComponent(id)}`, { enabled });
export const settleDead = (id, act) => call("POST", `/dead/${encodeURIComponent(id)}/${act}`, {});
export const expireDialog = (id) => call("POST", `/dialogs/${encodeURIComponent(id)}/expire`, {});
export const runJob = (id) => call("POST", `/jobs/${encodeURIComponent(id)}/run`, {});

/** The URL of a file, now in the simulator's store. */
export async function upload(file) {
  const name = encodeURIComponent((file.name || "picture.png").replaceAll("/", "-"));
  const type = file.type || "application/octet-stream";
  return (await call("POST", `/files/${name}`, file, type)).url;
}

async function call(method, path, body, type = "application/json") {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = type;
    options.body = type === "application/json" && !(body instanceof Blob) ? JSON.stringify(body) : body;
  }
  let response;
  try {
    response = await fetch(`/simulator${path}`, options);
  } catch {
    throw new Error("The simulator does not answer. Is cometbot dev still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer.data;
  const { message = `The simulator answered ${response.status}.`, details = {} } = answer.error ?? {};
  throw new Error(Object.values(details).flat().join(" ") || message);
}
