// Walks through a conversation of each kind with the official client of AG-UI, against the bot at RUN_URL. VERSION is
// the protocol that the client of version CLIENT speaks: 1.0, or old.
// Writes the bytes of each answer to a file in RECORDINGS, and prints the names of what it did.
const path = require("node:path");
const fs = require("node:fs");
const assert = require("node:assert/strict");
const { HttpAgent } = require(path.join(process.env.PACKAGE, "node_modules/@ag-ui/client"));

const isVersioned = process.env.VERSION === "1.0";
const isOldClient = process.env.CLIENT.startsWith("0.");
const done = [];

class OldAgent extends HttpAgent {
  get maxProtocolVersion() {
    return "0.0.53";
  }
}

function connect(name, headers = { Authorization: `Bearer ${process.env.TOKEN}` }) {
  let count = 0;
  const record = async (url, init) => {
    assert.equal("protocolVersion" in JSON.parse(init.body), isVersioned);
    const response = await fetch(url, init);
    if (!response.ok) return response;
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
    assert.equal(response.headers.get("x-accel-buffering"), "no");
    const file = path.join(process.env.RECORDINGS, `${name}-${++count}.sse`);
    const [seen, kept] = response.body.tee();
    kept.pipeTo(new WritableStream({ write: (piece) => fs.appendFileSync(file, piece) })).catch(() => {});
    return new Response(seen, response);
  };
  const Agent = isVersioned ? HttpAgent : OldAgent;
  return new Agent({ url: process.env.RUN_URL, threadId: `${name}-${process.env.CLIENT}-${process.env.VERSION}`, headers, fetch: record });
}

// Has the agent answer, and returns its texts, its events, and how the run ended.
async function run(agent, text, parameters = {}) {
  if (text) agent.addMessage({ id: crypto.randomUUID(), role: "user", content: text });
  const events = [];
  let finished;
  const { newMessages } = await agent.runAgent(parameters, {
    onEvent: ({ event }) => void events.push(event),
    onRunFinishedEvent: (params) => void (finished = params),
  });
  const texts = newMessages.filter((item) => item.role === "assistant" && item.content).map((item) => item.content);
  return { texts, events, finished, newMessages, kinds: events.map((event) => event.type) };
}

async function fails(agent, text, code) {
  const { texts, events } = await run(agent, text);
  assert.equal(events.at(-1).type, "RUN_ERROR");
  assert.equal(events.at(-1).code, code);
  return texts;
}

async function echo(agent) {
  const { texts, events, finished } = await run(agent, "hello");
  assert.deepEqual(texts, ["re: hello"]);
  assert.equal(events[0].type, "RUN_STARTED");
  assert.equal(finished.outcome, "success");
  assert.deepEqual((await run(agent, "again")).texts, ["re: again"]);
  assert.deepEqual((await run(agent, "history")).texts, [
    "user: hello | assistant: re: hello | user: again | assistant: re: again | user: history",
  ]);
}

async function stream(agent) {
  // Pieces are hints, which a busy machine may lose; the text is whole each time.
  for (let pieces = 0, count = 0; pieces < 2; count++) {
    assert.ok(count < 5, "no answer was streamed");
    const { texts, kinds } = await run(agent, "stream");
    assert.deepEqual(texts, ["word0 word1 word2 word3 word4 word5 word6 word7 word8 word9 "]);
    pieces = kinds.filter((kind) => kind === "TEXT_MESSAGE_CONTENT").length;
  }
}

async function nothing(agent) {
  const { kinds } = await run(agent, "nothing");
  assert.deepEqual(kinds, ["RUN_STARTED", "RUN_FINISHED"]);
}

async function ownTool(agent) {
  const { texts, kinds, events, newMessages } = await run(agent, "tool");
  assert.deepEqual(texts, ["Let me see.", 'It is {"number": 17, "euros": 30}.']);
  const about = kinds.filter((kind) => kind.startsWith("TOOL_CALL"));
  assert.deepEqual(about, ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"]);
  assert.equal(events.find((event) => event.type === "TOOL_CALL_START").toolCallName, "find_order");
  assert.deepEqual(JSON.parse(newMessages.find((item) => item.role === "tool").content), { number: 17, euros: 30 });
}

const parameters = { type: "object", properties: { question: { type: "string" } }, required: ["question"] };
const tools = [{ name: "rate", description: "Let the user rate the shop.", parameters }];

async function clientTool(agent) {
  const asked = await run(agent, "call", { tools });
  const call = asked.newMessages.find((item) => item.toolCalls).toolCalls[0];
  assert.equal(call.function.name, "rate");
  assert.deepEqual(JSON.parse(call.function.arguments), { question: "How was it?" });
  assert.deepEqual(asked.finished.pendingToolCallIds, isOldClient ? undefined : [call.id]);
  agent.addMessage({ id: crypto.randomUUID(), role: "tool", toolCallId: call.id, content: "5" });
  assert.deepEqual((await run(agent, "", { tools })).texts, ["The rating is 5."]);
}

async function toolsOfBoth(agent) {
  const asked = await run(agent, "agent", { tools });
  const call = asked.newMessages.find((item) => item.toolCalls).toolCalls[0];
  assert.deepEqual(asked.finished.pendingToolCallIds, isOldClient ? undefined : [call.id]);
  assert.deepEqual(JSON.parse(call.function.arguments), { question: "How was it?" });
  agent.addMessage({ id: crypto.randomUUID(), role: "tool", toolCallId: call.id, content: "5" });
  const { texts, finished, newMessages } = await run(agent, "", { tools });
  assert.deepEqual(texts, ['You gave 5 to {"number": 5, "euros": 30}.']);
  assert.equal(finished.outcome, "success");
  assert.deepEqual(finished.pendingToolCallIds, isOldClient ? undefined : []);
  assert.equal(newMessages.filter((item) => item.role === "tool").length, 1);
  const usage = [{ model: "stand-in", inputTokens: 80, outputTokens: 40, cachedInputTokens: 0 }];
  assert.deepEqual(finished.event.usage, isVersioned ? usage : undefined);
}

async function card(agent) {
  const { texts, events } = await run(agent, "card");
  assert.match(texts[0], /^Earl Grey\n\n12.50 €/);
  const custom = events.find((event) => event.type === "CUSTOM");
  assert.equal(custom.name, "cometbot.card");
  assert.equal(custom.value.title, "Earl Grey");
  assert.deepEqual(custom.value.buttons.map((button) => button.label), ["Buy"]);
}

async function form(agent) {
  let { texts, finished } = await run(agent, "form");
  assert.match(texts[0], /^Your table/);
  for (const answer of ["Maria", "4"]) {
    const interrupt = finished.interrupts?.[0];
    const resume = interrupt && [{ interruptId: interrupt.id, status: "resolved", payload: answer }];
    ({ texts, finished } = await run(agent, isVersioned ? "" : answer, { resume }));
  }
  assert.deepEqual(texts, ["4 guests for Maria"]);
}

async function ask(agent) {
  const first = await run(agent, "ask");
  assert.match(first.texts[0], /^Which size\?/);
  if (!isVersioned) {
    assert.match((await run(agent, "M")).texts[0], /^Your name\?/);
    assert.deepEqual((await run(agent, "Maria")).texts, ["M for Maria"]);
    return;
  }
  assert.deepEqual(first.finished.interrupts[0].responseSchema, { enum: ["S", "M"] });
  const resume = (result, payload) => [
    { interruptId: result.finished.interrupts[0].id, status: "resolved", payload },
  ];
  const second = await run(agent, "", { resume: resume(first, "M") });
  assert.match(second.texts[0], /^Your name\?/);
  assert.deepEqual((await run(agent, "", { resume: resume(second, "Maria") })).texts, ["M for Maria"]);
}

async function otherMessage(agent) {
  const { finished } = await run(agent, "ask");
  if (isVersioned) {
    await assert.rejects(run(agent.clone(), "hello"), /not addressed by resume/);
    const resume = [{ interruptId: finished.interrupts[0].id, status: "cancelled" }];
    assert.deepEqual((await run(agent, "hello", { resume })).texts, ["All right, cancelled.", "re: hello"]);
  } else {
    assert.deepEqual((await run(agent, "/cancel")).texts, ["All right, cancelled."]);
  }
  assert.deepEqual((await run(agent, "again")).texts, ["re: again"]);
}

async function approval(agent) {
  const { texts, finished } = await run(agent, "refund");
  assert.equal(finished.outcome, "success");
  const number = /approve (\d+)/.exec(texts[0])[1];
  const answer = await run(agent, `approve ${number}`);
  assert.deepEqual(answer.texts.at(-1), "It is refunded.");
}

async function error(agent) {
  const texts = await fails(agent, "raise", "HANDLER_FAILED");
  assert.deepEqual(texts, ["I try.", "Sorry, something went wrong here. Please try again later."]);
  assert.deepEqual((await run(agent, "hello")).texts, ["re: hello"]);
}

async function timeout(agent) {
  const texts = await fails(agent, "hang", "TIMEOUT");
  assert.equal(texts[0], "I try.");
}

async function silence(agent) {
  assert.deepEqual((await run(agent, "silence")).texts, ["I am back."]);
}

async function wrongToken() {
  const agent = connect("token", { Authorization: "Bearer 0123456789abcdef0123456789abcdef" });
  const { error } = console;
  console.error = () => {};
  await assert.rejects(run(agent, "hello"), /HTTP 401: .*AGUI_TOKEN/);
  console.error = error;
  const other = connect("key", { "X-API-Key": process.env.TOKEN });
  assert.deepEqual((await run(other, "hello")).texts, ["re: hello"]);
}

const scenarios = {
  echo, stream, nothing, ownTool, clientTool, toolsOfBoth, card, form, ask, otherMessage, approval, error, timeout, silence, wrongToken,
};

async function main() {
  const chosen = process.env.ONLY ? process.env.ONLY.split(",") : Object.keys(scenarios);
  await Promise.all(chosen.map(async (name) => {
    try {
      await scenarios[name](connect(name));
    } catch (error) {
      error.message = `${name}: ${error.message}`;
      throw error;
    }
    done.push(name);
  }));
  console.log(JSON.stringify({ done, known: Object.keys(scenarios) }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
