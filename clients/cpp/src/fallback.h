// What serves a turn when the router does not answer: the incumbent, else the caller's small table. No other heuristic.
#pragma once

#include <sojourn/client.h>

#include <string>
#include <vector>

namespace sojourn {

/// The incumbent, else the table's model; "" if none may serve the turn or all have failed at it.
std::string choose(const FallbackTable& table, const v1::DecideRequest& request, const std::string& incumbent,
                   const std::vector<Decision>& failed);

}  // namespace sojourn
