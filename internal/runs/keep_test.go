package runs

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
)

// finished is a Run of an hour ago, which ended half an hour ago and whose stack is kept for four hours.
func finished(name string, repository int64) *v1alpha1.Run {
	r := run(name, repository, time.Hour)
	r.Spec.Ceilings = v1alpha1.Ceilings{KeepMax: metav1.Duration{Duration: 12 * time.Hour}}
	r.Status = v1alpha1.RunStatus{
		Outcome: v1alpha1.OutcomeFailed, Namespace: "stack-" + name, Keep: "4h0m0s", FinishedAt: &metav1.MicroTime{Time: now.Add(-30 * time.Minute)},
	}
	return r
}

func TestExtend(t *testing.T) {
	at := func(d time.Duration) time.Time { return now.Add(d) }
	for _, tc := range []struct {
		name   string
		change func(*v1alpha1.Run)
		ask    Extension
		want   time.Time
	}{
		{"longer", func(*v1alpha1.Run) {}, Extension{For: 6 * time.Hour}, at(6 * time.Hour)},
		{"for less than it has", func(*v1alpha1.Run) {}, Extension{For: time.Hour}, at(3*time.Hour + 30*time.Minute)},
		{"asked for before", func(*v1alpha1.Run) {}, Extension{For: 6 * time.Hour, AskedAt: at(-5 * time.Minute)}, at(6*time.Hour - 5*time.Minute)},
		{"beyond the ceiling", func(*v1alpha1.Run) {}, Extension{For: 12 * time.Hour}, at(11*time.Hour + 30*time.Minute)},
		{"forever", func(r *v1alpha1.Run) { r.Spec.Ceilings.KeepForever = true }, Extension{Forever: true}, time.Time{}},
		{"forever where it is not allowed", func(*v1alpha1.Run) {}, Extension{Forever: true}, at(11*time.Hour + 30*time.Minute)},
		{"what is kept forever", func(r *v1alpha1.Run) { r.Status.Keep = v1alpha1.Forever }, Extension{For: time.Hour}, time.Time{}},
		{"what is idle", func(r *v1alpha1.Run) { r.Status.Idle = &metav1.Duration{Duration: time.Hour} }, Extension{For: 2 * time.Hour}, at(2 * time.Hour)},
		{"what becomes idle later", func(r *v1alpha1.Run) { r.Status.Idle = &metav1.Duration{Duration: 2 * time.Hour} }, Extension{For: time.Hour}, at(2 * time.Hour)},
	} {
		r := finished("r1", 7)
		tc.change(r)
		s := service(t, interceptor.Funcs{}, r)
		tc.ask.By = person("write")
		for try := range 2 {
			got, err := s.Extend(t.Context(), "r1", tc.ask)
			if err != nil || !got.Equal(tc.want) {
				t.Errorf("%s, try %d: %s, %v, want %s", tc.name, try, got, err, tc.want)
			}
		}
		stored, err := s.Get(t.Context(), "r1")
		if err != nil {
			t.Fatal(err)
		}
		if e := stored.Expiry(); e.IsZero() != tc.want.IsZero() || e != nil && !e.Time.Equal(tc.want) {
			t.Errorf("%s: %s is stored, want %s", tc.name, e, tc.want)
		}
	}
}

func TestWhatCannotBeExtended(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.Run){
		"in progress": func(r *v1alpha1.Run) { r.Status.Outcome = "" },
		"expired":     func(r *v1alpha1.Run) { r.Status.Keep = "30m0s" },
		"taken down":  func(r *v1alpha1.Run) { r.Spec.Cancel = &v1alpha1.Cancel{By: "ada"} },
	} {
		r := finished("r1", 7)
		change(r)
		s := service(t, interceptor.Funcs{}, r)
		if _, err := s.Extend(t.Context(), "r1", Extension{By: person("write"), For: time.Hour}); !errors.Is(err, ErrNoStack) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Touch(t.Context(), "r1", person("write"), authority.Logs); !errors.Is(err, ErrNoStack) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := service(t, interceptor.Funcs{}, finished("r1", 7))
	for name, subject := range map[string]authority.Subject{"a reader": person("read"), "the poll": authority.TagPoll()} {
		_, err := s.Extend(t.Context(), "r1", Extension{By: subject, For: time.Hour})
		for _, err := range []error{err, s.Touch(t.Context(), "r1", subject, authority.Logs), s.Down(t.Context(), "r1", Cancellation{By: subject})} {
			if _, ok := errors.AsType[*authority.Refusal](err); !ok {
				t.Errorf("%s: %v, want a refusal", name, err)
			}
		}
	}
	if _, err := s.Extend(t.Context(), "unknown", Extension{By: person("write")}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

// Another writer's change between reading and writing costs a retry, not the extension.
func TestAnExtensionSurvivesAnotherWriter(t *testing.T) {
	var patches atomic.Int32
	s := service(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if patches.Add(1) == 1 {
			other := &v1alpha1.Run{}
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), other); err != nil {
				return err
			}
			other.Status.Message = "degraded"
			if err := c.Status().Update(ctx, other); err != nil {
				return err
			}
		}
		return c.Patch(ctx, o, p, opts...)
	}}, finished("r1", 7))
	want := now.Add(6 * time.Hour)
	if got, err := s.Extend(t.Context(), "r1", Extension{By: person("write"), For: 6 * time.Hour}); err != nil || !got.Equal(want) {
		t.Errorf("%s, %v", got, err)
	}
	if r, err := s.Get(t.Context(), "r1"); err != nil || !r.Expiry().Time.Equal(want) || r.Status.Message != "degraded" || patches.Load() != 2 {
		t.Errorf("expires %s, message %q, %d patches, %v", r.Expiry(), r.Status.Message, patches.Load(), err)
	}
}

func TestActivityIsStoredOnceAMinute(t *testing.T) {
	var patches int
	idle := finished("idle", 7)
	idle.Status.Idle = &metav1.Duration{Duration: time.Hour}
	s := service(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		patches++
		return c.Patch(ctx, o, p, opts...)
	}}, idle, finished("busy", 7))
	at := now
	s.Now = func() time.Time { return at }
	for i, step := range []struct {
		run     string
		after   time.Duration
		patches int
	}{{"busy", 0, 0}, {"idle", 0, 1}, {"idle", 59 * time.Second, 1}, {"idle", time.Minute, 2}, {"idle", 30 * time.Minute, 3}} {
		at = now.Add(step.after)
		if err := s.Touch(t.Context(), step.run, person("write"), authority.Status); err != nil || patches != step.patches {
			t.Errorf("step %d: %d patches, %v", i, patches, err)
		}
	}
	if r, err := s.Get(t.Context(), "idle"); err != nil || !r.Expiry().Time.Equal(now.Add(90*time.Minute)) {
		t.Errorf("expires %s, %v", r.Expiry(), err)
	}
}

func TestDownDeletesTheStackOfAFinishedRun(t *testing.T) {
	s := service(t, interceptor.Funcs{}, finished("r1", 7), run("running", 7, time.Hour))
	for range 2 {
		if err := s.Down(t.Context(), "r1", Cancellation{By: person("write"), Reason: "done"}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.Get(t.Context(), "r1"); err != nil || r.Spec.Cancel == nil || r.Spec.Cancel.Reason != "done" {
		t.Errorf("%+v, %v", r.Spec.Cancel, err)
	}
	if err := s.Down(t.Context(), "running", Cancellation{By: person("write")}); !errors.Is(err, ErrNoStack) {
		t.Errorf("a run in progress: %v", err)
	}
}

func TestCloseEachEndsRunsAndStacks(t *testing.T) {
	stays, later := finished("stays", 7), run("later", 7, 0)
	stays.Status.KeptAfterClose = true
	canceled := run("canceled", 7, time.Hour)
	canceled.Spec.Cancel, canceled.Status.Outcome = &v1alpha1.Cancel{By: "bob", At: metav1.NewTime(now)}, v1alpha1.OutcomeCanceled
	s := service(t, interceptor.Funcs{}, finished("done", 7), run("running", 7, time.Hour), run("other", 7, time.Hour), stays, later, canceled)
	c := Cancellation{By: person("none"), Reason: "#12 was closed", AskedAt: now.Add(-time.Second)}
	for try := range 2 {
		got, err := s.CloseEach(t.Context(), 7, c, func(r *v1alpha1.Run) bool { return r.Name != "other" })
		slices.Sort(got)
		if err != nil || !slices.Equal(got, []string{"done", "running"}) {
			t.Errorf("try %d: %q, %v", try, got, err)
		}
	}
	for _, by := range []authority.Subject{authority.TagPoll(), {}} {
		if _, err := s.CloseEach(t.Context(), 7, Cancellation{By: by}, func(*v1alpha1.Run) bool { return true }); err == nil {
			t.Errorf("%s may close", by.Kind)
		}
	}
}

func TestDownEachEndsTheStacksThatAreKept(t *testing.T) {
	later, gone, before := finished("later", 7), finished("gone", 7), finished("before", 7)
	later.CreationTimestamp = metav1.NewTime(now)
	meta.SetStatusCondition(&gone.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStackKept, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonExpired})
	before.Spec.Cancel = &v1alpha1.Cancel{By: "ada", At: metav1.NewTime(now.Add(-time.Hour))}
	canceled := finished("canceled", 7)
	canceled.Status.Outcome, canceled.Spec.Cancel = v1alpha1.OutcomeCanceled, &v1alpha1.Cancel{By: "ada", At: metav1.NewTime(now)}
	s := service(t, interceptor.Funcs{}, finished("r1", 7), finished("r2", 7), finished("elsewhere", 8), finished("other", 7), run("running", 7, time.Hour),
		later, gone, before, canceled)
	c := Cancellation{By: person("write"), Reason: "The pull request was closed", AskedAt: now.Add(-time.Second)}
	for try := range 2 {
		got, err := s.DownEach(t.Context(), 7, c, func(r *v1alpha1.Run) bool { return r.Name != "other" })
		slices.Sort(got)
		if err != nil || !slices.Equal(got, []string{"r1", "r2"}) {
			t.Errorf("try %d: %q, %v", try, got, err)
		}
	}
	got, err := s.CancelEach(t.Context(), 7, c, func(*v1alpha1.Run) bool { return true })
	if slices.Sort(got); err != nil || !slices.Equal(got, []string{"canceled", "running"}) {
		t.Errorf("canceled %q, %v", got, err)
	}
	for _, name := range []string{"later", "other", "elsewhere"} {
		if r, err := s.Get(t.Context(), name); err != nil || r.Spec.Cancel != nil {
			t.Errorf("%s lost its stack: %v", name, err)
		}
	}
	if _, err := s.DownEach(t.Context(), 7, Cancellation{By: person("read")}, func(*v1alpha1.Run) bool { return true }); err == nil {
		t.Error("a reader may take stacks down")
	}
}
