package run

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
)

// newCheckout is a Run of a commit with files, of which nothing is read yet.
func newCheckout(t *testing.T, files map[string]string) (*rig, *oneCommit) {
	t.Helper()
	w := newRig(t, nil)
	commit := &oneCommit{files: files}
	w.plan, w.GitHub = nil, commit
	w.run.Spec.Repository.HTMLURL = "https://github.com/acme/shop"
	w.run.Spec.Ceilings.Files = "256Mi"
	t.Cleanup(func() { w.release(w.run) })
	return w, commit
}

func shopFiles() map[string]string {
	return map[string]string{
		".conductor.yaml":       "version: 1\ntests: {e2e: {image: busybox, command: run}}\nkeep: 2h\n",
		"docker-compose.qa.yml": "services: {web: {build: .}}\n", "Dockerfile": "FROM scratch\n",
	}
}

// A commit is read once, kept as the Run's source artifact and planned beside the worker; the status then has what the plan found.
func TestACommitIsReadAndPlanned(t *testing.T) {
	w, commit := newCheckout(t, shopFiles())
	first := w.state()
	if err := w.reconcileCheckout(t.Context(), first); !errors.Is(err, errOtherRuns) || w.run.Status.Step == nil {
		t.Fatalf("the step is stored before it begins: %v, %+v", err, w.run.Status.Step)
	}
	wantText(t, condition(first, v1alpha1.ConditionCheckedOut).Message, ".conductor.yaml", strings.Repeat("a", 12))
	for range 2 {
		s, err := w.reconcile(w.reconcileCheckout)
		if err != nil || s.plan == nil || len(s.plan.Builds) != 1 {
			t.Fatalf("%v, plan %+v", err, s.plan)
		}
		s.plan.release()
		if c := condition(s, v1alpha1.ConditionCheckedOut); c.Status != metav1.ConditionTrue || c.Message != ".conductor.yaml: 1 image to build, 1 suite" {
			t.Errorf("%+v", c)
		}
	}
	st := w.run.Status
	if len(st.Images) != 1 || st.Images[0].Name != "web" || len(st.Suites) != 1 || st.Keep != "2h0m0s" || st.Source == nil || st.Step != nil ||
		st.Branch != "7-fix" || st.Issue != 7 {
		t.Errorf("status %+v", st)
	}
	if commit.archives != 1 || w.planner.count() != 1 {
		t.Errorf("read %d times, planned %d times", commit.archives, w.planner.count())
	}
}

func TestACommitThatCannotBeReadOrPlannedIsReported(t *testing.T) {
	for _, tc := range []struct {
		name   string
		set    func(*rig, *oneCommit)
		kind   failure.Kind
		reason string
		want   string
	}{
		{"GitHub is away", func(_ *rig, c *oneCommit) {
			c.err = failure.Transientf(v1alpha1.ReasonUnavailable, nil, "GitHub did not answer")
		}, failure.Transient, v1alpha1.ReasonUnavailable, "GitHub did not answer"},
		{"the commit is gone", func(_ *rig, c *oneCommit) {
			c.err = failure.Terminalf(v1alpha1.ReasonNotFound, nil, "There is no such commit")
		}, failure.Terminal, v1alpha1.ReasonNotFound, "no such commit"},
		{"no configuration", func(_ *rig, c *oneCommit) { delete(c.files, ".conductor.yaml") }, failure.Terminal, v1alpha1.ReasonNotFound,
			".conductor.yaml"},
		{"a configuration that is not valid", func(_ *rig, c *oneCommit) { c.files[".conductor.yaml"] = "version: 7\n" }, failure.Terminal,
			v1alpha1.ReasonInvalidConfig, ".conductor.yaml"},
		{"a compose file that is not valid", func(_ *rig, c *oneCommit) { c.files["docker-compose.qa.yml"] = "services: 7\n" }, failure.Terminal,
			v1alpha1.ReasonInvalidCompose, "docker-compose.qa.yml"},
		{"too expensive to plan", func(w *rig, _ *oneCommit) {
			w.planner.err = failure.Terminalf(v1alpha1.ReasonRefused, nil, "It needs too much memory")
		}, failure.Terminal, v1alpha1.ReasonRefused, "too much memory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, commit := newCheckout(t, shopFiles())
			tc.set(w, commit)
			s, err := w.reconcile(w.reconcileCheckout)
			wantFailure(t, err, tc.kind, tc.reason, tc.want)
			if s.plan != nil || !s.isOpen(v1alpha1.ConditionCheckedOut) {
				t.Errorf("plan %+v, %+v", s.plan, condition(s, v1alpha1.ConditionCheckedOut))
			}
		})
	}
}

// A planner that fails for another reason than the files is a wait that the stage's deadline counts; its end is forgotten.
func TestAPlannerThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newCheckout(t, shopFiles())
		w.planner.err = errors.New("the child was killed")
		if _, err := w.reconcile(w.reconcileCheckout); failure.Of(err).Kind != failure.Transient {
			t.Fatalf("the first attempt: %v", err)
		}
		_, err := w.reconcile(w.reconcileCheckout)
		wantFailure(t, err, failure.Waiting, v1alpha1.ReasonUnavailable)
		if errors.Is(err, errOtherRuns) {
			t.Errorf("the stage's deadline does not count it: %v", err)
		}
		w.planner.mu.Lock()
		w.planner.err = nil
		w.planner.mu.Unlock()
		for range 10 {
			time.Sleep(time.Second)
			if s, err := w.reconcile(w.reconcileCheckout); err == nil && s.plan != nil {
				return
			}
		}
		t.Error("the run is not planned once the planner works")
	})
}

// Files that a checkout left out are fetched when the plan needs them, and then the Run is planned again.
func TestFilesThatAPlanNeedsAreFetched(t *testing.T) {
	w, commit := newCheckout(t, heavy())
	for path, content := range shopFiles() {
		commit.files[path] = content
	}
	asked := 0
	w.planner.answer = func(in plan.Input) plan.Answer {
		asked++
		for _, path := range in.Absent {
			if path == "large.bin" {
				return plan.Answer{Absent: []string{path}}
			}
		}
		return plan.Answered(plan.Make(in))
	}
	for range 3 {
		s, err := w.reconcile(w.reconcileCheckout)
		if err != nil {
			t.Fatal(err)
		}
		if s.plan != nil {
			break
		}
	}
	if s, err := w.reconcile(w.reconcileCheckout); err != nil || s.plan == nil || asked != 2 || commit.archives != 1 {
		t.Errorf("%v; planned %d times, read %d times", err, asked, commit.archives)
	}
}

func TestTheWaitForAPlanNamesTheOthers(t *testing.T) {
	for n, want := range map[int]string{0: "Planning", 1: "Planning", 2: "2 runs are planned one after the other (planning.atOnce)"} {
		wantText(t, planWait(n), want)
	}
}

func TestNoSecretIsWaitedFor(t *testing.T) {
	w := newRig(t, nil)
	for _, tc := range []struct {
		plan   *loaded
		status metav1.ConditionStatus
	}{{nil, ""}, {w.plan, metav1.ConditionTrue}, {w.plan, metav1.ConditionTrue}} {
		s := w.state()
		s.plan = tc.plan
		if err := w.reconcileSecrets(t.Context(), s); err != nil || condition(s, v1alpha1.ConditionSecretsSynced).Status != tc.status {
			t.Errorf("%v, %+v", err, condition(s, v1alpha1.ConditionSecretsSynced))
		}
	}
}
