package io.github.sojournrouter;

import java.util.Collection;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import sojourn.v1.Router.DecideRequest;

/** What serves a turn when the router does not answer: the incumbent, else the caller's small table. */
final class Fallback {
  private Fallback() {}

  /** The incumbent ("" = none), else the table's model; empty if none may serve the turn or all have failed at it. */
  static Optional<String> choose(
      DecideRequest request, String incumbent, Map<String, String> table, Collection<String> failed) {
    String listed = table.getOrDefault(request.getContext().getToolType(), "");
    return Stream.of(incumbent, listed, table.getOrDefault("*", ""))
        .filter(model -> !model.isEmpty() && !failed.contains(model) && isPermitted(model, request))
        .findFirst();
  }

  private static boolean isPermitted(String model, DecideRequest request) {
    boolean isOffered =
        request.getCandidatesCount() == 0
            || request.getCandidatesList().stream().anyMatch(candidate -> candidate.getModel().equals(model));
    var limits = request.getConstraints();
    boolean isAllowed = limits.getAllowCount() == 0 || limits.getAllowList().contains(model);
    return isOffered && isAllowed && !limits.getDenyList().contains(model);
  }
}
