package runs

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func at(d time.Duration) *metav1.MicroTime {
	t := metav1.NewMicroTime(now.Add(d))
	return &t
}

func printed() []v1alpha1.Run {
	passed := run("acme-shop-1", 7, 10*time.Minute)
	passed.Spec.Trust, passed.Spec.Actor.Login, passed.Spec.Trigger = v1alpha1.TrustProtected, "ada", v1alpha1.Trigger{Kind: v1alpha1.TriggerTag, ReceivedAt: at(-10 * time.Minute)}
	expires := metav1.NewTime(now.Add(23*time.Hour + 50*time.Minute))
	passed.Status = v1alpha1.RunStatus{
		Phase: v1alpha1.PhaseFinished, Outcome: v1alpha1.OutcomePassed, Message: "All tests passed", Issue: 12, IssueSource: "branch", Namespace: "stack-acme-shop-1",
		StartedAt: at(-10*time.Minute + 40*time.Millisecond), FinishedAt: at(-8 * time.Minute), ExpiresAt: &expires, Keep: "24h0m0s",
		Stages: []v1alpha1.StageTime{
			{Name: "checkout", StartedAt: at(-10*time.Minute + 40*time.Millisecond), FinishedAt: at(-10*time.Minute + 700*time.Millisecond)},
			{Name: "tests", StartedAt: at(-9 * time.Minute), FinishedAt: at(-8 * time.Minute)},
		},
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionCheckedOut, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone, Message: "1 image to build"},
			{Type: v1alpha1.ConditionTestsPassed, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone, Message: "1 suite passed"},
		},
		Images:   []v1alpha1.ImageStatus{{Name: "web", Repository: "registry.example.com/acme/shop/web", Digest: "sha256:1234", StartedAt: at(-590 * time.Second), FinishedAt: at(-550 * time.Second)}},
		Services: []v1alpha1.ServiceStatus{{Name: "web", State: v1alpha1.ServiceReady, URL: "https://web.example.com"}},
		Suites:   []v1alpha1.SuiteStatus{{Name: "e2e", Outcome: v1alpha1.OutcomePassed, ExitCode: new(int32(0)), StartedAt: at(-9 * time.Minute), FinishedAt: at(-8 * time.Minute)}},
		Notes:    []string{"docker-compose.qa.yml:3: container_name is not used"},
	}
	testing := run("acme-shop-2", 7, 30*time.Second)
	testing.Spec.Ref = "refs/heads/evil\x1b[2J\x1b]0;title\x07\nrow"
	testing.Status.Phase, testing.Status.StartedAt = v1alpha1.PhaseTesting, at(-29500*time.Millisecond)
	testing.Status.Stages = []v1alpha1.StageTime{{Name: "tests", StartedAt: at(-4 * time.Second)}}
	testing.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionTestsPassed, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonInProgress, Message: "Running e2e\n\x1b[31mred"}}
	canceling := run("acme-shop-3", 7, time.Second)
	canceling.Spec.Cancel = &v1alpha1.Cancel{By: "ada"}
	forever := run("acme-shop-4", 7, 100*time.Hour)
	forever.Status = v1alpha1.RunStatus{Outcome: v1alpha1.OutcomeFailed, Namespace: "stack-acme-shop-4", Keep: "forever"}
	return []v1alpha1.Run{*canceling, *testing, *passed, *forever}
}

func TestPrintedIsAsInTheGoldenFile(t *testing.T) {
	var b bytes.Buffer
	list := printed()
	if err := Table(&b, list, now); err != nil {
		t.Fatal(err)
	}
	for i := range list[1:3] {
		b.WriteString("\n========\n")
		if err := Describe(&b, &list[1+i], now); err != nil {
			t.Fatal(err)
		}
	}
	if strings.ContainsAny(b.String(), "\x1b\x07") {
		t.Error("escape sequences reach the terminal")
	}
	file := filepath.Join("testdata", "printed.txt")
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
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
}

var errFull = errors.New("no space left")

// full is a writer that takes n bytes and then no more.
type full struct{ n int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.n {
		return 0, errFull
	}
	f.n -= len(p)
	return len(p), nil
}

func TestAPrintThatFailsReturnsTheError(t *testing.T) {
	list := printed()
	var whole bytes.Buffer
	if err := Describe(&whole, &list[2], now); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < whole.Len(); n += 40 {
		if err := Describe(&full{n}, &list[2], now); !errors.Is(err, errFull) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if err := Table(&full{10}, list, now); !errors.Is(err, errFull) {
		t.Errorf("Table: %v", err)
	}
}
