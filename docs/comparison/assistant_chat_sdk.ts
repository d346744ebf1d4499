// The assistant in the Chat SDK: an agent of the AI SDK, and a durable workflow for the approval.

import { createRedisState } from "@chat-adapter/state-redis";
import { createSlackAdapter } from "@chat-adapter/slack";
import { ToolLoopAgent, stepCountIs, tool } from "ai";
import { Chat, type Thread } from "chat";
import { toAiMessages } from "chat/ai";
import { requestApproval } from "chat/workflow";
import { start } from "workflow/api";
import { z } from "zod";
import { createRefund, findOrder } from "./shop.js";

type Refund = { number: number; euros: number };

export const bot = new Chat({
  userName: "assistant",
  adapters: { slack: createSlackAdapter() },
  state: createRedisState(),
  concurrency: "queue",
}).registerSingleton();

function makeAgent(thread: Thread) {
  return new ToolLoopAgent({
    model: "openai/gpt-5",
    instructions: "You help the customers of a tea shop.",
    stopWhen: stepCountIs(10),
    tools: {
      find_order: tool({
        description: "Look up an order.",
        inputSchema: z.object({ number: z.number() }),
        execute: ({ number }) => findOrder(number),
      }),
      refund: tool({
        description: "Refund an order, in part or in full. A manager decides.",
        inputSchema: z.object({ number: z.number(), euros: z.number() }),
        execute: async (refund) => {
          await start(refundOrder, [thread, refund, crypto.randomUUID()]);
          return "A manager has been asked.";
        },
      }),
    },
  });
}

bot.onDirectMessage(async (thread) => {
  const { messages } = await thread.adapter.fetchMessages(thread.id, { limit: 50 });
  const result = await makeAgent(thread).stream({
    prompt: await toAiMessages(messages),
    abortSignal: thread.signal,
  });
  await thread.post(result.fullStream);
});

export async function refundOrder(thread: Thread, { number, euros }: Refund, key: string) {
  "use workflow";
  const { approved, user } = await requestApproval(thread, {
    title: `Refund ${euros.toFixed(2)} € for order ${number}?`,
    approvers: ["UTOM"],
    timeout: "24h",
  });
  const outcome = approved ? await refund(number, euros, key) : "declined";
  await say(thread, `Order ${number}: ${outcome}, ${user?.name ?? "nobody"} decided.`);
}

async function refund(number: number, euros: number, key: string) {
  "use step";
  return await createRefund(number, euros, key);
}

async function say(thread: Thread, text: string) {
  "use step";
  await thread.post(text);
}
