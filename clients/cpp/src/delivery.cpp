#include "delivery.h"

#include <sojourn/errors.h>

#include <algorithm>
#include <random>
#include <utility>

#include "refusal.h"

namespace sojourn {
namespace {

constexpr std::chrono::milliseconds backoff_base{100};
constexpr std::chrono::milliseconds backoff_ceiling{10'000};

}  // namespace

Delivery::Delivery(std::size_t capacity, Tally& tally)
    : capacity_(capacity), tally_(tally), thread_([this] { run(); }) {}

Delivery::~Delivery() { stop(); }

Receipt Delivery::offer(Send send) {
  Report report{std::move(send), {}};
  Receipt receipt = report.settled.get_future();
  const std::lock_guard lock(mutex_);
  if (is_stopped_ || queue_.size() >= capacity_) {
    drop(report);
  } else {
    queue_.push_back(std::move(report));
    changed_.notify_all();
  }
  return receipt;
}

bool Delivery::flush(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [this] { return queue_.empty() && !is_busy_; });
}

void Delivery::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
    if (under_way_) {
      under_way_->TryCancel();
    }
    changed_.notify_all();
  }
  const std::lock_guard alone(stopping_);
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Delivery::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return is_stopped_ || !queue_.empty(); });
    if (is_stopped_) {
      break;
    }
    Report report = std::move(queue_.front());
    queue_.pop_front();
    is_busy_ = true;
    lock.unlock();
    deliver(report);
    lock.lock();
    is_busy_ = false;
    changed_.notify_all();
  }
  for (Report& report : queue_) {
    drop(report);
  }
  queue_.clear();
  changed_.notify_all();
}

void Delivery::deliver(Report& report) {
  for (int retries = 0;; ++retries) {
    try {
      Acknowledgement answer = send_once(report);
      tally_.add(&Counters::reports_acknowledged);
      report.settled.set_value(std::move(answer));
      return;
    } catch (const Refused& refused) {
      if (!is_transient(refused.code())) {
        tally_.add(&Counters::reports_refused);
        report.settled.set_exception(std::current_exception());
        return;
      }
      tally_.add(&Counters::reports_retried);
      if (!rest(pause_before(retries, refused.retry_after()))) {
        return drop(report);
      }
    } catch (...) {  // the caller's own, such as no token to be had: it must not stop the next report
      tally_.add(&Counters::reports_dropped);
      report.settled.set_exception(std::current_exception());
      return;
    }
  }
}

Acknowledgement Delivery::send_once(const Report& report) {
  const auto context = std::make_shared<grpc::ClientContext>();
  {
    const std::lock_guard lock(mutex_);
    under_way_ = context;
    if (is_stopped_) {
      context->TryCancel();
    }
  }
  return report.send(*context);
}

/// False if the client was closed meanwhile.
bool Delivery::rest(std::chrono::milliseconds pause) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, pause, [this] { return is_stopped_; });
}

void Delivery::drop(Report& report) {
  tally_.add(&Counters::reports_dropped);
  report.settled.set_exception(std::make_exception_ptr(Dropped(1)));
}

std::chrono::milliseconds pause_before(int retries, std::chrono::milliseconds wish) {
  thread_local std::mt19937 random{std::random_device{}()};
  const auto ceiling = std::min(backoff_ceiling, backoff_base * (1 << std::min(retries, 16)));
  std::uniform_int_distribution<std::chrono::milliseconds::rep> jitter(0, ceiling.count());
  return std::clamp(wish, std::chrono::milliseconds{0}, backoff_ceiling) + std::chrono::milliseconds(jitter(random));
}

}  // namespace sojourn
