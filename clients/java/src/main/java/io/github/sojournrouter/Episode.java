package io.github.sojournrouter;

import static sojourn.v1.Types.OutcomeStatus.OUTCOME_STATUS_ABANDONED;
import static sojourn.v1.Types.OutcomeStatus.OUTCOME_STATUS_FAILED;
import static sojourn.v1.Types.OutcomeStatus.OUTCOME_STATUS_SUCCEEDED;

import io.grpc.Status;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import sojourn.v1.Router.DecideRequest;
import sojourn.v1.Router.ReportOutcomeRequest;
import sojourn.v1.Router.ReportTurnRequest;
import sojourn.v1.Types.Context;
import sojourn.v1.Types.OutcomeStatus;
import sojourn.v1.Types.TurnFacts;

/**
 * An episode, from first turn to outcome; one agent's loop owns it.
 *
 * <p>A turn begins when its answer is settled, so a refused request leaves everything as it was. The facts of turn t
 * ride on the request of turn t + 1, those of the last on the outcome; a turn that the router has no record of, because
 * the client decided, is always told.
 */
public final class Episode {
  private final SojournClient client;
  private final String id;
  private final String policy;
  private final EpisodeOptions options;
  private Turn newest;
  private Turn beforeNewest;
  private boolean ended;

  Episode(SojournClient client, String id, EpisodeOptions options) {
    this.client = client;
    this.id = id;
    this.policy = options.policy.isEmpty() ? client.policy() : options.policy;
    this.options = options;
  }

  /** The model for the next turn, of which only its context is known. */
  public Decision decide(Context context) {
    return decide(DecideRequest.newBuilder().setContext(context).build());
  }

  /**
   * The model for the next turn, within the decide deadline. The caller fills in context, candidates, constraints and
   * cost weight of {@code inputs}, the episode the rest.
   *
   * <p>Without an answer from the router: the incumbent, else the fallback table's model.
   *
   * @throws RequestRefusedException for the caller's mistakes, which leave the turn unbegun
   * @throws NoFallbackException if no model is left
   */
  public Decision decide(DecideRequest inputs) {
    int turnIndex = newest == null ? options.firstTurnIndex : newest.decision().turnIndex() + 1;
    return settle(inputs, turnIndex, newest, List.of());
  }

  /**
   * Another model for the newest turn, because the chosen one could not serve. It asks the same inputs again; what was
   * reported of the failed attempt is forgotten. Throws as {@link #decide(DecideRequest)} does.
   */
  public Decision retry() {
    Turn turn = begun();
    List<Decision> failed = Stream.concat(turn.failed().stream(), Stream.of(turn.decision())).toList();
    return settle(turn.inputs(), turn.decision().turnIndex(), beforeNewest, failed);
  }

  /** Records facts of the newest turn. May be called again: a later value of the same field wins. */
  public void report(TurnFacts facts) {
    newest = begun().with(facts);
  }

  /** Ends the episode as SUCCEEDED with score 1. */
  public CompletableFuture<Acknowledgement> succeed() {
    return end(OUTCOME_STATUS_SUCCEEDED);
  }

  /** Ends the episode as FAILED with score 0. */
  public CompletableFuture<Acknowledgement> fail() {
    return end(OUTCOME_STATUS_FAILED);
  }

  /** Ends the episode as ABANDONED, which teaches nothing. */
  public CompletableFuture<Acknowledgement> abandon() {
    return end(OUTCOME_STATUS_ABANDONED);
  }

  /**
   * Ends the episode. The caller fills in status, score, cost and metrics. It does not wait: the future ends with the
   * acknowledgement, a {@link RequestRefusedException} if the router refuses for good, or a {@link
   * DroppedReportException}.
   */
  public CompletableFuture<Acknowledgement> end(ReportOutcomeRequest outcome) {
    checkOpen();
    // The outcome's facts count to the newest turn on record, so those of another go before it by themselves.
    boolean isToldApart = newest != null && !newest.decision().isOnRecord();
    TurnFacts facts = newest == null || isToldApart ? null : newest.facts();
    ReportOutcomeRequest.Builder request =
        outcome.toBuilder().setPolicy(policy).setEpisodeId(id).clearLastTurn();
    if (facts != null) {
      request.setLastTurn(facts);
    }
    SojournClient.checkSize(request.build());
    ended = true;
    if (isToldApart) {
      volunteer(newest);
    }
    return client.reportOutcome(request.build());
  }

  /** Leaves without an outcome, which comes from elsewhere; sends the last turn's facts. */
  public void leaveOpen() {
    checkOpen();
    ended = true;
    volunteer(newest);
  }

  private CompletableFuture<Acknowledgement> end(OutcomeStatus status) {
    return end(ReportOutcomeRequest.newBuilder().setStatus(status).build());
  }

  private Decision settle(DecideRequest inputs, int turnIndex, Turn previous, List<Decision> failed) {
    checkOpen();
    DecideRequest request = request(inputs, turnIndex, previous, failed);
    SojournClient.checkSize(request);
    Decision decision;
    try {
      decision = Decision.byRouter(request, client.decide(request));
    } catch (RequestRefusedException refused) {
      decision = decideAlone(request, previous, failed, refused);
    }
    newest = new Turn(inputs, decision, failed, null);
    beforeNewest = previous;
    client.tally().countDecision(decision);
    if (decision.fallback() != null) {
      volunteer(previous); // its facts rode on a request that may not have arrived; telling twice is harmless
    }
    return decision;
  }

  private DecideRequest request(DecideRequest inputs, int turnIndex, Turn previous, List<Decision> failed) {
    DecideRequest.Builder request =
        inputs.toBuilder()
            .setPolicy(policy)
            .setEpisodeId(id)
            .setAssignmentKey(options.assignmentKey)
            .setTurnIndex(turnIndex)
            .setAttempt(failed.size())
            .clearPreviousTurn();
    TurnFacts facts = previous == null ? null : previous.facts();
    if (facts != null) {
      request.setPreviousTurn(facts);
    }
    if (!options.taskType.isEmpty()) {
      request.getContextBuilder().setTaskType(options.taskType);
    }
    for (Decision decision : failed) {
      if (decision.fallback() != null) { // the router knows its own
        request.getConstraintsBuilder().addDeny(decision.model());
      }
    }
    return request.build();
  }

  private Decision decideAlone(
      DecideRequest request, Turn previous, List<Decision> failed, RequestRefusedException because) {
    if (because.isMistake()) {
      throw because;
    }
    String incumbent = previous == null ? "" : previous.servedModel();
    List<String> tried = failed.stream().map(Decision::model).toList();
    String model =
        Fallback.choose(request, incumbent, client.fallback(), tried)
            .orElseThrow(() -> new NoFallbackException(because.code()));
    return Decision.byClient(request, model, incumbent, because.code());
  }

  /** Tells a turn by itself, if there is anything to tell. */
  private void volunteer(Turn turn) {
    TurnFacts facts = turn == null ? null : turn.facts();
    if (facts != null) {
      client.reportTurn(
          ReportTurnRequest.newBuilder()
              .setPolicy(policy)
              .setEpisodeId(id)
              .setTurnIndex(turn.decision().turnIndex())
              .setFacts(facts)
              .build());
    }
  }

  private Turn begun() {
    if (newest == null) {
      throw new IllegalStateException("no turn has been decided");
    }
    return newest;
  }

  private void checkOpen() {
    if (ended) {
      throw RequestRefusedException.byClient(
          Status.FAILED_PRECONDITION.withDescription("episode " + id + " has ended"), "EPISODE_ENDED");
    }
  }
}
