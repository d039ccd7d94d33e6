// Package child runs a part of this program as a process of its own, with limits on its memory, its CPU time and its time. What a
// stranger's files can make expensive runs there: hitting a limit ends the child, and never this process.
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

// Limits bound one child.
type Limits struct {
	// Memory is the most that may be resident, in bytes.
	Memory int64
	// CPU is the most CPU time, in whole seconds; Deadline the longest that a child may exist.
	CPU, Deadline time.Duration
}

// DefaultLimits are for planning a run. Of 67 real compose projects none needed more than 60 MiB and 0.2 s.
var DefaultLimits = Limits{Memory: 256 << 20, CPU: 10 * time.Second, Deadline: 2 * time.Minute}

// slack is how much more than Limits.Memory a child can map: the last barrier, for what grows between two samples of the resident size.
const slack = 128 << 20

// samplePause is the time between two samples of a child's resident size.
const samplePause = 5 * time.Millisecond

// environment variables that carry the limits into the child.
const (
	envMemory = "CONDUCTOR_CHILD_MEMORY"
	envCPU    = "CONDUCTOR_CHILD_CPU"
)

// Runner runs children.
type Runner struct {
	Limits Limits
	// Program is the executable; empty is this one.
	Program string
	// Env is added to a child's environment, which has nothing of this process's.
	Env []string
}

// Usage is what a child has used.
type Usage struct {
	// Memory is the peak of the resident size in bytes.
	Memory int64
	CPU    time.Duration
}

// Run runs the program with args, gives it input and has it write to out. An error is a terminal failure where the child hit a limit: the
// same input would hit it again. What is given to doing completes the sentence "... to DOING", such as: plan this run.
func (r Runner) Run(ctx context.Context, args []string, input []byte, out *os.File, doing string) (Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.Deadline)
	defer cancel()
	program := r.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return Usage{}, fmt.Errorf("find the program to run again: %w", err)
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
		return Usage{}, failure.Transientf(v1alpha1.ReasonUnavailable, err, "Conductor could not start a process to %s", doing)
	}
	watch := watchMemory(cmd.Process, r.Limits.Memory)
	err := cmd.Wait()
	tooLarge := watch.stop()
	used := usageOf(cmd.ProcessState)
	return used, r.explain(ctx, err, tooLarge, used, errs.String(), doing)
}

// explain turns the end of a child into a failure; nil for one that ended well.
func (r Runner) explain(ctx context.Context, err error, tooLarge bool, used Usage, errs, doing string) error {
	switch {
	case err == nil:
		return nil
	case tooLarge || strings.Contains(errs, "out of memory") || strings.Contains(errs, "cannot allocate memory"):
		return failure.Terminalf(v1alpha1.ReasonRefused, errors.Join(err, errors.New(errs)),
			"It takes more than %d MiB of memory to %s. Make the compose files and what they mount smaller", r.Limits.Memory>>20, doing)
	case used.CPU >= r.Limits.CPU-100*time.Millisecond:
		return failure.Terminalf(v1alpha1.ReasonRefused, err,
			"It takes more than %d seconds of CPU time to %s. Make the compose files simpler", int(r.Limits.CPU.Seconds()), doing)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "Conductor did not get to %s within %s; trying again", doing, r.Limits.Deadline)
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, fmt.Errorf("%w: %s", err, errs), "The process that was to %s ended; trying again", doing)
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

// tail keeps the end of what is written to it.
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
