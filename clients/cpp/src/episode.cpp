#include <sojourn/episode.h>
#include <sojourn/errors.h>

#include <utility>

#include "connection.h"
#include "fallback.h"
#include "refusal.h"
#include "turn.h"

namespace sojourn {

Episode::Episode(std::shared_ptr<Connection> connection, std::string id, EpisodeOptions options)
    : connection_(std::move(connection)), id_(std::move(id)), options_(std::move(options)) {}

Decision Episode::decide(const v1::DecideRequest& inputs) {
  const std::int32_t turn_index = newest_ ? newest_->decision.turn_index + 1 : options_.first_turn_index;
  return settle(Turn{inputs, {}, {}, {}}, turn_index, newest_);
}

Decision Episode::retry() {
  if (!newest_) {
    throw NoTurn();
  }
  Turn again{newest_->inputs, newest_->failed, {}, {}};
  again.failed.push_back(newest_->decision);
  return settle(std::move(again), newest_->decision.turn_index, before_newest_);
}

void Episode::report(const v1::TurnFacts& facts) {
  if (!newest_) {
    throw NoTurn();
  }
  newest_->record(facts);
}

Receipt Episode::succeed() { return end_as(v1::OUTCOME_STATUS_SUCCEEDED); }

Receipt Episode::fail() { return end_as(v1::OUTCOME_STATUS_FAILED); }

Receipt Episode::abandon() { return end_as(v1::OUTCOME_STATUS_ABANDONED); }

Receipt Episode::end(v1::ReportOutcomeRequest outcome) {
  check_open();
  outcome.set_policy(options_.policy);
  outcome.set_episode_id(id_);
  outcome.clear_last_turn();
  // The outcome's facts count to the newest turn on record, so those of another go before it by themselves.
  const bool is_told_apart = newest_ && !newest_->is_on_record();
  if (newest_ && !is_told_apart) {
    if (auto facts = newest_->facts()) {
      *outcome.mutable_last_turn() = *std::move(facts);
    }
  }
  check_size(outcome);
  if (is_told_apart) {
    volunteer(*newest_);
  }
  ended_ = true;
  return connection_->report_outcome(std::move(outcome));
}

void Episode::leave_open() {
  check_open();
  if (newest_) {
    volunteer(*newest_);
  }
  ended_ = true;
}

Receipt Episode::end_as(v1::OutcomeStatus status) {
  v1::ReportOutcomeRequest outcome;
  outcome.set_status(status);
  return end(std::move(outcome));
}

/// Decides `asked`, which becomes the newest turn, after `previous`.
Decision Episode::settle(Turn asked, std::int32_t turn_index, std::shared_ptr<Turn> previous) {
  check_open();
  const v1::DecideRequest request = this->request(asked, turn_index, previous.get());
  check_size(request);
  try {
    asked.decision = decided_by_router(request, connection_->decide(request));
  } catch (const Refused& refused) {
    if (is_mistake(refused.code())) {
      throw;
    }
    asked.decision = decide_alone(request, asked, previous.get(), refused.code());
  }
  connection_->tally().add_decision(asked.decision.fallback);
  if (asked.decision.fallback && previous) {
    volunteer(*previous);  // they rode on a request that may not have arrived; telling twice is harmless
  }
  newest_ = std::make_shared<Turn>(std::move(asked));
  before_newest_ = std::move(previous);
  return newest_->decision;
}

v1::DecideRequest Episode::request(const Turn& asked, std::int32_t turn_index, const Turn* previous) const {
  v1::DecideRequest request = asked.inputs;
  request.set_policy(options_.policy);
  request.set_episode_id(id_);
  request.set_assignment_key(options_.assignment_key);
  request.set_turn_index(turn_index);
  request.set_attempt(static_cast<std::int32_t>(asked.failed.size()));
  request.clear_previous_turn();
  if (auto facts = previous ? previous->facts() : std::nullopt) {
    *request.mutable_previous_turn() = *std::move(facts);
  }
  if (!options_.task_type.empty()) {
    request.mutable_context()->set_task_type(options_.task_type);
  }
  for (const Decision& decision : asked.failed) {
    if (decision.fallback) {  // the router knows its own
      request.mutable_constraints()->add_deny(decision.model);
    }
  }
  return request;
}

Decision Episode::decide_alone(const v1::DecideRequest& request, const Turn& asked, const Turn* previous,
                               grpc::StatusCode because) const {
  const std::string incumbent = previous ? previous->served_model() : "";
  const std::string model = choose(connection_->options().fallback, request, incumbent, asked.failed);
  if (model.empty()) {
    throw NoFallback(because);
  }
  return decided_by_client(request, model, incumbent, because);
}

/// Sends the facts of a turn by themselves.
void Episode::volunteer(const Turn& told) {
  auto facts = told.facts();
  if (!facts) {
    return;
  }
  v1::ReportTurnRequest request;
  request.set_policy(options_.policy);
  request.set_episode_id(id_);
  request.set_turn_index(told.decision.turn_index);
  *request.mutable_facts() = *std::move(facts);
  connection_->report_turn(std::move(request));  // a report that is dropped is counted
}

void Episode::check_open() const {
  if (ended_) {
    throw Refused(grpc::FAILED_PRECONDITION, "EPISODE_ENDED", "episode \"" + id_ + "\" has ended");
  }
}

}  // namespace sojourn
