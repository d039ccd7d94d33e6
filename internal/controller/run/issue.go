package run

import (
	"context"
	"fmt"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// found is the issue that a Run's result goes to, and the branch that it is compared on.
type found struct {
	issue          int
	source, branch string
}

// findIssue asks GitHub for the issue and the branch of a Run. Finding none is not a failure: the check runs have the whole result.
func findIssue(ctx context.Context, github GitHub, run *v1alpha1.Run) (found, error) {
	f := found{issue: run.Spec.Issue, source: "comment", branch: branchOf(run.Spec.Ref, nil)}
	if f.issue > 0 && f.branch != "" {
		return f, nil
	}
	hints, err := github.Hints(ctx, run.Spec.InstallationID, run.Spec.Repository, run.Spec.Object, run.Spec.SHA)
	if err != nil {
		return found{}, fmt.Errorf("find the issue of %s: %w", run.Name, err)
	}
	f.branch = branchOf(run.Spec.Ref, hints.Branches)
	if f.issue > 0 {
		return f, nil
	}
	if f.issue, f.source = trigger.Issue(run.Spec.Ref, hints); f.issue == 0 {
		f.source = "none"
	}
	return f, nil
}

// note writes it into a status that has none yet.
func (f found) note(st *v1alpha1.RunStatus) {
	if st.IssueSource == "" && f.source != "" {
		st.Issue, st.IssueSource, st.Branch = f.issue, f.source, f.branch
	}
}

// branchOf is the branch that a Run's results belong to: the one that its ref names, else the first whose head the commit is.
func branchOf(ref string, heads []string) string {
	if b, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		return b
	}
	if len(heads) > 0 {
		return heads[0]
	}
	return ""
}
