// Walks through everything that the official client can do, against the server at API_URL. Prints what it saw as JSON.
const path = require("node:path");
const chat = require(path.join(process.env.PACKAGE, "node_modules/@botpress/chat"));
const assert = require("node:assert/strict");

const apiUrl = process.env.API_URL;
const encryptionKey = process.env.ENCRYPTION_KEY || undefined;
const name = (stem) => `${stem}-${process.env.RUN}`;
const done = [];

function connect(userId) {
  return chat.Client.connect({ apiUrl, userId, encryptionKey });
}

async function refused(promise, kind, code) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.constructor.name, kind, `${error}`);
    assert.equal(error.code, code);
    return;
  }
  assert.fail(`${kind} was expected`);
}

async function waitFor(what, condition) {
  const end = Date.now() + 15000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function record(listener) {
  const heard = [];
  for (const kind of [
    "message_created", "message_deleted", "event_created", "participant_added", "participant_removed",
    "message_stream_delta", "message_stream_complete", "message_stream_abort", "unknown", "error",
  ]) {
    listener.on(kind, (data) => heard.push({ kind, data }));
  }
  return heard;
}

async function users() {
  const plain = new chat.Client({ apiUrl });
  const ann = await connect(name("ann"));
  const key = ann.user.key;
  assert.equal(ann.user.id, name("ann"));
  if (encryptionKey) {
    await refused(plain.createUser({ id: name("x") }), "UnauthorizedError", 401);
  } else {
    await refused(plain.createUser({ id: name("ann") }), "AlreadyExistsError", 409);
    const made = await plain.createUser({ name: "Made", profile: "{}" });
    assert.equal((await plain.getUser({ "x-user-key": made.key })).user.name, "Made");
    done.push("createUser");
  }
  const again = await plain.getOrCreateUser({ "x-user-key": key, name: "Ann" });
  assert.deepEqual([again.user.id, again.user.name], [name("ann"), "Ann"]);
  const updated = await ann.updateUser({ profile: '{"plan":"free"}' });
  assert.deepEqual([updated.user.name, updated.user.profile], ["Ann", '{"plan":"free"}']);
  assert.deepEqual((await ann.getUser({})).user, updated.user);
  assert.equal((await chat.Client.connect({ apiUrl, userKey: key })).user.id, ann.user.id);
  await refused(plain.getUser({ "x-user-key": `${key}x` }), "UnauthorizedError", 401);
  done.push("getOrCreateUser", "updateUser", "getUser");
  return ann;
}

async function conversations(ann, bob) {
  const { conversation } = await ann.createConversation({ id: name("order") });
  await refused(ann.createConversation({ id: name("order") }), "AlreadyExistsError", 409);
  assert.deepEqual((await ann.getOrCreateConversation({ id: name("order") })).conversation, conversation);
  assert.deepEqual((await ann.getConversation({ id: name("order") })).conversation, conversation);
  await refused(bob.getConversation({ id: name("order") }), "ForbiddenError", 403);
  await refused(ann.getConversation({ id: "nowhere" }), "ResourceNotFoundError", 404);
  await refused(ann.createConversation({ id: "no good" }), "InvalidPayloadError", 400);
  for (let count = 0; count < 21; count++) await ann.createConversation({});
  assert.equal((await ann.list.conversations({}).collect()).length, 22);
  const slashed = await ann.getOrCreateConversation({ id: name("a/b") });
  assert.equal((await ann.getConversation({ id: slashed.conversation.id })).conversation.id, name("a/b"));
  await ann.deleteConversation({ id: slashed.conversation.id });
  await refused(ann.getConversation({ id: slashed.conversation.id }), "ResourceNotFoundError", 404);
  done.push("createConversation", "getOrCreateConversation", "getConversation", "listConversations", "deleteConversation");
  return conversation.id;
}

async function participants(ann, bob, conversationId, heard) {
  const added = await ann.addParticipant({ conversationId, userId: bob.user.id });
  assert.equal(added.participant.id, bob.user.id);
  assert.equal((await ann.getParticipant({ conversationId, userId: bob.user.id })).participant.id, bob.user.id);
  const all = await bob.list.participants({ conversationId }).collect();
  assert.deepEqual(all.map((item) => item.id).sort(), [ann.user.id, bob.user.id].sort());
  const stream = await bob.listenConversation({ id: conversationId });
  const seen = record(stream);
  await ann.removeParticipant({ conversationId, userId: bob.user.id });
  await waitFor("the removal", () => heard.some((item) => item.kind === "participant_removed"));
  await waitFor("the end of the stream", () => seen.some((item) => item.kind === "error"));
  await refused(bob.listMessages({ conversationId }), "ForbiddenError", 403);
  await stream.disconnect();
  done.push("addParticipant", "getParticipant", "listParticipants", "removeParticipant");
}

async function messages(ann, bob, conversationId, heard) {
  const payloads = JSON.parse(process.env.PAYLOADS);
  const before = heard.length;
  for (const payload of payloads) {
    const { message } = await ann.createMessage({ conversationId, payload, metadata: { page: "/faq" } });
    assert.deepEqual([message.payload, message.metadata, message.userId], [payload, { page: "/faq" }, ann.user.id]);
    assert.deepEqual((await ann.getMessage({ id: message.id })).message, message);
  }
  await waitFor("all answers", () => heard.length >= before + 2 * payloads.length);
  const created = heard.slice(before);
  assert.deepEqual(created.filter((item) => item.data.isBot).map((item) => item.data.payload), payloads);
  assert.deepEqual(created.filter((item) => !item.data.isBot).map((item) => item.data.payload), payloads);
  const listed = await ann.list.messages({ conversationId }).collect();
  assert.equal(new Set(listed.map((item) => item.id)).size, 2 * payloads.length);
  const last = listed.find((item) => item.userId === ann.user.id);
  await refused(bob.deleteMessage({ id: last.id }), "ForbiddenError", 403);
  await ann.deleteMessage({ id: last.id });
  await waitFor("the deletion", () => heard.some((item) => item.kind === "message_deleted" && item.data.id === last.id));
  await refused(ann.getMessage({ id: last.id }), "ResourceNotFoundError", 404);
  done.push("createMessage", "getMessage", "listMessages", "deleteMessage");
}

async function events(ann, conversationId, heard) {
  const { event } = await ann.createEvent({ conversationId, payload: { clicked: "buy" } });
  assert.deepEqual((await ann.getEvent({ id: event.id })).event, event);
  const told = () => heard.filter((item) => item.kind === "event_created");
  await waitFor("both events", () => told().length === 2);
  assert.deepEqual(told().map((item) => [item.data.isBot, item.data.payload]), [
    [false, { clicked: "buy" }],
    [true, { clicked: "buy" }],
  ]);
  done.push("createEvent", "getEvent");
}

async function streaming(ann, conversationId, heard) {
  const before = heard.length;
  await ann.createMessage({ conversationId, payload: { type: "text", text: "/stream" } });
  await waitFor("the streamed message", () => heard.slice(before).some((item) => item.data.isBot));
}

async function dialog(ann) {
  const { conversation } = await ann.createConversation({});
  const listener = await ann.listenConversation({ id: conversation.id });
  const heard = record(listener);
  const asked = () => heard.filter((item) => item.data.isBot).map((item) => item.data.payload);
  const answer = async (text) => {
    const before = asked().length;
    await ann.createMessage({ conversationId: conversation.id, payload: { type: "text", text } });
    await waitFor(`the reply to ${text}`, () => asked().length > before);
    return asked().at(-1);
  };
  const question = await answer("/order");
  assert.deepEqual([question.type, question.options.map((item) => item.label)], ["choice", ["Small", "Large"]]);
  assert.equal((await answer("huge")).text, "Please choose one of: Small, Large.");
  assert.equal((await answer(question.options[1].value)).text, "How many?");
  assert.equal((await answer("3")).text, "3 x XL, order 1.");
  assert.equal((await answer("/order")).text, "Which size?");
  assert.equal((await answer("/cancel")).text, "All right, cancelled.");
  await listener.disconnect();
}

async function main() {
  const ann = await users();
  const bob = await connect(name("bob"));
  const conversationId = await conversations(ann, bob);
  const listener = await ann.listenConversation({ id: conversationId });
  const heard = record(listener);
  done.push("listenConversation");
  const silent = await ann.listenConversation({ id: conversationId });
  const quiet = record(silent);
  const began = Date.now();
  await messages(ann, bob, conversationId, heard);
  await events(ann, conversationId, heard);
  await participants(ann, bob, conversationId, heard);
  await streaming(ann, conversationId, heard);
  await dialog(ann);
  // On a connection that an ordinary call had used before, Node would cut a stream after 5 seconds of silence.
  await waitFor("the end of 7 seconds", () => Date.now() - began > 7000);
  assert.deepEqual(heard.filter((item) => item.kind === "error"), []);
  assert.deepEqual(quiet.filter((item) => item.kind === "error"), []);
  assert.equal(silent.status, "connected");
  await listener.disconnect();
  await silent.disconnect();
  await ann.deleteUser({});
  await refused(ann.getUser({}), "ResourceNotFoundError", 404);
  done.push("deleteUser");
  console.log(JSON.stringify({ done, kinds: [...new Set(heard.map((item) => item.kind))], conversationId }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
