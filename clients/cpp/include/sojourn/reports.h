// What becomes of reports, and what a client counts.
#pragma once

#include <grpcpp/support/status_code_enum.h>

#include <cstdint>
#include <future>
#include <map>
#include <string>

namespace sojourn {

/// The router's receipt.
struct Acknowledgement {
  /// "RECORDED", "DUPLICATE" or "LATE".
  std::string state;
  /// Decisions that an outcome joins; 0 = nothing can be learned from it: was the episode's id right?
  std::int32_t joined_decisions = 0;
};

/// A report under way. It is sent whether or not anybody waits. `get()` waits for the acknowledgement: an outcome is
/// durable then. It throws Refused if the router refused for good, and Dropped if the queue was full or the client was
/// closed before.
using Receipt = std::future<Acknowledgement>;

/// What a client has counted so far.
struct Counters {
  /// Turns that were decided, by the router or by the client.
  int decisions = 0;
  /// Turns that the client decided by itself, by the reason.
  std::map<grpc::StatusCode, int> fallbacks;
  /// Reports that the router has acknowledged.
  int reports_acknowledged = 0;
  /// Times that a report was to be sent again.
  int reports_retried = 0;
  /// Reports that the router refused for good.
  int reports_refused = 0;
  /// Reports that were given up: the queue was full, the client was closed, or there was no token to be had.
  int reports_dropped = 0;
};

}  // namespace sojourn
