package delivery

import (
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/observe"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// result is what a push or one command became.
type result struct {
	outcome v1alpha1.DeliveryOutcome
	// runs are the names of the Runs that it started or canceled.
	runs []string
	// reason is a sentence for the Delivery.
	reason string
	// reply is Markdown for the author of a comment; empty means no reply.
	reply string
	// needsHelp adds the help to the reply.
	needsHelp bool
	// answered is set if the author got a reply in words.
	answered bool
	// trust is the trust of the code, if known.
	trust v1alpha1.TrustLevel
	// decision is what the authority decided; nil if it was not asked.
	decision *observe.Decision
}

// maxReason is the length of a Delivery's reason in bytes; the schema has the same limit.
const maxReason = 512

// byWeight orders outcomes: that of a Delivery is the first one that any of its commands has.
var byWeight = []v1alpha1.DeliveryOutcome{
	v1alpha1.DeliveryFailed, v1alpha1.DeliveryStarted, v1alpha1.DeliveryCanceled, v1alpha1.DeliveryRefused, v1alpha1.DeliveryAnswered,
	v1alpha1.DeliveryIgnored,
}

// summarize returns the status of a Delivery with these results. Its Run is one that the outcome is about, if there is one.
func summarize(results []result) v1alpha1.DeliveryStatus {
	var status v1alpha1.DeliveryStatus
	sorted := slices.Clone(results)
	slices.SortStableFunc(sorted, func(a, b result) int { return slices.Index(byWeight, a.outcome) - slices.Index(byWeight, b.outcome) })
	for _, res := range sorted {
		if status.Outcome == "" {
			status.Outcome = res.outcome
		}
		if status.Run == "" && len(res.runs) > 0 {
			status.Run = res.runs[0]
		}
		status.Answered = status.Answered || res.answered
	}
	var reasons []string
	for _, res := range results {
		if !slices.Contains(reasons, res.reason) {
			reasons = append(reasons, res.reason)
		}
	}
	status.Reason = text.Head(strings.Join(reasons, "; "), maxReason)
	return status
}

func hasOutcome(results []result, outcome v1alpha1.DeliveryOutcome) bool {
	return slices.ContainsFunc(results, func(res result) bool { return res.outcome == outcome })
}
