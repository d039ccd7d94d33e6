package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// Planner plans runs apart from this process.
type Planner interface {
	// Plan makes a plan of the JSON of a plan.Input and writes a plan.Answer to out. Its error is a terminal failure where the files are
	// too expensive to plan.
	Plan(ctx context.Context, input []byte, out *os.File) error
}

const (
	// largePlan is the size in bytes from which a plan is decoded for one reconcile and not kept in memory; of such plans largePlans are
	// in memory at a time. cachedPlans bounds the sum of the others. A decoded plan has about four times its size.
	largePlan   = 256 << 10
	largePlans  = 2
	cachedPlans = 8 << 20
	// planPause is the time after which a reconcile comes back that found too many large plans in use.
	planPause = 50 * time.Millisecond
	// retryPause lies between the first two attempts to plan that fail for another reason than the files. It doubles with each, up to
	// maxRetries times.
	retryPause = 100 * time.Millisecond
	maxRetries = 8
)

// planning has Runs planned, and keeps the plans of those that are in progress. A plan that is not there is made again.
type planning struct {
	*sessions
	planner Planner
	wake    func(*v1alpha1.Run)
	// dir is where the plans' files are.
	dir string
	// slots bounds the children, large the large plans in memory.
	slots, large chan struct{}

	// waiting counts what waits for a slot.
	waiting int
	// cached is the sum of the sizes of the decoded plans.
	cached int64
	// uses counts calls of load: the plan with the lowest use goes first.
	uses int64
}

// runPlan is one Run's checkout, and what has been planned of it.
type runPlan struct {
	// files are the checkout, dir holds the plans' files.
	files *Checkout
	dir   string
	ctx   context.Context
	end   context.CancelFunc
	// key is the hash of the newest plan's input, and file holds its answer.
	key, file string
	size      int64
	// previous is the file of the plan before, which a reconcile may still use.
	previous string
	decoded  *plan.Plan
	used     int64
	// next is the hash of the input that is being planned, or that could not be: err is why.
	next string
	busy bool
	err  error
	// failed is the error of the last attempt where that is transient, and fails counts such attempts in a row.
	failed error
	fails  int
	// absent are files whose content the plan needs.
	absent []string
	number int
}

func newPlanning(l *sessions, planner Planner, dir string, atOnce int, wake func(*v1alpha1.Run)) *planning {
	return &planning{
		sessions: l, planner: planner, dir: dir, wake: wake, slots: make(chan struct{}, max(1, atOnce)), large: make(chan struct{}, largePlans),
	}
}

// add begins with the checkout of a Run, which goes with the Run's plans.
func (p *planning) add(uid types.UID, files *Checkout) error {
	dir, err := os.MkdirTemp(p.dir, "checkout-plan-")
	if err != nil {
		files.Close()
		return diskFull(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	rp := &runPlan{files: files, dir: dir}
	rp.ctx, rp.end = context.WithCancel(context.Background())
	p.of(uid).plan = rp
	return nil
}

// has reports whether there is a checkout of a Run, and files is that.
func (p *planning) has(uid types.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(uid).plan != nil
}

func (p *planning) files(uid types.UID) *Checkout {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(uid).plan.files
}

// loaded is the newest plan of a Run for one reconcile.
type loaded struct {
	*plan.Plan
	// key is the hash of its input, file holds its contents.
	key, file string
	release   func()
}

// load is the newest plan of a Run; nil when there is none. Its user releases it.
func (p *planning) load(run *v1alpha1.Run, set settings.Settings) (*loaded, error) {
	p.mu.Lock()
	rp := p.find(run.UID).plan
	if rp == nil || rp.file == "" {
		p.mu.Unlock()
		return nil, nil
	}
	p.uses++
	rp.used = p.uses
	l := &loaded{Plan: rp.decoded, key: rp.key, file: rp.file, release: func() {}}
	size := rp.size
	p.mu.Unlock()
	if l.Plan != nil {
		return l, nil
	}
	if size >= largePlan {
		select {
		case p.large <- struct{}{}:
			l.release = func() { <-p.large }
		default:
			return nil, waitForOthersf(planPause, "Waiting for memory: %d other large plans are in use", largePlans)
		}
	}
	answer, err := readAnswer(l.file, run, set)
	if err != nil {
		l.release()
		return nil, err
	}
	l.Plan = answer.Plan
	if size < largePlan {
		p.cache(run.UID, l)
	}
	return l, nil
}

// cache keeps a decoded plan, and drops those that were not used for the longest time.
func (p *planning) cache(uid types.UID, l *loaded) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rp := p.find(uid).plan
	if rp == nil || rp.file != l.file || rp.decoded != nil {
		return
	}
	rp.decoded = l.Plan
	for p.cached += rp.size; p.cached > cachedPlans; {
		var oldest *runPlan
		for _, s := range p.runs {
			if other := s.plan; other != nil && other.decoded != nil && (oldest == nil || other.used < oldest.used) {
				oldest = other
			}
		}
		p.uncache(oldest)
	}
}

func (p *planning) uncache(rp *runPlan) {
	if rp.decoded != nil {
		rp.decoded = nil
		p.cached -= rp.size
	}
}

func readAnswer(file string, run *v1alpha1.Run, set settings.Settings) (plan.Answer, error) {
	f, err := os.Open(file)
	if err != nil {
		return plan.Answer{}, fmt.Errorf("open the plan of %s: %w", run.Name, err)
	}
	defer f.Close()
	of := planned(run)
	of.Status.Source = run.Status.Source
	return plan.Read(f, of, set)
}

// planned is a Run as a plan needs it: the plan outlives the reconcile that made it.
func planned(run *v1alpha1.Run) *v1alpha1.Run {
	out := &v1alpha1.Run{Spec: *run.Spec.DeepCopy()}
	out.Name, out.Namespace, out.UID = run.Name, run.Namespace, run.UID
	return out
}

// request has a plan made of an input, unless that is the newest one already or on its way. The error is that of the attempt to plan
// this input, once: an error that is transient is retried by the next call.
func (p *planning) request(run *v1alpha1.Run, in plan.Input) (absent []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rp := p.find(run.UID).plan
	if rp == nil || rp.busy {
		return nil, nil
	}
	in.Dir, in.Absent, in.Run = rp.files.Dir, slices.Sorted(maps.Keys(rp.files.Absent)), planned(run)
	data, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode what %s is planned from: %w", run.Name, err)
	}
	sum := sha256.Sum256(data)
	key := hex.EncodeToString(sum[:])
	switch {
	case key == rp.key:
		return nil, nil
	case key == rp.next && rp.absent != nil:
		absent, rp.absent = rp.absent, nil
		return absent, nil
	case key == rp.next && rp.err != nil:
		err, rp.err, rp.next = rp.err, nil, ""
		return nil, err
	}
	rp.next, rp.err, rp.absent, rp.busy = key, nil, nil, true
	rp.number++
	file := filepath.Join(rp.dir, fmt.Sprintf("plan-%d", rp.number))
	p.waiting++
	go p.make(rp, key, file, data, run.DeepCopy())
	return nil, nil
}

// repeatAbsent has the next request return absent files once more, which could not be fetched.
func (p *planning) repeatAbsent(uid types.UID, absent []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rp := p.find(uid).plan; rp != nil {
		rp.absent = absent
	}
}

// lastFailure is why the last attempt to plan a Run failed, where that had nothing to do with the files.
func (p *planning) lastFailure(uid types.UID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rp := p.find(uid).plan; rp != nil {
		return rp.failed
	}
	return nil
}

// make plans once and wakes the Run.
func (p *planning) make(rp *runPlan, key, file string, input []byte, run *v1alpha1.Run) {
	var answer plan.Answer
	var size int64
	var err error
	select {
	case p.slots <- struct{}{}:
		answer, size, err = p.runPlanner(rp.ctx, file, input, run)
		<-p.slots
	case <-rp.ctx.Done():
		err = rp.ctx.Err()
	}
	p.mu.Lock()
	p.waiting--
	rp.busy = false
	remove := file
	pause := rp.retry(err)
	switch {
	case err != nil:
		rp.err = err
	case answer.Refused != nil:
		r := answer.Refused
		rp.err = failure.Terminalf(r.Reason, causeOf(r.Cause), "%s", r.Sentence)
	case size == 0:
		rp.absent = answer.Absent
	default:
		p.uncache(rp)
		remove = rp.previous
		rp.key, rp.previous, rp.file, rp.size = key, rp.file, file, size
	}
	gone := rp.ctx.Err() != nil
	p.mu.Unlock()
	if remove != "" && !gone {
		_ = os.Remove(remove)
	}
	switch {
	case gone:
	case pause > 0:
		time.AfterFunc(pause, func() { p.wake(run) })
	default:
		p.wake(run)
	}
}

// retry notes how an attempt ended, and returns how long the next one waits. The lock is held.
func (rp *runPlan) retry(err error) time.Duration {
	if err == nil || failure.IsTerminal(err) {
		rp.failed, rp.fails = nil, 0
		return 0
	}
	pause := retryPause << min(rp.fails, maxRetries)
	rp.failed = err
	rp.fails++
	return pause
}

// runPlanner has a child plan and reads its answer, without decoding a plan.
func (p *planning) runPlanner(ctx context.Context, file string, input []byte, run *v1alpha1.Run) (plan.Answer, int64, error) {
	out, err := os.Create(file)
	if err != nil {
		return plan.Answer{}, 0, failure.Transientf(v1alpha1.ReasonDiskFull, err, "Conductor has no room for the plan")
	}
	defer out.Close()
	if err := p.planner.Plan(ctx, input, out); err != nil {
		return plan.Answer{}, 0, err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return plan.Answer{}, 0, fmt.Errorf("read the plan of %s: %w", run.Name, err)
	}
	return plan.Peek(out)
}

type causeOf string

func (c causeOf) Error() string { return string(c) }

// position is how many plans wait for a slot.
func (p *planning) position() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

// forget drops a Run's plan and removes its checkout.
func (p *planning) forget(uid types.UID) {
	p.mu.Lock()
	rp := p.find(uid).plan
	if rp != nil {
		p.uncache(rp)
	}
	p.drop(uid, func(s *session) { s.plan = nil })
	p.mu.Unlock()
	if rp != nil {
		rp.end()
		rp.files.Close()
		_ = os.RemoveAll(rp.dir)
	}
}
