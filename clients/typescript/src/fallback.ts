// What serves a turn when the router does not answer: the incumbent, else the caller's small table. No other heuristic.

import type { DecideRequest } from "./contract.js";

/** Model by tool type, "*" for any other: `{ search: "small", "*": "big" }`. */
export type FallbackTable = Readonly<Record<string, string>>;

/** The incumbent, else the table's model; undefined if none may serve the turn or all have failed at it. */
export function choose(
  request: DecideRequest,
  incumbent: string | undefined,
  table: FallbackTable,
  failed: readonly string[],
): string | undefined {
  const options = [incumbent, table[request.context?.toolType ?? ""], table["*"]];
  return options.find((model) => model && !failed.includes(model) && isPermitted(model, request));
}

function isPermitted(model: string, { candidates = [], constraints }: DecideRequest): boolean {
  const { allow = [], deny = [] } = constraints ?? {};
  const isOffered = !candidates.length || candidates.some((candidate) => candidate.model === model);
  return isOffered && !deny.includes(model) && (!allow.length || allow.includes(model));
}
