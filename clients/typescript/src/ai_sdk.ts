// Vercel AI SDK: a language model for each conversation that has each call served by the router's choice, and reports it.
//
//     const sojournModels = new SojournModels(client, { "gpt-5": openai("gpt-5"), "glm-4.6": zai("glm-4.6") }, { own: openai("gpt-5") });
//     await generateText({ model: sojournModels.conversation("task-17"), tools, prompt });
//
// `own` serves where the router has not chosen. A call that failed and is tried again, as the SDK does by itself, is served
// by another model. Nothing of the SDK is imported: its models are what they have been since version 5.

import { ReadableStream } from "node:stream/web";
import type { Client } from "./client.js";
import type { TurnFacts } from "./contract.js";
import { Conversations, type Call, type ToolResult } from "./conversations.js";
import type { Acknowledgement } from "./delivery.js";
import type { Outcome } from "./episode.js";

/** What is asked of the SDK's language models, whichever version of its specification they keep to. */
export interface ChatModel {
  readonly specificationVersion: string;
  readonly provider: string;
  readonly modelId: string;
  readonly supportedUrls: unknown;
  doGenerate(options: any): PromiseLike<any>;
  doStream(options: any): PromiseLike<any>;
}

/** Models to choose from, by the router's names for them. */
export class SojournModels<Model extends ChatModel> {
  readonly conversations: Conversations;
  /** The model that serves where the router has not chosen, and the router's or else the SDK's name for it. */
  readonly own: Model;
  readonly ownName: string;

  /** Throws TypeError for models of several specifications: the SDK would take the answers of one for another's. */
  constructor(
    client: Client,
    readonly models: Readonly<Record<string, Model>>,
    { own, taskType }: { own: Model; taskType?: string },
  ) {
    const specifications = new Set([own, ...Object.values(models)].map((model) => model.specificationVersion));
    if (specifications.size > 1) throw new TypeError(`models of ${[...specifications].join(" and ")} do not mix`);
    this.conversations = new Conversations(client, taskType);
    this.own = own;
    this.ownName = Object.keys(models).find((name) => models[name] === own) ?? own.modelId;
  }

  /** The model for the calls of one conversation, which is one episode. */
  conversation(id: string): Model {
    return new ChosenModel(this, id) as unknown as Model; // it has what the SDK asks of a model, and no more
  }

  /** Ends a conversation's episode. Resolves when the outcome is durable; need not be awaited. */
  end(id: string, outcome: Outcome): Promise<Acknowledgement> {
    return this.conversations.end(id, outcome);
  }
}

/** Each of its calls is served by the model that the router chooses for it, else by `own`. */
class ChosenModel implements ChatModel {
  readonly specificationVersion: string;
  readonly provider = "sojourn";
  readonly modelId = "chosen-by-sojourn";
  readonly supportedUrls = {}; // the SDK fetches files, as the next model may not read their addresses

  constructor(
    readonly models: SojournModels<ChatModel>,
    readonly id: string,
  ) {
    this.specificationVersion = models.own.specificationVersion;
  }

  async doGenerate(options: any): Promise<any> {
    const { call, model, watch } = await this.#choose(options);
    const answer = await model.doGenerate(options).then(undefined, watch.failed);
    watch.served(answer.usage);
    return answer;
  }

  async doStream(options: any): Promise<any> {
    const { call, model, watch } = await this.#choose(options);
    const answer = await model.doStream(options).then(undefined, watch.failed);
    const see = (part: any) => {
      if (part.type === "finish") watch.served(part.usage);
      if (part.type === "error") watch.note(part.error);
    };
    return { ...answer, stream: seen(answer.stream, see, watch.failed) };
  }

  async #choose({ prompt, abortSignal }: { prompt: any[]; abortSignal?: AbortSignal }) {
    const { models, own, ownName, conversations } = this.models;
    const answersBefore = prompt.filter((message) => message.role === "assistant").length;
    const asked = { own: ownName, answersBefore, allow: Object.keys(models), tool: lastToolResult(prompt) };
    const call = await conversations.choose(this.id, asked);
    const model = (call?.model && models[call.model]) || own;
    return { call, model, watch: watching(conversations, call, abortSignal) };
  }
}

/** What is told of a call as it goes on: an error that the model says, one that ends the call, its usage. */
function watching(conversations: Conversations, call: Call | undefined, abortSignal: AbortSignal | undefined) {
  const began = performance.now();
  let isNoted = false;
  const note = (error: unknown) => {
    isNoted = true;
    if (!abortSignal?.aborted) conversations.couldNotServe(call, error); // who gave up was the caller
  };
  const failed = (error: unknown): never => {
    note(error);
    throw error;
  };
  const served = (usage: any) => {
    const facts = { ...usageFacts(usage), latencyMs: performance.now() - began, error: "SEVERITY_NONE" } as const;
    if (!isNoted) conversations.report(call, facts);
  };
  return { note, failed, served };
}

/** A stream whose parts are seen on their way, and its failure. */
function seen(source: ReadableStream, see: (part: any) => void, failed: (error: unknown) => never): ReadableStream {
  const reader = source.getReader();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await reader.read().catch(failed);
      if (done) return controller.close();
      see(value);
      controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

/** The newest tool result after the model's last answer. */
export function lastToolResult(prompt: readonly any[]): ToolResult | undefined {
  const unanswered = prompt.slice(prompt.findLastIndex((message) => message.role === "assistant") + 1);
  const parts = unanswered.filter((message) => message.role === "tool").flatMap((message) => message.content);
  const result = parts.findLast((part) => part.type === "tool-result");
  return result && { name: result.toolName, failed: String(result.output?.type).startsWith("error") };
}

/** Usage as the router counts. Before version 6 of the SDK it is flat, and cached tokens count into the input's. */
export function usageFacts(usage: any): TurnFacts {
  const input = usage?.inputTokens?.total ?? usage?.inputTokens?.noCache ?? usage?.inputTokens;
  if (typeof input !== "number") return {};
  const cachedReadTokens = usage.inputTokens.cacheRead ?? usage.cachedInputTokens ?? 0;
  const cacheWriteTokens = usage.inputTokens.cacheWrite ?? 0;
  const inputTokens = usage.inputTokens.noCache ?? Math.max(0, input - cachedReadTokens - cacheWriteTokens);
  const outputTokens = usage.outputTokens?.total ?? usage.outputTokens;
  return { usage: { inputTokens, cachedReadTokens, cacheWriteTokens, ...(typeof outputTokens === "number" && { outputTokens }) } };
}
