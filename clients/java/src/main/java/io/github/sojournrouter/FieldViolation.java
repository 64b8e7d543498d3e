package io.github.sojournrouter;

/**
 * One malformed field of a request.
 *
 * @param field its path, such as {@code context.prompt_tokens}
 * @param description what is wrong with it
 */
public record FieldViolation(String field, String description) {}
