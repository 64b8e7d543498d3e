// Plays the scenarios of tests/scenarios: commands on standard input, answers on standard output.

import { credentials } from "@grpc/grpc-js";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parse } from "../src/contract.js";
import { Client, NoFallback, RequestRefused, type Decision, type Episode, type Outcome } from "../src/index.js";
import type { TurnFacts, TurnInputs } from "../src/index.js";

type Fields = Record<string, string>;

let client: Client;
const episodes = new Map<string, Episode>();
const bytes = (text: string | undefined) => Buffer.from(text ?? "", "base64");
const episode = (given: Fields) => episodes.get(given.handle!)!;

const commands: Record<string, (given: Fields) => Promise<object> | object> = {
  client(given) {
    client = new Client(given.target!, {
      decideDeadlineMs: Number(given.deadline_ms),
      fallback: Object.fromEntries((given.table ?? "").split(",").map((entry) => entry.split(":"))),
      ...(given.ca && { credentials: credentials.createSsl(readFileSync(given.ca)) }),
      ...(given.token && { token: given.token }),
      traceparent: () => given.traceparent,
    });
    return {};
  },
  episode(given) {
    const { policy, task_type: taskType, first_turn_index: first } = given;
    const options = { ...(policy && { policy }), ...(taskType && { taskType }), firstTurnIndex: Number(first ?? 0) };
    episodes.set(given.handle!, client.episode(given.id!, options));
    return {};
  },
  async decide(given) {
    return told(await episode(given).decide(parse<TurnInputs>("DecideRequest", bytes(given.request))));
  },
  async retry(given) {
    return told(await episode(given).retry());
  },
  report(given) {
    episode(given).report(parse<TurnFacts>("TurnFacts", bytes(given.facts)));
    return {};
  },
  async end(given) {
    const receipt = episode(given).end(parse<Outcome>("ReportOutcomeRequest", bytes(given.outcome)));
    if (!given.wait) {
      await Promise.race([receipt, new Promise((resolve) => setTimeout(resolve, 1))]);
      return {};
    }
    const { state, joinedDecisions } = await receipt;
    return { state, joined: joinedDecisions };
  },
  async flush(given) {
    return { flushed: await client.flush(Number(given.timeout_ms)) };
  },
  counters() {
    const { decisions, fallbacks, reportsAcknowledged, reportsRetried, reportsRefused } = client.counters;
    return {
      decisions,
      fallbacks: Object.entries(fallbacks).map((pair) => pair.join(":")).join(","),
      acknowledged: reportsAcknowledged,
      retried: reportsRetried,
      refused: reportsRefused,
    };
  },
};

function told({ turnIndex, attempt, model, incumbent, switched, reason, propensity, decisionId, fallback }: Decision) {
  const named = { turn_index: turnIndex, attempt, decision_id: decisionId, switched: switched || undefined };
  return { ...named, model, incumbent, reason, propensity, fallback };
}

function failure(error: unknown): string[] {
  if (error instanceof NoFallback) return ["error", "kind=no_fallback"];
  if (!(error instanceof RequestRefused)) throw error;
  const fields = error.violations.map((violation) => violation.field).join(",");
  return ["error", "kind=refused", `code=${error.code}`, `reason=${error.reason}`, `fields=${fields}`];
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...fields] = line.split("\t");
  const given = Object.fromEntries(fields.map((field) => field.split(/=(.*)/s).slice(0, 2)));
  try {
    const found = Object.entries(await commands[command!]!(given));
    console.log(["ok", ...found.map(([key, value]) => `${key}=${value ?? ""}`)].join("\t"));
  } catch (error) {
    console.log(failure(error).join("\t"));
  }
}
await client!.close();
