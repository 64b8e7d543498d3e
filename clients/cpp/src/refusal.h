// How a failed call is read.
#pragma once

#include <grpcpp/support/status.h>
#include <sojourn/errors.h>

namespace sojourn {

/// Reads a status with the details beside it.
Refused refused_by(const grpc::Status& status);

/// Tells the caller's mistakes, which fail a decision too; all else is answered by a fallback.
bool is_mistake(grpc::StatusCode code);

/// Tells what a report is sent again for. CANCELLED: the server went away during the call.
bool is_transient(grpc::StatusCode code);

}  // namespace sojourn
