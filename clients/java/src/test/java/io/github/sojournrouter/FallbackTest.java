package io.github.sojournrouter;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import sojourn.v1.Router.DecideRequest;
import sojourn.v1.Types.Candidate;
import sojourn.v1.Types.Constraints;
import sojourn.v1.Types.Context;

class FallbackTest {
  private static final Map<String, String> TABLE = Map.of("search", "small", "*", "big");

  private final DecideRequest.Builder request =
      DecideRequest.newBuilder().setContext(Context.newBuilder().setToolType("search"));

  private Optional<String> choose(String incumbent, String... failed) {
    return Fallback.choose(request.build(), incumbent, TABLE, List.of(failed));
  }

  @Test
  void theIncumbentComesFirstThenTheToolTypeThenTheRest() {
    assertEquals(Optional.of("kept"), choose("kept"));
    assertEquals(Optional.of("small"), choose(""));
    assertEquals(Optional.of("big"), choose("", "small"));
    assertEquals(Optional.empty(), choose("", "small", "big"));
  }

  @Test
  void whatIsDeniedOrNotAllowedOrNotOfferedNeverServes() {
    request.setConstraints(Constraints.newBuilder().addDeny("kept").addDeny("small"));
    assertEquals(Optional.of("big"), choose("kept"));
    request.setConstraints(Constraints.newBuilder().addAllow("another"));
    assertEquals(Optional.empty(), choose("kept"));
    request.clearConstraints().addCandidates(Candidate.newBuilder().setModel("big"));
    assertEquals(Optional.of("big"), choose("kept"));
  }
}
