package io.github.sojournrouter;

import com.google.protobuf.MessageLite;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import sojourn.v1.Router.DecideRequest;
import sojourn.v1.Router.DecideResponse;
import sojourn.v1.Router.ReportOutcomeRequest;
import sojourn.v1.Router.ReportState;
import sojourn.v1.Router.ReportTurnRequest;
import sojourn.v1.RouterServiceGrpc;
import sojourn.v1.RouterServiceGrpc.RouterServiceBlockingStub;

/**
 * A connection to the router, safe to share between threads. A decision waits for it at most its deadline; reports are
 * sent in the background, by a daemon thread: {@link #close} it before the program ends.
 */
public final class SojournClient implements AutoCloseable {
  private static final int MAX_MESSAGE_BYTES = 64 * 1024;
  private static final int MAX_ID_BYTES = 128;
  private static final Duration CLOSE_WITHIN = Duration.ofSeconds(5);
  private static final long RECONNECT_AFTER_NS = Duration.ofSeconds(2).toNanos();
  private static final Metadata.Key<String> EPISODE =
      Metadata.Key.of("sojourn-episode", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> TRACEPARENT =
      Metadata.Key.of("traceparent", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final ClientOptions options;
  private final ManagedChannel channel;
  private final RouterServiceBlockingStub stub;
  private final Tally tally = new Tally();
  private final Delivery delivery;
  private volatile long reconnectedAtNs = System.nanoTime();

  /** A client of {@code target}, "host:port" or another gRPC target, with the default options. */
  public SojournClient(String target) {
    this(target, new ClientOptions());
  }

  /** A client of {@code target}, "host:port" or another gRPC target. It begins to connect at once. */
  public SojournClient(String target, ClientOptions options) {
    this.options = options;
    this.channel = Grpc.newChannelBuilder(target, options.credentials).build();
    this.stub = RouterServiceGrpc.newBlockingStub(channel);
    this.delivery = new Delivery(options.queueSize, tally);
    channel.getState(true);
  }

  /**
   * Waits until the router answers, for at most {@code timeout}; false if it did not, and the client may be used all the
   * same. The first call of a JVM loads the classes of gRPC, which takes longer than a decision's deadline and is better
   * done here. It asks what the router refuses, so nothing is decided.
   */
  public boolean connect(Duration timeout) {
    try {
      call(timeout, new Metadata(), stub -> stub.withWaitForReady().decide(DecideRequest.getDefaultInstance()));
      return true;
    } catch (RequestRefusedException refused) {
      return refused.code() != Status.Code.UNAVAILABLE && refused.code() != Status.Code.DEADLINE_EXCEEDED;
    }
  }

  /** An episode; its id is 1 to 128 bytes and never reused. */
  public Episode episode(String id) {
    return episode(id, new EpisodeOptions());
  }

  /** An episode; its id is 1 to 128 bytes and never reused. */
  public Episode episode(String id, EpisodeOptions options) {
    return new Episode(this, id, options);
  }

  /**
   * Queues the facts of one turn. The future ends with the acknowledgement, a {@link RequestRefusedException} if the
   * router refuses for good, or a {@link DroppedReportException}.
   */
  public CompletableFuture<Acknowledgement> reportTurn(ReportTurnRequest request) {
    return offer(
        request,
        headers(request.getEpisodeId()),
        stub -> acknowledgement(stub.reportTurn(request).getState(), 0));
  }

  /** Queues the outcome of an episode that was left open, here or in another process; it is durable when acknowledged. */
  public CompletableFuture<Acknowledgement> reportOutcome(ReportOutcomeRequest request) {
    return offer(
        request,
        headers(request.getEpisodeId()),
        stub -> {
          var answer = stub.reportOutcome(request);
          return acknowledgement(answer.getState(), answer.getJoinedDecisions());
        });
  }

  /** Waits until every report is settled; false if the time ran out first. */
  public boolean flush(Duration timeout) throws InterruptedException {
    return delivery.flush(timeout);
  }

  /** Flushes for at most five seconds and closes. What is not acknowledged in time is dropped and counted. */
  @Override
  public void close() {
    close(CLOSE_WITHIN);
  }

  /** Flushes for at most {@code timeout} and closes. What is not acknowledged in time is dropped and counted. */
  public void close(Duration timeout) {
    try {
      flush(timeout);
    } catch (InterruptedException hurry) {
      Thread.currentThread().interrupt();
    }
    delivery.stop();
    channel.shutdownNow();
  }

  /** What the client has counted so far. */
  public Counters counters() {
    return tally.read();
  }

  /** Asks for one turn's model. Throws RequestRefusedException, whatever the reason. */
  DecideResponse decide(DecideRequest request) {
    return call(options.decideDeadline, headers(request.getEpisodeId()), stub -> stub.decide(request));
  }

  Tally tally() {
    return tally;
  }

  String policy() {
    return options.policy;
  }

  Map<String, String> fallback() {
    return options.fallback;
  }

  /**
   * Refuses what is too long to be accepted. The transport answers that with RESOURCE_EXHAUSTED, which would look like
   * an overloaded router and be retried for ever.
   */
  static void checkSize(MessageLite request) {
    int size = request.getSerializedSize();
    if (size > MAX_MESSAGE_BYTES) {
      String message = "the request takes " + size + " bytes; " + MAX_MESSAGE_BYTES + " are allowed";
      throw RequestRefusedException.byClient(
          Status.INVALID_ARGUMENT.withDescription(message), "INVALID_FIELD");
    }
  }

  private CompletableFuture<Acknowledgement> offer(
      MessageLite request, Metadata headers, Function<RouterServiceBlockingStub, Acknowledgement> send) {
    checkSize(request);
    return delivery.offer(() -> call(options.reportDeadline, headers, send));
  }

  /** Headers of the moment when a call or report is made. */
  private Metadata headers(String episodeId) {
    Metadata headers = new Metadata();
    put(headers, EPISODE, episodeHeader(episodeId));
    put(headers, TRACEPARENT, options.traceparent.get());
    return headers;
  }

  /**
   * An episode's id as the header by which a proxy keeps its turns together: of its UTF-8, visible ASCII but for "%"
   * stays, any other byte becomes "%" and two hexadecimal digits. An id that the router refuses for its length is left
   * out, as a header may be too long for the transport, which says less clearly why.
   */
  private static String episodeHeader(String id) {
    byte[] bytes = id.getBytes(StandardCharsets.UTF_8);
    if (bytes.length > MAX_ID_BYTES) {
      return null;
    }
    StringBuilder header = new StringBuilder();
    for (byte b : bytes) {
      boolean isKept = b > ' ' && b <= '~' && b != '%'; // bytes beyond ASCII are negative
      header.append(isKept ? String.valueOf((char) b) : String.format("%%%02X", b));
    }
    return header.toString();
  }

  private <T> T call(Duration deadline, Metadata given, Function<RouterServiceBlockingStub, T> method) {
    Metadata headers = new Metadata();
    headers.merge(given);
    String token = options.token.get();
    put(headers, AUTHORIZATION, token == null || token.isEmpty() ? null : "Bearer " + token);
    try {
      return method.apply(
          stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
              .withDeadlineAfter(deadline.toNanos(), TimeUnit.NANOSECONDS));
    } catch (StatusRuntimeException error) {
      reconnectSoon();
      throw RequestRefusedException.of(error);
    }
  }

  /** By itself a channel would sleep for up to two minutes after an outage: a long time to go on without the router. */
  private void reconnectSoon() {
    long now = System.nanoTime();
    if (now - reconnectedAtNs > RECONNECT_AFTER_NS) {
      reconnectedAtNs = now;
      channel.resetConnectBackoff();
    }
  }

  private static void put(Metadata headers, Metadata.Key<String> key, String value) {
    if (value != null && !value.isEmpty()) {
      headers.put(key, value);
    }
  }

  private static Acknowledgement acknowledgement(ReportState state, int joinedDecisions) {
    return new Acknowledgement(state.name().replaceFirst("^REPORT_STATE_", ""), joinedDecisions);
  }
}
