package compact

import (
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// Fold removes the ends of logs and the failures from a status, once the record holds them. Restore brings back what a report needs.
// Fold reports whether it removed anything.
func Fold(st *v1alpha1.RunStatus) bool {
	if st.Record == nil || st.Record.Folded || !hasTexts(st) {
		return false
	}
	for i := range st.Suites {
		st.Suites[i].Log, st.Suites[i].Failures = "", nil
	}
	for i := range st.Images {
		st.Images[i].Log = ""
	}
	for i := range st.Services {
		st.Services[i].Message = firstLine(st.Services[i].Message)
	}
	st.Record.Folded = true
	return true
}

// IsFolded reports whether only the record holds the logs and the failures of a Run.
func IsFolded(st *v1alpha1.RunStatus) bool { return st.Record != nil && st.Record.Folded }

// CanFold reports whether Fold would remove anything.
func CanFold(st *v1alpha1.RunStatus) bool {
	return st.Record != nil && !st.Record.Folded && hasTexts(st)
}

func hasTexts(st *v1alpha1.RunStatus) bool {
	return slices.ContainsFunc(st.Suites, func(s v1alpha1.SuiteStatus) bool { return s.Log != "" || len(s.Failures) > 0 }) ||
		slices.ContainsFunc(st.Images, func(i v1alpha1.ImageStatus) bool { return i.Log != "" }) ||
		slices.ContainsFunc(st.Services, func(s v1alpha1.ServiceStatus) bool { return firstLine(s.Message) != s.Message })
}

// Restore returns a copy of a folded Run with the texts of its record, for a report. The failing tests are in the record's suites.
func Restore(run *v1alpha1.Run, record evidence.Result) *v1alpha1.Run {
	out := run.DeepCopy()
	for _, kept := range record.Suites {
		for i := range out.Status.Suites {
			if s := &out.Status.Suites[i]; s.Name == kept.Name && s.Log == "" {
				s.Log = kept.Log
			}
		}
	}
	for _, kept := range record.Images {
		for i := range out.Status.Images {
			if img := &out.Status.Images[i]; img.Name == kept.Name && img.Log == "" {
				img.Log = kept.Log
			}
		}
	}
	for _, kept := range record.Services {
		for i := range out.Status.Services {
			if s := &out.Status.Services[i]; s.Name == kept.Name && firstLine(kept.Message) == s.Message {
				s.Message = kept.Message
			}
		}
	}
	out.Status.Record.Folded = false
	return out
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
