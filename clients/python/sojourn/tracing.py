"""The caller's place in its trace, as a W3C `traceparent` header (https://www.w3.org/TR/trace-context/).

OpenTelemetry is used if the caller has it installed, and is no dependency. A caller with another tracer gives
the client a function of its own that returns the header of the span that is current when a call is made.
"""

from __future__ import annotations

try:
    from opentelemetry import trace
except ImportError:

    def current_traceparent() -> str | None:
        """Return None: no span can be current without OpenTelemetry."""
        return None
else:

    def current_traceparent() -> str | None:
        """Return the header for OpenTelemetry's current span; None without a span."""
        span = trace.get_current_span().get_span_context()
        if not span.is_valid:
            return None
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
