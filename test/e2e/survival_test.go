//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// endurance is how long a run may take whose Conductor keeps dying: each death costs the duration of a lease.
const endurance = 4 * time.Minute

// enduring makes a repository whose suite has two shards, of which the second passes at its second attempt, and takes some seconds.
func enduring(t *testing.T) *repo { return lasting(t, 2) }

// lasting is the same with attempts that take a number of seconds.
func lasting(t *testing.T, seconds int) *repo {
	t.Helper()
	return small(t, map[string]string{
		".conductor.yaml": "version: 1\ntests:\n  smoke: {command: sh /test.sh, shards: 2, retry: 1}\n",
		"test.sh": `case $CONDUCTOR_SHARD-$CONDUCTOR_ATTEMPT in
1-1) end='<failure message="not yet"/>' code=1 ;;
*) end= code=0 ;;
esac
sleep ` + strconv.Itoa(seconds) + `
echo "<testsuite name='s'><testcase classname='c' name='shard $CONDUCTOR_SHARD'>$end</testcase></testsuite>" > junit.xml
exit $code
`,
	})
}

// ledger records the objects created in the cluster since it was opened: the UIDs by kind and name, including deleted objects.
type ledger struct {
	mu   sync.Mutex
	made map[string]map[types.UID]bool
}

// open follows Jobs and namespaces until the end of the test, also across an outage of the API server.
func open(t *testing.T) *ledger {
	t.Helper()
	l := &ledger{made: map[string]map[types.UID]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			l.poll(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// poll records the existing objects. Every Job of a run lives longer than the pause between two polls.
func (l *ledger) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	jobs, err := here.Kube.BatchV1().Jobs("").List(ctx, metav1.ListOptions{ResourceVersion: "0", LabelSelector: v1alpha1.LabelRunUID})
	if err != nil {
		return // The next poll tries again.
	}
	spaces, err := here.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{ResourceVersion: "0", LabelSelector: v1alpha1.LabelRunUID})
	if err != nil {
		return
	}
	for i := range jobs.Items {
		l.note("job", &jobs.Items[i])
	}
	for i := range spaces.Items {
		l.note("namespace", &spaces.Items[i])
	}
}

func (l *ledger) note(kind string, o metav1.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := strings.Join([]string{o.GetLabels()[v1alpha1.LabelRunUID], kind, o.GetNamespace(), o.GetName()}, " ")
	if l.made[key] == nil {
		l.made[key] = map[types.UID]bool{}
	}
	l.made[key][o.GetUID()] = true
}

// of returns the objects of a run and how often each was created.
func (l *ledger) of(run *v1alpha1.Run) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	times := map[string]int{}
	for key, uids := range l.made {
		if name, mine := strings.CutPrefix(key, string(run.UID)+" "); mine {
			times[name] = len(uids)
		}
	}
	return times
}

// survived checks that a run of an enduring repository passed and that each visible effect happened once.
func (r *repo) survived(run *v1alpha1.Run, made map[string]int) {
	r.t.Helper()
	if run.Status.Outcome != v1alpha1.OutcomePassed || len(run.Status.Suites) != 1 || len(run.Status.Suites[0].Attempts) != 3 {
		r.t.Fatalf("run %s: %s %s, suites %+v", run.Name, run.Status.Outcome, run.Status.Message, run.Status.Suites)
	}
	kinds := map[string]int{}
	for name, times := range made {
		if kinds[strings.Fields(name)[0]]++; times != 1 {
			r.t.Errorf("%s of run %s was made %d times", name, run.Name, times)
		}
	}
	// One build and three attempts.
	if kinds["namespace"] != 1 || kinds["job"] != 4 {
		r.t.Errorf("run %s made %v", run.Name, made)
	}
	r.comment(run)
	if c := r.check(run, "smoke"); c.Conclusion != "success" {
		r.t.Errorf("check run %s of run %s: %s", c.Name, run.Name, c.Conclusion)
	}
	// A run whose suites are unknown for long has a check run of its own, too.
	ids := map[string]int{}
	for _, c := range r.checks(run) {
		if ids[c.ExternalID]++; ids[c.ExternalID] > 1 || c.Conclusion != "success" {
			r.t.Errorf("check run %s of run %s: %s, the %dth", c.Name, run.Name, c.Conclusion, ids[c.ExternalID])
		}
	}
	if len(ids) > 2 {
		r.t.Errorf("run %s has the check runs %v", run.Name, ids)
	}
	kept := recorded(r.t, run)
	if kept.result.Outcome != string(v1alpha1.OutcomePassed) {
		r.t.Errorf("the record of run %s says %s", run.Name, kept.result.Outcome)
	}
	if s := kept.suite(r.t, "smoke"); s.Totals.Flaky != 1 || s.Totals.Tests != 2 {
		r.t.Errorf("the record of run %s counts %+v", run.Name, s.Totals)
	}
	if n := r.entries(run); n != 1 {
		r.t.Errorf("run %s is %d times in its suite's history", run.Name, n)
	}
}

// entries counts a run in the history of its suite.
func (r *repo) entries(run *v1alpha1.Run) (n int) {
	r.t.Helper()
	puller := auth.StaticCredential(here.Registry, auth.Credential{Username: here.PullUser, Password: here.PullPassword})
	reg, err := registry.New(registry.Options{Host: here.Registry, Prefix: "conductor", Insecure: true, Credential: puller})
	if err != nil {
		r.t.Fatal(err)
	}
	h, err := reg.History(r.t.Context(), run.Spec.Repository, "main", "smoke")
	if err != nil || h == nil {
		r.t.Fatalf("no history of run %s: %v", run.Name, err)
	}
	for _, e := range h.Runs {
		if e.Run == run.Name {
			n++
		}
	}
	return n
}

// leader waits until a living replica leads, and returns its pod.
func leader(t *testing.T) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	eventually(t, patience, func() error {
		lease, err := here.Kube.CoordinationV1().Leases(lab.Namespace).Get(t.Context(), "conductor", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil {
			return fmt.Errorf("nobody leads")
		}
		name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
		if found, err = here.Kube.CoreV1().Pods(lab.Namespace).Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		if found.DeletionTimestamp != nil {
			return fmt.Errorf("%s leads and is going", name)
		}
		return nil
	})
	return found
}

// killLeader kills the leading process with SIGKILL and deletes its pod, so that the next one does not wait for a restart.
func killLeader(t *testing.T) {
	t.Helper()
	p := leader(t)
	if err := here.Kill(p.UID, "/conductor"); err != nil {
		t.Fatal(err)
	}
	now := int64(0)
	if err := here.Kube.CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
}

// settle waits until all replicas of Conductor are ready.
func settle(t *testing.T) {
	t.Helper()
	if _, err := here.Kubectl(context.Background(), "-n", lab.Namespace, "rollout", "status", "deployment/conductor", "--timeout=90s"); err != nil {
		t.Error(err)
	}
}

// killing kills the leader a number of times, each time within a duration after it became the leader, and checks every run that was in
// progress.
func killing(t *testing.T, kills int, within time.Duration) {
	t.Helper()
	t.Cleanup(func() { settle(t) })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	l, r := open(t), enduring(t)
	runs := 0
	for range kills {
		leader(t)
		if runs == 0 || len(r.runs()) == runs && lab.Finished(&r.runs()[runs-1]) {
			r.push(tag, fmt.Sprintf("Run the tests for #%d", r.Issue))
			runs++
		}
		time.Sleep(time.Duration(random.Int64N(int64(within)))) // The random moment is what is tested.
		killLeader(t)
	}
	var all []v1alpha1.Run
	eventually(t, endurance, func() error {
		if all = r.runs(); len(all) != runs {
			return fmt.Errorf("%d runs, want %d", len(all), runs)
		}
		for _, run := range all {
			if !lab.Finished(&run) {
				return fmt.Errorf("run %s is %s", run.Name, run.Status.Phase)
			}
		}
		return nil
	})
	for i := range all {
		r.survived(&all[i], l.of(&all[i]))
	}
	if n := len(r.comments(r.Issue)); n != runs {
		t.Errorf("%d comments of %d runs", n, runs)
	}
	t.Logf("%d kills in %d runs", kills, runs)
}

// awayFor pauses the API server for longer than a leader can keep its lease. Both replicas restart, and the run continues.
func awayFor(t *testing.T, d time.Duration) {
	t.Helper()
	resume := func() { _ = here.Signal("kube-apiserver", syscall.SIGCONT) }
	t.Cleanup(func() { resume(); settle(t) })
	l, r := open(t), enduring(t)
	r.push(tag, fmt.Sprintf("Run the tests for #%d", r.Issue))
	r.await(1, "testing", func(run *v1alpha1.Run) bool {
		return len(run.Status.Suites) == 1 && slices.ContainsFunc(run.Status.Suites[0].Attempts, func(a v1alpha1.AttemptStatus) bool { return a.StartedAt != nil })
	})
	if err := here.Signal("kube-apiserver", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d) // The time is what is tested.
	resume()
	run := r.outlived()
	r.survived(run, l.of(run))
}

// outlived waits as long as a run with a dying Conductor may take.
func (r *repo) outlived() *v1alpha1.Run {
	r.t.Helper()
	var found *v1alpha1.Run
	eventually(r.t, endurance, func() error {
		runs := r.runs()
		if len(runs) != 1 {
			return fmt.Errorf("%d runs, want one", len(runs))
		}
		if found = &runs[0]; !lab.Finished(found) {
			return fmt.Errorf("run %s is %s: %s", found.Name, found.Status.Phase, found.Status.Message)
		}
		return nil
	})
	return found
}
