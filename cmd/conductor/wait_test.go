//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedbatchv1 "k8s.io/client-go/kubernetes/typed/batch/v1"
	"k8s.io/client-go/rest"
)

// TestWaitReportsWhatItWaitsFor lets a dependency come after 25 seconds of a clock that does not wait.
func TestWaitReportsWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		start := time.Now()
		w := waiting{timeout: time.Minute}
		err := w.wait(t.Context(), &out, "db to be ready", func(context.Context) error {
			if time.Since(start) < 25*time.Second {
				return errors.New("it has no ready pod yet")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if late := time.Since(start) - 25*time.Second; late > waitPoll {
			t.Errorf("it went on %s after db was there", late)
		}
		if n := strings.Count(out.String(), "waiting for db to be ready: it has no ready pod yet (for "); n != 2 {
			t.Errorf("it printed what it is waiting for %d times in 25 s, want 2:\n%s", n, out.String())
		}
	})
}

func TestWaitEnds(t *testing.T) {
	never := func(context.Context) error { return errors.New("it has no ready pod yet") }
	failed := func(context.Context) error {
		return &failedError{"the Job migrate has failed: BackoffLimitExceeded: no more"}
	}
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, c := range map[string]struct {
		w    waiting
		try  probe
		code exitCode
		took time.Duration
		want string
	}{
		"time":               {waiting{timeout: time.Minute}, never, 1, time.Minute, "waited 1m0s for it: it has no ready pod yet\n"},
		"optional time":      {waiting{timeout: time.Minute, optional: true}, never, 0, time.Minute, "it has no ready pod yet; continuing without it\n"},
		"failed":             {waiting{timeout: time.Minute}, failed, 1, 0, "the Job migrate has failed: BackoffLimitExceeded: no more\n"},
		"optional failed":    {waiting{optional: true}, failed, 0, 0, "no more; continuing without it\n"},
		"a probe that hangs": {waiting{timeout: 20 * time.Second}, hangs, 1, 20 * time.Second, "waited 20s for it"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				start := time.Now()
				err := c.w.wait(t.Context(), &out, "it", c.try)
				var code exitCode
				if errors.As(err, &code); code != c.code || (err == nil) != (c.code == 0) {
					t.Errorf("it ends with %v, want status %d", err, c.code)
				}
				if took := time.Since(start); took < c.took || took > c.took+waitPoll {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				if !strings.Contains(out.String(), c.want) {
					t.Errorf("the output is %q, want %q", out.String(), c.want)
				}
			})
		})
	}
}

func TestWaitForPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := waiting{tcp: l.Addr().String()}
	if err := w.probeTCP(t.Context()); err != nil {
		t.Errorf("no connection to %s: %v", w.tcp, err)
	}
	l.Close()
	if w.probeTCP(t.Context()) == nil {
		t.Error("a closed port took a connection")
	}
}

func TestWaitForName(t *testing.T) {
	config := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(config, []byte("# of a pod\nnameserver 10.96.0.10\nsearch qa.svc.cluster.local svc.cluster.local example.com\noptions ndots:5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		found []string
		err   error
		want  string
	}{
		"no such name": {err: &net.DNSError{IsNotFound: true}, want: "it has no ready pod yet"},
		"no address":   {want: "it has no ready pod yet"},
		"too few":      {found: []string{"10.0.0.1"}, want: "1 of 2 pods are ready"},
		"no answer":    {err: &net.DNSError{IsTimeout: true, Err: "i/o timeout"}, want: "its name cannot be looked up"},
		"enough":       {found: []string{"10.0.0.1", "10.0.0.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked string
			w := waiting{dns: "db-ready", addresses: 2}
			err := w.probeDNS(func(_ context.Context, host string) ([]string, error) { asked = host; return c.found, c.err }, config)(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			// A relative name would also be tried in the node's domain, where it may resolve to another machine.
			if asked != "db-ready.qa.svc.cluster.local." {
				t.Errorf("it asked for %s", asked)
			}
		})
	}
	for _, name := range []string{"db.other.svc", "db.example.com."} {
		if got := absolute(name, config); got != name {
			t.Errorf("%s became %s", name, got)
		}
	}
	if got := absolute("db", filepath.Join(t.TempDir(), "none")); got != "db" {
		t.Errorf("without a configuration db became %s", got)
	}
}

func condition(kind batchv1.JobConditionType, status corev1.ConditionStatus) []batchv1.JobCondition {
	return []batchv1.JobCondition{{Type: kind, Status: status, Reason: "Because", Message: "of this"}}
}

func TestWaitForJob(t *testing.T) {
	for name, c := range map[string]struct {
		until  string
		status batchv1.JobStatus
		want   string
	}{
		"complete":             {"complete", batchv1.JobStatus{Succeeded: 1, Conditions: condition(batchv1.JobComplete, corev1.ConditionTrue)}, ""},
		"not yet":              {"complete", batchv1.JobStatus{Active: 1, Ready: new(int32(1)), Failed: 2}, "its pods: 1 active, 0 succeeded, 2 failed"},
		"succeeded, not over":  {"complete", batchv1.JobStatus{Succeeded: 1}, "its pods: 0 active, 1 succeeded"},
		"not complete":         {"complete", batchv1.JobStatus{Conditions: condition(batchv1.JobComplete, corev1.ConditionFalse)}, "its pods: 0 active"},
		"failed":               {"complete", batchv1.JobStatus{Failed: 1, Conditions: condition(batchv1.JobFailed, corev1.ConditionTrue)}, "the Job migrate has failed: Because: of this"},
		"started":              {"started", batchv1.JobStatus{Active: 1, Ready: new(int32(1))}, ""},
		"started and over":     {"started", batchv1.JobStatus{Succeeded: 1}, ""},
		"not started":          {"started", batchv1.JobStatus{Active: 1, Ready: new(int32(0))}, "its pods: 1 active"},
		"failed before it was": {"started", batchv1.JobStatus{Conditions: condition(batchv1.JobFailed, corev1.ConditionTrue)}, "the Job migrate has failed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := waiting{until: c.until}
			err := w.judge(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "migrate"}, Status: c.status})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			var failed *failedError
			if errors.As(err, &failed) != strings.Contains(c.want, "has failed") {
				t.Errorf("%v is final: %v", err, errors.As(err, &failed))
			}
		})
	}
}

// TestWaitAsksForOneJobOnly counts requests: each must be a get of the Job, which is all that the token may do.
func TestWaitAsksForOneJobOnly(t *testing.T) {
	answers := []any{
		http.StatusNotFound, http.StatusForbidden, http.StatusInternalServerError,
		batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "migrate"}, Status: batchv1.JobStatus{Conditions: condition(batchv1.JobComplete, corev1.ConditionTrue)}},
	}
	next := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/apis/batch/v1/namespaces/qa/jobs/migrate" || r.URL.RawQuery != "" {
			t.Errorf("it asked for %s %s", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		answer := answers[next]
		next++
		if code, ok := answer.(int); ok {
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusFailure, Code: int32(code), Reason: map[int]metav1.StatusReason{
				http.StatusNotFound: metav1.StatusReasonNotFound, http.StatusForbidden: metav1.StatusReasonForbidden,
			}[code]})
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer server.Close()
	c, err := typedbatchv1.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	w := waiting{until: "complete"}
	try := w.probeJob(c.Jobs("qa"), "qa", "migrate")
	for _, want := range []string{"the Job does not exist yet", "this pod is not allowed to read it; the stack was converted for the namespace qa", "its status cannot be read"} {
		if err := try(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := try(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWaitWantsOneTarget(t *testing.T) {
	for _, args := range [][]string{{}, {"--tcp=a:1", "--dns=b"}, {"--tcp=a"}, {"--job=a", "--until=never"}, {"--dns=a", "b"}} {
		cmd := waitCommand()
		cmd.SetArgs(args)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		var code exitCode
		if err := cmd.ExecuteContext(t.Context()); err == nil || errors.As(err, &code) {
			t.Errorf("%q ends with %v, want a usage error", args, err)
		}
	}
}
