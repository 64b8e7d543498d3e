// Reports on their way: one at a time, oldest first, because an outcome must not overtake the facts of its turns. A
// report is sent again until it is acknowledged, refused for good, or given up at the end; its natural key makes
// repeats harmless.
#pragma once

#include <grpcpp/client_context.h>
#include <sojourn/reports.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>

#include "tally.h"

namespace sojourn {

/// Sends one report, once; throws Refused.
using Send = std::function<Acknowledgement(grpc::ClientContext&)>;

/// A bounded queue and the thread that empties it.
class Delivery {
 public:
  /// Begins the thread.
  Delivery(std::size_t capacity, Tally& tally);
  ~Delivery();

  /// Queues a report. A full queue drops the newest: the older are nearer to the end of their episodes' windows.
  Receipt offer(Send send);

  /// Waits until every report is settled; false if the time ran out first.
  bool flush(std::chrono::milliseconds timeout);

  /// Gives up what is left, the report under way too, and ends the thread.
  void stop();

 private:
  struct Report {
    Send send;
    std::promise<Acknowledgement> settled;
  };

  void run();
  void deliver(Report& report);
  Acknowledgement send_once(const Report& report);
  bool rest(std::chrono::milliseconds pause);
  void drop(Report& report);

  const std::size_t capacity_;
  Tally& tally_;
  std::mutex mutex_;                 // guards all below but the thread
  std::condition_variable changed_;  // the queue, is_busy_ or is_stopped_
  std::deque<Report> queue_;         // without the report under way
  bool is_busy_ = false;             // a report is under way
  bool is_stopped_ = false;
  std::shared_ptr<grpc::ClientContext> under_way_;  // of the newest sending
  std::mutex stopping_;                             // held while the thread is joined
  std::thread thread_;
};

/// The router's wish plus full jitter before retry number `retries`, from 0.
std::chrono::milliseconds pause_before(int retries, std::chrono::milliseconds wish);

}  // namespace sojourn
