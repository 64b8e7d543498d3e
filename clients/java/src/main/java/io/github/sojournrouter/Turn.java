package io.github.sojournrouter;

import java.util.List;
import sojourn.v1.Router.DecideRequest;
import sojourn.v1.Types.TurnFacts;

/** A decided turn. {@code failed} are the earlier attempts at it, {@code reported} is what the caller told, or null. */
record Turn(DecideRequest inputs, Decision decision, List<Decision> failed, TurnFacts reported) {

  /** This turn with further facts; a later value of the same field wins. */
  Turn with(TurnFacts facts) {
    TurnFacts merged = reported == null ? facts : reported.toBuilder().mergeFrom(facts).build();
    return new Turn(inputs, decision, failed, merged);
  }

  /** What the router should hear of this turn; null lets it assume that its choice served. */
  TurnFacts facts() {
    if (reported == null && decision.isOnRecord()) {
      return null;
    }
    TurnFacts.Builder facts =
        TurnFacts.newBuilder().setServedModel(decision.model()).setDecidedByClient(!decision.isOnRecord());
    return reported == null ? facts.build() : facts.mergeFrom(reported).build();
  }

  /** The model that served, as far as the client knows. */
  String servedModel() {
    return reported == null || reported.getServedModel().isEmpty() ? decision.model() : reported.getServedModel();
  }
}
