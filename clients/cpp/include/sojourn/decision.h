// What a decision says.
#pragma once

#include <grpcpp/support/status_code_enum.h>
#include <sojourn/v1/router.pb.h>

#include <cstdint>
#include <optional>
#include <string>

namespace sojourn {

/// The model for one turn, and why.
struct Decision {
  /// Number of the turn in its episode, from 0.
  std::int32_t turn_index = 0;
  /// 0 at first; raised by each retry.
  std::int32_t attempt = 0;
  /// The model to call.
  std::string model;
  /// The model that served the turn before. Empty = none.
  std::string incumbent;
  /// True if the model differs from the incumbent.
  bool switched = false;
  /// The router's reason by its short name, such as "HELD", or "DECIDED_BY_CLIENT".
  std::string reason;
  /// Probability of this choice given all that went before in the episode, in (0, 1].
  double propensity = 1.0;
  /// Empty if nothing is on record: the client decided, or the router's journal was away.
  std::string decision_id;
  /// Why the client decided by itself; absent if the router did.
  std::optional<grpc::StatusCode> fallback;
  /// The router's whole answer, if it gave one.
  std::optional<v1::DecideResponse> answer;
};

}  // namespace sojourn
