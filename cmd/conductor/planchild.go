//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/child"
	"github.com/w3evolutionsllc/conductor/internal/plan"
)

// planChild is the command that plans one run in a child process. main runs it before it sets up anything else.
const planChild = "plan-child"

// runPlanChild reads a plan.Input and writes a plan.Answer.
func runPlanChild(in io.Reader, out io.Writer) error {
	if err := child.Confine(); err != nil {
		return err
	}
	var input plan.Input
	if err := json.NewDecoder(in).Decode(&input); err != nil {
		return fmt.Errorf("read the input of the plan: %w", err)
	}
	return plan.Answered(plan.Make(input)).Write(out)
}

// planner plans runs in children of this process.
type planner struct {
	child.Runner
	log *slog.Logger
}

// Plan implements run.Planner.
func (p planner) Plan(ctx context.Context, input []byte, out *os.File) error {
	used, err := p.Run(ctx, []string{planChild}, input, out, "plan this run")
	p.log.Debug("a run was planned", "memory", used.Memory, "cpu", used.CPU.Round(time.Millisecond), "error", err)
	return err
}
