// Failed calls. A decision throws for the caller's own mistakes alone, and when no model is left.
#pragma once

#include <grpcpp/support/status_code_enum.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace sojourn {

/// What this library throws, unless memory or threads give out.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One malformed field of a request.
struct FieldViolation {
  /// Its path, such as "context.prompt_tokens".
  std::string field;
  /// What is wrong with it.
  std::string description;
};

/// The router refused a request for good, or the client did before it was sent.
class Refused : public Error {
 public:
  /// A refusal; the router's come with what stands beside their status.
  Refused(grpc::StatusCode code, std::string reason, const std::string& message,
          std::vector<FieldViolation> violations = {}, std::chrono::milliseconds retry_after = {});

  /// The gRPC status.
  grpc::StatusCode code() const { return code_; }
  /// A name of sojourn.v1.ErrorReason, such as "PAYLOAD_CONFLICT", or "".
  const std::string& reason() const { return reason_; }
  /// The malformed fields.
  const std::vector<FieldViolation>& violations() const { return violations_; }
  /// How long the router wants to be left alone; 0 = not said.
  std::chrono::milliseconds retry_after() const { return retry_after_; }

 private:
  grpc::StatusCode code_;
  std::string reason_;
  std::vector<FieldViolation> violations_;
  std::chrono::milliseconds retry_after_;
};

/// The router did not answer, and no model that may serve the turn is known to the client.
class NoFallback : public Error {
 public:
  /// `because` is why the router did not answer.
  explicit NoFallback(grpc::StatusCode because);

  /// Why the router did not answer.
  grpc::StatusCode because() const { return because_; }

 private:
  grpc::StatusCode because_;
};

/// Reports were given up without an acknowledgement.
class Dropped : public Error {
 public:
  /// So many reports.
  explicit Dropped(int count);

  /// How many reports.
  int count() const { return count_; }

 private:
  int count_;
};

/// A report or a retry came before the first decision.
class NoTurn : public Error {
 public:
  /// There is nothing to add to it.
  NoTurn() : Error("no turn has been decided") {}
};

/// A status by gRPC's own name, such as "UNAVAILABLE".
std::string name_of(grpc::StatusCode code);

}  // namespace sojourn
