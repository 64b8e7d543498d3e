// Sojourn's client for Node: which model serves this turn? README.md begins with a first decision.

export { Client, type ClientOptions } from "./client.js";
export type { Candidate, Constraints, Context, TurnFacts } from "./contract.js";
export type { Acknowledgement, Counters } from "./delivery.js";
export { Episode, type Decision, type EpisodeOptions, type Outcome, type TurnInputs } from "./episode.js";
export { DroppedReports, NoFallback, RequestRefused, type FieldViolation } from "./errors.js";
export type { FallbackTable } from "./fallback.js";
