package io.github.sojournrouter;

/**
 * The router's receipt of a report.
 *
 * @param state RECORDED, DUPLICATE or LATE
 * @param joinedDecisions decisions that an outcome joins; 0 = nothing can be learned from it: was the episode's id right?
 */
public record Acknowledgement(String state, int joinedDecisions) {}
