package io.github.sojournrouter;

import java.time.Duration;
import java.util.Map;
import sojourn.v1.Types.Context;
import sojourn.v1.Types.Severity;
import sojourn.v1.Types.TurnFacts;

/** README.md's first decision, as it is compiled; it needs a running router. */
final class FirstDecision {
  private FirstDecision() {}

  public static void main(String[] arguments) {
    var options = new ClientOptions().fallback(Map.of("search", "gpt-oss-120b", "*", "gpt-5"));
    try (var client = new SojournClient("localhost:50051", options)) {
      client.connect(Duration.ofSeconds(2));
      var episode = client.episode("ticket-4711", new EpisodeOptions().taskType("support"));

      var decision = episode.decide(Context.newBuilder().setToolName("grep").setPromptTokens(6_200).build());
      System.out.println(decision.model() + " " + decision.reason()); // call that model, then tell what became of it:
      episode.report(TurnFacts.newBuilder().setError(Severity.SEVERITY_NONE).build());

      episode.succeed();
    }
  }
}
