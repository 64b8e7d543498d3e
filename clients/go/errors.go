package sojourn

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

var (
	// ErrNoFallback: the router did not answer, and no model that may serve the turn is known to the client.
	ErrNoFallback = errors.New("sojourn: the router did not decide, and no incumbent and no fallback model may serve this turn")
	// ErrDropped: reports were given up without an acknowledgement.
	ErrDropped = errors.New("sojourn: report(s) dropped without an acknowledgement")
	// ErrNoTurn: a report or a retry came before the first decision.
	ErrNoTurn = errors.New("sojourn: no turn has been decided")
)

// FieldViolation is one malformed field of a request, such as context.prompt_tokens, and what is wrong with it.
type FieldViolation struct{ Field, Description string }

// Refused is a call that the router did not carry out. Code is the gRPC status name, such as "ALREADY_EXISTS", Reason a
// name of ErrorReason, such as "PAYLOAD_CONFLICT", or "".
type Refused struct {
	Code       string
	Reason     string
	Message    string
	Violations []FieldViolation
	retryAfter time.Duration
}

func (r *Refused) Error() string {
	text := fmt.Sprintf("sojourn: %s (%s): %s", r.Code, r.Reason, r.Message)
	for _, violation := range r.Violations {
		text += fmt.Sprintf("; %s: %s", violation.Field, violation.Description)
	}
	return text
}

// isMistake tells the caller's mistakes, which are returned from a decision too; all else is answered by a fallback.
func (r *Refused) isMistake() bool {
	switch r.Code {
	case "INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS", "NOT_FOUND":
		return true
	}
	return false
}

// isTransient tells what a report is sent again for. CANCELLED: the server went away during the call.
func (r *Refused) isTransient() bool {
	switch r.Code {
	case "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED":
		return true
	}
	return false
}

// refusedBy reads an error of gRPC with the details beside its status.
func refusedBy(err error) *Refused {
	told := status.Convert(err)
	refused := &Refused{Code: code.Code(told.Code()).String(), Message: told.Message()}
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			refused.Reason = detail.GetReason()
		case *errdetails.RetryInfo:
			refused.retryAfter = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				refused.Violations = append(refused.Violations, FieldViolation{v.GetField(), v.GetDescription()})
			}
		}
	}
	return refused
}
