#include "connection.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <sojourn/errors.h>

#include <algorithm>
#include <utility>

#include "refusal.h"
#include "turn.h"

namespace sojourn {
namespace {

constexpr std::size_t max_message_bytes = 64 * 1024;
constexpr std::size_t max_id_bytes = 128;

/// The defaults would let a channel sleep for up to two minutes after an outage: a long time to go on without the
/// router.
std::shared_ptr<grpc::Channel> open(const std::string& target,
                                    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);  // also the longest wait for a connection
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  return grpc::CreateCustomChannel(target, credentials ? credentials : grpc::InsecureChannelCredentials(), arguments);
}

std::string asked(const TextSource& source) { return source ? source() : ""; }

/// A value that is no header is left out, as gRPC would end the program: the router says what is missing.
void put(grpc::ClientContext& context, const std::string& key, const std::string& value) {
  if (std::all_of(value.begin(), value.end(), [](char letter) { return letter >= ' ' && letter <= '~'; })) {
    context.AddMetadata(key, value);
  }
}

/// An episode's id as the header by which a proxy keeps its turns together: visible ASCII but for "%" stays, any other
/// byte becomes "%" and two hexadecimal digits. An id that the router refuses for its length is left out, as a header
/// may be too long for the transport, which says less clearly why.
std::string episode_header(const std::string& id) {
  static const char digits[] = "0123456789ABCDEF";
  std::string header;
  for (const unsigned char byte : id.size() <= max_id_bytes ? id : std::string{}) {
    if (byte > ' ' && byte <= '~' && byte != '%') {
      header += static_cast<char>(byte);
    } else {
      header += {'%', digits[byte / 16], digits[byte % 16]};
    }
  }
  return header;
}

void check(const grpc::Status& status) {
  if (!status.ok()) {
    throw refused_by(status);
  }
}

std::string state_name(v1::ReportState state) { return short_name(v1::ReportState_Name(state), "REPORT_STATE_"); }

}  // namespace

Connection::Connection(const std::string& target, Options options)
    : options_(std::move(options)),
      stub_(v1::RouterService::NewStub(open(target, options_.credentials))),
      delivery_(options_.queue_size, tally_) {}

v1::DecideResponse Connection::decide(const v1::DecideRequest& request) {
  grpc::ClientContext context;
  prepare(context, options_.decide_deadline, request.episode_id(), asked(options_.traceparent));
  v1::DecideResponse answer;
  check(stub_->Decide(&context, request, &answer));
  return answer;
}

Receipt Connection::report_turn(v1::ReportTurnRequest request) {
  check_size(request);
  return delivery_.offer(
      [this, request = std::move(request), trace = asked(options_.traceparent)](grpc::ClientContext& context) {
        prepare(context, options_.report_deadline, request.episode_id(), trace);
        v1::ReportTurnResponse answer;
        check(stub_->ReportTurn(&context, request, &answer));
        return Acknowledgement{state_name(answer.state()), 0};
      });
}

Receipt Connection::report_outcome(v1::ReportOutcomeRequest request) {
  check_size(request);
  return delivery_.offer(
      [this, request = std::move(request), trace = asked(options_.traceparent)](grpc::ClientContext& context) {
        prepare(context, options_.report_deadline, request.episode_id(), trace);
        v1::ReportOutcomeResponse answer;
        check(stub_->ReportOutcome(&context, request, &answer));
        return Acknowledgement{state_name(answer.state()), answer.joined_decisions()};
      });
}

void Connection::prepare(grpc::ClientContext& context, std::chrono::milliseconds deadline,
                         const std::string& episode_id, const std::string& trace) const {
  context.set_deadline(std::chrono::system_clock::now() + deadline);
  if (const std::string header = episode_header(episode_id); !header.empty()) {
    put(context, "sojourn-episode", header);
  }
  if (!trace.empty()) {
    put(context, "traceparent", trace);
  }
  if (const std::string token = asked(options_.token); !token.empty()) {
    put(context, "authorization", "Bearer " + token);
  }
}

void check_size(const google::protobuf::Message& request) {
  const std::size_t size = request.ByteSizeLong();
  if (size > max_message_bytes) {
    throw Refused(
        grpc::INVALID_ARGUMENT, "INVALID_FIELD",
        "the request takes " + std::to_string(size) + " bytes; " + std::to_string(max_message_bytes) + " are allowed");
  }
}

}  // namespace sojourn
