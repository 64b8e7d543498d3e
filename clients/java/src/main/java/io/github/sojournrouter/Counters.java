package io.github.sojournrouter;

import io.grpc.Status;
import java.util.Map;

/**
 * What a client has counted so far.
 *
 * @param decisions turns that were decided, by the router or by the client
 * @param fallbacks turns that the client decided by itself, by the reason
 * @param reportsAcknowledged reports that the router has acknowledged
 * @param reportsRetried times that a report was to be sent again
 * @param reportsRefused reports that the router refused for good
 * @param reportsDropped reports that were given up: the queue was full, or the client was closed
 */
public record Counters(
    long decisions,
    Map<Status.Code, Long> fallbacks,
    long reportsAcknowledged,
    long reportsRetried,
    long reportsRefused,
    long reportsDropped) {}
