// The contract, read from the .proto files that the package carries. Enum values go by their names, 64-bit integers are
// numbers, and absent fields are left out of what is received.

import { loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";
import { fileURLToPath } from "node:url";
import type { ProtoGrpcType } from "./generated/router.js";

export type { Candidate } from "./generated/sojourn/v1/Candidate.js";
export type { Constraints } from "./generated/sojourn/v1/Constraints.js";
export type { Context } from "./generated/sojourn/v1/Context.js";
export type { DecideRequest } from "./generated/sojourn/v1/DecideRequest.js";
export type { DecideResponse__Output as DecideResponse } from "./generated/sojourn/v1/DecideResponse.js";
export type { ReportOutcomeRequest } from "./generated/sojourn/v1/ReportOutcomeRequest.js";
export type { ReportOutcomeResponse__Output as ReportOutcomeResponse } from "./generated/sojourn/v1/ReportOutcomeResponse.js";
export type { ReportTurnRequest } from "./generated/sojourn/v1/ReportTurnRequest.js";
export type { ReportTurnResponse__Output as ReportTurnResponse } from "./generated/sojourn/v1/ReportTurnResponse.js";
export type { RouterServiceClient } from "./generated/sojourn/v1/RouterService.js";
export type { TurnFacts } from "./generated/sojourn/v1/TurnFacts.js";

const loaded = loadSync("sojourn/v1/router.proto", {
  includeDirs: [fileURLToPath(new URL("../proto", import.meta.url))],
  longs: Number,
  enums: String,
});

/** The service's stub and, as `service`, how its messages are written. */
export const RouterService = (loadPackageDefinition(loaded) as unknown as ProtoGrpcType).sojourn.v1.RouterService;

/** Reads a message of the contract from its bytes; `name` is such as "TurnFacts". */
export function parse<T>(name: string, bytes: Buffer): T {
  return (loaded[`sojourn.v1.${name}`] as MessageTypeDefinition<object, object>).deserialize(bytes) as T;
}
