// What agent stacks share: an episode for each conversation, and a router that can never stop an agent. A conversation's
// calls are the turns of an episode that bears its id. A call that follows one that could not be served is another attempt
// at the same turn. A conversation that goes on after its outcome begins another episode. In SHADOW mode the stack serves
// its own model, which is told as what served. Whatever goes wrong is a warning, and the stack serves its own model too.

import { randomUUID } from "node:crypto";
import type { Client } from "./client.js";
import type { TurnFacts } from "./contract.js";
import type { Acknowledgement } from "./delivery.js";
import type { Decision, Episode, Outcome, TurnInputs } from "./episode.js";
import { RequestRefused } from "./errors.js";

const MAX_NAME_BYTES = 128;

/** The newest tool result that the model has not answered yet. */
export interface ToolResult {
  name: string;
  failed: boolean;
}

/** What is known of a call before it: `own` names the stack's own model, `answersBefore` counts the model's answers. */
export interface Asked {
  tool?: ToolResult | undefined;
  own: string;
  answersBefore: number;
  allow: string[];
}

/** The model for one call, absent in SHADOW mode, and the decision that it came from. */
export interface Call {
  conversation: Conversation;
  decision: Decision;
  own: string;
  model?: string;
}

interface Conversation {
  episode: Episode;
  newest?: Call | undefined; // absent before the first call, and when the stack served its own model
  failure?: TurnFacts | undefined; // why the newest call could not be served; told if nobody tries it again
  ended: boolean;
  queue: Promise<Call | undefined>; // calls of one conversation are chosen one after the other
}

/** The conversations of one application; beyond `most` the one that was quiet for longest is forgotten. */
export class Conversations {
  readonly #known = new Map<string, Conversation>(); // oldest use first

  constructor(
    readonly client: Client,
    readonly taskType?: string,
    readonly most = 10_000,
  ) {}

  /** The model of the next call; undefined leaves it to the stack. Never rejects. */
  choose(id: string, asked: Asked): Promise<Call | undefined> {
    const conversation = this.#conversation(id, asked.answersBefore);
    conversation.queue = conversation.queue.then(() => this.#choose(id, conversation, asked).catch(warn));
    return conversation.queue;
  }

  /** Tells what came of a call; it may come late, after the next call or the outcome. */
  report(call: Call | undefined, facts: TurnFacts): void {
    if (!call) return;
    const { conversation, decision } = call;
    try {
      if (conversation.newest === call && !conversation.ended) conversation.episode.report(told(call, facts));
      else if (decision.decisionId)
        void this.client.reportTurn({ decisionId: decision.decisionId, facts: told(call, facts) });
    } catch (error) {
      warn(error);
    }
  }

  /** Tells that a call failed: the next one is another attempt; without a next one, the turn failed. */
  couldNotServe(call: Call | undefined, error: unknown): void {
    if (!call || call.conversation.newest !== call || call.conversation.ended) return;
    const errorCode = cut(error instanceof Error ? error.name : typeof error);
    call.conversation.failure = told(call, { error: "SEVERITY_HIGH", errorCode });
  }

  /** Ends a conversation's episode, or one of another process; as `Episode.end`. */
  end(id: string, outcome: Outcome): Promise<Acknowledgement> {
    const conversation = this.#known.get(id);
    const policy = this.client.options.policy ?? "default";
    if (!conversation) return this.client.reportOutcome({ ...outcome, policy, episodeId: id });
    tellFailure(conversation);
    conversation.ended = true;
    return conversation.episode.end(outcome);
  }

  async #choose(id: string, conversation: Conversation, { tool, own, allow }: Asked): Promise<Call> {
    const { newest: before, failure } = conversation;
    conversation.newest = undefined;
    if (before && failure && !before.model && !conversation.ended) return begin(conversation, before); // the router's has not failed
    if (before && tool?.failed && !failure && !conversation.ended)
      conversation.episode.report(told(before, { error: "SEVERITY_MEDIUM" }));
    const inputs: TurnInputs = { constraints: { allow }, ...(tool && { context: { toolName: cut(tool.name) } }) };
    const decision = await this.#decide(id, conversation, inputs, Boolean(before && failure));
    const isShadow = decision.answer?.mode === "MODE_SHADOW";
    return begin(conversation, { conversation, decision, own, ...(!isShadow && { model: decision.model }) });
  }

  async #decide(id: string, conversation: Conversation, inputs: TurnInputs, again: boolean): Promise<Decision> {
    try {
      return await (again ? conversation.episode.retry() : conversation.episode.decide(inputs));
    } catch (error) {
      if (!(error instanceof RequestRefused) || error.reason !== "EPISODE_ENDED") throw error;
    }
    conversation.episode = this.#episode(`${id}/${randomUUID().slice(0, 8)}`);
    return conversation.episode.decide(inputs);
  }

  #conversation(id: string, answersBefore: number): Conversation {
    const queue = Promise.resolve(undefined);
    const found = this.#known.get(id) ?? { episode: this.#episode(id, answersBefore), ended: false, queue };
    this.#known.delete(id); // a map keeps the order of entering
    this.#known.set(id, found);
    const [oldest] = this.#known;
    if (oldest && this.#known.size > this.most) {
      const [name, quiet] = oldest;
      this.#known.delete(name);
      tellFailure(quiet);
      if (!quiet.ended) quiet.episode.leaveOpen();
    }
    return found;
  }

  #episode(id: string, firstTurnIndex = 0): Episode {
    return this.client.episode(id, { firstTurnIndex, ...(this.taskType && { taskType: this.taskType }) });
  }
}

function begin(conversation: Conversation, call: Call): Call {
  Object.assign(conversation, { newest: call, failure: undefined, ended: false });
  return call;
}

/** What is told of a call: in SHADOW mode with the model that served. */
function told(call: Call, facts: TurnFacts): TurnFacts {
  return call.model ? facts : { servedModel: call.own, ...facts };
}

function tellFailure({ episode, failure, ended }: Conversation): void {
  if (failure && !ended) episode.report(failure);
}

/** A name as long as the router takes it. */
function cut(name: string): string {
  return Buffer.from(name).subarray(0, MAX_NAME_BYTES).toString().replace(/\uFFFD+$/, "");
}

function warn(error: unknown): undefined {
  process.emitWarning(`the stack goes on by itself: ${error}`, "SojournWarning");
}
