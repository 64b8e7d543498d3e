// An agent of the Vercel AI SDK with fake models, asked by with_ai_sdk.py: a command a line on standard input, an answer a
// line on standard output, both JSON; several may be under way. Its first argument says what it is made with.

import { Client, type ClientOptions } from "@sojourn/client";
import { SojournModels } from "@sojourn/client/ai-sdk";
import { APICallError, generateText, jsonSchema, stepCountIs, streamText, tool, type LanguageModel } from "ai";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

interface Made {
  address: string;
  options: ClientOptions;
  names: string[];
  own: string;
  tool: string;
  secret: string;
  tokens: { input: number; cached: number; output: number };
}

const made: Made = JSON.parse(process.argv[2]!);
const { version } = createRequire(import.meta.url)("ai/package.json");
const specification = `v${parseInt(version) - 3}`; // version 5 of the SDK has the second, and so on
const isFlat = specification === "v2"; // how usage and the reason of the end are written
const called: string[] = [];
let outOfOrder: string[] = [];
let toolFails = false;

function usage() {
  const { input, cached, output } = made.tokens;
  if (isFlat) return { inputTokens: input, cachedInputTokens: cached, outputTokens: output, totalTokens: input + output };
  const inputTokens = { total: input, noCache: input - cached, cacheRead: cached, cacheWrite: undefined };
  return { inputTokens, outputTokens: { total: output, text: output, reasoning: undefined } };
}

/** The answer depends on the conversation alone, so that any model can go on where another left. */
function answer(name: string, prompt: { role: string }[]) {
  called.push(name);
  if (outOfOrder.includes(name)) {
    const message = `${name} is out of order`;
    throw new APICallError({ message, url: "http://none", requestBodyValues: {}, isRetryable: true });
  }
  const isAnswered = prompt.at(-1)!.role === "tool";
  const call = { type: "tool-call", toolCallId: "1", toolName: made.tool, input: JSON.stringify({ query: made.secret }) };
  const reason = isAnswered ? "stop" : "tool-calls";
  const finishReason = isFlat ? reason : { unified: reason, raw: undefined };
  return { part: isAnswered ? undefined : call, finishReason, usage: usage() };
}

function fake(name: string): Exclude<LanguageModel, string> {
  const model = {
    specificationVersion: specification,
    provider: "fake",
    modelId: name,
    supportedUrls: {},
    async doGenerate({ prompt }: any) {
      const { part, ...rest } = answer(name, prompt);
      return { content: [part ?? { type: "text", text: made.secret }], warnings: [], ...rest };
    },
    async doStream({ prompt }: any) {
      const { part, ...rest } = answer(name, prompt);
      const text = [{ type: "text-start" }, { type: "text-delta", delta: made.secret }, { type: "text-end" }];
      const parts = part ? [part] : text.map((each) => ({ id: "1", ...each }));
      const all = [{ type: "stream-start", warnings: [] }, ...parts, { type: "finish", ...rest }];
      return { stream: new ReadableStream({ start: (c) => (all.forEach((each) => c.enqueue(each)), c.close()) }) };
    },
  };
  return model as unknown as Exclude<LanguageModel, string>;
}

const client = new Client(made.address, made.options);
const models = Object.fromEntries(made.names.map((name) => [name, fake(name)]));
const sojournModels = new SojournModels(client, models, { own: fake(made.own) });
const search = tool({
  description: "Search the web.",
  inputSchema: jsonSchema<{ query: string }>({ type: "object", properties: { query: { type: "string" } } }),
  execute: async () => {
    if (toolFails) throw new Error(made.secret);
    return made.secret;
  },
});

const commands: Record<string, (given: any) => Promise<object> | object> = {
  set: (given) => (({ outOfOrder, toolFails } = given), {}),
  async run({ id, retries, isStreamed }) {
    const task = { model: sojournModels.conversation(id), tools: { [made.tool]: search }, stopWhen: stepCountIs(5) };
    const asked = { ...task, prompt: `find ${made.secret}`, maxRetries: retries };
    if (isStreamed) await streamText(asked).consumeStream();
    else await generateText(asked);
    return {};
  },
  end: ({ id, score }) => sojournModels.end(id, { score }),
};

const running = new Set<Promise<void>>();
for await (const line of createInterface({ input: process.stdin })) {
  const { number, command, ...given } = JSON.parse(line);
  const work = (async () => commands[command]!(given))()
    .catch((error: Error) => ({ error: error.message }))
    .then((answer) => console.log(JSON.stringify({ number, called: called.splice(0), ...answer })));
  running.add(work);
}
await Promise.all(running);
await client.close(200);
