package report

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// health adds a warning when a kept stack has degraded since the outcome was known.
func (d *document) health(run *v1alpha1.Run) {
	if meta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionStackKept) {
		return
	}
	if c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackHealthy); c != nil && c.Status == metav1.ConditionFalse {
		d.para(labelled("⚠️ The stack has degraded", c.Message, min(d.text, 600)))
	}
}

// record adds where the record is stored, or why there is none.
func (d *document) record(run *v1alpha1.Run) {
	if r := run.Status.Record; r != nil && r.Reference != "" {
		d.para("**Record:** " + codeOf(r.Reference, maxPath) + size10(r.Size) + " · " + code("conductor runs record "+run.Name) + " prints it")
		if r.Folded { // A record that can be read has been unfolded by now.
			d.para("⚠️ The record could not be read again: the output of tests and builds, and the names of failed tests, are missing here.")
		}
		return
	}
	c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionRecorded)
	if c != nil && c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonSkipped && c.Reason != v1alpha1.ReasonCanceled {
		d.para(labelled("No record", c.Message, min(d.text, 600)))
	}
}

// size10 is a size in decimal units, in brackets; empty when the size is unknown.
func size10(bytes int64) string {
	switch {
	case bytes <= 0:
		return ""
	case bytes < 1_000_000:
		return fmt.Sprintf(" (%d kB)", (bytes+999)/1000)
	}
	return fmt.Sprintf(" (%.1f MB)", float64(bytes)/1e6)
}

// fullText links to the pages of the check runs, which hold more text than the comment.
func (d *document) fullText(run *v1alpha1.Run, suites []tested) {
	if run.Status.Report == nil {
		return
	}
	var links []string
	for _, t := range suites {
		id := run.Status.Report.CheckRuns[checkID(run, t.Name)]
		if id == 0 || run.Spec.Repository.HTMLURL == "" || len(links) >= min(d.rows, 10) {
			continue
		}
		links = append(links, link(code(t.Name), fmt.Sprintf("%s/runs/%d", run.Spec.Repository.HTMLURL, id)))
	}
	if len(links) > 0 {
		d.para("Full results: check runs " + strings.Join(links, ", "))
	}
}
