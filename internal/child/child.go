// Package child runs a part of this program in a process of its own, with limits on memory, CPU time and duration. It is for work whose
// cost depends on a repository's files: exceeding a limit ends the child, never this process.
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// Limits are the limits of one child.
type Limits struct {
	// Memory limits the resident size, in bytes.
	Memory int64
	// CPU limits the CPU time, in whole seconds; Deadline limits the duration.
	CPU, Deadline time.Duration
}

// DefaultLimits are the limits for planning a run. None of 67 real compose projects needed more than 60 MiB and 0.2 s.
var DefaultLimits = Limits{Memory: 256 << 20, CPU: 10 * time.Second, Deadline: 2 * time.Minute}

// slack is how much more than Limits.Memory a child can map. It is the last barrier against growth between two samples of the resident
// size.
const slack = 128 << 20

// samplePause is the time between two samples of a child's resident size.
const samplePause = 5 * time.Millisecond

// Environment variables that pass the limits to the child.
const (
	envMemory = "CONDUCTOR_CHILD_MEMORY"
	envCPU    = "CONDUCTOR_CHILD_CPU"
)

// Runner runs children.
type Runner struct {
	Limits Limits
	// Program is the executable; the default is this program's own.
	Program string
	// Env is the child's environment. The child does not inherit this process's environment.
	Env []string
}

// Usage is the resource usage of a child.
type Usage struct {
	// Memory is the peak of the resident size in bytes.
	Memory int64
	CPU    time.Duration
}

// Run runs the program with args and input, and writes its output to out. It returns a terminal failure if the child exceeded a limit,
// because the same input would exceed it again. doing names the work in messages, such as: plan this run.
func (r Runner) Run(ctx context.Context, args []string, input []byte, out *os.File, doing string) (Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.Deadline)
	defer cancel()
	program := r.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return Usage{}, fmt.Errorf("find this program's executable: %w", err)
		}
	}
	errs := &tail{most: 4 << 10}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), out, errs
	cmd.Env = append([]string{
		"GOMEMLIMIT=" + strconv.FormatInt(r.Limits.Memory*3/4, 10), "GOTRACEBACK=none",
		envMemory + "=" + strconv.FormatInt(r.Limits.Memory+slack, 10), envCPU + "=" + strconv.Itoa(int(r.Limits.CPU.Seconds())),
	}, r.Env...)
	if err := cmd.Start(); err != nil {
		return Usage{}, failure.Transientf(v1alpha1.ReasonUnavailable, err, "Could not %s: starting a process failed", doing)
	}
	watch := watchMemory(cmd.Process, r.Limits.Memory)
	err := cmd.Wait()
	tooLarge := watch.stop()
	used := usageOf(cmd.ProcessState)
	return used, r.explain(ctx, err, tooLarge, used, errs.String(), doing)
}

// explain converts the end of a child into a failure; nil if it succeeded.
func (r Runner) explain(ctx context.Context, err error, tooLarge bool, used Usage, errs, doing string) error {
	switch {
	case err == nil:
		return nil
	case tooLarge || strings.Contains(errs, "out of memory") || strings.Contains(errs, "cannot allocate memory"):
		return failure.Terminalf(v1alpha1.ReasonRefused, errors.Join(err, errors.New(errs)),
			"Could not %s: it needs more than %d MiB of memory. Make the compose files and what they mount smaller", doing, r.Limits.Memory>>20)
	case used.CPU >= r.Limits.CPU-100*time.Millisecond:
		return failure.Terminalf(v1alpha1.ReasonRefused, err,
			"Could not %s: it needs more than %d seconds of CPU time. Make the compose files simpler", doing, int(r.Limits.CPU.Seconds()))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "Could not %s within %s; retrying", doing, r.Limits.Deadline)
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, fmt.Errorf("%w: %s", err, errs), "Could not %s: the process ended unexpectedly; retrying", doing)
}

func usageOf(state *os.ProcessState) Usage {
	if state == nil {
		return Usage{}
	}
	u := Usage{CPU: state.UserTime() + state.SystemTime()}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.Memory = r.Maxrss << 10 // Linux counts in KiB: getrusage(2).
	}
	return u
}

// tail keeps the last bytes written to it.
type tail struct {
	most int
	data []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.most; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.data)) }
