// A connection to the router. A decision waits for it at most its deadline; reports are sent in the background.

import { credentials, Metadata, type ChannelCredentials, type requestCallback } from "@grpc/grpc-js";
import { RouterService } from "./contract.js";
import type { DecideRequest, DecideResponse, ReportOutcomeRequest, ReportTurnRequest } from "./contract.js";
import { Delivery, type Acknowledgement, type Counters } from "./delivery.js";
import { Episode, type EpisodeOptions } from "./episode.js";
import { refusal, refusalOf, RequestRefused, type Refusal } from "./errors.js";
import type { FallbackTable } from "./fallback.js";

const MAX_MESSAGE_BYTES = 64 * 1024;
const MAX_ID_BYTES = 128;
const CHANNEL = { "grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 5_000 };

/** What a client may be made with; all may be left out. */
export interface ClientOptions {
  /** Which policy decides; "default" unless given. */
  policy?: string;
  /** Model by tool type, "*" for any other: serves a turn without an incumbent that the router does not answer. */
  fallback?: FallbackTable;
  /** Longest wait for a decision, 50 ms unless given. */
  decideDeadlineMs?: number;
  /** Longest wait for one sending of a report, 5,000 ms unless given. */
  reportDeadlineMs?: number;
  /** Reports that may wait, 1,024 unless given. */
  queueSize?: number;
  /** Makes the channel TLS, such as `credentials.createSsl(roots)`; plaintext unless given. */
  credentials?: ChannelCredentials;
  /** Sent as a bearer token; a function is asked before each call. Travels in the clear without `credentials`. */
  token?: string | (() => string);
  /** The W3C header of the caller's current span, asked when a call or report is made. */
  traceparent?: () => string | undefined;
}

export class Client {
  /** What the client has counted so far. */
  readonly counters: Readonly<Counters>;
  /** The settings in force. */
  readonly options: ClientOptions;
  readonly #stub;
  readonly #delivery: Delivery;

  /** `target` is "host:port" or another gRPC target. */
  constructor(target: string, options: ClientOptions = {}) {
    this.options = options;
    this.#stub = new RouterService(target, options.credentials ?? credentials.createInsecure(), CHANNEL);
    const counters = { decisions: 0, fallbacks: {} };
    this.counters = { ...counters, reportsAcknowledged: 0, reportsRetried: 0, reportsRefused: 0, reportsDropped: 0 };
    this.#delivery = new Delivery(options.queueSize ?? 1024, this.counters);
  }

  /** An episode; its id is 1 to 128 bytes and never reused. */
  episode(episodeId: string, options: EpisodeOptions = {}): Episode {
    return new Episode(this, episodeId, options);
  }

  /** Asks for one turn's model; resolves to why there is no answer rather than rejecting. */
  async decide(request: DecideRequest): Promise<DecideResponse | Refusal> {
    checkSize(RouterService.service.Decide.requestSerialize(request));
    const headers = this.#headers(request);
    return this.#call<DecideResponse>(this.options.decideDeadlineMs ?? 50, headers, (metadata, options, done) =>
      this.#stub.Decide(request, metadata, options, done as requestCallback<any>),
    );
  }

  /** Queues the facts of one turn. Resolves when the router acknowledges, rejects when it refuses for good. */
  reportTurn(request: ReportTurnRequest): Promise<Acknowledgement> {
    checkSize(RouterService.service.ReportTurn.requestSerialize(request));
    return this.#offer(this.#headers(request), (metadata, options, done) =>
      this.#stub.ReportTurn(request, metadata, options, done),
    );
  }

  /** Queues an episode's outcome. Resolves when it is durable, rejects when the router refuses it for good. */
  reportOutcome(request: ReportOutcomeRequest): Promise<Acknowledgement> {
    checkSize(RouterService.service.ReportOutcome.requestSerialize(request));
    const begin: Begin = (metadata, options, done) => this.#stub.ReportOutcome(request, metadata, options, done);
    return this.#offer(this.#headers(request), begin, 0);
  }

  /** Waits until every report is settled; false if the time runs out first. */
  flush(timeoutMs = 5_000): Promise<boolean> {
    return this.#delivery.flush(timeoutMs);
  }

  /** Flushes and closes. What is not acknowledged in time is dropped and counted. */
  async close(timeoutMs = 5_000): Promise<void> {
    await this.flush(timeoutMs);
    this.#delivery.close();
    this.#stub.close();
  }

  #offer(headers: Headers, begin: Begin, joined?: number): Promise<Acknowledgement> {
    return this.#delivery.offer(async () => {
      const answer = await this.#call<any>(this.options.reportDeadlineMs ?? 5_000, headers, begin);
      if ("code" in answer) return answer;
      const state = String(answer.state ?? "").replace("REPORT_STATE_", "");
      return joined === undefined ? { state } : { state, joinedDecisions: answer.joinedDecisions ?? joined };
    });
  }

  #call<T extends object>(deadlineMs: number, headers: Headers, begin: Begin): Promise<T | Refusal> {
    const metadata = new Metadata();
    const token = typeof this.options.token === "function" ? this.options.token() : this.options.token;
    for (const [key, value] of Object.entries(headers)) if (value) metadata.set(key, value);
    if (token) metadata.set("authorization", `Bearer ${token}`);
    return new Promise((resolve) => {
      begin(metadata, { deadline: Date.now() + deadlineMs }, (error, answer) =>
        resolve(error ? refusalOf(error) : (answer as T)),
      );
    });
  }

  /** Headers of the moment when a call or report is made. */
  #headers({ episodeId }: { episodeId?: string }): Headers {
    return { "sojourn-episode": episodeHeader(episodeId ?? ""), traceparent: this.options.traceparent?.() };
  }
}

type Headers = Readonly<Record<string, string | undefined>>;
type Begin = (metadata: Metadata, options: { deadline: number }, done: requestCallback<object>) => void;

/**
 * An episode's id as the header by which a proxy keeps its turns together: of its UTF-8, visible ASCII but for "%" stays,
 * any other byte becomes "%" and two hexadecimal digits. An id that the router refuses for its length is left out, as a
 * header may be too long for the transport, which says less clearly why.
 */
function episodeHeader(episodeId: string): string {
  const bytes = Buffer.from(episodeId);
  const kept = (byte: number) => byte > 0x20 && byte < 0x7f && byte !== 0x25;
  const escaped = (byte: number) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  const written = [...bytes].map((byte) => (kept(byte) ? String.fromCharCode(byte) : escaped(byte)));
  return bytes.length <= MAX_ID_BYTES ? written.join("") : "";
}

/** The transport answers what is too long with RESOURCE_EXHAUSTED, which would be retried for ever. */
function checkSize(bytes: Buffer): void {
  if (bytes.length > MAX_MESSAGE_BYTES) {
    const message = `the request takes ${bytes.length} bytes; ${MAX_MESSAGE_BYTES} are allowed`;
    throw new RequestRefused(refusal("INVALID_ARGUMENT", message, "INVALID_FIELD"));
  }
}
