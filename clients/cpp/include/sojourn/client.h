// A connection to the router. A decision waits for it at most its deadline; reports are sent in the background.
#pragma once

#include <grpcpp/security/credentials.h>
#include <sojourn/episode.h>
#include <sojourn/reports.h>
#include <sojourn/v1/router.pb.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace sojourn {

/// A model by tool type, "*" for any other. A client has no heuristic beyond it.
using FallbackTable = std::map<std::string, std::string>;

/// Text that is asked for when it is needed, such as a token that is renewed from time to time; "" = none. Must be safe
/// to call from several threads.
using TextSource = std::function<std::string()>;

/// What a client may be made with; as it is made, a plaintext client without a fallback table.
struct Options {
  /// Which policy decides.
  std::string policy = "default";
  /// Serves a turn without an incumbent that the router does not answer.
  FallbackTable fallback;
  /// Longest wait for a decision.
  std::chrono::milliseconds decide_deadline{50};
  /// Longest wait for one sending of a report.
  std::chrono::milliseconds report_deadline{5'000};
  /// Reports that may wait.
  std::size_t queue_size = 1'024;
  /// Make the channel TLS, such as grpc::SslCredentials; plaintext unless given.
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  /// Asked before each call for the bearer token. It travels in the clear without credentials.
  TextSource token;
  /// The W3C header of the caller's current span, asked when a call or report is made.
  TextSource traceparent;
};

/// A connection to the router, safe to share between threads. Episodes may outlive it; their reports are dropped then.
class Client {
 public:
  /// A client of `target`, which is "host:port" or another gRPC target. It connects at its first call.
  explicit Client(const std::string& target, Options options = {});
  /// Closes it, as `close` does within five seconds; what is dropped is not told.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// An episode; its id is 1 to 128 bytes and never reused.
  Episode episode(std::string id, EpisodeOptions options = {});

  /// Queues the facts of one turn. Throws Refused if they are too long.
  Receipt report_turn(v1::ReportTurnRequest request);

  /// Queues the outcome of an episode that was left open, here or in another process. Throws Refused if it is too long.
  Receipt report_outcome(v1::ReportOutcomeRequest request);

  /// Waits until every report is settled; false if the time ran out first.
  bool flush(std::chrono::milliseconds timeout);

  /// Flushes for at most `timeout`, then takes no more reports. Those not acknowledged by then are dropped: Dropped
  /// says so, for all that were ever dropped.
  void close(std::chrono::milliseconds timeout);

  /// What the client has counted so far.
  Counters counters() const;

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace sojourn
