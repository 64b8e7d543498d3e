// Guards what a client counts.
#pragma once

#include <sojourn/reports.h>

#include <mutex>
#include <optional>

namespace sojourn {

/// The counters, which several threads change.
class Tally {
 public:
  /// Adds one to a counter.
  void add(int Counters::* counter) {
    const std::lock_guard lock(mutex_);
    ++(counters_.*counter);
  }

  /// Counts a decision, and why the client made it by itself if it did.
  void add_decision(std::optional<grpc::StatusCode> fallback) {
    const std::lock_guard lock(mutex_);
    ++counters_.decisions;
    if (fallback) {
      ++counters_.fallbacks[*fallback];
    }
  }

  /// What was counted so far.
  Counters read() const {
    const std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  mutable std::mutex mutex_;
  Counters counters_;
};

}  // namespace sojourn
