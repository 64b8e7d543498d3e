package io.github.sojournrouter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.List;
import org.junit.jupiter.api.Test;
import sojourn.v1.Router.DecideRequest;
import sojourn.v1.Router.DecideResponse;
import sojourn.v1.Types.Severity;
import sojourn.v1.Types.TurnFacts;
import sojourn.v1.Types.Usage;

class TurnTest {
  @Test
  void aLaterValueOfTheSameFieldWinsAndTheOthersStay() {
    var inputs = DecideRequest.getDefaultInstance();
    var answer = DecideResponse.newBuilder().setModel("m").setDecisionId("d").build();
    var turn = new Turn(inputs, Decision.byRouter(inputs, answer), List.of(), null);
    assertNull(turn.facts());

    var first = Usage.newBuilder().setInputTokens(1).setOutputTokens(2);
    var told =
        turn.with(TurnFacts.newBuilder().setUsage(first).build())
            .with(TurnFacts.newBuilder().setUsage(Usage.newBuilder().setOutputTokens(3)).build())
            .with(TurnFacts.newBuilder().setError(Severity.SEVERITY_LOW).build());
    var expected = TurnFacts.newBuilder().setServedModel("m").setError(Severity.SEVERITY_LOW);
    assertEquals(expected.setUsage(first.setOutputTokens(3)).build(), told.facts());
  }
}
