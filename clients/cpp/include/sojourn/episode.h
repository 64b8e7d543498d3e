// What one episode has seen so far, and what to ask and tell next.
#pragma once

#include <sojourn/decision.h>
#include <sojourn/reports.h>
#include <sojourn/v1/router.pb.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sojourn {

class Connection;
struct Turn;

/// What stays the same through an episode; all may be left out.
struct EpisodeOptions {
  /// Which policy decides; the client's unless given.
  std::string policy;
  /// Kind of task that the episode solves.
  std::string task_type;
  /// Unit of the cohort draw, such as a tenant; the episode unless given.
  std::string assignment_key;
  /// Resumes an episode that began elsewhere.
  std::int32_t first_turn_index = 0;
};

/// An episode, from first turn to outcome; one agent's loop owns it, and one thread at a time uses it.
///
/// A turn begins when its answer is settled, so a call that throws leaves everything as it was. The facts of turn t
/// ride on the request of turn t + 1, those of the last on the outcome; a turn that the router has no record of,
/// because the client decided, is always told.
class Episode {
 public:
  /// Client::episode makes them.
  Episode(std::shared_ptr<Connection> connection, std::string id, EpisodeOptions options);
  Episode(Episode&&) = default;
  Episode& operator=(Episode&&) = default;

  /// The model for the next turn, within the decide deadline. The caller fills in `context`, `candidates`,
  /// `constraints` and `cost_weight` of `inputs`, the episode the rest.
  ///
  /// Without an answer from the router: the incumbent, else the fallback table's model. Throws Refused for the caller's
  /// mistakes, which leave the turn unbegun, and NoFallback if no model is left.
  Decision decide(const v1::DecideRequest& inputs);

  /// Another model for the newest turn, because the chosen one could not serve. It asks the same inputs again; what was
  /// reported of the failed attempt is forgotten. Throws as `decide` does, and NoTurn before the first turn.
  Decision retry();

  /// Records facts of the newest turn. May be called again: a later value of the same field wins. Throws NoTurn before
  /// the first turn.
  void report(const v1::TurnFacts& facts);

  /// Ends the episode as SUCCEEDED with score 1.
  Receipt succeed();

  /// Ends the episode as FAILED with score 0.
  Receipt fail();

  /// Ends the episode as ABANDONED, which teaches nothing.
  Receipt abandon();

  /// Ends the episode. The caller fills in `status`, `score`, `cost_usd` and `metrics`. It does not wait: `get()` of
  /// the receipt does. Throws Refused if the episode has ended before, or if the outcome is too long.
  Receipt end(v1::ReportOutcomeRequest outcome);

  /// Leaves without an outcome, which comes from elsewhere; sends the last turn's facts. Throws as `end` does.
  void leave_open();

 private:
  Decision settle(Turn asked, std::int32_t turn_index, std::shared_ptr<Turn> previous);
  v1::DecideRequest request(const Turn& asked, std::int32_t turn_index, const Turn* previous) const;
  Decision decide_alone(const v1::DecideRequest& request, const Turn& asked, const Turn* previous,
                        grpc::StatusCode because) const;
  Receipt end_as(v1::OutcomeStatus status);
  void volunteer(const Turn& told);
  void check_open() const;

  std::shared_ptr<Connection> connection_;
  std::string id_;
  EpisodeOptions options_;
  std::shared_ptr<Turn> newest_;
  std::shared_ptr<Turn> before_newest_;
  bool ended_ = false;
};

}  // namespace sojourn
