package wrapper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/agent"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// TestLeave asks until it may start, whatever the agent answers on the way.
func TestLeave(t *testing.T) {
	a := newAgent(t)
	a.ready = func(n int) int {
		return []int{http.StatusNoContent, http.StatusBadGateway, http.StatusUnauthorized, http.StatusNoContent, http.StatusOK}[n-1]
	}
	code, w := wrap(t, a, nil, "exit", "4")
	if code != 4 || a.asked != 5 || w.err.String() != "" {
		t.Errorf("exit code %d after %d requests, standard error %q", code, a.asked, w.err.String())
	}
}

func TestNeverStarted(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		a := newAgent(t)
		a.ready = func(int) int { return http.StatusConflict }
		code, w := wrap(t, a, nil, "exit", "0")
		if code != 125 || a.asked != 1 || len(a.calls) > 0 || !strings.HasPrefix(w.err.String(), "conductor: the test was not started: ") {
			t.Errorf("exit code %d, calls %q, standard error %q", code, a.calls, w.err.String())
		}
	})
	t.Run("no agent", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()
		w := begin(t, append(flags(t, "http://"+address, "--wait", "300ms"), probe, "exit", "0"), nil)
		if code := w.code(t); code != 125 || !strings.Contains(w.err.String(), "the stack's agent did not answer for 300ms") {
			t.Errorf("exit code %d, standard error %q", code, w.err.String())
		}
	})
	t.Run("stopped", func(t *testing.T) {
		a := newAgent(t)
		a.ready = func(int) int { return http.StatusNoContent }
		w := begin(t, append(flags(t, a.URL), probe, "exit", "0"), nil)
		until(t, "it has asked", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.asked > 0 })
		if err := w.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := w.code(t); code != 143 {
			t.Errorf("exit code %d, standard error %q", code, w.err.String())
		}
	})
	t.Run("wrong flags", func(t *testing.T) {
		for _, args := range [][]string{{"wrap"}, {"wrap", "--what"}, {"wrap", "--agent", "x", "--token-file", "y", "--suite", "z", "--"}} {
			w := begin(t, args, nil)
			if code := w.code(t); code != 125 || !strings.HasPrefix(w.err.String(), "conductor wrap: ") {
				t.Errorf("%q: exit code %d, standard error %q", args, code, w.err.String())
			}
		}
	})
}

// TestAgentGone stops the agent while the test runs: a pod that is being stopped does not wait for the stall timeout.
func TestAgentGone(t *testing.T) {
	a := newAgent(t)
	w := begin(t, append(flags(t, a.URL, "--grace", "300ms", "--junit", "*"), probe, "test", "junit.xml=1", "polite", "9"), nil)
	until(t, "the test is ready", func() bool { return strings.Contains(w.out.String(), "ready") })
	a.CloseClientConnections()
	a.Listener.Close()
	w.signal(t, syscall.SIGTERM)
	if code := w.code(t); code != 9 {
		t.Errorf("exit code %d, want the test's own 9", code)
	}
	if !strings.Contains(w.err.String(), "conductor: some results of this test could not be sent to the stack's agent: ") {
		t.Errorf("standard error %q", w.err.String())
	}
}

// flaky is an agent whose first requests of each kind fail.
type flaky struct {
	fail        int
	err         error
	calls       []string
	junit, arts int64
	last        evidence.Attempt
}

func (f *flaky) answer(what string) error {
	f.calls = append(f.calls, what)
	n := 0
	for _, c := range f.calls {
		if c == what {
			n++
		}
	}
	if n <= f.fail {
		return f.err
	}
	return nil
}

func (f *flaky) Ready(context.Context, evidence.AttemptKey, time.Duration) (bool, error) {
	return true, nil
}

func (f *flaky) PutJUnit(_ context.Context, _ evidence.AttemptKey, tar io.Reader) (err error) {
	// Half of it is read before a failure.
	if f.junit, err = io.Copy(io.Discard, io.LimitReader(tar, 700)); err != nil {
		return err
	}
	if err := f.answer("junit"); err != nil {
		return err
	}
	rest, err := io.Copy(io.Discard, tar)
	f.junit += rest
	return err
}

func (f *flaky) End(_ context.Context, attempt evidence.Attempt) error {
	f.last = attempt
	return f.answer("end")
}

func (f *flaky) PutArtifacts(_ context.Context, _ evidence.AttemptKey, tar io.Reader) (err error) {
	if err := f.answer("artifacts"); err != nil {
		return err
	}
	f.arts, err = io.Copy(io.Discard, tar)
	return err
}

func (f *flaky) Complete(_ context.Context, attempt evidence.Attempt) error {
	f.last = attempt
	return f.answer("complete")
}

func deliverTo(t *testing.T, f *flaky) (*wrapper, *strings.Builder) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "junit.xml"), "<testsuites/>")
	write(t, filepath.Join(dir, "shot.png"), "png")
	t.Chdir(dir)
	var said strings.Builder
	w := &wrapper{agent: f, stderr: &said, options: options{junit: []string{"*.xml"}, artifacts: []string{"*.png"}, artifactsLimit: 1 << 20}}
	attempt := evidence.Attempt{StartedAt: time.Now()}
	w.deliver(t.Context(), openPlace("/conductor-token/token"), &attempt)
	return w, &said
}

func TestDeliverTriesAgain(t *testing.T) {
	f := &flaky{fail: 2, err: errors.New("connection reset")}
	_, said := deliverTo(t, f)
	want := []string{"junit", "junit", "junit", "end", "end", "end", "artifacts", "artifacts", "artifacts", "complete", "complete", "complete"}
	if !slices.Equal(f.calls, want) {
		t.Errorf("calls %q", f.calls)
	}
	if f.junit%512 != 0 || f.junit == 0 || f.arts == 0 || len(f.last.JUnit) != 1 || len(f.last.Artifacts) != 1 || len(f.last.Problems) > 0 || said.String() != "" {
		t.Errorf("junit %d bytes, artifacts %d, told %+v, said %q", f.junit, f.arts, f.last, said)
	}
}

// TestDeliverRefused continues after a refusal and reports what is missing.
func TestDeliverRefused(t *testing.T) {
	f := &flaky{fail: 1, err: fmt.Errorf("too large: %w", agent.ErrRefused)}
	_, said := deliverTo(t, f)
	if want := []string{"junit", "end", "artifacts", "complete"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %q", f.calls)
	}
	if len(f.last.JUnit) != 0 || len(f.last.Artifacts) != 0 || len(f.last.Problems) != 2 || !strings.HasPrefix(f.last.Problems[1], "The artifacts could not be sent to the stack's agent: too large") {
		t.Errorf("told %+v", f.last)
	}
	if !strings.HasPrefix(said.String(), "conductor: some results") {
		t.Errorf("said %q", said)
	}
}

// TestDeliverFails gives a body up that the agent takes and does not like, and goes on with the next.
func TestDeliverFails(t *testing.T) {
	c := &courier{stallTimeout: time.Minute}
	tries := 0
	err := c.try(t.Context(), func(_ context.Context, progress func()) error { tries++; progress(); return io.ErrUnexpectedEOF })
	if !errors.Is(err, io.ErrUnexpectedEOF) || tries != maxFailures || c.gone {
		t.Errorf("%v after %d tries, gone: %v", err, tries, c.gone)
	}
}

// TestDeliverToABusyAgent waits for an agent that answers.
func TestDeliverToABusyAgent(t *testing.T) {
	c := &courier{stallTimeout: time.Second}
	begun, tries := time.Now(), 0
	err := c.try(t.Context(), func(context.Context, func()) error {
		if tries++; time.Since(begun) < 2*c.stallTimeout {
			return fmt.Errorf("put: %w", agent.ErrBusy)
		}
		return nil
	})
	if err != nil || c.gone || tries <= maxFailures {
		t.Errorf("%v after %d tries", err, tries)
	}
}

// TestPatience stops trying for good, and counts a request that gets on as progress.
func TestPatience(t *testing.T) {
	c := &courier{stallTimeout: 300 * time.Millisecond}
	begun := time.Now()
	err := c.try(t.Context(), func(ctx context.Context, progress func()) error {
		for range 10 {
			sleep(ctx, c.stallTimeout/4)
			progress()
		}
		return ctx.Err()
	})
	if err != nil || time.Since(begun) < 2*c.stallTimeout {
		t.Fatalf("a request that gets on: %v", err)
	}
	tries := 0
	hung := func(ctx context.Context, _ func()) error { tries++; <-ctx.Done(); return ctx.Err() }
	if err := c.try(t.Context(), hung); err == nil || tries != 1 {
		t.Errorf("a request that hangs: %v after %d tries", err, tries)
	}
	if err := c.try(t.Context(), hung); !errors.Is(err, errUnreachable) || tries != 1 {
		t.Errorf("after the stall timeout: %v, %d tries", err, tries)
	}
}

// TestUnresponsive uses a listener that accepts connections and never responds: a stopped wrapper must not hang on it.
func TestUnresponsive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := begin(t, append(flags(t, "http://"+l.Addr().String()), probe, "exit", "0"), func(*exec.Cmd) {})
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := w.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := w.code(t); code != 143 {
		t.Errorf("exit code %d", code)
	}
}
