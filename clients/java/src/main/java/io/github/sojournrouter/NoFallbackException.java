package io.github.sojournrouter;

import io.grpc.Status;

/** The router did not answer, and no model that may serve the turn is known to the client. */
public final class NoFallbackException extends RuntimeException {
  private static final long serialVersionUID = 1;

  NoFallbackException(Status.Code because) {
    super("the router did not decide (" + because + "), and no incumbent and no fallback model may serve this turn");
  }
}
