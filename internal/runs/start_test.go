package runs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

func person(p v1alpha1.Permission) authority.Subject {
	return authority.Commenter(v1alpha1.Actor{Login: "ada", Type: "User"}, p)
}

// starting returns a Service that can start Runs, and its log.
func starting(t *testing.T, github GitHub, funcs interceptor.Funcs, have ...*v1alpha1.Run) (*Service, *bytes.Buffer) {
	t.Helper()
	s, log := service(t, funcs, have...), &bytes.Buffer{}
	s.GitHub, s.Ceilings, s.Logger = github, func() v1alpha1.Ceilings { return v1alpha1.Ceilings{} }, slog.New(slog.NewTextHandler(log, nil))
	return s, log
}

func TestNoWayInGetsAroundTheAuthority(t *testing.T) {
	comment, tag := v1alpha1.Trigger{Kind: v1alpha1.TriggerComment, Delivery: "guid-1"}, v1alpha1.Trigger{Kind: v1alpha1.TriggerTag}
	for _, tc := range []struct {
		name  string
		req   Request
		head  v1alpha1.Head
		calls int
	}{
		{"without a subject", Request{Trigger: tag}, v1alpha1.Head{}, 0},
		{"without a trigger", Request{By: person("admin")}, v1alpha1.Head{}, 0},
		{"by a trigger without rules", Request{By: person("admin"), Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerAPI}}, v1alpha1.Head{}, 0},
		{"by a reader", Request{By: person("read"), Trigger: comment}, v1alpha1.Head{}, 0},
		{"by a reader on a fork", Request{By: person("read"), Trigger: comment}, v1alpha1.Head{Fork: true}, 0},
		{"of a fork's head", Request{By: person("admin"), Trigger: comment}, v1alpha1.Head{Ref: "refs/pull/1/head", SHA: "e", Fork: true}, 1},
	} {
		github := &commits{head: tc.head}
		s, log := starting(t, github, interceptor.Funcs{})
		tc.req.Name = "r1"
		_, err := s.Start(t.Context(), tc.req)
		if _, ok := errors.AsType[*authority.Refusal](err); !ok {
			t.Errorf("%s: %v, want a refusal", tc.name, err)
		}
		if list, err := s.List(t.Context(), 0); err != nil || len(list) != 0 || github.asked != tc.calls {
			t.Errorf("%s: %d runs, %d calls of GitHub, %v", tc.name, len(list), github.asked, err)
		}
		if want := "trace=" + cmp.Or(tc.req.Trigger.Delivery, "r1"); strings.Count(log.String(), "request refused") != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("%s: the log lacks %s:\n%s", tc.name, want, log)
		}
	}
}

func TestTheHeadOfAnIssueIsRun(t *testing.T) {
	github := &commits{head: v1alpha1.Head{Ref: "refs/heads/main", SHA: strings.Repeat("b", 40)}}
	s, log := starting(t, github, interceptor.Funcs{})
	req := Request{By: person("write"), Name: "r1", Issue: 12, Suites: []string{"e2e"}, Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerComment, Delivery: "guid-1"}}
	for range 2 {
		got, err := s.Start(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if spec := got.Spec; spec.Ref != github.head.Ref || spec.SHA != github.head.SHA || spec.Trust != v1alpha1.TrustUnprotected || spec.Issue != 12 ||
			spec.Actor.Login != "ada" || !slices.Equal(spec.Suites, []string{"e2e"}) {
			t.Errorf("%+v", spec)
		}
	}
	for _, want := range []string{"run started", "run exists already"} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 || strings.Count(log.String(), "trace=guid-1") != lines {
		t.Errorf("not every line has the trace:\n%s", log)
	}
}

func TestWhatTheAPIServerAnswersToANewRun(t *testing.T) {
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Run"}, "r1", nil)
	for want, answer := range map[failure.Kind]error{failure.Terminal: invalid, failure.Transient: errors.New("connection reset")} {
		s, _ := starting(t, &commits{}, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return answer }})
		_, err := s.Start(t.Context(), Request{By: authority.TagPoll(), Name: "r1", Ref: "refs/tags/x", Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerPoll}})
		if f := failure.Of(err); f == nil || f.Kind != want || !errors.Is(err, answer) {
			t.Errorf("%v: %v", answer, err)
		}
	}
}

func TestTraceOfARunThatNothingDeliveredIsItsName(t *testing.T) {
	if got := v1alpha1.TraceOf(run("r1", 7, 0)); got != "r1" {
		t.Errorf("trace %q", got)
	}
}

func TestCancelAsksTheAuthority(t *testing.T) {
	s, log := starting(t, nil, interceptor.Funcs{}, run("r1", 7, time.Minute))
	for name, by := range map[string]authority.Subject{
		"the zero subject": {}, "a reader": person("read"), "a bot": authority.Commenter(v1alpha1.Actor{Type: "Bot"}, "admin"), "the poll": authority.TagPoll(),
	} {
		c := Cancellation{By: by, Trace: "guid-1"}
		one := s.Cancel(t.Context(), "r1", c)
		_, each := s.CancelEach(t.Context(), 7, c, func(*v1alpha1.Run) bool { return true })
		for _, err := range []error{one, each, s.Cancel(t.Context(), "unknown", c)} {
			if _, ok := errors.AsType[*authority.Refusal](err); !ok {
				t.Errorf("%s: %v, want a refusal", name, err)
			}
		}
	}
	if got, err := s.Get(t.Context(), "r1"); err != nil || got.Spec.Cancel != nil {
		t.Errorf("%+v, %v", got.Spec.Cancel, err)
	}
	if err := s.Cancel(t.Context(), "r1", Cancellation{By: person("maintain"), Reason: "why", Trace: "guid-2"}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 13 || strings.Count(log.String(), "trace=guid-1") != 12 || !strings.Contains(log.String(), "trace=guid-2") {
		t.Errorf("%d lines:\n%s", lines, log)
	}
}

func TestCancelEachEndsWhatWasAskedForBefore(t *testing.T) {
	canceled := func(r *v1alpha1.Run, by string, at time.Time) *v1alpha1.Run {
		r.Status.Outcome, r.Spec.Cancel = v1alpha1.OutcomeCanceled, &v1alpha1.Cancel{By: by, At: metav1.NewTime(at)}
		return r
	}
	asked := now.Add(-10 * time.Second)
	passed, other := run("passed", 7, time.Hour), run("other", 7, time.Hour)
	passed.Status.Outcome = v1alpha1.OutcomePassed
	exact := run("exact", 7, 0)
	exact.Spec.Trigger.ReceivedAt = new(metav1.NewMicroTime(asked))
	s, _ := starting(t, nil, interceptor.Funcs{},
		run("old", 7, time.Hour), exact, run("later", 7, 5*time.Second), passed, other, run("elsewhere", 8, time.Hour),
		canceled(run("before", 7, time.Hour), "ada", asked.Add(-time.Minute)),
		canceled(run("by-bob", 7, time.Hour), "bob", asked),
		canceled(run("mine", 7, time.Hour), "ada", asked.Truncate(time.Second)),
	)
	c := Cancellation{By: person("write"), AskedAt: asked.Add(500 * time.Millisecond)}
	want := []string{"exact", "mine", "old"}
	for try := range 2 {
		got, err := s.CancelEach(t.Context(), 7, c, func(r *v1alpha1.Run) bool { return r.Name != "other" })
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("try %d: %q, %v", try, got, err)
		}
		// Before the second try, what was canceled has ended.
		ended, err := s.Get(t.Context(), "old")
		if err != nil {
			t.Fatal(err)
		}
		ended.Status.Outcome = v1alpha1.OutcomeCanceled
		if err := s.Client.Status().Update(t.Context(), ended); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"later", "passed", "other", "elsewhere"} {
		if got, err := s.Get(t.Context(), name); err != nil || got.Spec.Cancel != nil {
			t.Errorf("%s was canceled: %v", name, err)
		}
	}
	if got, err := s.CancelEach(t.Context(), 7, Cancellation{By: person("write")}, func(r *v1alpha1.Run) bool { return r.Name == "later" }); err != nil || len(got) != 1 {
		t.Errorf("without a time: %q, %v", got, err)
	}
}

func TestCancelEachPassesOverARunThatIsGoneAndReportsErrors(t *testing.T) {
	var answer error
	s, _ := starting(t, nil, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
			return errors.Join(c.List(ctx, list), answer)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if o.GetName() == "gone" {
				return apierrors.NewNotFound(schema.GroupResource{Resource: "runs"}, "gone")
			}
			if o.GetName() == "stuck" {
				return errors.New("connection reset")
			}
			return c.Patch(ctx, o, p, opts...)
		},
	}, run("gone", 7, time.Hour), run("here", 7, time.Hour), run("stuck", 8, time.Hour))
	all := func(*v1alpha1.Run) bool { return true }
	if got, err := s.CancelEach(t.Context(), 7, Cancellation{By: person("write")}, all); err != nil || !slices.Equal(got, []string{"here"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := s.CancelEach(t.Context(), 8, Cancellation{By: person("write")}, all); err == nil || got != nil {
		t.Errorf("%q, %v", got, err)
	}
	answer = errors.New("the API server is away")
	if _, err := s.CancelEach(t.Context(), 7, Cancellation{By: person("write")}, all); !errors.Is(err, answer) {
		t.Errorf("%v", err)
	}
}

func TestWhatWasPushedAfterAForksApprovalIsNotRun(t *testing.T) {
	read, pushed := strings.Repeat("e", 40), strings.Repeat("f", 40)
	github := &commits{head: v1alpha1.Head{Ref: "refs/pull/12/head", SHA: read, Fork: true}, pull: []string{read}}
	s, log := starting(t, github, interceptor.Funcs{})
	s.Forks = true
	req := Request{By: person("write"), Name: "r1", Issue: 12, NamedSHA: read[:12], Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerComment, Delivery: "guid-1"}}
	run, err := s.Start(t.Context(), req)
	if err != nil || run.Spec.SHA != read || run.Spec.Trust != v1alpha1.TrustFork {
		t.Fatalf("%+v, %v", run, err)
	}
	github.head.SHA, github.pull = pushed, []string{read, pushed}
	if again, err := s.Start(t.Context(), req); err != nil || again.Spec.SHA != read {
		t.Errorf("the same request, repeated: %+v, %v", again, err)
	}
	for name, named := range map[string]string{"r2": read[:12], "r3": read, "r4": ""} {
		req.Name, req.NamedSHA = name, named
		_, err := s.Start(t.Context(), req)
		if refusal, ok := errors.AsType[*authority.Refusal](err); !ok || !strings.Contains(refusal.Answer, "/conductor test --sha "+pushed) {
			t.Errorf("%q of the head before: %v", named, err)
		}
	}
	if list, err := s.List(t.Context(), 0); err != nil || len(list) != 1 || strings.Count(log.String(), "request refused") != 3 {
		t.Errorf("%d runs, %v:\n%s", len(list), err, log)
	}
}

func TestAForkNeedsTheOperatorAndGitHub(t *testing.T) {
	head := strings.Repeat("e", 40)
	github := &commits{head: v1alpha1.Head{Ref: "refs/pull/12/head", SHA: head, Fork: true}}
	s, _ := starting(t, github, interceptor.Funcs{})
	req := Request{By: person("admin"), Name: "r1", Issue: 12, NamedSHA: head, Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerComment}}
	if _, err := s.Start(t.Context(), req); err == nil || !strings.Contains(err.Error(), "comes from a fork") {
		t.Errorf("without the operator: %v", err)
	}
	s.Forks, github.err = true, errors.New("GitHub is away")
	if err := s.approve(t.Context(), Request{NamedSHA: head[:12], SHA: head}); !errors.Is(err, github.err) {
		t.Errorf("without GitHub: %v", err)
	}
}
