// Vercel AI SDK: an agent with one tool; its models' answers are canned: call the tool, then answer.

import { Client } from "@sojourn/client";
import { SojournModels } from "@sojourn/client/ai-sdk";
import { generateText, jsonSchema, stepCountIs, tool, type LanguageModel } from "ai";

type Model = Exclude<LanguageModel, string>;

const usage = { inputTokens: 100, outputTokens: 10, totalTokens: 110 };

/** Calls the tool until it has a result. */
function canned(name: string): Model {
  const model = {
    specificationVersion: "v2", // which every supported version of the SDK takes
    provider: "canned",
    modelId: name,
    supportedUrls: {},
    async doGenerate({ prompt }: { prompt: { role: string }[] }) {
      const hasResult = prompt.at(-1)?.role === "tool";
      console.log(`${hasResult ? "after the tool" : "first"}: ${name}`);
      const call = { type: "tool-call", toolCallId: "1", toolName: "grep", input: '{"pattern": "overload"}' };
      const content = [hasResult ? { type: "text", text: "test_overload fails" } : call];
      return { content, finishReason: hasResult ? "stop" : "tool-calls", usage, warnings: [] };
    },
    async doStream() {
      throw new Error("not shown here");
    },
  };
  return model as unknown as Model;
}

const grep = tool({
  description: "Search the files.",
  inputSchema: jsonSchema<{ pattern: string }>({ type: "object", properties: { pattern: { type: "string" } } }),
  execute: async () => "tests/test_overload.py",
});

const models = Object.fromEntries(["gpt-5", "deepseek-v3.2", "gemini-2.5-flash-lite"].map((name) => [name, canned(name)]));
const address = process.env.SOJOURN_ADDRESS ?? "127.0.0.1:50051";
const client = new Client(address, { decideDeadlineMs: 500 }); // the first decision waits for the connection, too
const sojournModels = new SojournModels(client, models, { own: models["deepseek-v3.2"]! });
const { text } = await generateText({
  model: sojournModels.conversation("ai-sdk-example"),
  tools: { grep },
  stopWhen: stepCountIs(5),
  prompt: "Which test fails?",
});
const status = text.includes("overload") ? "OUTCOME_STATUS_SUCCEEDED" : "OUTCOME_STATUS_FAILED";
void sojournModels.end("ai-sdk-example", { status });
await client.close();
