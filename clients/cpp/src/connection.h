// What a client and its episodes share: the channel, and how calls are made on it.
#pragma once

#include <grpcpp/client_context.h>
#include <sojourn/client.h>
#include <sojourn/v1/router.grpc.pb.h>

#include <chrono>
#include <memory>
#include <string>

#include "delivery.h"
#include "tally.h"

namespace sojourn {

/// A channel, the reports that wait for it, and what was counted.
class Connection {
 public:
  /// It connects at its first call.
  Connection(const std::string& target, Options options);

  /// Asks for one turn's model. Throws Refused, whatever the reason.
  v1::DecideResponse decide(const v1::DecideRequest& request);
  /// As Client::report_turn.
  Receipt report_turn(v1::ReportTurnRequest request);
  /// As Client::report_outcome.
  Receipt report_outcome(v1::ReportOutcomeRequest request);

  /// What the client was made with.
  const Options& options() const { return options_; }
  /// What was counted.
  Tally& tally() { return tally_; }
  /// The reports.
  Delivery& delivery() { return delivery_; }

 private:
  void prepare(grpc::ClientContext& context, std::chrono::milliseconds deadline, const std::string& episode_id,
               const std::string& trace) const;

  const Options options_;
  const std::unique_ptr<v1::RouterService::Stub> stub_;
  Tally tally_;
  Delivery delivery_;  // the last: its thread uses the others
};

/// Refuses what is too long to be accepted. The transport answers that with RESOURCE_EXHAUSTED, which would look like
/// an overloaded router and be retried for ever.
void check_size(const google::protobuf::Message& request);

}  // namespace sojourn
