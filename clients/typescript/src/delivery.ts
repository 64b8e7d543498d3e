// Reports on their way: one at a time, oldest first, because an outcome must not overtake the facts of its turns. A report
// is sent again until it is acknowledged, refused for good, or given up at close; its natural key makes repeats harmless.

import { DroppedReports, RequestRefused, type Refusal } from "./errors.js";

const RETRYABLE = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED"]);
const BACKOFF_BASE_MS = 100;
const BACKOFF_CEILING_MS = 10_000;

/** The router's receipt. `joinedDecisions` is absent for a turn; 0 = nothing to learn from: was the episode's id right? */
export interface Acknowledgement {
  state: string;
  joinedDecisions?: number;
}

/** What a client has counted. `fallbacks` are the turns that it decided by itself, by gRPC status name. */
export interface Counters {
  decisions: number;
  fallbacks: Record<string, number>;
  reportsAcknowledged: number;
  reportsRetried: number;
  reportsRefused: number;
  reportsDropped: number;
}

/** Sends one report; resolves to its receipt or to why there is none. */
export type Send = () => Promise<Acknowledgement | Refusal>;

/** A bounded queue of reports. */
export class Delivery {
  #last: Promise<unknown> = Promise.resolve();
  #unsettled = 0;
  #closed = false;
  #wake = () => {};

  constructor(
    readonly capacity: number,
    readonly counters: Counters,
  ) {}

  /** Queues a report; rejects if the queue is full, the router refuses, or the client is closed before. */
  offer(send: Send): Promise<Acknowledgement> {
    if (this.#closed || this.#unsettled >= this.capacity) {
      this.counters.reportsDropped += 1;
      return silenced(Promise.reject(new DroppedReports(this.#closed ? "the client is closed" : "the queue is full")));
    }
    this.#unsettled += 1;
    const settled = this.#last.then(() => this.#deliver(send));
    this.#last = silenced(settled);
    return silenced(settled);
  }

  /** Resolves to true once every report is settled, to false if the time runs out first. */
  async flush(timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs)));
    await Promise.race([this.#last.catch(() => {}), late]);
    clearTimeout(timer);
    return this.#unsettled === 0;
  }

  /** Gives up what is left. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async #deliver(send: Send): Promise<Acknowledgement> {
    try {
      for (let retries = 0; !this.#closed; retries += 1) {
        const answer = await send();
        if ("state" in answer) {
          this.counters.reportsAcknowledged += 1;
          return answer;
        }
        if (!RETRYABLE.has(answer.code)) {
          this.counters.reportsRefused += 1;
          throw new RequestRefused(answer);
        }
        this.counters.reportsRetried += 1;
        await this.#pause(backoffMs(retries, answer.retryAfterMs));
      }
      this.counters.reportsDropped += 1;
      throw new DroppedReports("the client was closed before the router acknowledged");
    } finally {
      this.#unsettled -= 1;
    }
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => (clearTimeout(timer), resolve());
    });
  }
}

/** The router's wish plus full jitter; `retries` counts from 0. */
function backoffMs(retries: number, retryAfterMs: number): number {
  const ceiling = Math.min(BACKOFF_CEILING_MS, BACKOFF_BASE_MS * 2 ** Math.min(retries, 16));
  return Math.min(retryAfterMs, BACKOFF_CEILING_MS) + Math.random() * ceiling;
}

/** A rejection that nobody looks at is counted already, and must not end the process. */
export function silenced<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
