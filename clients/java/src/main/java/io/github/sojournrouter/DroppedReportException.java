package io.github.sojournrouter;

/** A report was given up without an acknowledgement. */
public final class DroppedReportException extends RuntimeException {
  private static final long serialVersionUID = 1;

  DroppedReportException(String because) {
    super("a report was dropped without an acknowledgement: " + because);
  }
}
