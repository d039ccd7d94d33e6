package run

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/result"
)

// witness is an agent whose attempts have all ended, and that makes their cases as they are asked for.
type witness struct {
	Agent
	cases int
	one   func(key evidence.AttemptKey, i int) evidence.Case
	// fails is why the cases of an attempt cannot be read to their end.
	fails map[evidence.AttemptKey]error
	now   atomic.Int32
	most  atomic.Int32
}

func (w *witness) State(context.Context, int64, time.Duration) (evidence.AgentState, error) {
	var st evidence.AgentState
	for shard := range 32 {
		for number := range 8 {
			key := evidence.AttemptKey{Suite: "e2e", Shard: shard, Number: number + 1}
			st.Attempts = append(st.Attempts, evidence.AttemptState{Key: key, Ended: true, Complete: true, Attempt: &evidence.Attempt{AttemptKey: key, ExitCode: 1}})
		}
	}
	return st, nil
}

func (w *witness) Cases(_ context.Context, key evidence.AttemptKey, each func(evidence.Case)) ([]string, error) {
	if n := w.now.Add(1); n > w.most.Load() {
		w.most.Store(n)
	}
	defer w.now.Add(-1)
	for i := range w.cases {
		each(w.one(key, i))
	}
	return nil, w.fails[key]
}

// suiteOf is the status of a suite whose attempts have ended.
func suiteOf(shards, tries int32) *v1alpha1.SuiteStatus {
	st := &v1alpha1.SuiteStatus{Name: "e2e", Shards: shards, Outcome: v1alpha1.OutcomeFailed}
	for shard := range shards {
		for number := range tries {
			st.Attempts = append(st.Attempts, v1alpha1.AttemptStatus{Shard: shard, Number: number + 1, Outcome: v1alpha1.OutcomeFailed})
		}
	}
	return st
}

// failing is a test that failed, with 15 KiB of text of its own.
func failing(key evidence.AttemptKey, i int) evidence.Case {
	return evidence.Case{
		Class: "checkout.PaymentTest", Name: fmt.Sprintf("pays %d in shard %d", i, key.Shard), File: "src/checkout/payment_test.go", Status: evidence.Failed,
		Message: "connection refused", Detail: strings.Repeat("at Database.connect (db.go:12)\n", 400), Output: strings.Repeat("retrying\n", 300),
	}
}

func newReconciler(limit int64) *Reconciler {
	r := opened(&Reconciler{Log: slog.New(slog.DiscardHandler)})
	r.results.limit = limit
	return r
}

func runOf(uid string) *v1alpha1.Run {
	return &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-" + uid, UID: types.UID(uid)}}
}

// most calls f and returns how much the live heap grew at most, in bytes: what each garbage collection found in use, so that a busy
// machine, which collects later, changes nothing.
func most(f func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtime.GC()
	metrics.Read(live)
	before := live[0].Value.Uint64()
	most := before
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
				metrics.Read(live)
				most = max(most, live[0].Value.Uint64())
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return int64(most - before)
}

// The database did not come up: 24 attempts of 1,000 failing tests each, in eight Runs at once.
func TestResultsOfAllRunsShareABudget(t *testing.T) {
	r := newReconciler(64 << 20)
	agent := &witness{cases: 1000, one: failing}
	grown := most(func() {
		group := make(chan error)
		for i := range 8 {
			go func() {
				kept, err := r.gather(t.Context(), suiteOf(8, 3), agent)
				r.results.put(types.UID(fmt.Sprint(i)), kept, false)
				if n := len(kept.Suite.Cases); n != 8000 || kept.Suite.Totals.Failed != 8000 {
					err = fmt.Errorf("%d cases, %+v", n, kept.Suite.Totals)
				}
				group <- err
			}()
		}
		for range 8 {
			if err := <-group; err != nil {
				t.Error(err)
			}
		}
	})
	t.Logf("the heap grew by %d MiB at most; %d MiB are accounted", grown>>20, r.results.used>>20)
	if grown > 96<<20 || r.results.used > r.results.limit || agent.most.Load() > readers {
		t.Errorf("the heap grew by %d MiB, %d are accounted; %d agents were read at a time", grown>>20, r.results.used>>20, agent.most.Load())
	}
	for i := range 8 {
		r.results.forget(types.UID(fmt.Sprint(i)))
	}
	if r.results.used != 0 {
		t.Errorf("%d bytes are left when all results are dropped", r.results.used)
	}
}

// Whatever agents answer, and however many, the budget holds, totals are right and each suite lists what it lacks.
func TestHostileResultsShareABudget(t *testing.T) {
	r := newReconciler(16 << 20)
	long := strings.Repeat("x", 900)
	agent := &witness{cases: 20000, one: func(key evidence.AttemptKey, i int) evidence.Case {
		return evidence.Case{Class: fmt.Sprint(i, long), Name: fmt.Sprint(key.Shard, i, long), File: fmt.Sprint(i, "f", long), Status: evidence.Error, Message: long, Detail: long, Output: long}
	}}
	grown := most(func() {
		for i := range 8 {
			kept, err := r.gather(t.Context(), suiteOf(1, 2), agent)
			if err != nil {
				t.Error(err)
			}
			r.results.put(types.UID(fmt.Sprint(i)), kept, false)
			if kept.Suite.Totals.Errors != 20000 || !slices.ContainsFunc(result.Problems(kept.Suite), func(p string) bool { return strings.Contains(p, "memory.results") }) {
				t.Errorf("%+v, problems %q", kept.Suite.Totals, result.Problems(kept.Suite))
			}
		}
	})
	t.Logf("the heap grew by %d MiB at most; %d MiB are accounted", grown>>20, r.results.used>>20)
	// Without the budget it would be gibibytes. What is allocated while the collector marks counts as live, the more the busier the machine is.
	if grown > 48<<20 || r.results.used > r.results.limit {
		t.Errorf("the heap grew by %d MiB, %d are accounted", grown>>20, r.results.used>>20)
	}
}

// What a record holds makes room for what none does.
func TestRecordedResultsMakeRoom(t *testing.T) {
	r := newReconciler(4 << 20)
	agent := &witness{cases: 80, one: failing}
	gather := func(uid string) evidence.Suite {
		kept, err := r.gather(t.Context(), suiteOf(1, 1), agent)
		if err != nil {
			t.Fatal(err)
		}
		r.results.put(types.UID(uid), kept, false)
		return kept.Suite
	}
	whole := func(s evidence.Suite) bool {
		return s.Cases[79].Detail != "" && len(result.Problems(s)) == 0
	}
	for _, uid := range []string{"a", "b", "c"} {
		if !whole(gather(uid)) {
			t.Fatalf("%s has no room", uid)
		}
	}
	if s := gather("d"); whole(s) || len(s.Cases) != 80 {
		t.Errorf("%d bytes of %d are used, and there is room", r.results.used, r.results.limit)
	}
	r.results.recorded("b")
	if !whole(gather("e")) {
		t.Error("what is recorded makes no room")
	}
	for uid, want := range map[types.UID]bool{"a": true, "b": false, "c": true, "d": true, "e": true} {
		if _, ok := r.results.get(uid, "e2e"); ok != want {
			t.Errorf("%s is there: %v", uid, ok)
		}
	}
}

// library is a registry with one result.json.
type library struct {
	Registry
	text  string
	err   error
	asked int
}

func (l *library) OpenResult(context.Context, v1alpha1.RecordStatus) (io.ReadCloser, error) {
	l.asked++
	return io.NopCloser(strings.NewReader(l.text)), l.err
}

// A Run whose stack is gone has its results from its record, and those that are hostile take nothing.
func TestResultsFromTheRecord(t *testing.T) {
	first := newReconciler(64 << 20)
	kept, err := first.gather(t.Context(), suiteOf(2, 2), &witness{cases: 200, one: failing})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := evidence.WriteResult(&text, evidence.Result{SchemaVersion: 1, Suites: []evidence.Suite{kept.Suite}}); err != nil {
		t.Fatal(err)
	}
	run := runOf("1")
	run.Status.Suites = []v1alpha1.SuiteStatus{*suiteOf(2, 2)}
	run.Status.Record = &v1alpha1.RecordStatus{Reference: "r.example/a:1", Digest: "sha256:1"}
	l := &library{text: text.String()}
	r := newReconciler(8 << 20)
	r.Registry = l
	for range 2 {
		all, _ := r.Results(t.Context(), run)
		if len(all) != 1 || len(all[0].Cases) != 400 || all[0].Cases[99].Detail == "" || all[0].Cases[100].Detail != "" {
			t.Fatalf("%d suites", len(all))
		}
	}
	if l.asked != 1 {
		t.Errorf("the record was read %d times", l.asked)
	}
	// It makes room, and is read again then.
	if !r.results.grow(7<<20) || l.asked != 1 {
		t.Error("what was read from a record makes no room")
	}
	r.results.grow(-7 << 20)
	if _, err := r.Results(t.Context(), run); l.asked != 2 {
		t.Errorf("the record was read %d times: %v", l.asked, err)
	}
	r.results.forget(run.UID)
	l.text = text.String()[:text.Len()-100]
	if all, _ := r.Results(t.Context(), run); len(all) != 0 || r.results.used != 0 {
		t.Errorf("%d suites of half a record, %d bytes are out", len(all), r.results.used)
	}
	l.err = failure.Transientf(v1alpha1.ReasonUnavailable, nil, "away")
	if all, err := r.Results(t.Context(), run); len(all) != 0 || err == nil {
		t.Errorf("%d suites of a registry that is away: %v", len(all), err)
	}
}

// One attempt that has more than is read costs no case of the others.
func TestCasesThatAreTooMany(t *testing.T) {
	r := newReconciler(64 << 20)
	agent := &witness{cases: 10, one: failing, fails: map[evidence.AttemptKey]error{{Suite: "e2e", Shard: 0, Number: 1}: evidence.ErrTooLarge}}
	kept, err := r.gather(t.Context(), suiteOf(3, 1), agent)
	if err != nil || len(kept.Suite.Cases) != 30 || !slices.Contains(result.Problems(kept.Suite), "The test cases were not read to their end: "+evidence.ErrTooLarge.Error()) {
		t.Errorf("%d cases, %q: %v", len(kept.Suite.Cases), result.Problems(kept.Suite), err)
	}
}

// A suite of many attempts that takes long keeps no other waiting.
func TestSuitesAreReadInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReconciler(64 << 20)
		turns, all := make(chan struct{}), make(chan error, readers)
		slow := &witness{cases: 1, one: func(key evidence.AttemptKey, i int) evidence.Case { <-turns; return failing(key, i) }}
		for range readers {
			go func() {
				_, err := r.gather(t.Context(), suiteOf(4, 1), slow)
				all <- err
			}()
		}
		synctest.Wait()
		quick := make(chan error, 1)
		go func() {
			_, err := r.gather(t.Context(), suiteOf(1, 1), &witness{cases: 1, one: failing})
			quick <- err
		}()
		synctest.Wait()
		turns <- struct{}{} // One attempt of sixteen is read.
		synctest.Wait()
		turns <- struct{}{}
		synctest.Wait()
		select {
		case err := <-quick:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("the quick one waits for whole suites")
		}
		close(turns)
		for range readers {
			if err := <-all; err != nil {
				t.Error(err)
			}
		}
	})
}

// mute is an agent that sends a case now and then, and then none.
type mute struct{ witness }

func (m *mute) Cases(ctx context.Context, key evidence.AttemptKey, each func(evidence.Case)) ([]string, error) {
	for i := range 5 {
		each(failing(key, i))
		select {
		case <-time.After(readPause - time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// An agent may take long as long as it sends something.
func TestPatienceWithAnAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		kept, err := newReconciler(64<<20).gather(t.Context(), suiteOf(1, 1), &mute{})
		if err == nil || err.Error() != "the stack's agent sent no test case for 1m0s" || len(kept.Suite.Cases) != 5 {
			t.Errorf("%d cases: %v", len(kept.Suite.Cases), err)
		}
		if took := time.Since(began); took < 4*(readPause-time.Second)+readPause || took > gatherTime {
			t.Errorf("it took %s", took)
		}
	})
}

// The cases of an attempt that breaks off are kept as far as they came, and so are the others.
func TestCasesThatBreakOff(t *testing.T) {
	r := newReconciler(64 << 20)
	broken := io.ErrUnexpectedEOF
	agent := &witness{cases: 10, one: failing, fails: map[evidence.AttemptKey]error{{Suite: "e2e", Shard: 1, Number: 1}: broken, {Suite: "e2e", Shard: 0, Number: 1}: evidence.ErrAbsent}}
	kept, err := r.gather(t.Context(), suiteOf(2, 1), agent)
	if err == nil || len(kept.Suite.Cases) != 20 || kept.Suite.Totals.Failed != 20 {
		t.Errorf("%d cases: %v", len(kept.Suite.Cases), err)
	}
}
