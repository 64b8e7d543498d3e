// One turn: what was asked, what was decided, what the caller told of it.
#pragma once

#include <sojourn/decision.h>

#include <optional>
#include <string>
#include <vector>

namespace sojourn {

/// A decided turn.
struct Turn {
  /// What the caller gave.
  v1::DecideRequest inputs;
  /// The earlier attempts at it.
  std::vector<Decision> failed;
  /// The newest attempt.
  Decision decision;
  /// What the caller told of it.
  std::optional<v1::TurnFacts> reported;

  /// True if the router decided this turn and could write it down.
  bool is_on_record() const;
  /// Adds facts; a later value of the same field wins.
  void record(const v1::TurnFacts& facts);
  /// What the router should hear of this turn; without a value it assumes that its choice served.
  std::optional<v1::TurnFacts> facts() const;
  /// The model that served, as far as the client knows.
  std::string served_model() const;
};

/// The decision that an answer of the router holds.
Decision decided_by_router(const v1::DecideRequest& request, const v1::DecideResponse& answer);

/// A decision without the router, which failed with `because`.
Decision decided_by_client(const v1::DecideRequest& request, const std::string& model, const std::string& incumbent,
                           grpc::StatusCode because);

/// A name of the contract without the prefix of its enum.
std::string short_name(const std::string& name, const std::string& prefix);

}  // namespace sojourn
