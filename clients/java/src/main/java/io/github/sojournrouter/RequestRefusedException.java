package io.github.sojournrouter;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** The router refused a request for good, or the client did before it was sent. */
public final class RequestRefusedException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private static final Set<Status.Code> MISTAKES =
      EnumSet.of(
          Status.Code.INVALID_ARGUMENT,
          Status.Code.FAILED_PRECONDITION,
          Status.Code.ALREADY_EXISTS,
          Status.Code.NOT_FOUND);
  private static final Set<Status.Code> TRANSIENT = // CANCELLED: the server went away during the call
      EnumSet.of(
          Status.Code.UNAVAILABLE,
          Status.Code.DEADLINE_EXCEEDED,
          Status.Code.RESOURCE_EXHAUSTED,
          Status.Code.ABORTED,
          Status.Code.CANCELLED);

  private final Status.Code code;
  private final String reason;
  private final transient List<FieldViolation> violations;
  private final Duration retryAfter;

  private RequestRefusedException(
      Status status, String reason, List<FieldViolation> violations, Duration retryAfter) {
    super(words(status, reason, violations));
    this.code = status.getCode();
    this.reason = reason;
    this.violations = violations;
    this.retryAfter = retryAfter;
  }

  /** A refusal that the client makes by itself. */
  static RequestRefusedException byClient(Status status, String reason) {
    return new RequestRefusedException(status, reason, List.of(), Duration.ZERO);
  }

  /** Reads a failed call with the details beside its status. Those that cannot be read are left out. */
  static RequestRefusedException of(StatusRuntimeException error) {
    String reason = "";
    List<FieldViolation> violations = List.of();
    Duration retryAfter = Duration.ZERO;
    com.google.rpc.Status told = StatusProto.fromThrowable(error);
    try {
      for (Any detail : told == null ? List.<Any>of() : told.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          reason = detail.unpack(ErrorInfo.class).getReason();
        } else if (detail.is(BadRequest.class)) {
          violations =
              detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                  .map(v -> new FieldViolation(v.getField(), v.getDescription()))
                  .toList();
        } else if (detail.is(RetryInfo.class)) {
          com.google.protobuf.Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException unreadable) {
      // the status itself still tells the matter
    }
    return new RequestRefusedException(error.getStatus(), reason, violations, retryAfter);
  }

  /** The gRPC status. */
  public Status.Code code() {
    return code;
  }

  /** A name of ErrorReason, such as "PAYLOAD_CONFLICT", or "". */
  public String reason() {
    return reason;
  }

  /** The malformed fields. */
  public List<FieldViolation> violations() {
    return violations == null ? List.of() : violations;
  }

  Duration retryAfter() {
    return retryAfter;
  }

  /** Tells the caller's mistakes, which a decision throws too; all else is answered by a fallback. */
  boolean isMistake() {
    return MISTAKES.contains(code);
  }

  /** Tells what a report is sent again for. */
  boolean isTransient() {
    return TRANSIENT.contains(code);
  }

  private static String words(Status status, String reason, List<FieldViolation> violations) {
    StringBuilder words = new StringBuilder(status.getCode() + " (" + reason + "): " + status.getDescription());
    violations.forEach(v -> words.append("; ").append(v.field()).append(": ").append(v.description()));
    return words.toString();
  }
}
