#include <sojourn/client/error_details.pb.h>
#include <sojourn/errors.h>

#include <array>
#include <utility>

#include "refusal.h"

namespace sojourn {
namespace {

std::string text_of(grpc::StatusCode code, const std::string& reason, const std::string& message,
                    const std::vector<FieldViolation>& violations) {
  std::string text = name_of(code) + " (" + reason + "): " + message;
  for (const FieldViolation& violation : violations) {
    text += "; " + violation.field + ": " + violation.description;
  }
  return text;
}

/// Fills in `message` if that is what was packed. Only the last part of the name counts, as our messages' packages
/// differ.
template <typename Message>
bool unpack(const google::protobuf::Any& packed, Message& message) {
  const std::string& url = packed.type_url();
  return url.substr(url.rfind('.') + 1) == Message::descriptor()->name() && message.ParseFromString(packed.value());
}

}  // namespace

Refused::Refused(grpc::StatusCode code, std::string reason, const std::string& message,
                 std::vector<FieldViolation> violations, std::chrono::milliseconds retry_after)
    : Error(text_of(code, reason, message, violations)),
      code_(code),
      reason_(std::move(reason)),
      violations_(std::move(violations)),
      retry_after_(retry_after) {}

NoFallback::NoFallback(grpc::StatusCode because)
    : Error("the router did not decide (" + name_of(because) +
            "), and no incumbent and no fallback model may serve this turn"),
      because_(because) {}

Dropped::Dropped(int count)
    : Error(std::to_string(count) + " report(s) dropped without an acknowledgement"), count_(count) {}

std::string name_of(grpc::StatusCode code) {
  static constexpr std::array<const char*, 17> names = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  const auto number = static_cast<std::size_t>(code);
  return number < names.size() ? names[number] : std::to_string(code);
}

Refused refused_by(const grpc::Status& status) {
  std::string reason;
  std::vector<FieldViolation> violations;
  std::chrono::milliseconds retry_after{0};
  client::Status told;
  if (!told.ParseFromString(status.error_details())) {
    told.Clear();
  }
  for (const google::protobuf::Any& packed : told.details()) {
    client::ErrorInfo info;
    client::RetryInfo retry;
    client::BadRequest bad;
    if (unpack(packed, info)) {
      reason = info.reason();
    } else if (unpack(packed, retry)) {
      retry_after = std::chrono::seconds(retry.retry_delay().seconds()) +
                    std::chrono::milliseconds(retry.retry_delay().nanos() / 1'000'000);
    } else if (unpack(packed, bad)) {
      for (const auto& violation : bad.field_violations()) {
        violations.push_back({violation.field(), violation.description()});
      }
    }
  }
  return Refused(status.error_code(), reason, status.error_message(), violations, retry_after);
}

bool is_mistake(grpc::StatusCode code) {
  switch (code) {
    case grpc::INVALID_ARGUMENT:
    case grpc::FAILED_PRECONDITION:
    case grpc::ALREADY_EXISTS:
    case grpc::NOT_FOUND:
      return true;
    default:
      return false;
  }
}

bool is_transient(grpc::StatusCode code) {
  switch (code) {
    case grpc::UNAVAILABLE:
    case grpc::DEADLINE_EXCEEDED:
    case grpc::RESOURCE_EXHAUSTED:
    case grpc::ABORTED:
    case grpc::CANCELLED:
      return true;
    default:
      return false;
  }
}

}  // namespace sojourn
