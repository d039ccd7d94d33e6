package report

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/stage"
)

var update = flag.Bool("update", false, "write the golden files anew")

var start = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func at(seconds int) *metav1.MicroTime {
	t := metav1.NewMicroTime(start.Add(time.Duration(seconds) * time.Second))
	return &t
}

// fresh is a Run that has not started.
func fresh() *v1alpha1.Run {
	return &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: "acme-shop-0123456789", UID: "8c2b"},
		Spec: v1alpha1.RunSpec{
			Repository: v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop", HTMLURL: "https://github.com/acme/shop"},
			Ref:        "refs/tags/run-integration-tests", SHA: "4f3c2b1a09876543210fedcba98765432101abcd",
			Trust: v1alpha1.TrustProtected, Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerTag},
			Actor: v1alpha1.Actor{Login: "octocat"},
		},
	}
}

// stage sets a stage's condition and times; to < 0 leaves it open.
func (r runBuilder) stage(condition string, status metav1.ConditionStatus, reason, message string, from, to int) runBuilder {
	r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: condition, Status: status, Reason: reason, Message: message})
	if st := stage.Of(condition); st != nil && st.Title != "" && from >= 0 {
		t := v1alpha1.StageTime{Name: st.Name, StartedAt: at(from)}
		if to >= 0 {
			t.FinishedAt = at(to)
		}
		r.Status.Stages = append(r.Status.Stages, t)
	}
	return r
}

type runBuilder struct{ *v1alpha1.Run }

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unknown = metav1.ConditionUnknown
)

func (r runBuilder) checkedOut() runBuilder {
	r.Status.StartedAt = at(0)
	return r.stage(v1alpha1.ConditionCheckedOut, yes, v1alpha1.ReasonDone, ".conductor.yaml: 2 images to build, 2 suites", 0, 1).
		stage(v1alpha1.ConditionSecretsSynced, yes, v1alpha1.ReasonNothingToDo, "No secret is declared", 1, 1)
}

func (r runBuilder) built() runBuilder {
	for i, name := range []string{"backend", "tests"} {
		r.Status.Images = append(r.Status.Images, v1alpha1.ImageStatus{
			Name: name, Repository: "registry.example.com/acme/shop/" + name, Digest: "sha256:" + strings.Repeat(fmt.Sprint(i+1, "a"), 32),
			StartedAt: at(1), FinishedAt: at(31 + i*12),
		})
	}
	return r.stage(v1alpha1.ConditionImagesBuilt, yes, v1alpha1.ReasonDone, "2 images built", 1, 43)
}

func (r runBuilder) up() runBuilder {
	r.Status.Namespace = "stack-" + r.Name
	r.Status.Services = []v1alpha1.ServiceStatus{
		{Name: "backend", State: v1alpha1.ServiceReady, URL: "https://backend-acme-shop-0123456789.qa.example.com"},
		{Name: "migrate", State: v1alpha1.ServiceCompleted},
		{Name: "redis", State: v1alpha1.ServiceReady, PortForward: "kubectl -n stack-acme-shop-0123456789 port-forward service/redis 6379"},
	}
	r.Status.Notes = []string{"docker-compose.qa.yml:12: restart: on-failure is approximated by Always", "docker-compose.qa.yml:20: container_name is not used"}
	return r.stage(v1alpha1.ConditionStackReady, yes, v1alpha1.ReasonDone, "3 services are up", 2, 50)
}

func (r runBuilder) suites(unit, e2e v1alpha1.SuiteStatus) runBuilder {
	unit.Name, e2e.Name = "unit", "e2e"
	r.Status.Suites = []v1alpha1.SuiteStatus{e2e, unit}
	return r
}

func (r runBuilder) ended(o v1alpha1.Outcome, message string, seconds int) *v1alpha1.Run {
	r.Status.Outcome, r.Status.Message, r.Status.FinishedAt = o, message, at(seconds)
	if r.Status.Namespace != "" {
		r.Status.Keep = "24h0m0s"
		e := metav1.NewTime(start.Add(24*time.Hour + time.Duration(seconds)*time.Second))
		r.Status.ExpiresAt = &e
		r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStackKept, Status: yes, Reason: v1alpha1.ReasonDone})
	}
	return r.Run
}

// skipped adds the conditions of stages that were not reached.
func (r runBuilder) skipped(reason string, conditions ...string) runBuilder {
	for _, c := range conditions {
		r = r.stage(c, no, reason, "Not finished", -1, -1)
	}
	return r
}

func suite(outcome v1alpha1.Outcome, exit, from, to int, log string) v1alpha1.SuiteStatus {
	return v1alpha1.SuiteStatus{Outcome: outcome, ExitCode: new(int32(exit)), StartedAt: at(from), FinishedAt: at(to), Log: log}
}

func passed() *v1alpha1.Run {
	return runBuilder{fresh()}.checkedOut().built().up().
		suites(suite(v1alpha1.OutcomePassed, 0, 50, 62, "41 passed\n"), suite(v1alpha1.OutcomePassed, 0, 50, 110, "7 passed\n")).
		stage(v1alpha1.ConditionTestsPassed, yes, v1alpha1.ReasonDone, "2 suites passed", 50, 110).
		ended(v1alpha1.OutcomePassed, "2 suites passed", 110)
}

func failed() *v1alpha1.Run {
	return runBuilder{fresh()}.checkedOut().built().up().
		suites(suite(v1alpha1.OutcomePassed, 0, 50, 62, "41 passed\n"),
			suite(v1alpha1.OutcomeFailed, 1, 50, 110, "\x1b[31mFAIL\x1b[0m checkout.spec.ts\n  expected 200, got 502\n6 passed, 1 failed\n")).
		stage(v1alpha1.ConditionTestsPassed, no, v1alpha1.ReasonTestsFailed, "1 of 2 suites failed", 50, 110).
		ended(v1alpha1.OutcomeFailed, "1 of 2 suites failed", 110)
}

func broken(reason, message string) *v1alpha1.Run {
	r := runBuilder{fresh()}
	r.Status.StartedAt = at(0)
	return r.stage(v1alpha1.ConditionCheckedOut, no, reason, message, 0, 1).
		skipped(v1alpha1.ReasonSkipped, v1alpha1.ConditionSecretsSynced, v1alpha1.ConditionImagesBuilt, v1alpha1.ConditionStackReady, v1alpha1.ConditionTestsPassed).
		ended(v1alpha1.OutcomeError, message, 1)
}

func buildFailed() *v1alpha1.Run {
	r := runBuilder{fresh()}.checkedOut()
	var log strings.Builder
	for i := range 30 {
		fmt.Fprintf(&log, "npm error line %d\n", i+1)
	}
	r.Status.Images = []v1alpha1.ImageStatus{
		{Name: "backend", Repository: "registry.example.com/acme/shop/backend", StartedAt: at(1), FinishedAt: at(20), Log: log.String()},
		{Name: "tests", StartedAt: at(1)},
	}
	message := "The image backend could not be built: exit code 1"
	return r.suites(v1alpha1.SuiteStatus{}, v1alpha1.SuiteStatus{}).
		stage(v1alpha1.ConditionImagesBuilt, no, v1alpha1.ReasonBuildFailed, message, 1, 20).
		skipped(v1alpha1.ReasonSkipped, v1alpha1.ConditionStackReady, v1alpha1.ConditionTestsPassed).
		ended(v1alpha1.OutcomeError, message, 20)
}

func stackFailed(reason, message, service string) *v1alpha1.Run {
	r := runBuilder{fresh()}.checkedOut().built()
	r.Status.Namespace = "stack-" + r.Name
	r.Status.Services = []v1alpha1.ServiceStatus{
		{Name: "backend", State: v1alpha1.ServiceFailed, Message: service},
		{Name: "redis", State: v1alpha1.ServiceReady, PortForward: "kubectl -n stack-acme-shop-0123456789 port-forward service/redis 6379"},
		{Name: "web", State: v1alpha1.ServiceWaiting, Message: "waits for backend"},
	}
	return r.suites(v1alpha1.SuiteStatus{}, v1alpha1.SuiteStatus{}).
		stage(v1alpha1.ConditionStackReady, no, reason, message, 2, 95).
		skipped(v1alpha1.ReasonSkipped, v1alpha1.ConditionTestsPassed).
		ended(v1alpha1.OutcomeError, message, 95)
}

func timedOut() *v1alpha1.Run {
	message := "Suite e2e exceeded tests.e2e.timeout (30m)"
	s := v1alpha1.SuiteStatus{Outcome: v1alpha1.OutcomeError, Message: "it exceeded tests.e2e.timeout (30m)", StartedAt: at(50), FinishedAt: at(1850), Log: "waiting for backend...\n"}
	return runBuilder{fresh()}.checkedOut().built().up().
		suites(suite(v1alpha1.OutcomePassed, 0, 50, 62, "41 passed\n"), s).
		stage(v1alpha1.ConditionTestsPassed, no, v1alpha1.ReasonTimeout, message, 50, 1850).
		ended(v1alpha1.OutcomeError, message, 1850)
}

func canceled() *v1alpha1.Run {
	r := runBuilder{fresh()}.checkedOut()
	r.Spec.Cancel = &v1alpha1.Cancel{By: "hubot", Reason: "a newer commit was pushed"}
	r.Status.Images = []v1alpha1.ImageStatus{{Name: "backend", StartedAt: at(1)}}
	return r.suites(v1alpha1.SuiteStatus{}, v1alpha1.SuiteStatus{}).
		stage(v1alpha1.ConditionImagesBuilt, no, v1alpha1.ReasonCanceled, "Not finished", 1, 9).
		skipped(v1alpha1.ReasonCanceled, v1alpha1.ConditionStackReady, v1alpha1.ConditionTestsPassed).
		ended(v1alpha1.OutcomeCanceled, "Canceled by hubot: a newer commit was pushed", 9)
}

// edit changes a Run in place.
func edit(run *v1alpha1.Run, f func(*v1alpha1.Run)) *v1alpha1.Run { f(run); return run }

var cases = map[string]*v1alpha1.Run{
	"pending": fresh(),
	"running-checkout": edit(fresh(), func(r *v1alpha1.Run) {
		r.Status.StartedAt = at(0)
		runBuilder{r}.stage(v1alpha1.ConditionCheckedOut, unknown, v1alpha1.ReasonInProgress, "Reading .conductor.yaml and the compose files at 4f3c2b1a0987", 0, -1)
	}),
	"running-builds": edit(fresh(), func(r *v1alpha1.Run) {
		runBuilder{r}.checkedOut().suites(v1alpha1.SuiteStatus{}, v1alpha1.SuiteStatus{}).
			stage(v1alpha1.ConditionImagesBuilt, unknown, v1alpha1.ReasonInProgress, "Building backend, tests", 1, -1)
		r.Status.Images = []v1alpha1.ImageStatus{{Name: "backend", StartedAt: at(1)}, {Name: "tests", StartedAt: at(1)}}
	}),
	"running-stack": edit(fresh(), func(r *v1alpha1.Run) {
		runBuilder{r}.checkedOut().built().up().stage(v1alpha1.ConditionStackReady, unknown, v1alpha1.ReasonInProgress, "Waiting for backend: GET /health returned 503", 2, -1)
		// Replace the condition that up set: the stack is not ready yet.
		r.Status.Conditions = append(r.Status.Conditions[:3], r.Status.Conditions[4])
		r.Status.Stages = append(r.Status.Stages[:3], r.Status.Stages[4])
		r.Status.Services[0].State, r.Status.Services[0].Message = v1alpha1.ServiceStarting, "GET /health returned 503"
	}),
	"running-tests": edit(fresh(), func(r *v1alpha1.Run) {
		runBuilder{r}.checkedOut().built().up().
			suites(v1alpha1.SuiteStatus{StartedAt: at(50)}, v1alpha1.SuiteStatus{StartedAt: at(50)}).
			stage(v1alpha1.ConditionTestsPassed, unknown, v1alpha1.ReasonInProgress, "Running e2e, unit", 50, -1)
	}),
	"canceling": edit(fresh(), func(r *v1alpha1.Run) {
		runBuilder{r}.checkedOut()
		r.Spec.Cancel = &v1alpha1.Cancel{By: "hubot"}
	}),
	"passed": passed(),
	"failed": failed(),
	"no-config": broken(v1alpha1.ReasonNotFound,
		"The repository's root has no .conductor.yaml. It has .conductor.yml: rename it"),
	"bad-yaml": broken(v1alpha1.ReasonInvalidConfig,
		".conductor.yaml:3:1: testz: There is no such key; did you mean tests?\n-testz:\n+tests:\n"+
			".conductor.yaml:5:9: stack.public[0].port: 99999 is not between 1 and 65535\n   port: 99999"),
	"no-config-at-all": broken(v1alpha1.ReasonNotFound, "The repository's root has no .conductor.yaml. Three lines are enough:\n"+
		"version: 1\ntests:\n  integration: go test ./... # a guess from go.mod"),
	"bad-compose": broken(v1alpha1.ReasonInvalidCompose,
		"docker-compose.qa.yml:7: services.backend.privileged: refused, because a stack's pods may not be privileged"),
	"build-failed": buildFailed(),
	"image-unavailable": stackFailed(v1alpha1.ReasonImageUnavailable, "backend: the image ghcr.io/acme/backend:nope cannot be pulled: not found",
		"the image ghcr.io/acme/backend:nope cannot be pulled: not found"),
	"unhealthy": stackFailed(v1alpha1.ReasonUnhealthy, "backend was not healthy within 10m: GET /health returned 503", "GET /health returned 503"),
	"timeout":   timedOut(),
	"canceled":  canceled(),
	"fork":      edit(passed(), func(r *v1alpha1.Run) { r.Spec.Trust, r.Spec.Ref = v1alpha1.TrustFork, "refs/pull/12/head" }),
	"forever":   edit(passed(), func(r *v1alpha1.Run) { r.Status.Keep, r.Status.ExpiresAt = "forever", nil }),
	"idle":      edit(passed(), func(r *v1alpha1.Run) { r.Status.Idle = &metav1.Duration{Duration: 2 * time.Hour} }),
	"expiring": edit(passed(), func(r *v1alpha1.Run) {
		r.Spec.Extension = &v1alpha1.Extension{By: "oct<o>cat", Until: r.Status.ExpiresAt}
		c := &r.Status.Conditions[len(r.Status.Conditions)-1]
		c.Reason, c.Message = v1alpha1.ReasonExpiring, "The stack will be deleted in less than an hour"
	}),
	"extended-forever": edit(passed(), func(r *v1alpha1.Run) { r.Spec.Extension, r.Status.ExpiresAt = &v1alpha1.Extension{By: "octocat"}, nil }),
	"taken-down": edit(passed(), func(r *v1alpha1.Run) {
		c := &r.Status.Conditions[len(r.Status.Conditions)-1]
		c.Status, c.Reason, c.Message = no, v1alpha1.ReasonCanceled, "Taken down by octocat: #12 was closed"
	}),
	"address-refused": edit(passed(), func(r *v1alpha1.Run) {
		r.Status.Services[0].URLProblem = "The address does not work: the Gateway gateways/public rejected it (NotAllowedByListeners): no listener allows <stack-shop>. " +
			"Ask the operator to allow routes from the stacks' namespaces on a listener of the Gateway (allowedRoutes)."
	}),
	"expired": edit(passed(), func(r *v1alpha1.Run) {
		c := &r.Status.Conditions[len(r.Status.Conditions)-1]
		c.Status, c.Reason = no, v1alpha1.ReasonExpired
		r.Status.ExpiresAt = nil
	}),
}

func TestCommentAndChecksAreAsInTheGoldenFiles(t *testing.T) {
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString(Comment(run, results[name], "", start.Add(2*time.Hour)))
			for _, c := range CheckRuns(run, nil, results[name], "") {
				fmt.Fprintf(&b, "\n======== check run %q (%s) %s %s\nstarted %s, completed %s\ntitle: %s\n-------- summary\n%s-------- text\n%s",
					c.Name, c.ExternalID, c.Status, c.Conclusion, clock(c.StartedAt), clock(c.CompletedAt), c.Title, c.Summary, c.Text)
				for _, a := range c.Annotations {
					fmt.Fprintf(&b, "-------- %s %s:%d-%d %s\n%s\n---- details\n%s\n", a.Level, a.Path, a.StartLine, a.EndLine, a.Title, a.Message, a.RawDetails)
				}
			}
			file := filepath.Join("testdata", name+".md")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", file, diff)
			}
		})
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("15:04:05")
}
