// Failed calls: first a plain value, then, for the caller's own mistakes alone, an exception.

import { status, type ServiceError } from "@grpc/grpc-js";
import protobuf from "protobufjs";

/** One malformed field of a request, such as `context.prompt_tokens`, and what is wrong with it. */
export interface FieldViolation {
  field: string;
  description: string;
}

/** A call that the router did not carry out: gRPC status name, message and machine-readable details. */
export interface Refusal {
  code: string;
  message: string;
  reason: string;
  violations: FieldViolation[];
  retryAfterMs: number;
}

/** The router refused a request for good. `reason` is a name of ErrorReason, such as "EPISODE_ENDED", or empty. */
export class RequestRefused extends Error {
  readonly code: string;
  readonly reason: string;
  readonly violations: FieldViolation[];

  constructor(refusal: Refusal) {
    const fields = refusal.violations.map((v) => `; ${v.field}: ${v.description}`).join("");
    super(`${refusal.code}${refusal.reason && ` (${refusal.reason})`}: ${refusal.message}${fields}`);
    this.name = "RequestRefused";
    this.code = refusal.code;
    this.reason = refusal.reason;
    this.violations = refusal.violations;
  }
}

/** The router did not answer, and no model that may serve the turn is known to the client. */
export class NoFallback extends Error {}

/** Reports were given up without an acknowledgement. */
export class DroppedReports extends Error {}

/** The caller's mistakes: thrown by a decision too, where every other status is answered by a fallback. */
export const MISTAKES = new Set(["INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS", "NOT_FOUND"]);

/** A refusal that the client makes by itself. */
export function refusal(code: string, message: string, reason: string): Refusal {
  return { code, message, reason, violations: [], retryAfterMs: 0 };
}

// What is read of google/rpc/status.proto and google/rpc/error_details.proto.
const details = protobuf.parse(`syntax = "proto3";
message Any { string type_url = 1; bytes value = 2; }
message Status { repeated Any details = 3; }
message ErrorInfo { string reason = 1; }
message BadRequest { message Violation { string field = 1; string description = 2; } repeated Violation violations = 1; }
message RetryInfo { message Duration { int32 seconds = 1; int32 nanos = 2; } Duration delay = 1; }
`).root;

/** A failed call as a value. Details that cannot be read are left out: the status itself still tells the matter. */
export function refusalOf(error: ServiceError): Refusal {
  const found = refusal(status[error.code] ?? "UNKNOWN", error.details, "");
  try {
    for (const packed of error.metadata?.get("grpc-status-details-bin") ?? []) read(packed as Buffer, found);
  } catch {
    return found;
  }
  return found;
}

function read(packed: Buffer, found: Refusal): void {
  const decoded = details.lookupType("Status").decode(packed) as any;
  for (const { typeUrl, value } of decoded.details) {
    const name = typeUrl.slice(typeUrl.lastIndexOf(".") + 1);
    if (name === "ErrorInfo") found.reason = (details.lookupType(name).decode(value) as any).reason;
    if (name === "BadRequest") found.violations = (details.lookupType(name).decode(value) as any).violations;
    if (name === "RetryInfo") {
      const delay = (details.lookupType(name).decode(value) as any).delay;
      found.retryAfterMs = (delay?.seconds ?? 0) * 1000 + (delay?.nanos ?? 0) / 1e6;
    }
  }
}
