package compact

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/stage"
)

// Plan is what a Run's status will have to list.
type Plan struct {
	// Builds are the names of the images to build; Repository is where they are pushed, without the image's name.
	Builds     []string
	Repository string
	// Images are the references of the other images in the stack.
	Images []string
	// Services are the compose services.
	Services []string
	// Addresses are the public addresses of services, or the commands that reach them.
	Addresses map[string]string
	Suites    []Suite
}

// Suite is the maximum number of executions of a suite: Tries for each shard.
type Suite struct {
	Name          string
	Shards, Tries int
}

// Check rejects a plan whose Run could become too large. It builds the largest status that the plan can lead to and shortens it: the
// texts of a Run can be truncated, its names cannot.
func (p Plan) Check(run *v1alpha1.Run) error {
	for _, open := range []int{0, openSuites} {
		worst := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: run.Name}, Spec: run.Spec, Status: p.worst(open)}
		if !Bound(worst) {
			return p.refusal(worst)
		}
	}
	return nil
}

func (p Plan) refusal(worst *v1alpha1.Run) error {
	attempts := 0
	for _, s := range p.Suites {
		attempts += s.Shards * s.Tries
	}
	return fmt.Errorf("the run's status would need %d KiB, but the limit is %d KiB: it lists %d services, %d images to build, %d other images, and %d suites with %d attempts by their names. Use shorter names, or fewer of them",
		(statusSize(worst)+1023)>>10, room(worst)>>10, len(p.Services), len(p.Builds), len(p.Images), len(p.Suites), attempts)
}

// openSuites is the most suites that have attempts and no outcome: the running one and the next, whose pods are created in the
// meantime.
const openSuites = 2

// maxStackImages is the most images whose metadata is read.
const maxStackImages = 64

// worst returns the largest status that a plan can lead to while the given number of suites is open. Its texts grow sixfold in JSON. It
// assumes that the suites with the most shards are open, which is an upper bound for every order.
func (p Plan) worst(open int) v1alpha1.RunStatus {
	at := metav1.NewMicroTime(time.Date(2026, 12, 31, 23, 59, 59, 999_999_000, time.UTC))
	text := func(n int) string { return strings.Repeat("<", min(n, 48)) } // Bound truncates most of them to this length anyway.
	digest := "sha256:" + strings.Repeat("f", 64)
	label := strings.Repeat("n", 63)
	st := v1alpha1.RunStatus{
		ObservedGeneration: math.MaxInt32, Phase: v1alpha1.PhaseReporting, Outcome: v1alpha1.OutcomeCanceled, Message: strings.Repeat("<", 192), Issue: math.MaxInt32,
		IssueSource: "pull request", Branch: strings.Repeat("<", 256), Namespace: label, BuildsNamespace: label, StartedAt: &at, FinishedAt: &at, Keep: "8784h0m0s", Idle: &metav1.Duration{Duration: math.MaxInt64}, KeptAfterClose: true, ExpiresAt: &metav1.Time{Time: at.Time},
		Record: &v1alpha1.RecordStatus{Reference: p.Repository + label + label, Digest: digest, Size: math.MaxInt64},
		Source: &v1alpha1.SourceStatus{Reference: p.Repository + label + label, Digest: digest, Size: math.MaxInt64},
		Step:   &v1alpha1.StepStatus{Name: "reading the results of " + label, Suspect: true, Alone: true, Deaths: math.MaxInt16},
	}
	for _, condition := range allConditions() {
		st.Conditions = append(st.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonImageUnavailable, Message: text(2048),
			ObservedGeneration: math.MaxInt32, LastTransitionTime: metav1.NewTime(at.Time),
		})
		st.Stages = append(st.Stages, v1alpha1.StageTime{Name: condition, StartedAt: &at, FinishedAt: &at, FailingSince: &at})
	}
	for range 20 {
		st.Notes = append(st.Notes, text(512))
	}
	for _, name := range p.Builds {
		st.Images = append(st.Images, v1alpha1.ImageStatus{
			Name: name, Repository: p.Repository + "/" + name, Digest: digest, Job: label, StartedAt: &at, FinishedAt: &at, Log: text(8192),
		})
	}
	for _, name := range p.Images[:min(len(p.Images), maxStackImages)] {
		st.StackImages = append(st.StackImages, v1alpha1.StackImage{Name: name, Digest: digest, Problem: text(512)})
	}
	for _, name := range p.Services {
		s := v1alpha1.ServiceStatus{Name: name, State: v1alpha1.ServiceCompleted, Message: text(2048), URL: p.Addresses[name]}
		if s.URL != "" {
			s.URLProblem = text(2048)
		}
		st.Services = append(st.Services, s)
	}
	byShards := slices.SortedFunc(slices.Values(p.Suites), func(a, b Suite) int { return b.Shards - a.Shards })
	for i, s := range byShards {
		suite := worstSuite(s, &at, text)
		if i < open {
			suite.Outcome, suite.Totals = "", nil
		}
		st.Suites = append(st.Suites, suite)
	}
	return st
}

func worstSuite(s Suite, at *metav1.MicroTime, text func(int) string) v1alpha1.SuiteStatus {
	code, count := int32(-128), int32(9_999_999)
	st := v1alpha1.SuiteStatus{
		Name: s.Name, Outcome: v1alpha1.OutcomePassed, ExitCode: &code, Message: text(2048), Log: text(8192), StartedAt: at, FinishedAt: at,
		Shards: int32(s.Shards), Reason: v1alpha1.ReasonImageUnavailable, NewlyFailing: &count, NewlyFixed: &count,
		Totals: &v1alpha1.TestTotals{Tests: count, Passed: count, Failed: count, Errors: count, Skipped: count, Flaky: count},
	}
	for range 10 {
		st.Failures = append(st.Failures, v1alpha1.TestFailure{Name: text(512), File: text(512), Line: count, Message: text(1024)})
		st.Problems = append(st.Problems, text(512))
	}
	for shard := range s.Shards {
		for try := range s.Tries {
			st.Attempts = append(st.Attempts, v1alpha1.AttemptStatus{
				Shard: int32(shard), Number: int32(try + 1), Outcome: v1alpha1.OutcomePassed, ExitCode: &code, Reason: v1alpha1.ReasonImageUnavailable,
				Message: text(1024), CreatedAt: at, StartedAt: at, FinishedAt: at,
			})
		}
	}
	return st
}

// allConditions returns the conditions that a Run can have.
func allConditions() []string {
	all := []string{v1alpha1.ConditionStackHealthy}
	for _, st := range stage.Table {
		all = append(all, st.Condition)
	}
	return all
}
