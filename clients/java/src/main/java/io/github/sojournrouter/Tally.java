package io.github.sojournrouter;

import io.grpc.Status;
import java.util.EnumMap;
import java.util.Map;

/** Counts for all threads of a client. */
final class Tally {
  /** What may become of a report. */
  enum Event {
    ACKNOWLEDGED,
    RETRIED,
    REFUSED,
    DROPPED
  }

  private long decisions;
  private final Map<Status.Code, Long> fallbacks = new EnumMap<>(Status.Code.class);
  private final Map<Event, Long> events = new EnumMap<>(Event.class);

  synchronized void countDecision(Decision decision) {
    decisions += 1;
    if (decision.fallback() != null) {
      fallbacks.merge(decision.fallback(), 1L, Long::sum);
    }
  }

  synchronized void count(Event event) {
    events.merge(event, 1L, Long::sum);
  }

  synchronized Counters read() {
    return new Counters(
        decisions,
        Map.copyOf(fallbacks),
        events.getOrDefault(Event.ACKNOWLEDGED, 0L),
        events.getOrDefault(Event.RETRIED, 0L),
        events.getOrDefault(Event.REFUSED, 0L),
        events.getOrDefault(Event.DROPPED, 0L));
  }
}
