package io.github.sojournrouter;

/** What stays the same through an episode; all may be left out. */
public final class EpisodeOptions {
  String policy = "";
  String taskType = "";
  String assignmentKey = "";
  int firstTurnIndex = 0;

  /** Which policy decides; the client's unless given. */
  public EpisodeOptions policy(String policy) {
    this.policy = policy;
    return this;
  }

  /** Kind of task that the episode solves. */
  public EpisodeOptions taskType(String taskType) {
    this.taskType = taskType;
    return this;
  }

  /** Unit of the cohort draw, such as a tenant; the episode unless given. */
  public EpisodeOptions assignmentKey(String assignmentKey) {
    this.assignmentKey = assignmentKey;
    return this;
  }

  /** Resumes an episode that began elsewhere. */
  public EpisodeOptions firstTurnIndex(int firstTurnIndex) {
    this.firstTurnIndex = firstTurnIndex;
    return this;
  }
}
