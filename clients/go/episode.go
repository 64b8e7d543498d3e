package sojourn

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/sojourn-router/sojourn/clients/go/sojournv1"
)

// EpisodeOptions is what stays the same through an episode; all may be left out.
type EpisodeOptions struct {
	// Policy is the client's unless given.
	Policy        string
	TaskType      string
	AssignmentKey string
	// FirstTurnIndex resumes an episode that began elsewhere.
	FirstTurnIndex int32
}

// Decision is the model for one turn, and why.
type Decision struct {
	TurnIndex, Attempt int32
	Model              string
	// Incumbent served the turn before; "" = none.
	Incumbent string
	Switched  bool
	// Reason is the router's by its short name, such as "HELD", or "DECIDED_BY_CLIENT".
	Reason string
	// Propensity is the probability of this choice given all that went before in the episode, in (0, 1].
	Propensity float64
	// DecisionID is "" if nothing is on record: the client decided, or the router's journal was away.
	DecisionID string
	// Fallback says why the client decided by itself, as a gRPC status name; "" if the router did.
	Fallback string
	// Answer is the router's whole answer, nil without one.
	Answer *pb.DecideResponse
}

type turn struct {
	inputs   *pb.DecideRequest
	decision *Decision
	failed   []*Decision
	reported *pb.TurnFacts
}

// Episode runs from first turn to outcome; one agent's loop owns it. A turn begins when its answer is settled, so a
// refused request leaves everything as it was. The facts of turn t ride on the request of turn t+1, those of the last on
// the outcome; a turn that the router has no record of, because the client decided, is always told.
type Episode struct {
	client               *Client
	id                   string
	options              EpisodeOptions
	newest, beforeNewest *turn
	ended                bool
}

// Decide returns the model for the next turn within the decide deadline. The caller fills in Context, Candidates,
// Constraints and CostWeight of inputs (nil = nothing is known), the episode the rest.
//
// Without an answer from the router: the incumbent, else the fallback table's model. The error is a *Refused for the
// caller's mistakes, which leave the turn unbegun, and ErrNoFallback if no model is left.
func (e *Episode) Decide(ctx context.Context, inputs *pb.DecideRequest) (*Decision, error) {
	index := e.options.FirstTurnIndex
	if e.newest != nil {
		index = e.newest.decision.TurnIndex + 1
	}
	return e.settle(ctx, &turn{inputs: inputs}, index, e.newest)
}

// Retry returns another model for the newest turn, because the chosen one could not serve. It asks the same inputs again;
// what was reported of the failed attempt is forgotten.
func (e *Episode) Retry(ctx context.Context) (*Decision, error) {
	if e.newest == nil {
		return nil, ErrNoTurn
	}
	failed := append(append([]*Decision{}, e.newest.failed...), e.newest.decision)
	again := &turn{inputs: e.newest.inputs, failed: failed}
	return e.settle(ctx, again, e.newest.decision.TurnIndex, e.beforeNewest)
}

// Report records facts of the newest turn. It may be called again: a later value of the same field wins.
func (e *Episode) Report(facts *pb.TurnFacts) error {
	if e.newest == nil {
		return ErrNoTurn
	}
	if e.newest.reported == nil {
		e.newest.reported = &pb.TurnFacts{}
	}
	proto.Merge(e.newest.reported, facts)
	return nil
}

// Succeed ends the episode as SUCCEEDED with score 1.
func (e *Episode) Succeed(ctx context.Context) (*Receipt, error) {
	return e.End(ctx, &pb.ReportOutcomeRequest{Status: pb.OutcomeStatus_OUTCOME_STATUS_SUCCEEDED})
}

// Fail ends the episode as FAILED with score 0.
func (e *Episode) Fail(ctx context.Context) (*Receipt, error) {
	return e.End(ctx, &pb.ReportOutcomeRequest{Status: pb.OutcomeStatus_OUTCOME_STATUS_FAILED})
}

// Abandon ends the episode as ABANDONED, which teaches nothing.
func (e *Episode) Abandon(ctx context.Context) (*Receipt, error) {
	return e.End(ctx, &pb.ReportOutcomeRequest{Status: pb.OutcomeStatus_OUTCOME_STATUS_ABANDONED})
}

// End ends the episode. The caller fills in Status, Score, CostUsd and Metrics. It does not wait: Receipt.Wait does.
func (e *Episode) End(ctx context.Context, outcome *pb.ReportOutcomeRequest) (*Receipt, error) {
	if err := e.checkOpen(); err != nil {
		return nil, err
	}
	request := proto.CloneOf(outcome)
	request.Policy, request.EpisodeId = e.options.Policy, e.id
	// The outcome's facts count to the newest turn on record, so those of another go before it by themselves.
	isToldApart := e.newest != nil && e.newest.decision.DecisionID == ""
	if !isToldApart {
		request.LastTurn = e.newest.facts()
	}
	if err := checkSize(request); err != nil {
		return nil, err
	}
	e.ended = true
	if isToldApart {
		e.volunteer(ctx, e.newest)
	}
	return e.client.ReportOutcome(ctx, request)
}

// LeaveOpen leaves without an outcome, which comes from elsewhere; it sends the last turn's facts.
func (e *Episode) LeaveOpen(ctx context.Context) error {
	if err := e.checkOpen(); err != nil {
		return err
	}
	e.ended = true
	e.volunteer(ctx, e.newest)
	return nil
}

func (e *Episode) settle(ctx context.Context, asked *turn, index int32, previous *turn) (*Decision, error) {
	if err := e.checkOpen(); err != nil {
		return nil, err
	}
	request := e.request(asked, index, previous)
	if err := checkSize(request); err != nil {
		return nil, err
	}
	answer, err := e.client.decide(ctx, request)
	if err != nil {
		asked.decision, err = e.decideAlone(request, previous, asked.failed, refusedBy(err))
		if err != nil {
			return nil, err
		}
	} else {
		asked.decision = routersDecision(request, answer)
	}
	e.newest, e.beforeNewest = asked, previous
	e.client.counters.addDecision(asked.decision.Fallback)
	if asked.decision.Fallback != "" {
		e.volunteer(ctx, previous) // they rode on a request that may not have arrived; telling twice is harmless
	}
	return asked.decision, nil
}

func (e *Episode) request(asked *turn, index int32, previous *turn) *pb.DecideRequest {
	request := &pb.DecideRequest{}
	if asked.inputs != nil {
		request = proto.CloneOf(asked.inputs)
	}
	request.Policy, request.EpisodeId, request.AssignmentKey = e.options.Policy, e.id, e.options.AssignmentKey
	request.TurnIndex, request.Attempt = index, int32(len(asked.failed))
	request.PreviousTurn = previous.facts()
	if request.Context == nil {
		request.Context = &pb.Context{}
	}
	if e.options.TaskType != "" {
		request.Context.TaskType = e.options.TaskType
	}
	if request.Constraints == nil {
		request.Constraints = &pb.Constraints{}
	}
	for _, decision := range asked.failed {
		if decision.Fallback != "" { // the router knows its own
			request.Constraints.Deny = append(request.Constraints.Deny, decision.Model)
		}
	}
	return request
}

func (e *Episode) decideAlone(request *pb.DecideRequest, previous *turn, failed []*Decision, because *Refused) (*Decision, error) {
	if because.isMistake() {
		return nil, because
	}
	incumbent := previous.servedModel()
	model := e.client.options.Fallback.choose(request, incumbent, failed)
	if model == "" {
		return nil, fmt.Errorf("%w (%s)", ErrNoFallback, because.Code)
	}
	return &Decision{
		TurnIndex: request.TurnIndex, Attempt: request.Attempt, Model: model, Incumbent: incumbent,
		Switched: incumbent != "" && model != incumbent, Reason: "DECIDED_BY_CLIENT", Propensity: 1, Fallback: because.Code,
	}, nil
}

func (e *Episode) volunteer(ctx context.Context, told *turn) {
	facts := told.facts()
	if facts == nil {
		return
	}
	index := told.decision.TurnIndex
	request := &pb.ReportTurnRequest{Policy: e.options.Policy, EpisodeId: e.id, TurnIndex: &index, Facts: facts}
	_, _ = e.client.ReportTurn(ctx, request) // a report that is dropped is counted
}

func (e *Episode) checkOpen() error {
	if e.ended {
		message := fmt.Sprintf("episode %q has ended", e.id)
		return &Refused{Code: "FAILED_PRECONDITION", Reason: "EPISODE_ENDED", Message: message}
	}
	return nil
}

// facts is what the router should hear of a turn; nil lets it assume that its choice served.
func (t *turn) facts() *pb.TurnFacts {
	if t == nil || (t.reported == nil && t.decision.DecisionID != "") {
		return nil
	}
	facts := &pb.TurnFacts{ServedModel: t.decision.Model, DecidedByClient: t.decision.DecisionID == ""}
	if t.reported != nil {
		proto.Merge(facts, t.reported)
	}
	return facts
}

func (t *turn) servedModel() string {
	if t == nil {
		return ""
	}
	if served := t.reported.GetServedModel(); served != "" {
		return served
	}
	return t.decision.Model
}

func routersDecision(request *pb.DecideRequest, answer *pb.DecideResponse) *Decision {
	return &Decision{
		TurnIndex: request.TurnIndex, Attempt: request.Attempt, Model: answer.Model, Incumbent: answer.Incumbent,
		Switched: answer.Switched, Reason: shortName(answer.Reason, "REASON_"), Propensity: answer.Propensity,
		DecisionID: answer.DecisionId, Answer: answer,
	}
}
