package io.github.sojournrouter;

import io.grpc.Status;
import sojourn.v1.Router.DecideRequest;
import sojourn.v1.Router.DecideResponse;

/**
 * The model for one turn, and why.
 *
 * @param turnIndex number of the turn in its episode, from 0
 * @param attempt 0 at first; raised by each retry
 * @param model the model to call
 * @param incumbent the model that served the turn before; "" = none
 * @param switched true if the model differs from the incumbent
 * @param reason the router's by its short name, such as "HELD", or "DECIDED_BY_CLIENT"
 * @param propensity probability of this choice given all that went before in the episode, in (0, 1]
 * @param decisionId "" if nothing is on record: the client decided, or the router's journal was away
 * @param fallback why the client decided by itself; null if the router did
 * @param answer the router's whole answer; null without one
 */
public record Decision(
    int turnIndex,
    int attempt,
    String model,
    String incumbent,
    boolean switched,
    String reason,
    double propensity,
    String decisionId,
    Status.Code fallback,
    DecideResponse answer) {

  static Decision byRouter(DecideRequest request, DecideResponse answer) {
    return new Decision(
        request.getTurnIndex(),
        request.getAttempt(),
        answer.getModel(),
        answer.getIncumbent(),
        answer.getSwitched(),
        answer.getReason().name().replaceFirst("^REASON_", ""),
        answer.getPropensity(),
        answer.getDecisionId(),
        null,
        answer);
  }

  static Decision byClient(DecideRequest request, String model, String incumbent, Status.Code because) {
    boolean switched = !incumbent.isEmpty() && !model.equals(incumbent);
    return new Decision(
        request.getTurnIndex(),
        request.getAttempt(),
        model,
        incumbent,
        switched,
        "DECIDED_BY_CLIENT",
        1,
        "",
        because,
        null);
  }

  /** True if the router decided this turn and could write it down. */
  boolean isOnRecord() {
    return !decisionId.isEmpty();
  }
}
