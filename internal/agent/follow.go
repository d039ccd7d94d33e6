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
	// ownPrefix begins the names of Conductor's own containers, whose logs are no one's evidence.
	ownPrefix = "conductor-"
	// maxLogs is how many logs an agent follows.
	maxLogs = 2000
	// settle is how long a log whose stream has ended waits for the container's new status before it is asked for again.
	settle = 2 * time.Second
	// firstPause and longestPause are between tries to open a log.
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// logRequest names a stream of a container's log, with times.
type logRequest struct {
	Pod, Container string
	// Since is the time, in whole seconds, from which on lines are wanted; zero is from the start.
	Since            time.Time
	Previous, Follow bool
}

// logSource opens logs.
type logSource interface {
	open(ctx context.Context, r logRequest) (io.ReadCloser, error)
}

// follower follows the logs of all containers that it is told of.
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

// status is what the kubelet said last of a container.
type status struct {
	pod      string
	restarts int32
	// started says that there is a log, running that it still grows, over that the container does not run again.
	started, running, over bool
}

// container is one log and the news for anyone who follows it.
type container struct {
	file *logFile
	key  logKey
	news chan struct{}

	mu       sync.Mutex
	latest   status
	followed bool
}

// load finds the logs that an earlier process has left on disk.
func (f *follower) load() error {
	found, err := filepath.Glob(filepath.Join(f.dir, "*", "*", "info.json"))
	if err != nil {
		return fmt.Errorf("look for logs: %w", err)
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

// seePod takes what the API server says of a pod; the context is the follower's own.
func (f *follower) seePod(ctx context.Context, pod *corev1.Pod) {
	for i, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range list {
			if !strings.HasPrefix(s.Name, ownPrefix) {
				f.see(ctx, logKey{pod.Name, s.Name}, statusOf(pod, s, i == 0), infoOf(pod, i == 0))
			}
		}
	}
}

// seeGone takes that a pod is gone.
func (f *follower) seeGone(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, c := range f.logs {
		if key.pod == name {
			st := c.now()
			st.over, st.running = true, false
			c.tell(st)
		}
	}
}

// settleRest ends the logs of pods that were gone before the agent came back.
func (f *follower) settleRest(present func(pod string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, c := range f.logs {
		if !present(key.pod) && c.begin() {
			c.file.setEnded(true)
			c.leave(c.now())
			f.changes.bump()
		}
	}
}

// close waits until no one follows a log and writes what is not on disk yet. The followers' context has ended before.
func (f *follower) close() {
	f.all.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.logs {
		c.file.sync()
	}
}

// statusOf reads a container's status. Its log is there once it has run: it runs, has ended, or waits after an end.
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

// infoOf says by a pod's labels what its logs belong to.
func infoOf(pod *corev1.Pod, init bool) evidence.LogFile {
	info := evidence.LogFile{Init: init, Service: pod.Labels[v1alpha1.LabelService], Suite: pod.Labels[v1alpha1.LabelSuite]}
	// Labels that are no numbers are none of ours.
	info.Shard, _ = strconv.Atoi(pod.Labels[v1alpha1.LabelShard])
	info.Number, _ = strconv.Atoi(pod.Labels[v1alpha1.LabelAttempt])
	return info
}

// see tells a container's log of the status and begins to follow it where no one does.
func (f *follower) see(ctx context.Context, key logKey, st status, info evidence.LogFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.logs[key]
	if c == nil {
		if !st.started {
			return
		}
		if len(f.logs) >= maxLogs {
			f.log.Error("there are more logs than are followed", "pod", key.pod, "container", key.container, "limit", maxLogs)
			return
		}
		var err error
		if c, err = f.open(key, info); err != nil {
			f.log.Error("could not begin a log", "pod", key.pod, "container", key.container, "error", err)
			return
		}
		c.file.setEnded(false)
		f.changes.bump()
	}
	at := c.file.place()
	again := !c.file.state().Ended || at.Pod != st.pod || at.Restarts != st.restarts
	c.tell(st)
	if !st.started || !again || !c.begin() {
		return
	}
	f.all.Go(func() { f.follow(ctx, c) })
}

// states are the logs for Conductor.
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

// find is the log of a container, or nil.
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

func (c *container) tell(st status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = st
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// begin reports whether the caller is to follow the log: no one else does.
func (c *container) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.followed
	c.followed = true
	return !was
}

// leave ends the following of a log whose container does not run again, unless there was news since.
func (c *container) leave(last status) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followed = c.latest != last
	return !c.followed
}

// wait waits for news, at most for a time; 0 is for ever.
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

// absent says that the API server or the kubelet knows of no such log, or not yet.
func absent(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) }
