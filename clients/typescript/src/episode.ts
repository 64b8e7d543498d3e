// What one episode has seen so far, and what to ask and tell next. A turn begins when its answer is settled, so a refused
// request leaves everything as it was. The facts of turn t ride on the request of turn t + 1, those of the last turn on
// the outcome; a turn that the router has no record of, because the client decided, is always told.

import type { Client } from "./client.js";
import type { DecideRequest, DecideResponse, ReportOutcomeRequest, TurnFacts } from "./contract.js";
import { silenced, type Acknowledgement } from "./delivery.js";
import { MISTAKES, NoFallback, refusal, RequestRefused, type Refusal } from "./errors.js";
import { choose } from "./fallback.js";

export interface EpisodeOptions {
  /** Which policy decides; the client's unless given. */
  policy?: string;
  taskType?: string;
  assignmentKey?: string;
  /** Resumes an episode that began elsewhere. */
  firstTurnIndex?: number;
}

/** What is known before the choice: the part of a DecideRequest that the episode does not fill in itself. */
export type TurnInputs = Pick<DecideRequest, "context" | "candidates" | "constraints" | "costWeight">;

/** How an episode went: the part of a ReportOutcomeRequest that the episode does not fill in itself. */
export type Outcome = Pick<ReportOutcomeRequest, "status" | "score" | "costUsd" | "metrics">;

/** The model for one turn, and why. */
export interface Decision {
  turnIndex: number;
  attempt: number;
  model: string;
  incumbent?: string;
  switched: boolean;
  /** The router's reason by its short name, such as "HELD", or "DECIDED_BY_CLIENT". */
  reason: string;
  /** Probability of this choice given all that went before in the episode, in (0, 1]. */
  propensity: number;
  /** Absent if nothing is on record: the client decided, or the router's journal was away. */
  decisionId?: string;
  /** Why the client decided by itself: a gRPC status name. Absent if the router did. */
  fallback?: string;
  /** The router's whole answer. */
  answer?: DecideResponse;
}

interface Turn {
  inputs: TurnInputs;
  decision: Decision;
  failed: Decision[];
  reported?: TurnFacts;
}

/** One episode, from first turn to outcome. One agent's loop owns it. */
export class Episode {
  #newest?: Turn;
  #beforeNewest?: Turn;
  #ended = false;

  constructor(
    readonly client: Client,
    readonly episodeId: string,
    readonly options: EpisodeOptions,
  ) {}

  /**
   * The model for the next turn, within the decide deadline. Without an answer from the router: the incumbent, else the
   * fallback table's model. Rejects with RequestRefused for the caller's mistakes, which leave the turn unbegun, and with
   * NoFallback if no model is left.
   */
  decide(inputs: TurnInputs = {}): Promise<Decision> {
    const turnIndex = this.#newest ? this.#newest.decision.turnIndex + 1 : (this.options.firstTurnIndex ?? 0);
    return this.#settle(inputs, turnIndex, this.#newest, []);
  }

  /** Another model for the newest turn, because the chosen one could not serve; asks the same inputs again. */
  async retry(): Promise<Decision> {
    const turn = this.#newest;
    if (!turn) throw new TypeError("nothing to retry: no turn has been decided");
    return this.#settle(turn.inputs, turn.decision.turnIndex, this.#beforeNewest, [...turn.failed, turn.decision]);
  }

  /** Records facts of the newest turn. May be called again: a later value of the same field wins. */
  report(facts: TurnFacts): void {
    const turn = this.#newest;
    if (!turn) throw new TypeError("nothing to report on: no turn has been decided");
    const usage = { ...turn.reported?.usage, ...facts.usage };
    turn.reported = { ...turn.reported, ...facts, ...(Object.keys(usage).length ? { usage } : {}) };
  }

  /** Ends the episode as SUCCEEDED, score 1 unless given. Need not be awaited. */
  succeed(outcome: Outcome = {}): Promise<Acknowledgement> {
    return this.end({ ...outcome, status: "OUTCOME_STATUS_SUCCEEDED" });
  }

  /** Ends the episode as FAILED, score 0 unless given. */
  fail(outcome: Outcome = {}): Promise<Acknowledgement> {
    return this.end({ ...outcome, status: "OUTCOME_STATUS_FAILED" });
  }

  /** Ends the episode as ABANDONED: not learned unless a score is given. */
  abandon(outcome: Outcome = {}): Promise<Acknowledgement> {
    return this.end({ ...outcome, status: "OUTCOME_STATUS_ABANDONED" });
  }

  /** Ends the episode. Resolves when the outcome is durable, rejects with RequestRefused if the router refuses it. */
  end(outcome: Outcome): Promise<Acknowledgement> {
    return silenced(this.#end(outcome));
  }

  /** Leaves without an outcome, which comes from elsewhere; sends the last turn's facts. */
  leaveOpen(): void {
    this.#checkOpen();
    this.#ended = true;
    this.#volunteer(this.#newest);
  }

  async #end(outcome: Outcome): Promise<Acknowledgement> {
    this.#checkOpen();
    const last = this.#newest;
    const toldApart = last && !last.decision.decisionId; // the outcome's facts count to the newest turn on record
    const facts = last && !toldApart ? factsOf(last) : undefined;
    const request = { ...outcome, ...this.#key(), ...(facts && { lastTurn: facts }) };
    this.#ended = true;
    if (toldApart) this.#volunteer(last);
    return this.client.reportOutcome(request);
  }

  async #settle(inputs: TurnInputs, turnIndex: number, previous: Turn | undefined, failed: Decision[]) {
    this.#checkOpen();
    const request = this.#request(inputs, turnIndex, previous, failed);
    const answer = await this.client.decide(request);
    const decision =
      "code" in answer
        ? this.#decideAlone(request, previous, failed, answer)
        : routersDecision(turnIndex, failed.length, answer);
    this.#newest = { inputs, decision, failed };
    this.#beforeNewest = previous;
    this.#count(decision);
    // The facts rode on a request that may not have arrived; telling them twice is harmless.
    if (decision.fallback) this.#volunteer(previous);
    return decision;
  }

  #request(inputs: TurnInputs, turnIndex: number, previous: Turn | undefined, failed: Decision[]): DecideRequest {
    const { taskType, assignmentKey } = this.options;
    const facts = previous && factsOf(previous);
    const alone = failed.filter((decision) => decision.fallback).map((decision) => decision.model);
    return {
      ...inputs,
      ...this.#key(),
      turnIndex,
      attempt: failed.length,
      ...(assignmentKey && { assignmentKey }),
      ...(facts && { previousTurn: facts }),
      context: { ...inputs.context, ...(taskType && { taskType }) },
      constraints: { ...inputs.constraints, deny: [...(inputs.constraints?.deny ?? []), ...alone] },
    };
  }

  #decideAlone(request: DecideRequest, previous: Turn | undefined, failed: Decision[], because: Refusal): Decision {
    if (MISTAKES.has(because.code)) throw new RequestRefused(because);
    const incumbent = previous && (previous.reported?.servedModel || previous.decision.model);
    const tried = failed.map((decision) => decision.model);
    const model = choose(request, incumbent, this.client.options.fallback ?? {}, tried);
    if (!model) throw new NoFallback(`the router did not decide (${because.code}: ${because.message})`);
    return {
      turnIndex: request.turnIndex ?? 0,
      attempt: failed.length,
      model,
      ...(incumbent && { incumbent }),
      switched: incumbent !== undefined && model !== incumbent,
      reason: "DECIDED_BY_CLIENT",
      propensity: 1,
      fallback: because.code,
    };
  }

  #count({ fallback }: Decision): void {
    const counters = this.client.counters as { decisions: number; fallbacks: Record<string, number> };
    counters.decisions += 1;
    if (fallback) counters.fallbacks[fallback] = (counters.fallbacks[fallback] ?? 0) + 1;
  }

  #volunteer(turn: Turn | undefined): void {
    const facts = turn && factsOf(turn);
    if (facts) void this.client.reportTurn({ ...this.#key(), turnIndex: turn.decision.turnIndex, facts });
  }

  #key() {
    return { policy: this.options.policy ?? this.client.options.policy ?? "default", episodeId: this.episodeId };
  }

  #checkOpen(): void {
    if (this.#ended) {
      const message = `episode ${this.episodeId} has ended`;
      throw new RequestRefused(refusal("FAILED_PRECONDITION", message, "EPISODE_ENDED"));
    }
  }
}

/** What the router should hear of a turn; undefined lets it assume that its choice served. */
function factsOf({ decision, reported }: Turn): TurnFacts | undefined {
  if (!reported && decision.decisionId) return undefined;
  return { servedModel: decision.model, decidedByClient: !decision.decisionId, ...reported };
}

function routersDecision(turnIndex: number, attempt: number, answer: DecideResponse): Decision {
  return {
    turnIndex,
    attempt,
    model: answer.model ?? "",
    ...(answer.incumbent && { incumbent: answer.incumbent }),
    switched: answer.switched ?? false,
    reason: String(answer.reason ?? "").replace("REASON_", ""),
    propensity: answer.propensity ?? 0,
    ...(answer.decisionId && { decisionId: answer.decisionId }),
    answer,
  };
}
