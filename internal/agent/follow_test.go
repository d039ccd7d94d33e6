package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// kubelet keeps logs as a kubelet does: a list of lines for each run of a container, of which a stream gives those since a time.
type kubelet struct {
	mu     sync.Mutex
	change *sync.Cond
	runs   []*containerRun
	// breakAfter ends each stream with an error after so many lines; 0 is never.
	breakAfter int
	// down refuses to open anything.
	down   bool
	opened []logRequest
}

type containerRun struct {
	times []time.Time
	lines []string
	ended bool
	// gone means that the runtime has removed the container with its log.
	gone bool
}

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func newKubelet() *kubelet {
	k := &kubelet{runs: []*containerRun{{}}}
	k.change = sync.NewCond(&k.mu)
	return k
}

// print adds lines to the last run, each so much after the start.
func (k *kubelet) print(after time.Duration, lines ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.runs[len(k.runs)-1]
	for _, l := range lines {
		last.times, last.lines = append(last.times, start.Add(after)), append(last.lines, l)
	}
	k.change.Broadcast()
}

// end ends the last run, and restart begins another.
func (k *kubelet) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.runs[len(k.runs)-1].ended = true
	k.change.Broadcast()
}

func (k *kubelet) restart() {
	k.end()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.runs = append(k.runs, &containerRun{})
}

// rotate forgets the lines of the last run's older file.
func (k *kubelet) rotate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.runs[len(k.runs)-1]
	last.times, last.lines = nil, nil
}

func (k *kubelet) open(ctx context.Context, r logRequest) (io.ReadCloser, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return nil, errors.New("nobody answers")
	}
	k.opened = append(k.opened, r)
	n := len(k.runs) - 1
	if r.Previous {
		n--
	}
	if n < 0 {
		return nil, apierrors.NewBadRequest("previous terminated container not found")
	}
	if k.runs[n].gone { // A kubelet answers with 200 and this.
		return io.NopCloser(strings.NewReader("unable to retrieve container logs for containerd://0123")), nil
	}
	out, in := io.Pipe()
	context.AfterFunc(ctx, func() { k.mu.Lock(); defer k.mu.Unlock(); k.change.Broadcast() })
	go k.serve(ctx, k.runs[n], r, in)
	return out, nil
}

func (k *kubelet) serve(ctx context.Context, run *containerRun, r logRequest, to *io.PipeWriter) {
	sent, at := 0, 0
	for {
		k.mu.Lock()
		for r.Follow && at >= len(run.lines) && !run.ended && ctx.Err() == nil {
			k.change.Wait()
		}
		if at >= len(run.lines) || ctx.Err() != nil {
			k.mu.Unlock()
			to.Close()
			return
		}
		when, line := run.times[at], run.lines[at]
		after := k.breakAfter
		k.mu.Unlock()
		at++
		if when.Before(r.Since) {
			continue
		}
		// The kubelet's format has all nine digits of the fraction.
		if _, err := fmt.Fprintf(to, "%s %s\n", when.Format("2006-01-02T15:04:05.000000000Z07:00"), line); err != nil {
			return
		}
		if sent++; after > 0 && sent >= after {
			to.CloseWithError(errors.New("the connection broke"))
			return
		}
	}
}

// lose removes the log of the last run.
func (k *kubelet) lose() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.runs[len(k.runs)-1].gone = true
}

// following is a follower with one container's log.
type following struct {
	*follower
	t    *testing.T
	pod  *corev1.Pod
	ctx  context.Context
	stop context.CancelFunc
}

func follow(t *testing.T, dir string, source logSource, m *masks) *following {
	t.Helper()
	f := &follower{dir: dir, limit: 1 << 20, source: source, masks: m, changes: newChanges(), log: slog.New(slog.DiscardHandler), logs: map[logKey]*container{}}
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "stack", UID: "uid-1", Labels: map[string]string{v1alpha1.LabelService: "web"}}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web"}}
	w := &following{follower: f, t: t, pod: pod}
	w.ctx, w.stop = context.WithCancel(context.Background())
	t.Cleanup(func() { w.stop(); f.close() })
	return w
}

// now reports a new status of the container, as the kubelet does.
func (w *following) now(restarts int32, running bool) {
	s := &w.pod.Status.ContainerStatuses[0]
	s.RestartCount, s.State = restarts, corev1.ContainerState{}
	if running {
		s.State.Running = &corev1.ContainerStateRunning{}
	} else {
		s.State.Terminated = &corev1.ContainerStateTerminated{}
	}
	w.observePod(w.ctx, w.pod)
}

// text is the whole log, once it holds the last of the lines.
func (w *following) text(last string) string {
	w.t.Helper()
	var got string
	eventually(w.t, func() bool {
		file := w.find("web-1", "web")
		if file == nil {
			return false
		}
		got = unpacked(w.t, file)
		return strings.Contains(got, last)
	}, func() string { return fmt.Sprintf("%q never came; the log is %q", last, got) })
	return got
}

func unpacked(t *testing.T, file *logFile) string {
	t.Helper()
	snap, err := file.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	gz, err := gzip.NewReader(snap.reader())
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// eventually looks again and again until ok, for a minute at most.
func eventually(t *testing.T, ok func() bool, why func() string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(why())
		}
	}
}

func numbered(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("line %d", i))
	}
	return out
}

func TestABrokenStreamLosesAndRepeatsNothing(t *testing.T) {
	k := newKubelet()
	// All have the same timestamp, so timestamps alone do not show what was read.
	k.print(100*time.Millisecond, numbered(0, 5)...)
	k.print(100*time.Millisecond, "same", "same", "same")
	k.breakAfter = 6
	w := follow(t, t.TempDir(), k, masksOf(t, nil))
	w.now(0, true)
	w.text("line 4")
	k.print(50*time.Millisecond, "late but earlier")
	k.print(3*time.Second, numbered(5, 8)...)
	k.mu.Lock()
	k.breakAfter = 0
	k.mu.Unlock()
	k.end()
	w.now(0, false)
	got := w.text("line 7")
	want := strings.Join(append(append(numbered(0, 5), "same", "same", "same", "late but earlier"), numbered(5, 8)...), "\n") + "\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestARestartedContainerIsOneLog(t *testing.T) {
	k := newKubelet()
	k.print(0, "first")
	w := follow(t, t.TempDir(), k, masksOf(t, nil))
	w.now(0, true)
	w.text("first")
	k.restart()
	k.print(time.Second, "second")
	k.restart()
	k.print(2*time.Second, "third")
	k.restart()
	k.print(3*time.Second, "fourth")
	w.now(3, true)
	k.end()
	w.pod.Status.Phase = corev1.PodFailed
	w.now(3, false)
	got := w.text("fourth")
	want := "first\n[conductor: logs of earlier runs of this container are lost; runs: 1]\nthird\n[conductor: the container was restarted; restarts so far: 3]\nfourth\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	eventually(t, func() bool { return w.states()[0].Ended }, func() string { return "the log of a failed pod never ends" })
	if st := w.states()[0]; st.Service != "web" || st.Bytes != int64(len(want)) {
		t.Errorf("the log is %+v", st)
	}
}

func TestTheEndOfARunThatBrokeOffIsFetched(t *testing.T) {
	k := newKubelet()
	k.breakAfter = 2
	k.print(0, "one", "two", "three")
	w := follow(t, t.TempDir(), k, masksOf(t, nil))
	w.now(0, true)
	w.text("two")
	set := func(down bool) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.down, k.breakAfter = down, 0
	}
	set(true)
	k.restart()
	k.print(time.Second, "again")
	w.now(1, true)
	set(false)
	if got, want := w.text("again"), "one\ntwo\nthree\n[conductor: the container was restarted; restarts so far: 1]\nagain\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALogThatTheKubeletLostHasANote(t *testing.T) {
	k := newKubelet()
	k.breakAfter = 2
	k.print(0, "one", "two", "three")
	w := follow(t, t.TempDir(), k, masksOf(t, nil))
	w.now(0, true)
	w.text("two")
	k.lose()
	k.restart()
	k.lose()
	w.now(1, true)
	w.text("restarts so far: 1")
	k.end()
	w.pod.Status.Phase = corev1.PodFailed
	w.now(1, false)
	want := "one\ntwo\n[conductor: the end of the log before this restart is lost]\n[conductor: the container was restarted; restarts so far: 1]\n" +
		"[conductor: the log is lost: the kubelet cannot read the log: unable to retrieve container logs for containerd://0123]\n"
	if got := w.text("the log is lost"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	eventually(t, func() bool { return w.states()[0].Ended }, func() string { return "the lost log never ends" })
}

// TestTheEndOfALogWaitsForTheFollower: the API server may show that a container has ended before its last lines were read.
func TestTheEndOfALogWaitsForTheFollower(t *testing.T) {
	k := newKubelet()
	k.print(0, "first run")
	w := follow(t, t.TempDir(), k, masksOf(t, nil))
	w.now(0, true)
	w.text("first run")
	s := &server{follower: w.follower, changes: w.changes}
	tail := func(query string) <-chan string {
		got := make(chan string, 1)
		go func() {
			r := httptest.NewRequestWithContext(w.ctx, http.MethodGet, "/v1/logs/web-1/web?"+query, nil)
			r.SetPathValue("pod", "web-1")
			r.SetPathValue("container", "web")
			answer := httptest.NewRecorder()
			if err := s.logs(answer, r); err != nil {
				answer.Body.WriteString(err.Error())
			}
			got <- answer.Body.String()
		}()
		return got
	}
	if got := <-tail("tail=5"); got != "first run\n" {
		t.Errorf("the log of a running container ends in %q", got)
	}
	waits := tail("tail=5&restarts=1&ended=true")
	k.restart()
	k.print(time.Second, "second run")
	k.end()
	w.now(1, false)
	if got, want := <-waits, "first run\n[conductor: the container was restarted; restarts so far: 1]\nsecond run\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, bad := range []string{"tail=0", "tail=x", "restarts=x"} {
		if got := <-tail(bad); got != errBadQuery.Error() {
			t.Errorf("%s: %q", bad, got)
		}
	}
}

func TestARotatedLogHasANote(t *testing.T) {
	k := newKubelet()
	k.breakAfter = 1
	k.print(0, "old")
	w := follow(t, t.TempDir(), k, masksOf(t, nil))
	w.now(0, true)
	w.text("old")
	k.rotate()
	k.print(time.Hour, "new")
	if got, want := w.text("new"), "old\n[conductor: the log was rotated while its stream was broken; lines may be missing here]\nnew\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestARestartedAgentGoesOnWithItsLogs(t *testing.T) {
	k, dir := newKubelet(), t.TempDir()
	k.print(0, numbered(0, 50)...)
	first := follow(t, dir, k, masksOf(t, nil))
	first.now(0, true)
	first.text("line 49")
	first.stop()
	first.close()
	k.print(0, numbered(50, 52)...)
	k.end()
	second := follow(t, dir, k, masksOf(t, nil))
	if got := second.text("line 49"); strings.Contains(got, "line 50") {
		t.Errorf("the log on disk is %q", got)
	}
	second.now(0, false)
	if got, want := second.text("line 51"), strings.Join(numbered(0, 52), "\n")+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.opened[len(k.opened)-1]; r.Since.IsZero() {
		t.Errorf("the log was read from its start again: %+v", r)
	}
}

func TestLogsAreMasked(t *testing.T) {
	k := newKubelet()
	k.print(0, "the password is s3cr3t-value, really", "-----BEGIN PRIVATE KEY-----", "MIIE", "-----END PRIVATE KEY-----", "done")
	k.end()
	w := follow(t, t.TempDir(), k, masksOf(t, map[string]string{"p": "s3cr3t-value"}))
	w.now(0, false)
	if got, want := w.text("done"), "the password is ***, really\n-----BEGIN PRIVATE KEY-----***\n\ndone\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := w.find("web-1", "web").tailText(1); got != "done\n" {
		t.Errorf("the end is %q", got)
	}
}

func TestALongLogKeepsHeadAndTail(t *testing.T) {
	const limit = 4 << 20
	open := func(dir string) *logFile {
		l, err := openLog(dir, evidence.LogFile{Pod: "p", Container: "c"}, limit, masksOf(t, nil), &compressor{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	dir := t.TempDir()
	l := open(dir)
	var all bytes.Buffer
	for i := range 200000 {
		all.WriteString(fmt.Sprintf("%08d a line of a log that is long\n", i))
	}
	for batch := range slices.Chunk(all.Bytes(), batchText) {
		l.add(batch, position{Pod: "u"})
	}
	l.setEnded(true)
	for _, l := range []*logFile{l, open(dir)} {
		got, st := unpacked(t, l), l.state()
		head, tail, found := strings.Cut(got, "\n[conductor: ")
		_, tail, _ = strings.Cut(tail, "were left out here]\n")
		if !found || !strings.HasPrefix(all.String(), head) || !strings.HasSuffix(all.String(), tail) {
			t.Fatalf("%d bytes are not head and tail of the log: %v", len(got), found)
		}
		if int64(len(head)+len(tail))+st.Dropped != int64(all.Len()) || st.Bytes != int64(all.Len()) || len(head)+len(tail) > limit {
			t.Errorf("head %d, tail %d and dropped %d are not %d", len(head), len(tail), st.Dropped, all.Len())
		}
		if len(head) < limit/2-memberText || len(tail) < limit/2-limit/2/tailSegments-tailSegments*memberText {
			t.Errorf("head %d and tail %d could be longer", len(head), len(tail))
		}
		if got := l.tailText(2); got != "00199998 a line of a log that is long\n00199999 a line of a log that is long\n" {
			t.Errorf("the end is %q", got)
		}
	}
}

func TestASnapshotDoesNotChange(t *testing.T) {
	l, err := openLog(t.TempDir(), evidence.LogFile{}, 1<<20, masksOf(t, nil), &compressor{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.add([]byte("before\n"), position{})
	snap, err := l.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	for range 100 {
		l.add([]byte(strings.Repeat("after\n", 10000)), position{})
	}
	first, err := io.ReadAll(snap.reader())
	if err != nil || int64(len(first)) != snap.size {
		t.Fatal(len(first), snap.size, err)
	}
	gz, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(gz); string(text) != "before\n" || err != nil {
		t.Errorf("the snapshot holds %d bytes: %v", len(text), err)
	}
}

// The fake clientset has pods and their events, and the same few words for every log.
func TestPodsOfTheNamespaceAreFollowed(t *testing.T) {
	pod := func(name string, labels map[string]string, containers ...string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "stack", UID: types.UID(name), Labels: labels}}
		p.Status.Phase = corev1.PodSucceeded
		for _, c := range containers {
			s := corev1.ContainerStatus{Name: c, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
		}
		return p
	}
	test := map[string]string{v1alpha1.LabelSuite: "e2e", v1alpha1.LabelShard: "2", v1alpha1.LabelAttempt: "3"}
	kube := fake.NewClientset(pod("agent", nil, "agent"), pod("db", map[string]string{v1alpha1.LabelService: "db"}, "db", "conductor-wait"))
	f := follow(t, t.TempDir(), kubeLogs{kube, "stack"}, masksOf(t, nil))
	done := make(chan struct{})
	go func() { defer close(done); watchPods(f.ctx, kube, "stack", "agent", f.follower) }()
	ended := func(n int) func() bool {
		return func() bool {
			all := f.states()
			return len(all) == n && !slices.ContainsFunc(all, func(l evidence.LogFile) bool { return !l.Ended })
		}
	}
	say := func() string { return fmt.Sprintf("the logs are %+v", f.states()) }
	eventually(t, ended(1), say)
	if _, err := kube.CoreV1().Pods("stack").Create(t.Context(), pod("t-1", test, "test"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, ended(2), say)
	if l := f.states()[1]; l.Suite != "e2e" || l.Shard != 2 || l.Number != 3 || l.Pod != "t-1" || l.Container != "test" {
		t.Errorf("the test's log is %+v", l)
	}
	// What the false API server answers has no timestamp.
	if got := unpacked(t, f.find("db", "db")); !strings.Contains(got, "fake logs") {
		t.Errorf("the log is %q", got)
	}
	f.stop()
	<-done
}

func TestUsageIsThePeakOfAServicesPodsTogether(t *testing.T) {
	u := &usage{}
	sample := func(cpu, memory string) {
		item := `{"metadata":{"labels":{"` + v1alpha1.LabelService + `":"web"}},"containers":[{"usage":{"cpu":"` + cpu + `","memory":"` + memory + `"}},{"usage":{"cpu":"250m","memory":"1Mi"}}]}`
		if err := u.take([]byte(`{"items":[` + item + `,` + item + `,{"metadata":{},"containers":[{"usage":{"cpu":"9"}}]}]}`)); err != nil {
			t.Fatal(err)
		}
	}
	sample("500m", "10Mi")
	sample("1n", "20Mi")
	want := evidence.Usage{CPUPeak: 1.5, MemoryPeak: 42 << 20, Source: "metrics"}
	if got := u.all(); len(got) != 1 || got["web"] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
