// Package compact keeps Runs small. It shortens a status until its Run fits into 64 KiB, drops what the record holds, and rejects a
// plan whose Run could not be made to fit. It is pure.
package compact

import (
	"encoding/json"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// MaxRun is the maximum size of a Run as JSON, in bytes. It lets a thousand Runs fit into etcd and into an informer's memory.
	MaxRun = 64 << 10
	// metadata is reserved for names, labels and the API server's managed fields. The lists of a status are atomic, so managed fields do
	// not grow with their entries.
	metadata = 5 << 10
	// cancel is reserved in a Run that may still be canceled: the reason has at most 1,024 characters.
	cancel = 2 << 10
	// reportMessage is reserved for the error of a report that could not be posted to GitHub.
	reportMessage = 1 << 10
)

// room returns the maximum size of a Run's status, in bytes.
func room(run *v1alpha1.Run) int {
	left := MaxRun - metadata - size(run.Spec)
	if run.Spec.Cancel == nil {
		left -= cancel
	}
	return left
}

// Fits reports whether a Run is within the limit.
func Fits(run *v1alpha1.Run) bool { return statusSize(run) <= room(run) }

// statusSize returns the size of a status including everything that the reporter may add, because it does not check the limit.
func statusSize(run *v1alpha1.Run) int {
	st := run.Status
	report := v1alpha1.ReportStatus{CheckRuns: map[string]int64{run.Name: maxID}, CommentID: maxID, Digest: string(make([]byte, 64)), Final: true}
	for i := range st.Suites {
		report.CheckRuns[run.Name+"/"+st.Suites[i].Name] = maxID
	}
	if st.Report != nil {
		report.Message, report.Digest = st.Report.Message, st.Report.Digest
	}
	st.Report = &report
	return size(st) + max(0, reportMessage-len(report.Message))
}

// maxID is the largest GitHub id that space is reserved for.
const maxID = 999_999_999_999_999

// size returns the length of the JSON, in bytes. Encoding a Run never fails.
func size(v any) int {
	data, _ := json.Marshal(v)
	return len(data)
}

// steps shorten a status, mildest first: they drop texts, attempts that were followed by others or whose suite is complete, times, and
// what the record holds in full.
var steps = []func(*v1alpha1.RunStatus){
	texts(8192), texts(2048), texts(512), foldFollowed, texts(128), foldEnded, dropTimes, texts(48), dropMessages, dropDetails,
}

// Bound shortens a Run's status step by step until the Run is small enough, and reports whether it is. Logs keep their end, sentences
// their beginning. The first step only enforces the API's own limits, so a small status does not change.
func Bound(run *v1alpha1.Run) bool {
	for _, shorten := range steps {
		shorten(&run.Status)
		if Fits(run) {
			return true
		}
	}
	return false
}

// texts truncates every text to the given length and to the limits of the API. The messages of the Run and of the stages are the most
// important, so they stay longer.
func texts(most int) func(*v1alpha1.RunStatus) {
	return func(st *v1alpha1.RunStatus) {
		sentence := max(most, 192)
		st.Message = text.Truncate(st.Message, min(sentence, 4096))
		for i := range st.Conditions {
			st.Conditions[i].Message = text.Truncate(st.Conditions[i].Message, min(sentence, 2048))
		}
		for i := range st.Suites {
			suiteTexts(&st.Suites[i], most)
		}
		for i := range st.Images {
			st.Images[i].Log = text.Tail(st.Images[i].Log, most)
		}
		for i := range st.Services {
			st.Services[i].Message = text.Truncate(st.Services[i].Message, min(most, 2048))
			st.Services[i].URLProblem = text.Truncate(st.Services[i].URLProblem, min(most, 2048))
		}
		for i := range st.StackImages {
			st.StackImages[i].Problem = text.Truncate(st.StackImages[i].Problem, min(most, 512))
		}
		for i := range st.Notes {
			st.Notes[i] = text.Truncate(st.Notes[i], min(most, 512))
		}
	}
}

// suiteTexts truncates the texts of a suite, and its lists of failures and problems.
func suiteTexts(st *v1alpha1.SuiteStatus, most int) {
	st.Log, st.Message = text.Tail(st.Log, most), text.Truncate(st.Message, min(most, 2048))
	st.Failures = st.Failures[:min(len(st.Failures), most/48-1, 10)]
	for i := range st.Failures {
		f := &st.Failures[i]
		f.Name, f.File, f.Message = text.Truncate(f.Name, min(most, 512)), text.Truncate(f.File, min(most, 512)), text.Truncate(f.Message, min(most, 1024))
	}
	st.Problems = st.Problems[:min(len(st.Problems), max(1, most/48-1), 10)]
	for i := range st.Problems {
		st.Problems[i] = text.Truncate(st.Problems[i], min(most, 512))
	}
	for i := range st.Attempts {
		st.Attempts[i].Message = text.Truncate(st.Attempts[i].Message, min(most, 1024))
	}
}

// dropTimes removes the times of images and attempts, and the names of completed Jobs.
func dropTimes(st *v1alpha1.RunStatus) {
	for i := range st.Images {
		if img := &st.Images[i]; img.Digest != "" {
			img.Job, img.StartedAt, img.FinishedAt = "", nil, nil
		}
	}
	for i := range st.Suites {
		for j := range st.Suites[i].Attempts {
			a := &st.Suites[i].Attempts[j]
			if a.CreatedAt = nil; a.Outcome != "" {
				a.StartedAt, a.FinishedAt = nil, nil
			}
		}
	}
}

// dropMessages removes the messages of services and suites, and the notes. For an image whose metadata could not be read it keeps that
// fact but not the cause. The Run's message still explains its outcome.
func dropMessages(st *v1alpha1.RunStatus) {
	for i := range st.Conditions {
		st.Conditions[i].Message = text.Truncate(st.Conditions[i].Message, 40)
	}
	for i := range st.Services {
		st.Services[i].Message, st.Services[i].URLProblem = "", text.Truncate(st.Services[i].URLProblem, 24)
	}
	for i := range st.StackImages {
		st.StackImages[i].Problem = text.Truncate(st.StackImages[i].Problem, len(text.Ellipsis))
	}
	for i := range st.Suites {
		s := &st.Suites[i]
		s.Message, s.Log, s.Failures, s.Problems = "", "", nil, nil
		for j := range s.Attempts {
			s.Attempts[j].Message = ""
		}
	}
	for i := range st.Images {
		st.Images[i].Log = ""
	}
	st.Notes = nil
}

// dropDetails reduces completed suites to their outcome: the record holds their times and results.
func dropDetails(st *v1alpha1.RunStatus) {
	for i := range st.Suites {
		if s := &st.Suites[i]; s.Outcome != "" {
			s.StartedAt, s.FinishedAt, s.Totals, s.NewlyFailing, s.NewlyFixed = nil, nil, nil, nil, nil
		}
	}
}
