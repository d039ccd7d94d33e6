package compact

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// named is a name of exactly so many characters, or a little more where it would not be the only one of its kind.
func named(kind string, i, length int) string {
	n := fmt.Sprintf("%s%d", kind, i)
	return n + strings.Repeat("x", max(0, length-len(n)))
}

// planOf has so many of everything, with names of so many characters.
func planOf(services, builds, images, suites, shards, tries, length int) Plan {
	p := Plan{Repository: "registry.example.com/conductor/acme/shop", Addresses: map[string]string{}}
	for i := range services {
		p.Services = append(p.Services, named("s", i, length))
	}
	for i := range builds {
		p.Builds = append(p.Builds, named("b", i, length))
	}
	for i := range images {
		p.Images = append(p.Images, "docker.io/library/"+named("i", i, length)+":1.2.3")
	}
	for i := range suites {
		p.Suites = append(p.Suites, Suite{Name: named("t", i, length), Shards: shards, Tries: tries})
	}
	return p
}

// someRun has what every Run has, with the managed fields that the API server adds to it.
func someRun() *v1alpha1.Run {
	return &v1alpha1.Run{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Run"},
		ObjectMeta: metav1.ObjectMeta{
			Name: named("shop-0123456789", 0, 40), Namespace: "conductor", UID: types.UID("5c0fa3f3-3f8b-4b8e-8a6c-0123456789ab"), ResourceVersion: "123456789",
			CreationTimestamp: metav1.NewTime(noon), Finalizers: []string{v1alpha1.Finalizer}, Labels: map[string]string{v1alpha1.LabelRepository: "123456789"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "conductor", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:x":"` + strings.Repeat("f", 4000) + `"}`)}}},
		},
		Spec: v1alpha1.RunSpec{
			Repository: v1alpha1.Repository{ID: 123456789, Owner: "acme", Name: "shop", DefaultBranch: "main", CloneURL: "https://github.com/acme/shop.git", HTMLURL: "https://github.com/acme/shop"},
			Ref:        "refs/tags/run-integration-tests", SHA: strings.Repeat("a", 40), Object: strings.Repeat("b", 40), Trust: v1alpha1.TrustProtected,
			Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerTag, Delivery: "0e26f9b0-0000-11ef-8000-000000000000", ReceivedAt: new(metav1.NewMicroTime(noon))},
			Actor:   v1alpha1.Actor{Login: "ada", ID: 99, Type: "User"},
		},
	}
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestALargeStatusIsShortenedAndASmallOneIsLeftAlone(t *testing.T) {
	small := someRun()
	small.Status = v1alpha1.RunStatus{
		Message: strings.Repeat("m", 4000), Notes: []string{strings.Repeat("n", 500)},
		Suites: []v1alpha1.SuiteStatus{{Name: "a", Log: strings.Repeat("x", 8000) + "END", Outcome: v1alpha1.OutcomePassed, Attempts: []v1alpha1.AttemptStatus{
			{Number: 1, Outcome: v1alpha1.OutcomeFailed, StartedAt: new(metav1.NewMicroTime(noon))}, {Number: 2, Outcome: v1alpha1.OutcomePassed},
		}}},
	}
	want := small.DeepCopy()
	if !Bound(small) {
		t.Error("a small status does not fit")
	}
	if diff := cmp.Diff(want, small); diff != "" {
		t.Error(diff)
	}
	large := someRun()
	st := &large.Status
	for i := range 64 {
		st.Suites = append(st.Suites, v1alpha1.SuiteStatus{Name: fmt.Sprint("suite", i), Log: strings.Repeat("ü", 4000) + "END"})
		st.Images = append(st.Images, v1alpha1.ImageStatus{Name: fmt.Sprint("image", i), Log: strings.Repeat("y", 4096)})
		st.StackImages = append(st.StackImages, v1alpha1.StackImage{
			Name: fmt.Sprintf("registry.example.com/acme/image-%d:1.2.3", i), Digest: someDigest, Problem: "WHY " + strings.Repeat("p", 500),
		})
	}
	for i := range 256 {
		st.Services = append(st.Services, v1alpha1.ServiceStatus{Name: fmt.Sprint("service", i), Message: "WHY " + strings.Repeat("z", 2000)})
	}
	if !Bound(large) || len(jsonOf(t, large)) > MaxRun {
		t.Fatalf("%d bytes", len(jsonOf(t, large)))
	}
	if i := st.StackImages[63]; i.Digest != someDigest || !strings.HasPrefix(i.Problem, "WHY") {
		t.Errorf("what an image was is lost: %+v", i)
	}
	if !strings.HasSuffix(st.Suites[63].Log, "END") || !strings.HasPrefix(st.Services[255].Message, "WHY") {
		t.Errorf("the wrong ends were kept: %q, %q", st.Suites[63].Log, st.Services[255].Message)
	}
}

// chance fills a status as a Run of a plan may have it, with texts of one letter: it may take one byte, two, or six in JSON.
type chance struct {
	*rand.Rand
	letter string
}

func (c chance) text(most int) string {
	if c.IntN(4) == 0 {
		return ""
	}
	return strings.Repeat(c.letter, c.IntN(most/len(c.letter))+1)
}

func (c chance) time() *metav1.MicroTime {
	if c.IntN(8) == 0 {
		return nil
	}
	return new(metav1.NewMicroTime(noon.Add(time.Duration(c.Int64N(1e15)))))
}

func (c chance) outcome() v1alpha1.Outcome {
	return []v1alpha1.Outcome{v1alpha1.OutcomePassed, v1alpha1.OutcomeFailed, v1alpha1.OutcomeError, v1alpha1.OutcomeCanceled}[c.IntN(4)]
}

func (c chance) status(run *v1alpha1.Run, p Plan) v1alpha1.RunStatus {
	st := v1alpha1.RunStatus{
		Phase: v1alpha1.PhaseTesting, Outcome: c.outcome(), Message: c.text(4096), Issue: c.IntN(1e6), IssueSource: "branch", Branch: c.text(256), Namespace: "stack-" + run.Name,
		StartedAt: c.time(), FinishedAt: c.time(), Keep: "24h0m0s", Record: &v1alpha1.RecordStatus{Reference: "registry.example.com/conductor/records/acme/shop:" + run.Name, Digest: someDigest, Size: 1e9},
		Report: &v1alpha1.ReportStatus{CommentID: 1e10, CheckRuns: map[string]int64{run.Name: 1e11}, Digest: someDigest[7:], Final: true, Message: strings.Repeat("m", c.IntN(1024))},
	}
	for _, condition := range allConditions() {
		st.Conditions = append(st.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonQuotaExceeded, Message: c.text(2048), LastTransitionTime: metav1.NewTime(noon), ObservedGeneration: 2,
		})
		st.Stages = append(st.Stages, v1alpha1.StageTime{Name: strings.ToLower(condition), StartedAt: c.time(), FinishedAt: c.time(), FailingSince: c.time()})
	}
	for range c.IntN(21) {
		st.Notes = append(st.Notes, c.text(512))
	}
	for _, name := range p.Builds {
		img := v1alpha1.ImageStatus{Name: name, Repository: p.Repository + "/" + name, Job: name, StartedAt: c.time(), FinishedAt: c.time()}
		if img.Log = c.text(8192); c.IntN(2) == 0 {
			img.Digest, img.Log = someDigest, ""
		}
		st.Images = append(st.Images, img)
	}
	for _, name := range p.Images {
		st.StackImages = append(st.StackImages, v1alpha1.StackImage{Name: name, Digest: someDigest, Problem: c.text(512)})
	}
	for _, name := range p.Services {
		st.Services = append(st.Services, v1alpha1.ServiceStatus{Name: name, State: v1alpha1.ServiceStarting, Message: c.text(2048), URL: p.Addresses[name]})
	}
	open := c.IntN(len(p.Suites) + 1)
	for i, s := range p.Suites {
		switch {
		case i < open:
			st.Suites = append(st.Suites, c.suite(s, false))
		case i < open+2: // The one that runs, and the next, whose pods are made meanwhile.
			st.Suites = append(st.Suites, c.suite(s, true))
		default:
			st.Suites = append(st.Suites, v1alpha1.SuiteStatus{Name: s.Name})
		}
		st.Report.CheckRuns[run.Name+"/"+s.Name] = 1e11
	}
	return st
}

// suite has ended, or is open with the attempts that it may have then.
func (c chance) suite(s Suite, open bool) v1alpha1.SuiteStatus {
	st := v1alpha1.SuiteStatus{Name: s.Name, Shards: int32(s.Shards), StartedAt: c.time()}
	if !open {
		n := int32(20000)
		st.Outcome, st.ExitCode, st.Message, st.Log, st.FinishedAt, st.Reason = c.outcome(), &n, c.text(2048), c.text(8192), c.time(), v1alpha1.ReasonOutOfMemory
		st.Totals, st.NewlyFailing, st.NewlyFixed = &v1alpha1.TestTotals{Tests: n, Passed: n, Failed: n, Errors: n, Skipped: n, Flaky: n}, &n, &n
		for range 10 {
			st.Failures = append(st.Failures, v1alpha1.TestFailure{Name: c.text(512), File: c.text(512), Line: n, Message: c.text(1024)})
			st.Problems = append(st.Problems, c.text(512))
		}
	}
	for shard := range s.Shards {
		tries := 1 + c.IntN(s.Tries)
		for number := 1; number <= tries; number++ {
			a := v1alpha1.AttemptStatus{Shard: int32(shard), Number: int32(number), CreatedAt: c.time(), StartedAt: c.time()}
			if !open || number < tries {
				a.Outcome, a.ExitCode, a.Reason, a.Message, a.FinishedAt = c.outcome(), new(int32(137)), v1alpha1.ReasonOutOfMemory, c.text(1024), c.time()
			}
			st.Attempts = append(st.Attempts, a)
		}
	}
	return st
}

// The largest plan that is accepted has as many of everything as there may be. Whatever becomes of it, its Run has at most 64 KiB.
func TestTheLargestRunHas64KiB(t *testing.T) {
	for _, largest := range []struct {
		what string
		plan func(length int) Plan
		// least is how long the names may be at least.
		least int
	}{
		{"everything at once", func(n int) Plan { return planOf(256, 64, 64, 64, 4, 1, n) }, 16},
		{"256 services", func(n int) Plan { return planOf(256, 0, 20, 1, 1, 1, n) }, 63},
		{"64 images to build", func(n int) Plan { return planOf(64, 64, 0, 1, 1, 1, n) }, 63},
		{"64 other images", func(n int) Plan { return planOf(64, 0, 64, 1, 1, 1, n) }, 63},
		{"256 attempts of 64 suites", func(n int) Plan { return planOf(20, 10, 10, 64, 2, 2, n) }, 63},
		{"256 attempts of 8 suites", func(n int) Plan { return planOf(20, 10, 10, 8, 32, 1, n) }, 63},
		{"192 attempts of one suite", func(n int) Plan { return planOf(64, 20, 20, 1, 32, 6, n) }, 40},
	} {
		t.Run(largest.what, func(t *testing.T) {
			length := 63
			for largest.plan(length).Check(someRun()) != nil {
				length--
			}
			if length < largest.least {
				t.Errorf("it is accepted with names of %d characters at most, want %d", length, largest.least)
			}
			p, size := largest.plan(length), 0
			for seed := range uint64(12) {
				c := chance{rand.New(rand.NewPCG(seed, 1)), []string{"x", "ü", "<", "\n"}[seed%4]}
				run := someRun()
				run.Status = c.status(run, p)
				if !Bound(run) {
					t.Errorf("seed %d: it was accepted and does not fit", seed)
				}
				size = max(size, len(jsonOf(t, run)))
			}
			t.Logf("names of %d characters, %d bytes at most", length, size)
			if size > MaxRun {
				t.Errorf("the Run has %d bytes, at most %d are allowed", size, MaxRun)
			}
		})
	}
}

func TestAnyPlanThatIsAcceptedFits(t *testing.T) {
	accepted, refused := 0, 0
	for seed := range uint64(60) {
		c := chance{rand.New(rand.NewPCG(seed, 2)), []string{"x", "ü", "<", "\n"}[seed%4]}
		p := planOf(c.IntN(257), c.IntN(65), c.IntN(65), 1+c.IntN(64), 1+c.IntN(4), 1+c.IntN(3), 1+c.IntN(63))
		for _, name := range p.Services[:min(len(p.Services), c.IntN(64))] {
			p.Addresses[name] = "https://" + name + "-shop.qa.example.com"
		}
		run := someRun()
		if err := p.Check(run); err != nil {
			refused++
			continue
		}
		accepted++
		run.Status = c.status(run, p)
		if !Bound(run) || len(jsonOf(t, run)) > MaxRun {
			t.Errorf("seed %d: %d bytes", seed, len(jsonOf(t, run)))
		}
	}
	if accepted < 10 || refused < 5 {
		t.Errorf("%d plans were accepted, %d refused: the test is of no use", accepted, refused)
	}
}

func TestARefusalHasTheNumbers(t *testing.T) {
	err := planOf(256, 64, 64, 64, 4, 1, 63).Check(someRun())
	if err == nil {
		t.Fatal("it is accepted")
	}
	for _, want := range []string{" KiB, but the limit is ", "256 services", "64 images to build", "64 other images", "64 suites with 256 attempts"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing: %v", want, err)
		}
	}
}

// The largest spec that the API server takes leaves room for an ordinary plan.
func TestTheLargestSpecLeavesRoom(t *testing.T) {
	run := someRun()
	spec := &run.Spec
	spec.Repository.Owner, spec.Repository.Name, spec.Repository.DefaultBranch = named("o", 0, 100), named("r", 0, 100), strings.Repeat("<", 256)
	spec.Repository.CloneURL, spec.Repository.HTMLURL, spec.Ref, spec.Object = named("https://", 0, 512), named("https://", 0, 512), strings.Repeat("<", 512), named("", 0, 64)
	spec.Actor = v1alpha1.Actor{Login: named("l", 0, 100), ID: maxID, Type: named("t", 0, 32)}
	spec.Cancel = &v1alpha1.Cancel{By: named("l", 0, 100), Reason: strings.Repeat("r", 1024), At: metav1.NewTime(noon)}
	spec.Ceilings.CPU, spec.Ceilings.Memory, spec.Ceilings.Pods = named("1", 0, 32), named("1", 0, 32), 1e9
	for i := range 64 {
		spec.Suites, spec.Ceilings.Registries = append(spec.Suites, named("t", i, 63)), append(spec.Ceilings.Registries, named("r", i, 64))
	}
	p := planOf(20, 6, 10, 64, 1, 1, 63)
	if err := p.Check(run); err != nil {
		t.Fatal(err)
	}
	c := chance{rand.New(rand.NewPCG(1, 1)), "<"}
	run.Status = c.status(run, p)
	if !Bound(run) || len(jsonOf(t, run)) > MaxRun {
		t.Errorf("%d bytes, of which the spec has %d", len(jsonOf(t, run)), len(jsonOf(t, run.Spec)))
	}
}

func TestAttemptsAreFoldedAndDerived(t *testing.T) {
	passed, failed := v1alpha1.OutcomePassed, v1alpha1.OutcomeFailed
	st := v1alpha1.RunStatus{Suites: []v1alpha1.SuiteStatus{
		{Name: "ended", Shards: 3, Outcome: failed, Attempts: []v1alpha1.AttemptStatus{
			{Shard: 0, Number: 1, Outcome: passed}, {Shard: 1, Number: 1, Outcome: failed}, {Shard: 1, Number: 2, Outcome: passed},
			{Shard: 2, Number: 1, Outcome: v1alpha1.OutcomeError, Reason: v1alpha1.ReasonStuck},
		}},
		{Name: "open", Shards: 2, Attempts: []v1alpha1.AttemptStatus{
			{Shard: 0, Number: 1, Outcome: failed}, {Shard: 1, Number: 1, Outcome: passed}, {Shard: 0, Number: 2, Outcome: failed}, {Shard: 0, Number: 3},
		}},
		{Name: "once", Shards: 4, Outcome: passed, Attempts: []v1alpha1.AttemptStatus{
			{Shard: 0, Number: 1, Outcome: passed}, {Shard: 1, Number: 1, Outcome: passed}, {Shard: 2, Number: 1, Outcome: passed}, {Shard: 3, Number: 1, Outcome: passed},
		}},
		{Name: "never", Shards: 2},
	}}
	whole := *st.DeepCopy()
	keys := func(s *v1alpha1.SuiteStatus) (all []string) {
		for _, a := range Attempts(s) {
			all = append(all, fmt.Sprintf("%d.%d %s %t", a.Shard, a.Number, a.Outcome, IsOver(s, a)))
		}
		return all
	}
	foldFollowed(&st)
	if got := keys(&st.Suites[1]); !slices.Equal(got, []string{"0.1  true", "0.2  true", "0.3  false", "1.1 passed true"}) {
		t.Errorf("the open suite has the attempts %q", got)
	}
	if n := len(st.Suites[1].Attempts); n != 2 {
		t.Errorf("%d attempts of the open suite are left, want the last one of each shard", n)
	}
	foldEnded(&st)
	if got := keys(&st.Suites[0]); !slices.Equal(got, []string{"0.1  false", "1.1  false", "1.2  false", "2.1  false"}) {
		t.Errorf("the ended suite has the attempts %q; a Job of them is still to be ended", got)
	}
	if got := keys(&st.Suites[2]); len(st.Suites[2].Attempts) != 0 || len(st.Suites[2].Tries) != 1 || !slices.Equal(got, []string{"0.1  true", "1.1  true", "2.1  true", "3.1  true"}) {
		t.Errorf("the suite that was tried once: %q", got)
	}
	for i := range st.Suites {
		if HasAttempts(&st.Suites[i]) != HasAttempts(&whole.Suites[i]) {
			t.Errorf("%s: whether it was attempted is lost", st.Suites[i].Name)
		}
		if got, want := len(keys(&st.Suites[i])), len(keys(&whole.Suites[i])); got != want {
			t.Errorf("%s: %d attempts, want %d", st.Suites[i].Name, got, want)
		}
	}
	again := *st.DeepCopy()
	foldFollowed(&again)
	foldEnded(&again)
	if diff := cmp.Diff(st, again); diff != "" {
		t.Errorf("folding twice changes something:\n%s", diff)
	}
}
