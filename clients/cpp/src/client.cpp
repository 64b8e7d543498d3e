#include <sojourn/client.h>
#include <sojourn/errors.h>

#include <utility>

#include "connection.h"

namespace sojourn {
namespace {

constexpr std::chrono::milliseconds close_within{5'000};

}  // namespace

Client::Client(const std::string& target, Options options)
    : connection_(std::make_shared<Connection>(target, std::move(options))) {}

Client::~Client() {
  try {
    close(close_within);
  } catch (const Dropped&) {
    // who wants to know calls close
  }
}

Episode Client::episode(std::string id, EpisodeOptions options) {
  if (options.policy.empty()) {
    options.policy = connection_->options().policy;
  }
  return Episode(connection_, std::move(id), std::move(options));
}

Receipt Client::report_turn(v1::ReportTurnRequest request) { return connection_->report_turn(std::move(request)); }

Receipt Client::report_outcome(v1::ReportOutcomeRequest request) {
  return connection_->report_outcome(std::move(request));
}

bool Client::flush(std::chrono::milliseconds timeout) { return connection_->delivery().flush(timeout); }

void Client::close(std::chrono::milliseconds timeout) {
  flush(timeout);
  connection_->delivery().stop();
  if (const int dropped = counters().reports_dropped; dropped > 0) {
    throw Dropped(dropped);
  }
}

Counters Client::counters() const { return connection_->tally().read(); }

}  // namespace sojourn
