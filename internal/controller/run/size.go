package run

import (
	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/report"
)

// leaveToRecord takes the ends of logs and the failures out of a Run once the record holds them and GitHub has been brought to them:
// what is left to report is the end of the stack, and for that they are read from the record.
func (s *state) leaveToRecord() {
	run := s.run
	if isReported(run) && s.isTrue(v1alpha1.ConditionRecorded) && compact.CanFold(s.status()) && run.Status.Report.Digest == report.Digest(run, endedSuites(run)) {
		compact.Fold(s.status())
	}
}
