package compact

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// withTexts returns a Run with logs and failures, and its record.
func withTexts() (*v1alpha1.Run, evidence.Result) {
	run := someRun()
	run.Status = v1alpha1.RunStatus{
		Record:   &v1alpha1.RecordStatus{Reference: "registry.example.com/records/acme/shop:r", Digest: someDigest},
		Suites:   []v1alpha1.SuiteStatus{{Name: "e2e", Log: "the end", Failures: []v1alpha1.TestFailure{{Name: "pays"}}}, {Name: "unit"}},
		Images:   []v1alpha1.ImageStatus{{Name: "web", Digest: someDigest}, {Name: "api", Log: "no space left"}},
		Services: []v1alpha1.ServiceStatus{{Name: "db", State: v1alpha1.ServiceFailed, Message: "It crashed\npanic: no disk"}, {Name: "web", Message: "Waits for db"}, {Name: "up"}},
	}
	return run, evidence.Result{
		Suites:   []evidence.Suite{{Name: "e2e", Log: "the end"}, {Name: "unit"}, {Name: "another"}},
		Images:   []evidence.Image{{Name: "web"}, {Name: "api", Log: "no space left"}},
		Services: []evidence.Service{{Name: "db", Message: "It crashed\npanic: no disk"}, {Name: "web", Message: "Waits for db"}, {Name: "up", Message: "a word of another time"}},
	}
}

func TestWhatTheRecordHoldsLeavesTheRunAndComesBack(t *testing.T) {
	run, record := withTexts()
	whole := run.DeepCopy()
	if !CanFold(&run.Status) || !Fold(&run.Status) || !IsFolded(&run.Status) {
		t.Fatal("it was not folded")
	}
	if CanFold(&run.Status) || Fold(&run.Status) {
		t.Error("it can be folded twice")
	}
	want := whole.DeepCopy()
	want.Status.Suites[0].Log, want.Status.Suites[0].Failures = "", nil
	want.Status.Images[1].Log = ""
	want.Status.Services[0].Message = "It crashed"
	want.Status.Record.Folded = true
	if diff := cmp.Diff(want, run); diff != "" {
		t.Error(diff)
	}
	folded := run.DeepCopy()
	restored := Restore(run, record)
	if diff := cmp.Diff(folded, run); diff != "" {
		t.Errorf("restoring changed the Run itself:\n%s", diff)
	}
	whole.Status.Suites[0].Failures = nil // A report takes the cases of the record's suites.
	if diff := cmp.Diff(whole, restored); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutARecordNothingIsTakenOut(t *testing.T) {
	run, _ := withTexts()
	run.Status.Record = nil
	if CanFold(&run.Status) || Fold(&run.Status) || run.Status.Suites[0].Log == "" {
		t.Error("the only copy of a log is gone")
	}
	run.Status = v1alpha1.RunStatus{Record: &v1alpha1.RecordStatus{}, Services: []v1alpha1.ServiceStatus{{Name: "web", Message: "One line"}}}
	if CanFold(&run.Status) || Fold(&run.Status) || IsFolded(&run.Status) {
		t.Error("there was nothing to take out")
	}
}
