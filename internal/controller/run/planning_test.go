package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// planServer answers with what a test wants, and counts.
type planServer struct {
	mu      sync.Mutex
	asked   int
	running int
	most    int
	takes   time.Duration
	err     error
	answer  func(plan.Input) plan.Answer
}

// Plan implements Planner.
func (s *planServer) Plan(ctx context.Context, input []byte, out *os.File) error {
	var in plan.Input
	if err := json.Unmarshal(input, &in); err != nil {
		return err
	}
	s.mu.Lock()
	s.asked++
	s.running++
	s.most = max(s.most, s.running)
	takes, err, answer := s.takes, s.err, s.answer
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if answer == nil {
		answer = func(in plan.Input) plan.Answer {
			return plan.Answer{Plan: &plan.Plan{Keep: fmt.Sprint(in.Images.Known)}}
		}
	}
	return answer(in).Write(out)
}

func (s *planServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// planBench is planning with one Run and a count of wakes.
type planBench struct {
	*planning
	t      *testing.T
	server *planServer
	run    *v1alpha1.Run
	woken  atomic.Int32
}

func newPlanBench(t *testing.T, atOnce int) *planBench {
	b := &planBench{t: t, server: &planServer{}, run: testRun("r", "u")}
	b.planning = newPlanning(&sessions{}, b.server, t.TempDir(), atOnce, func(*v1alpha1.Run) { b.woken.Add(1) })
	b.begin(b.run)
	return b
}

func (b *planBench) begin(run *v1alpha1.Run) {
	b.t.Helper()
	if err := b.add(run.UID, &Checkout{Dir: b.t.TempDir()}); err != nil {
		b.t.Fatal(err)
	}
}

// ask asks for a plan with some known services and waits until all is quiet.
func (b *planBench) ask(known ...string) ([]string, error) {
	absent, err := b.request(b.run, plan.Input{Images: plan.Images{Known: known}})
	synctest.Wait()
	return absent, err
}

// keep is the Keep of the newest plan; empty when there is none.
func (b *planBench) keep() string {
	b.t.Helper()
	l, err := b.load(b.run, settings.Default())
	if err != nil {
		b.t.Fatal(err)
	}
	if l == nil {
		return ""
	}
	defer l.release()
	return l.Keep
}

func TestAPlanIsMadeOncePerInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPlanBench(t, 1)
		for _, known := range [][]string{nil, nil, {"a"}, {"a"}} {
			if absent, err := b.ask(known...); err != nil || absent != nil {
				t.Fatalf("%v: %v, %v", known, absent, err)
			}
			if got := b.keep(); got != fmt.Sprint(known) {
				t.Errorf("%v: the newest plan is that of %s", known, got)
			}
		}
		if b.server.count() != 2 || b.woken.Load() != 2 {
			t.Errorf("%d plans were made, and the run was woken %d times", b.server.count(), b.woken.Load())
		}
	})
}

// TestTheNewestPlanIsUsedUntilTheNextIsMade: no stage stops because more is known of an image.
func TestTheNewestPlanIsUsedUntilTheNextIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPlanBench(t, 1)
		if _, err := b.ask(); err != nil {
			t.Fatal(err)
		}
		b.server.takes = time.Second
		for _, known := range []string{"a", "b"} { // b comes while a is planned, and is planned by the request after it.
			if _, err := b.ask(known); err != nil {
				t.Fatal(err)
			}
			if got := b.keep(); got != "[]" {
				t.Errorf("while %s is planned the plan is that of %s", known, got)
			}
		}
		time.Sleep(2 * time.Second)
		if got := b.keep(); got != "[a]" || b.server.count() != 2 {
			t.Errorf("the plan is that of %s, the %dth", got, b.server.count())
		}
	})
}

func TestPlansAreMadeOneAtATime(t *testing.T) {
	for _, atOnce := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			b := newPlanBench(t, atOnce)
			b.server.takes = time.Second
			for i := range 9 {
				run := testRun(fmt.Sprint("r", i), types.UID(fmt.Sprint("u", i)))
				b.begin(run)
				if _, err := b.request(run, plan.Input{}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if got := b.position(); got != 9 {
				t.Errorf("%d plans are awaited", got)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if b.server.most != atOnce || b.server.asked != 9 || b.position() != 0 {
				t.Errorf("%d plans were made, %d at a time; %d are awaited", b.server.asked, b.server.most, b.position())
			}
		})
	}
}

func TestWhatCannotBePlannedIsReported(t *testing.T) {
	refuse := func(plan.Input) plan.Answer {
		return plan.Answer{Refused: &plan.Refusal{Reason: v1alpha1.ReasonInvalidConfig, Sentence: "No such suite", Cause: "a typo"}}
	}
	for name, tc := range map[string]struct {
		err    error
		answer func(plan.Input) plan.Answer
		want   string
		kind   failure.Kind
	}{
		"a refusal":       {nil, refuse, "No such suite: a typo", failure.Terminal},
		"a limit":         {failure.Terminalf(v1alpha1.ReasonRefused, nil, "too much memory"), nil, "too much memory", failure.Terminal},
		"a child's death": {errors.New("killed"), nil, "killed", failure.Transient},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newPlanBench(t, 1)
			b.server.err, b.server.answer = tc.err, tc.answer
			if _, err := b.ask(); err != nil {
				t.Fatal(err)
			}
			_, err := b.ask()
			if f := failure.Of(err); f == nil || f.Kind != tc.kind || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v", name, err)
			}
			b.server.err, b.server.answer = nil, nil
			if _, err := b.ask(); err != nil {
				t.Errorf("%s: the next attempt: %v", name, err)
			}
			if got := b.keep(); got != "[]" {
				t.Errorf("%s: after it was mended there is the plan %q", name, got)
			}
		})
	}
}

func TestAbsentFilesAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPlanBench(t, 1)
		b.server.answer = func(plan.Input) plan.Answer { return plan.Answer{Absent: []string{"big.sql"}} }
		if absent, err := b.ask(); err != nil || absent != nil {
			t.Fatalf("%v, %v", absent, err)
		}
		if absent, err := b.ask(); err != nil || len(absent) != 1 || b.server.count() != 1 {
			t.Errorf("%v, %v after %d plans", absent, err, b.server.count())
		}
		b.repeatAbsent(b.run.UID, []string{"big.sql"}) // They could not be fetched: nothing is planned until they are.
		if absent, err := b.ask(); err != nil || len(absent) != 1 || b.server.count() != 1 {
			t.Errorf("once more: %v, %v after %d plans", absent, err, b.server.count())
		}
		b.server.answer = nil
		if _, err := b.ask(); err != nil || b.keep() != "[]" {
			t.Errorf("once they are there: %v, plan %q", err, b.keep())
		}
	})
}

// TestAPlannerThatFailsIsGivenTime: the Run is not woken at once, and knows that it does not wait for others.
func TestAPlannerThatFailsIsGivenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPlanBench(t, 1)
		b.server.err = errors.New("killed")
		for n := range 3 {
			if _, err := b.ask(); err != nil || int(b.woken.Load()) != n || b.lastFailure(b.run.UID) == nil {
				t.Fatalf("attempt %d: %v, woken %d times, failed %v", n, err, b.woken.Load(), b.lastFailure(b.run.UID))
			}
			time.Sleep(retryPause << n)
			synctest.Wait()
			if _, err := b.ask(); err == nil || int(b.woken.Load()) != n+1 {
				t.Errorf("after attempt %d: %v, woken %d times", n, err, b.woken.Load())
			}
		}
		b.server.err = nil
		if _, err := b.ask(); err != nil || b.lastFailure(b.run.UID) != nil || b.keep() != "[]" {
			t.Errorf("in the end: %v, failed %v, plan %q", err, b.lastFailure(b.run.UID), b.keep())
		}
	})
}

func TestADroppedRunIsPlannedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPlanBench(t, 1)
		b.server.takes = time.Hour
		if _, err := b.ask(); err != nil {
			t.Fatal(err)
		}
		b.forget(b.run.UID)
		synctest.Wait()
		if b.server.running != 0 || b.woken.Load() != 0 || b.has(b.run.UID) || b.position() != 0 {
			t.Errorf("%d children, woken %d times, there %t, %d awaited", b.server.running, b.woken.Load(), b.has(b.run.UID), b.position())
		}
	})
}

// TestThePlansInMemoryAreBounded: small ones by their sum, large ones by their number.
func TestThePlansInMemoryAreBounded(t *testing.T) {
	size := 100 << 10
	synctest.Test(t, func(t *testing.T) {
		b := newPlanBench(t, 4)
		b.server.answer = func(plan.Input) plan.Answer {
			return plan.Answer{Plan: &plan.Plan{Notes: []string{strings.Repeat("x", size)}}}
		}
		var all []*v1alpha1.Run
		for i := range 2 * cachedPlans / size {
			run := testRun("r", types.UID(fmt.Sprint("u", i)))
			all = append(all, run)
			b.begin(run)
			if _, err := b.request(run, plan.Input{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if l, err := b.load(run, settings.Default()); err != nil || l == nil || len(l.Notes[0]) != size {
				t.Fatalf("run %d: %v", i, err)
			}
		}
		decoded := 0
		for _, s := range b.runs {
			if s.plan.decoded != nil {
				decoded++
			}
		}
		if b.cached > cachedPlans || b.cached < cachedPlans/2 || decoded*size > cachedPlans {
			t.Errorf("%d plans with %d bytes are in memory", decoded, b.cached)
		}
		for _, run := range all {
			b.forget(run.UID)
		}
		if b.cached != 0 {
			t.Errorf("without a run %d bytes are counted", b.cached)
		}
		size = largePlan
		if _, err := b.ask(); err != nil {
			t.Fatal(err)
		}
		var held []*loaded
		for range largePlans {
			l, err := b.load(b.run, settings.Default())
			if err != nil || l == nil {
				t.Fatal(err)
			}
			held = append(held, l)
		}
		if _, err := b.load(b.run, settings.Default()); failure.Of(err) == nil || failure.Of(err).Kind != failure.Waiting {
			t.Errorf("one large plan more: %v", err)
		}
		held[0].release()
		if l, err := b.load(b.run, settings.Default()); err != nil || l == nil || b.cached != 0 {
			t.Errorf("after one was released: %v, %d bytes are cached", err, b.cached)
		}
	})
}
