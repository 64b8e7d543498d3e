package io.github.sojournrouter;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import java.time.Duration;
import java.util.Map;
import java.util.function.Supplier;

/** What a client may be made with; as it is made, a plaintext client without a fallback table. */
public final class ClientOptions {
  String policy = "default";
  Map<String, String> fallback = Map.of();
  Duration decideDeadline = Duration.ofMillis(50);
  Duration reportDeadline = Duration.ofSeconds(5);
  int queueSize = 1024;
  ChannelCredentials credentials = InsecureChannelCredentials.create();
  Supplier<String> token = () -> null;
  Supplier<String> traceparent = () -> null;

  /** Which policy decides; "default" unless given. */
  public ClientOptions policy(String policy) {
    this.policy = policy;
    return this;
  }

  /** Model by tool type, "*" for any other: serves a turn without an incumbent that the router does not answer. */
  public ClientOptions fallback(Map<String, String> fallback) {
    this.fallback = Map.copyOf(fallback);
    return this;
  }

  /** Longest wait for a decision, 50 ms unless given. */
  public ClientOptions decideDeadline(Duration decideDeadline) {
    this.decideDeadline = decideDeadline;
    return this;
  }

  /** Longest wait for one sending of a report, 5 s unless given. */
  public ClientOptions reportDeadline(Duration reportDeadline) {
    this.reportDeadline = reportDeadline;
    return this;
  }

  /** Reports that may wait, 1,024 unless given. */
  public ClientOptions queueSize(int queueSize) {
    this.queueSize = queueSize;
    return this;
  }

  /** Makes the channel TLS, such as {@code TlsChannelCredentials.create()}; plaintext unless given. */
  public ClientOptions credentials(ChannelCredentials credentials) {
    this.credentials = credentials;
    return this;
  }

  /** Asked before each call for the bearer token, null for none. It travels in the clear without credentials. */
  public ClientOptions token(Supplier<String> token) {
    this.token = token;
    return this;
  }

  /** The W3C header of the caller's current span, or null. Asked when a call or report is made. */
  public ClientOptions traceparent(Supplier<String> traceparent) {
    this.traceparent = traceparent;
    return this;
  }
}
