#include "turn.h"

namespace sojourn {

bool Turn::is_on_record() const { return !decision.decision_id.empty(); }

void Turn::record(const v1::TurnFacts& facts) {
  if (!reported) {
    reported.emplace();
  }
  reported->MergeFrom(facts);
}

std::optional<v1::TurnFacts> Turn::facts() const {
  if (!reported && is_on_record()) {
    return std::nullopt;
  }
  v1::TurnFacts facts;
  facts.set_served_model(decision.model);
  facts.set_decided_by_client(!is_on_record());
  if (reported) {
    facts.MergeFrom(*reported);
  }
  return facts;
}

std::string Turn::served_model() const {
  return reported && !reported->served_model().empty() ? reported->served_model() : decision.model;
}

Decision decided_by_router(const v1::DecideRequest& request, const v1::DecideResponse& answer) {
  Decision decision;
  decision.turn_index = request.turn_index();
  decision.attempt = request.attempt();
  decision.model = answer.model();
  decision.incumbent = answer.incumbent();
  decision.switched = answer.switched();
  decision.reason = v1::Reason_IsValid(answer.reason()) ? short_name(v1::Reason_Name(answer.reason()), "REASON_")
                                                        : std::to_string(answer.reason());
  decision.propensity = answer.propensity();
  decision.decision_id = answer.decision_id();
  decision.answer = answer;
  return decision;
}

Decision decided_by_client(const v1::DecideRequest& request, const std::string& model, const std::string& incumbent,
                           grpc::StatusCode because) {
  Decision decision;
  decision.turn_index = request.turn_index();
  decision.attempt = request.attempt();
  decision.model = model;
  decision.incumbent = incumbent;
  decision.switched = !incumbent.empty() && model != incumbent;
  decision.reason = "DECIDED_BY_CLIENT";
  decision.fallback = because;
  return decision;
}

std::string short_name(const std::string& name, const std::string& prefix) {
  return name.compare(0, prefix.size(), prefix) == 0 ? name.substr(prefix.size()) : name;
}

}  // namespace sojourn
