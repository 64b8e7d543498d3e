package sojourn

import (
	"slices"

	pb "github.com/sojourn-router/sojourn/clients/go/sojournv1"
)

// FallbackTable is a model by tool type, "*" for any other. A client has no heuristic beyond it.
type FallbackTable map[string]string

// choose returns the incumbent, else the table's model; "" if none may serve the turn or all have failed at it.
func (t FallbackTable) choose(request *pb.DecideRequest, incumbent string, failed []*Decision) string {
	for _, model := range []string{incumbent, t[request.GetContext().GetToolType()], t["*"]} {
		hasFailed := slices.ContainsFunc(failed, func(d *Decision) bool { return d.Model == model })
		if model != "" && !hasFailed && isPermitted(model, request) {
			return model
		}
	}
	return ""
}

func isPermitted(model string, request *pb.DecideRequest) bool {
	limits, candidates := request.GetConstraints(), request.GetCandidates()
	isOffered := len(candidates) == 0 ||
		slices.ContainsFunc(candidates, func(c *pb.Candidate) bool { return c.GetModel() == model })
	isAllowed := len(limits.GetAllow()) == 0 || slices.Contains(limits.GetAllow(), model)
	return isOffered && isAllowed && !slices.Contains(limits.GetDeny(), model)
}
