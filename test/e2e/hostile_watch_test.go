//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

const (
	// program is the path of Conductor in its image.
	program = "/conductor"
	// samplePause is the time between two samples of memory. The kernel keeps each process's peak, so a child's peak is known up to its last
	// sample.
	samplePause = 20 * time.Millisecond
	// surveyPause is the time between two surveys of what is more expensive to read: pods, Runs and the disk.
	surveyPause = time.Second
)

// usage is the maximum that a replica of Conductor used while it was watched, in bytes.
type usage struct {
	// parent is the peak of Conductor's process, child that of a child process, together the largest sum of both at one moment.
	parent, child, together int64
	// group is the peak of the container's cgroup, including the page cache.
	group int64
	// disk is the size of the checkouts on the node's disk, object that of the largest Run as JSON.
	disk, object int64
	// deaths are the ended containers and the deleted pods.
	deaths []death
	// kills is the number of processes that the kernel killed at the limit in containers that survived: children.
	kills int64
}

// death is the end of one of Conductor's containers.
type death struct {
	pod, reason string
	code        int32
	at          time.Time
}

func (d death) String() string {
	return fmt.Sprintf("%s: %s, exit code %d, at %s", d.pod, d.reason, d.code, d.at.Format(time.TimeOnly))
}

// watcher samples Conductor's usage. It sees only processes on this machine.
type watcher struct {
	used     usage
	replicas map[types.UID]*seenReplica
	// killed is the last count of each cgroup: a restarted container has a new cgroup.
	killed map[memoryGroup]int64
	before int64
	cancel context.CancelFunc
	done   sync.WaitGroup
	// problem is the error of the last survey; nil if it succeeded.
	problem error
}

// seenReplica is one of Conductor's pods.
type seenReplica struct {
	name     string
	restarts int32
	group    memoryGroup
	pid      int
}

// watchConductor resets the kernel's peaks and watches until stop, or the test's end.
func watchConductor(t *testing.T) *watcher {
	t.Helper()
	w := &watcher{replicas: map[types.UID]*seenReplica{}, killed: map[memoryGroup]int64{}}
	for _, p := range replicas(t) {
		r, err := see(&p)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.group.reset(); err != nil {
			t.Fatalf("reset the peaks of %s: %v", p.Name, err)
		}
		w.replicas[p.UID] = r
		w.killed[r.group] = r.group.kills()
	}
	w.before = sum(w.killed)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.done.Go(func() { w.watch(ctx) })
	t.Cleanup(func() { cancel(); w.done.Wait() })
	return w
}

// stop ends the watch and returns the usage.
func (w *watcher) stop(t *testing.T) usage {
	t.Helper()
	w.cancel()
	w.done.Wait()
	eventually(t, patience, func() error { w.survey(context.Background()); return w.problem })
	w.used.kills = sum(w.killed) - w.before
	return w.used
}

func sum(counts map[memoryGroup]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (w *watcher) watch(ctx context.Context) {
	last := time.Time{}
	for ctx.Err() == nil {
		for _, r := range w.replicas {
			w.sample(r)
		}
		if time.Since(last) > surveyPause {
			w.survey(ctx)
			last = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(samplePause):
		}
	}
}

// sample reads the memory of a replica's processes. A process that has just ended or started is sampled next time.
func (w *watcher) sample(r *seenReplica) {
	all := map[int]process{}
	for _, pid := range r.group.processes() {
		if p, err := readProcess(pid); err == nil {
			all[pid] = p
		}
	}
	var together int64
	for pid, p := range all {
		_, child := all[p.parent]
		if child && !hasArgument(pid, "plan-child") {
			continue // It still has its parent's memory: it is between clone and exec.
		}
		together += p.resident
		if child {
			w.used.child = max(w.used.child, p.peak)
		} else {
			w.used.parent = max(w.used.parent, p.peak)
		}
	}
	w.used.together = max(w.used.together, together)
	w.used.group = max(w.used.group, r.group.peak())
	w.killed[r.group] = max(w.killed[r.group], r.group.kills())
}

// survey notes deaths and new replicas, the disk, and the size of Runs.
func (w *watcher) survey(ctx context.Context) {
	list, err := here.Kube.CoreV1().Pods(lab.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=conductor"})
	if err != nil {
		w.problem = err
		return
	}
	there := map[types.UID]bool{}
	for i := range list.Items {
		there[list.Items[i].UID] = true
		w.mourn(&list.Items[i])
	}
	for uid, r := range w.replicas {
		if !there[uid] {
			w.used.deaths = append(w.used.deaths, death{pod: r.name, reason: "its pod went", at: time.Now()})
			delete(w.replicas, uid)
			continue
		}
		w.used.disk = max(w.used.disk, onDisk(filepath.Join("/proc", strconv.Itoa(r.pid), "root", "checkouts")))
	}
	var runs v1alpha1.RunList
	if w.problem = here.Client.List(ctx, &runs, client.InNamespace(lab.Namespace)); w.problem != nil {
		return
	}
	for i := range runs.Items {
		data, err := json.Marshal(&runs.Items[i])
		w.problem = err
		w.used.object = max(w.used.object, int64(len(data)))
	}
}

// mourn notes that a pod's container ended, or that the pod was evicted, and finds the processes of its successor.
func (w *watcher) mourn(p *corev1.Pod) {
	r := w.replicas[p.UID]
	if r == nil {
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed {
			return
		}
		r = &seenReplica{name: p.Name}
		w.replicas[p.UID] = r
	}
	if p.Status.Phase == corev1.PodFailed {
		w.used.deaths = append(w.used.deaths, death{pod: p.Name, reason: p.Status.Reason, at: time.Now()})
		delete(w.replicas, p.UID)
		return
	}
	for _, c := range p.Status.ContainerStatuses {
		for ; r.restarts < c.RestartCount; r.restarts++ {
			d := death{pod: p.Name, reason: "it restarted", at: time.Now()}
			if end := c.LastTerminationState.Terminated; end != nil {
				d.reason, d.code, d.at = end.Reason, end.ExitCode, end.FinishedAt.Time
			}
			w.used.deaths = append(w.used.deaths, d)
		}
	}
	if r.group == "" || len(r.group.processes()) == 0 {
		if again, err := see(p); err == nil { // A container that waits for its restart has none.
			r.group, r.pid = again.group, again.pid
		}
	}
}

// see finds a pod's processes on this machine.
func see(p *corev1.Pod) (*seenReplica, error) {
	pids, err := here.Processes(p.UID, program)
	if err != nil {
		return nil, err
	}
	r := &seenReplica{name: p.Name, pid: pids[0]}
	for _, pid := range pids { // A planning process runs the same program.
		if of, err := readProcess(pid); err == nil && !slices.Contains(pids, of.parent) {
			r.pid = pid
		}
	}
	r.group, err = groupOf(r.pid)
	for _, c := range p.Status.ContainerStatuses {
		r.restarts = c.RestartCount
	}
	return r, err
}

// enforcedLimit fails the test unless every replica has the chart's default memory limit, and the kernel enforces it.
func enforcedLimit(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile("../../charts/conductor/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		Resources corev1.ResourceRequirements `json:"resources"`
	}
	if err := yaml.Unmarshal(data, &chart); err != nil {
		t.Fatal(err)
	}
	want := chart.Resources.Limits[corev1.ResourceMemory]
	for _, p := range replicas(t) {
		got := p.Spec.Containers[0].Resources.Limits[corev1.ResourceMemory]
		r, err := see(&p)
		if err != nil {
			t.Fatal(err)
		}
		if enforced := r.group.limit(); want.IsZero() || got.Cmp(want) != 0 || enforced != want.Value() {
			t.Fatalf("%s has the limit %s and its cgroup %s; the chart says %s", p.Name, got.String(), resource.NewQuantity(enforced, resource.BinarySI), want.String())
		}
	}
	return want.Value()
}
