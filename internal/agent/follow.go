package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

const (
	// ownPrefix is the prefix of Conductor's own containers, whose logs are not kept.
	ownPrefix = "conductor-"
	// maxLogs is the most logs that an agent follows.
	maxLogs = 2000
	// settle is how long to wait for a new container status after a log stream has ended, before the log is opened again.
	settle = 2 * time.Second
	// firstPause and longestPause are the first and the longest pause between attempts to open a log.
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// logRequest selects a stream of a container's log, with timestamps.
type logRequest struct {
	Pod, Container string
	// Since is the time, in whole seconds, from which lines are wanted; zero means from the start.
	Since            time.Time
	Previous, Follow bool
}

// logSource opens logs.
type logSource interface {
	open(ctx context.Context, r logRequest) (io.ReadCloser, error)
}

// follower follows the logs of all containers that it observes.
type follower struct {
	dir      string
	limit    int64
	source   logSource
	masks    *masks
	changes  *changes
	log      *slog.Logger
	compress compressor

	mu   sync.Mutex
	logs map[logKey]*container
	all  sync.WaitGroup
}

type logKey struct{ pod, container string }

// status is the latest status of a container that the kubelet reported.
type status struct {
	pod      string
	restarts int32
	// started means that a log exists, running that the log may grow, over that the container will not run again.
	started, running, over bool
}

// container is one log, and a channel that wakes the goroutine following it.
type container struct {
	file *logFile
	key  logKey
	news chan struct{}

	mu       sync.Mutex
	latest   status
	followed bool
}

// load opens the logs that an earlier process left on disk.
func (f *follower) load() error {
	found, err := filepath.Glob(filepath.Join(f.dir, "*", "*", "info.json"))
	if err != nil {
		return fmt.Errorf("list the logs: %w", err)
	}
	for _, name := range found {
		dir := filepath.Dir(name)
		key := logKey{filepath.Base(filepath.Dir(dir)), filepath.Base(dir)}
		if _, err := f.open(key, evidence.LogFile{}); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) open(key logKey, info evidence.LogFile) (*container, error) {
	info.Pod, info.Container = key.pod, key.container
	file, err := openLog(filepath.Join(f.dir, key.pod, key.container), info, f.limit, f.masks, &f.compress, f.log)
	if err != nil {
		return nil, err
	}
	c := &container{file: file, key: key, news: make(chan struct{}, 1)}
	f.logs[key] = c
	return c, nil
}

// observePod passes on the container statuses of a pod. ctx is the follower's own context.
func (f *follower) observePod(ctx context.Context, pod *corev1.Pod) {
	for i, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range list {
			if !strings.HasPrefix(s.Name, ownPrefix) {
				f.observe(ctx, logKey{pod.Name, s.Name}, statusOf(pod, s, i == 0), infoOf(pod, i == 0))
			}
		}
	}
}

// observeDeleted marks the containers of a deleted pod as finished.
func (f *follower) observeDeleted(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, c := range f.logs {
		if key.pod == name {
			st := c.now()
			st.over, st.running = true, false
			c.update(st)
		}
	}
}

// endOrphans ends the logs of pods that were deleted while the agent was down.
func (f *follower) endOrphans(present func(pod string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, c := range f.logs {
		if !present(key.pod) && c.claim() {
			c.file.setEnded(true)
			c.release(c.now())
			f.changes.bump()
		}
	}
}

// close waits for all followers, whose context has ended, and writes pending text to disk.
func (f *follower) close() {
	f.all.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.logs {
		c.file.sync()
	}
}

// statusOf converts a container's status. A log exists once the container has run: it is running, has terminated, or waits for a
// restart.
func statusOf(pod *corev1.Pod, s corev1.ContainerStatus, init bool) status {
	ended := s.State.Terminated != nil
	st := status{
		pod: string(pod.UID), restarts: s.RestartCount, running: s.State.Running != nil,
		started: s.State.Running != nil || ended || s.LastTerminationState.Terminated != nil,
	}
	phase := pod.Status.Phase
	st.over = !st.running && (phase == corev1.PodSucceeded || phase == corev1.PodFailed || init && ended && s.State.Terminated.ExitCode == 0 && !isSidecar(pod, s.Name) ||
		ended && pod.Spec.RestartPolicy == corev1.RestartPolicyNever)
	return st
}

func isSidecar(pod *corev1.Pod, name string) bool {
	for _, c := range pod.Spec.InitContainers {
		if c.Name == name {
			return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}
	}
	return false
}

// infoOf returns what a pod's logs belong to, according to its labels.
func infoOf(pod *corev1.Pod, init bool) evidence.LogFile {
	info := evidence.LogFile{Init: init, Service: pod.Labels[v1alpha1.LabelService], Suite: pod.Labels[v1alpha1.LabelSuite]}
	// Conductor writes only numbers here; ignore the labels of others.
	info.Shard, _ = strconv.Atoi(pod.Labels[v1alpha1.LabelShard])
	info.Number, _ = strconv.Atoi(pod.Labels[v1alpha1.LabelAttempt])
	return info
}

// observe passes a status on to a container's log and starts to follow the log if necessary.
func (f *follower) observe(ctx context.Context, key logKey, st status, info evidence.LogFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.logs[key]
	if c == nil {
		if !st.started {
			return
		}
		if len(f.logs) >= maxLogs {
			f.log.Error("too many logs: this one is not followed", "pod", key.pod, "container", key.container, "limit", maxLogs)
			return
		}
		var err error
		if c, err = f.open(key, info); err != nil {
			f.log.Error("could not create a log", "pod", key.pod, "container", key.container, "error", err)
			return
		}
		c.file.setEnded(false)
		f.changes.bump()
	}
	at := c.file.place()
	again := !c.file.state().Ended || at.Pod != st.pod || at.Restarts != st.restarts
	c.update(st)
	if !st.started || !again || !c.claim() {
		return
	}
	f.all.Go(func() { f.follow(ctx, c) })
}

// states returns the state of every log for Conductor.
func (f *follower) states() []evidence.LogFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]evidence.LogFile, 0, len(f.logs))
	for _, c := range f.logs {
		out = append(out, c.file.state())
	}
	sortLogs(out)
	return out
}

// find returns the log of a container, or nil.
func (f *follower) find(pod, name string) *logFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.logs[logKey{pod, name}]; c != nil {
		return c.file
	}
	return nil
}

func (c *container) now() status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest
}

func (c *container) update(st status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = st
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// claim marks the log as followed. It reports whether the caller now follows it, that is, no other goroutine did.
func (c *container) claim() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.followed
	c.followed = true
	return !was
}

// release marks the log as not followed, unless the status has changed since last. It reports whether it did.
func (c *container) release(last status) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followed = c.latest != last
	return !c.followed
}

// wait waits for a new status, at most for the given time; 0 means without a limit.
func (c *container) wait(ctx context.Context, most time.Duration) {
	var over <-chan time.Time
	if most > 0 {
		timer := time.NewTimer(most)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-c.news:
	case <-over:
	case <-ctx.Done():
	}
}

// absent reports whether the log does not exist, or does not exist yet, according to the API server or the kubelet.
func absent(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) }
