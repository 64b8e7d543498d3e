package io.github.sojournrouter;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.TlsChannelCredentials;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.stream.Collectors;
import sojourn.v1.Router.DecideRequest;
import sojourn.v1.Router.ReportOutcomeRequest;
import sojourn.v1.Types.TurnFacts;

/** Plays the scenarios of tests/scenarios: commands on standard input, answers on standard output. */
final class Runner {
  private final Map<String, Episode> episodes = new HashMap<>();
  private SojournClient client;

  public static void main(String[] arguments) throws Exception {
    Runner runner = new Runner();
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      System.out.println(runner.answer(line));
    }
    runner.client.close();
  }

  private String answer(String line) throws Exception {
    String[] parts = line.split("\t");
    Map<String, String> given =
        Arrays.stream(parts)
            .skip(1)
            .map(field -> field.split("=", 2))
            .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
    try {
      return ("ok\t" + obey(parts[0], given)).strip();
    } catch (CompletionException settled) {
      return "error\t" + failure((RuntimeException) settled.getCause());
    } catch (RequestRefusedException | NoFallbackException error) {
      return "error\t" + failure(error);
    }
  }

  private String obey(String command, Map<String, String> given) throws Exception {
    Episode episode = episodes.get(given.getOrDefault("handle", ""));
    switch (command) {
      case "client" -> client = new SojournClient(given.get("target"), options(given));
      case "episode" -> episodes.put(given.get("handle"), client.episode(given.get("id"), episodeOptions(given)));
      case "decide" -> {
        return told(episode.decide(DecideRequest.parseFrom(bytes(given, "request"))));
      }
      case "retry" -> {
        return told(episode.retry());
      }
      case "report" -> episode.report(TurnFacts.parseFrom(bytes(given, "facts")));
      case "end" -> {
        return ended(episode, given);
      }
      case "flush" -> {
        return "flushed=" + client.flush(Duration.ofMillis(number(given, "timeout_ms")));
      }
      case "counters" -> {
        return counted(client.counters());
      }
      default -> throw new IllegalArgumentException(command);
    }
    return "";
  }

  private static ClientOptions options(Map<String, String> given) throws IOException {
    Map<String, String> table =
        Arrays.stream(given.getOrDefault("table", "").split(","))
            .filter(entry -> !entry.isEmpty())
            .map(entry -> entry.split(":"))
            .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
    ClientOptions options =
        new ClientOptions()
            .fallback(table)
            .decideDeadline(Duration.ofMillis(number(given, "deadline_ms")))
            .token(() -> given.get("token"))
            .traceparent(() -> given.get("traceparent"));
    if (given.containsKey("ca")) {
      options.credentials(TlsChannelCredentials.newBuilder().trustManager(new File(given.get("ca"))).build());
    }
    return options;
  }

  private static EpisodeOptions episodeOptions(Map<String, String> given) {
    return new EpisodeOptions()
        .policy(given.getOrDefault("policy", ""))
        .taskType(given.getOrDefault("task_type", ""))
        .firstTurnIndex(number(given, "first_turn_index"));
  }

  private static String ended(Episode episode, Map<String, String> given) throws InvalidProtocolBufferException {
    var receipt = episode.end(ReportOutcomeRequest.parseFrom(bytes(given, "outcome")));
    if (!given.containsKey("wait")) {
      return "";
    }
    Acknowledgement answer = receipt.join();
    return "state=" + answer.state() + "\tjoined=" + answer.joinedDecisions();
  }

  private static String told(Decision d) {
    String found =
        String.join(
            "\t",
            "turn_index=" + d.turnIndex(),
            "attempt=" + d.attempt(),
            "model=" + d.model(),
            "incumbent=" + d.incumbent(),
            "reason=" + d.reason(),
            "propensity=" + d.propensity(),
            "decision_id=" + d.decisionId(),
            "fallback=" + (d.fallback() == null ? "" : d.fallback()));
    return d.switched() ? found + "\tswitched=true" : found;
  }

  private static String counted(Counters counters) {
    String fallbacks =
        counters.fallbacks().entrySet().stream()
            .map(entry -> entry.getKey() + ":" + entry.getValue())
            .collect(Collectors.joining(","));
    return String.join(
        "\t",
        "decisions=" + counters.decisions(),
        "fallbacks=" + fallbacks,
        "acknowledged=" + counters.reportsAcknowledged(),
        "retried=" + counters.reportsRetried(),
        "refused=" + counters.reportsRefused());
  }

  private static String failure(RuntimeException error) {
    if (error instanceof RequestRefusedException refused) {
      String fields = refused.violations().stream().map(FieldViolation::field).collect(Collectors.joining(","));
      return "kind=refused\tcode=" + refused.code() + "\treason=" + refused.reason() + "\tfields=" + fields;
    }
    return error instanceof NoFallbackException ? "kind=no_fallback" : "kind=" + error;
  }

  private static byte[] bytes(Map<String, String> given, String key) {
    return Base64.getDecoder().decode(given.getOrDefault(key, ""));
  }

  private static int number(Map<String, String> given, String key) {
    return Integer.parseInt(given.getOrDefault(key, "0"));
  }
}
