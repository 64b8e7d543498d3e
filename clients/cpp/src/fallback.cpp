#include "fallback.h"

#include <algorithm>

namespace sojourn {
namespace {

template <typename Models>
bool contains(const Models& models, const std::string& model) {
  return std::find(models.begin(), models.end(), model) != models.end();
}

bool is_permitted(const std::string& model, const v1::DecideRequest& request) {
  const auto& candidates = request.candidates();
  const v1::Constraints& limits = request.constraints();
  const bool is_offered =
      candidates.empty() || std::any_of(candidates.begin(), candidates.end(),
                                        [&](const v1::Candidate& candidate) { return candidate.model() == model; });
  const bool is_allowed = limits.allow().empty() || contains(limits.allow(), model);
  return is_offered && is_allowed && !contains(limits.deny(), model);
}

std::string listed(const FallbackTable& table, const std::string& tool_type) {
  const auto entry = table.find(tool_type);
  return entry == table.end() ? "" : entry->second;
}

}  // namespace

std::string choose(const FallbackTable& table, const v1::DecideRequest& request, const std::string& incumbent,
                   const std::vector<Decision>& failed) {
  for (const std::string& model : {incumbent, listed(table, request.context().tool_type()), listed(table, "*")}) {
    const bool has_failed =
        std::any_of(failed.begin(), failed.end(), [&](const Decision& decision) { return decision.model == model; });
    if (!model.empty() && !has_failed && is_permitted(model, request)) {
      return model;
    }
  }
  return "";
}

}  // namespace sojourn
